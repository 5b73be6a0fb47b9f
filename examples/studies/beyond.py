"""What helps beyond a linear probe of all layers, above the same frozen states, one recording at a time.

python examples/studies/beyond.py examples/studies/ravdess-emobox.yaml data.root=/data/ravdess data.emobox=EmoBox \
  model.encoder=openai/whisper-base --output studies/beyond

In each fold the ways are tried one after another, each on top of those that were kept before it. One is kept where it
is better on speakers of the fold's training side, each of whom validates once. What was kept is then judged on the
fold's test side, once, beside the start: a ridge regression on the mean and deviation of every layer's states.

`--also nemo-frozen.yaml --also data.root=... --also "data.label_map=..."` gives another corpus to learn from; the
README has the whole command. What is found with all that was kept also goes into predictions.parquet, at a temperature
fitted on those validating speakers: `together.py` takes it along with other studies.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas
import typer
from beyond_kernels import PLAIN, SLOWER, Fold, Way, read, scores
from scripts import run
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold

from ser_meta.configuration.recipe import Recipe
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.training.corpora.mixture import corpora_words, label_maps
from ser_meta.training.measures.statistics import paired_difference
from ser_meta.training.measures.temperature import at_temperature, fit_temperature
from ser_meta.training.planning.plan import find_folds
from ser_meta.training.runs.judging import report_on
from ser_meta.training.runs.preparation import Preparation, prepare

PARTS = 4  # of a fold's training speakers, of which each validates once
SEARCHED = (
    "the ways, in each fold on speakers of its training side; which ways are tried, a part of them on all of those"
)
WAYS = {  # the cheap before the dear
    "held down more": {"ridge": 0.3},
    "held down more still": {"ridge": 1.0},
    "voices taken out": {"voices": 4},
    "whitened within emotions": {"within": 30.0},
    "whitened within emotions, more": {"within": 300.0},
    "main components whitened": {"whitened": 30.0},
    "rare emotions weighed up": {"balanced": True},
    "first and last third": {"course": True},
    "tenth and ninetieth percentile": {"extent": True},
    "steps from frame to frame": {"change": True},
    "correlations of channels": {"correlation": True},
    "without the last layer": {"lower": True},
    "layers weighed by alignment": {"aligned": True},
    "genders told apart": {"by_gender": True},
    "sentences told apart": {"by_sentence": True},
    "mixup": {"mixed": True},
    "Gaussian kernel": {"gaussian": True},
    "both kernels": {"averaged": True},
    "logistic regression": {"softmax": True},
    "speed 0.9 learned too": {"copies": (SLOWER,)},
    "speed 0.9 heard too": {"heard": (PLAIN, SLOWER)},
    "another corpus learned": {"also": 1.0},
    "another corpus learned, a quarter": {"also": 0.25},
    "five members": {"members": 5},
}


def main(
    words: Annotated[list[str], typer.Argument(metavar="RECIPE [KEY=VALUE]...")],
    output: Annotated[Path, typer.Option(help="A folder for report.json.")],
    also: Annotated[
        list[str] | None, typer.Option(help="A recipe whose corpus is learned from too, and after it its KEY=VALUE.")
    ] = None,
) -> None:
    """Tries the ways on every fold, and prints what came of it."""
    recipe = load_recipe(words[0], words[1:])
    recipe = of_states(recipe, recipe)
    others = [of_states(load_recipe(also[0], also[1:]), recipe)] if also else []
    folds = list(prepare_folds(recipe))
    corpus = read(folds[0], [next(prepare_folds(other)) for other in others])
    names = [name for name, change in WAYS.items() if others or "also" not in change]
    tried, tables = {}, {"the start": [], "all that was kept": []}
    for prepared in folds:
        fold = Fold(corpus, np.array(prepared.sides["train"]))
        tried[prepared.test_fold] = steps = list(climb(fold, names))
        print(f"{prepared.test_fold}: {steps}", file=sys.stderr, flush=True)
        for table, way in zip(tables.values(), (Way(), best_way(steps)), strict=True):
            table.append(judge(fold, prepared, way))
    tables = {name: pandas.concat(table, ignore_index=True) for name, table in tables.items()}
    report = write_report(output, recipe, others, folds[0], tried, tables)
    tables["all that was kept"].to_parquet(output / "predictions.parquet")
    print("\n".join(page(report)))


def of_states(recipe: Recipe, first: Recipe) -> Recipe:
    """A recipe with the encoder of the first one, at one speed."""
    data = replace(recipe.data, speed_factors=[1.0], trim_decibels=first.data.trim_decibels)
    model = replace(recipe.model, encoder=first.model.encoder, revision=first.model.revision)
    return replace(recipe, data=data, model=model, cache=first.cache)


def prepare_folds(recipe: Recipe) -> Iterator[Preparation]:
    """A recipe's folds, one after another."""
    for name in find_folds(recipe):
        yield prepare(replace(recipe, data=replace(recipe.data, test_fold=name)))


def judge(fold: Fold, prepared: Preparation, way: Way) -> pandas.DataFrame:
    """The predictions for a fold's test side."""
    target, test = prepared.recipe.model.target_task, np.array(prepared.sides["test"])
    labels = prepared.tasks[target]["labels"]
    found = scores(fold, way, fold.learned, test)
    found = at_temperature(found, fit_temperature(held_out_scores(fold, way), fold.corpus.label[fold.learned]))
    predicted = [labels[best] for best in found.argmax(axis=1)]
    columns = {f"{target}_predicted": predicted, f"{target}_scores": list(found)}
    return prepared.dataset.remove_columns("audio").to_pandas().iloc[test].assign(**columns)


def write_report(
    output: Path,
    recipe: Recipe,
    others: list[Recipe],
    prepared: Preparation,
    tried: dict[str, list],
    tables: dict[str, pandas.DataFrame],
) -> dict:
    """Writes report.json, and returns what it holds."""
    target = recipe.model.target_task
    task, (start, kept) = {target: prepared.tasks[target]}, tables.values()
    sources = [source for other in others for source in other.data.sources]
    learned = {"learned_too": corpora_words(sources), "label_map": label_maps(sources)} if others else {}
    protocol = {"corpus": recipe.data.corpus, **learned, "left_out": dict(prepared.left_out), "folds": list(tried)}
    report = {
        "protocol": {**protocol, "validation": "speaker", "searched": SEARCHED},
        "recipe": asdict(recipe),
        "tried": tried,
        "rows": {name: report_on(table, task, target).metrics[target] for name, table in tables.items()},
        "gain": paired_difference(kept, start, target),
    }
    output.mkdir(parents=True, exist_ok=True)
    (output / "report.json").write_text(json.dumps(report, indent=2, default=str) + "\n", encoding="utf-8")
    return report


def climb(fold: Fold, names: list[str]) -> Iterator[dict]:
    """Each way on top of those before it that were kept: its name, the validation speakers' UA, whether it is kept."""
    best, way = validate(fold, Way()), Way()
    yield {"way": "the start", "validation_ua": best, "kept": True}
    for name in names:
        found = validate(fold, replace(way, **WAYS[name]))
        yield {"way": name, "validation_ua": found, "kept": found > best}
        if found > best:
            best, way = found, replace(way, **WAYS[name])


def best_way(steps: list[dict]) -> Way:
    """All that was kept."""
    changes = [WAYS[step["way"]] for step in steps if step["kept"] and step["way"] in WAYS]
    return replace(Way(), **{key: value for change in changes for key, value in change.items()})


def validate(fold: Fold, way: Way) -> float:
    """The UA on the training side's speakers, each judged by what was learned from others."""
    return float(balanced_accuracy_score(fold.corpus.label[fold.learned], held_out_scores(fold, way).argmax(axis=1)))


def held_out_scores(fold: Fold, way: Way) -> np.ndarray:
    """`(learned, classes)` of the training side's utterances, each by what was learned from other speakers."""
    corpus, learned = fold.corpus, fold.learned
    speakers, found = corpus.speakers[learned], np.zeros((len(learned), corpus.classes), np.float32)
    for others, part in GroupKFold(min(PARTS, len(set(speakers)))).split(learned, groups=speakers):
        found[part] = scores(fold, way, learned[others], learned[part])
    return found


def page(report: dict) -> Iterator[str]:
    """Both tables in Markdown."""
    folds = list(report["tried"].values())
    yield from ("| way, on top of those kept | validation UA | kept in folds |", "|---|--:|--:|")
    for steps in zip(*folds, strict=True):
        mean = np.mean([step["validation_ua"] for step in steps])
        yield f"| {steps[0]['way']} | {mean:.1%} | {sum(step['kept'] for step in steps)} of {len(folds)} |"
    kept = np.mean([max(step["validation_ua"] for step in steps) for steps in folds])
    yield f"| all that was kept | {kept:.1%} | |"
    yield from ("", "| on the test sides | UA | WA | macro F1 |", "|---|--:|--:|--:|")
    for name, row in report["rows"].items():
        cells = [f"{row[key]:.1%}{_between(row['interval'].get(key))}" for key in ("ua", "wa", "macro_f1")]
        yield f"| {name} | {' | '.join(cells)} |"
    gain = report["gain"]["ua"]
    yield from ("", f"UA gained: {100 * gain['difference']:+.1f} points{_between(gain.get('interval'))}")


def _between(interval: list[float] | None) -> str:
    return f" ({interval[0]:.1%} to {interval[1]:.1%})" if interval else ""


if __name__ == "__main__":
    run(main)
