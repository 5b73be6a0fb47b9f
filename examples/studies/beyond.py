"""What helps beyond a linear probe of all layers, above the same frozen states, one recording at a time.

python examples/studies/beyond.py examples/studies/ravdess-emobox.yaml data.root=/data/ravdess data.emobox=EmoBox \
  model.encoder=openai/whisper-base --output studies/beyond

In each fold the ways are tried one after another, each on top of those that were kept before it. One is kept where it
is better on speakers of the fold's training side, each of whom validates once. What was kept is then judged on the
fold's test side, once, beside the start: a ridge regression on the mean and deviation of every layer's states.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas
import typer
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe import Recipe
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.training.measures.statistics import paired_difference
from ser_meta.training.planning.plan import find_folds
from ser_meta.training.runs.judging import report_on
from ser_meta.training.runs.preparation import Preparation, prepare
from ser_meta.training.studies.probe import embed

PARTS = 4  # of a fold's training speakers, of which each validates once
PAIRS = 1200  # that mixup draws
SEARCHED = "the ways, in each fold on speakers of its training side; which ways are tried, on all of those"


@dataclass(frozen=True)
class Way:
    """How utterances are told apart.

    Args:
        ridge: how strongly large weights are held down.
        voices: in so many directions in which speakers differ most from each other, all states are alike.
        gaussian: a Gaussian kernel, and not a linear one.
        mixed: pairs of utterances that are mixed, with their labels, are learned too (mixup, arXiv 1710.09412).
        lower: without the last layer.
        averaged: scores are the mean of those of linear and Gaussian kernels.
    """

    ridge: float = 0.1
    voices: int = 0
    gaussian: bool = False
    mixed: bool = False
    lower: bool = False
    averaged: bool = False


WAYS = {
    "held down more": {"ridge": 0.3},
    "voices taken out": {"voices": 4},
    "Gaussian kernel": {"gaussian": True},
    "mixup": {"mixed": True},
    "without the last layer": {"lower": True},
    "both kernels": {"averaged": True},
}


@dataclass(frozen=True)
class Corpus:
    """Mean and deviation `(utterances, 2, layers, width)` of the states, who speaks, and each label as a number."""

    states: np.ndarray
    speakers: np.ndarray
    label: np.ndarray
    classes: int


def main(
    words: Annotated[list[str], typer.Argument(metavar="RECIPE [KEY=VALUE]...")],
    output: Annotated[Path, typer.Option(help="A folder for report.json.")],
) -> None:
    """Tries the ways on every fold, and prints what came of it."""
    recipe = load_recipe(words[0], words[1:])
    recipe = replace(recipe, data=replace(recipe.data, speed_factors=[1.0]))
    folds = [prepare(replace(recipe, data=replace(recipe.data, test_fold=name))) for name in find_folds(recipe)]
    corpus, tried, ways = read(folds[0]), {}, {"the start": {}, "all that was kept": {}}
    for fold in folds:
        tried[fold.test_fold] = steps = list(climb(corpus, np.array(fold.sides["train"])))
        print(f"{fold.test_fold}: {steps}", file=sys.stderr, flush=True)
        for name, way in zip(ways, (Way(), best_way(steps)), strict=True):
            ways[name][fold.test_fold] = way
    tables = {name: judge(corpus, folds, of_fold) for name, of_fold in ways.items()}
    report = write_report(output, recipe, folds[0], tried, tables)
    print("\n".join(page(report)))


def read(prepared: Preparation) -> Corpus:
    """The utterances of a recipe, in the order of its data set."""
    target = prepared.recipe.model.target_task
    speakers, emotions = (np.array(prepared.dataset[column]) for column in ("speaker", target))
    labels = prepared.tasks[target]["labels"]
    states = embed(prepared)
    states = states.reshape(len(states), 2, -1, states.shape[-1])
    return Corpus(states, speakers, np.array([labels.index(each) for each in emotions]), len(labels))


def judge(corpus: Corpus, folds: list[Preparation], ways: dict[str, Way]) -> pandas.DataFrame:
    """The predictions for every fold's test side, with the way of each."""
    table = folds[0].dataset.remove_columns("audio").to_pandas()
    target, parts = folds[0].recipe.model.target_task, []
    labels = folds[0].tasks[target]["labels"]
    for fold in folds:
        learned, test = np.array(fold.sides["train"]), np.array(fold.sides["test"])
        found = scores(corpus, ways[fold.test_fold], learned, test)
        predicted = [labels[best] for best in found.argmax(axis=1)]
        columns = {f"{target}_predicted": predicted, f"{target}_scores": list(found)}
        parts.append(table.iloc[test].assign(**columns))
    return pandas.concat(parts, ignore_index=True)


def write_report(
    output: Path, recipe: Recipe, prepared: Preparation, tried: dict[str, list], tables: dict[str, pandas.DataFrame]
) -> dict:
    """Writes report.json, and returns what it holds."""
    target = recipe.model.target_task
    task, (start, kept) = {target: prepared.tasks[target]}, tables.values()
    protocol = {"corpus": recipe.data.corpus, "left_out": dict(prepared.left_out), "folds": list(tried)}
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


def climb(corpus: Corpus, learned: np.ndarray) -> Iterator[dict]:
    """Each way on top of those before it that were kept: its name, the validation speakers' UA, whether it is kept."""
    best, way = validate(corpus, Way(), learned), Way()
    yield {"way": "the start", "validation_ua": best, "kept": True}
    for name, change in WAYS.items():
        found = validate(corpus, replace(way, **change), learned)
        yield {"way": name, "validation_ua": found, "kept": found > best}
        if found > best:
            best, way = found, replace(way, **change)


def best_way(steps: list[dict]) -> Way:
    """All that was kept."""
    changes = [WAYS[step["way"]] for step in steps if step["kept"] and step["way"] in WAYS]
    return replace(Way(), **{key: value for change in changes for key, value in change.items()})


def validate(corpus: Corpus, way: Way, learned: np.ndarray) -> float:
    """The UA on the training side's speakers, each judged by what was learned from others."""
    found = np.zeros(len(learned), int)
    speakers = corpus.speakers[learned]
    for others, part in GroupKFold(min(PARTS, len(set(speakers)))).split(learned, groups=speakers):
        found[part] = scores(corpus, way, learned[others], learned[part]).argmax(axis=1)
    return float(balanced_accuracy_score(corpus.label[learned], found))


def scores(corpus: Corpus, way: Way, learned: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """`(judged, classes)`, which sum to one, by kernel ridge regression on one column a class."""
    if way.averaged:
        kernels = [replace(way, averaged=False, gaussian=gaussian) for gaussian in (False, True)]
        return np.mean([scores(corpus, each, learned, judged) for each in kernels], axis=0)
    states = corpus.states[:, :, :-1] if way.lower else corpus.states
    states = states.reshape(len(states), -1)
    mean, deviation = states[learned].mean(axis=0), states[learned].std(axis=0) + 1e-6
    of_learned, of_judged = ((states[rows] - mean) / deviation for rows in (learned, judged))
    truth = np.eye(corpus.classes)[corpus.label[learned]]
    if way.voices:
        taken = voices(of_learned, corpus.speakers[learned])[: way.voices]
        of_learned, of_judged = (each - (each @ taken.T) @ taken for each in (of_learned, of_judged))
    if way.mixed:
        of_learned, truth = mixed(of_learned, truth)
    kernel, across = gram(of_learned, of_learned, way.gaussian), gram(of_judged, of_learned, way.gaussian)
    shares = truth.mean(axis=0)
    found = across @ np.linalg.solve(kernel + way.ridge * np.eye(len(kernel)), truth - shares) + shares
    found = found.clip(min=1e-6)
    return found / found.sum(axis=1, keepdims=True)


def voices(states: np.ndarray, speakers: np.ndarray) -> np.ndarray:
    """The directions `(speakers, width)` in which the speakers' means differ, the main one first."""
    means = np.stack([states[speakers == speaker].mean(axis=0) for speaker in np.unique(speakers)])
    return np.linalg.svd(means - means.mean(axis=0), full_matrices=False)[2]


def mixed(states: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same, and behind them pairs of them in shares that are drawn."""
    chance = np.random.default_rng(0)
    one, other = chance.integers(len(states), size=(2, PAIRS))
    share = chance.beta(0.4, 0.4, size=(PAIRS, 1)).astype(np.float32)
    return tuple(np.concatenate([each, share * each[one] + (1 - share) * each[other]]) for each in (states, truth))


def gram(these: np.ndarray, those: np.ndarray, gaussian: bool) -> np.ndarray:
    """The kernel of each of these with each of those: the mean product of channels, or falling with the distance."""
    products = (these @ those.T).astype(np.float64) / these.shape[1]
    if not gaussian:
        return products
    squares = [(each.astype(np.float64) ** 2).mean(axis=1) for each in (these, those)]
    return np.exp(products - squares[0][:, None] / 2 - squares[1] / 2)


def page(report: dict) -> Iterator[str]:
    """Both tables in Markdown."""
    folds = list(report["tried"].values())
    yield from ("| way, on top of those kept | validation UA | kept in folds |", "|---|--:|--:|")
    for steps in zip(*folds, strict=True):
        mean = np.mean([step["validation_ua"] for step in steps])
        yield f"| {steps[0]['way']} | {mean:.1%} | {sum(step['kept'] for step in steps)} of {len(folds)} |"
    yield from ("", "| on the test sides | UA | WA | macro F1 |", "|---|--:|--:|--:|")
    for name, row in report["rows"].items():
        cells = [f"{row[key]:.1%}{_between(row['interval'].get(key))}" for key in ("ua", "wa", "macro_f1")]
        yield f"| {name} | {' | '.join(cells)} |"
    gain = report["gain"]["ua"]
    yield from ("", f"UA gained: {100 * gain['difference']:+.1f} points{_between(gain.get('interval'))}")


def _between(interval: list[float] | None) -> str:
    return f" ({interval[0]:.1%} to {interval[1]:.1%})" if interval else ""


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as error:
        print(f"{Path(__file__).name}: {error}", file=sys.stderr)
        sys.exit(2)
