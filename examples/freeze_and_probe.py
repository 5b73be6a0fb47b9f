"""What a pretrained encoder knows of emotion before any fine-tuning: a linear probe on each of its frozen layers.

Each layer's frames are averaged over the utterance, and a logistic regression on them is judged on the folds of a
recipe, whose speakers it has not heard; a last one has all layers side by side. That one is the first yardstick for a
fine-tuned model. The best layer of this list has been picked by its test score: do not report it as a result.

python examples/freeze_and_probe.py iemocap-wavlm-base data.root=/data/IEMOCAP_full_release cache=/tmp/states

With "model.center_by=[speaker]" a speaker's mean is taken off first; --heard 8 has only so many of a test speaker's
recordings for it.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas
import torch
import typer
from datasets import Dataset
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe import Recipe
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.configuration.run_folder import write_json
from ser_meta.hub_cards.document import with_interval
from ser_meta.training.batches.group_means import centering_protocol
from ser_meta.training.machine.environment import environment
from ser_meta.training.planning.plan import find_folds
from ser_meta.training.runs.judging import report_on
from ser_meta.training.runs.preparation import Preparation, prepare

ALL_LAYERS = "all layers"
REGULARISATION = 0.01  # the same for every layer and corpus: a whole encoder has as many states as a corpus utterances


def main(
    recipe: Annotated[str, typer.Argument(help="A recipe with a cache: its corpus, folds and encoder count.")],
    settings: Annotated[list[str] | None, typer.Argument(help="As key=value.", metavar="[KEY=VALUE]...")] = None,
    output: Annotated[Path | None, typer.Option(help="Where to write the report, as JSON.")] = None,
    heard: Annotated[int | None, typer.Option(min=1, help="Recordings of each test group to centre it by.")] = None,
) -> None:
    """Prints the unweighted accuracy of a linear probe on each layer of a frozen encoder, with its interval."""
    report = probe_layers(load_recipe(recipe, settings), heard)
    for row in report["rows"]:
        print(f"{row['name']:<10}  UA {with_interval(row['pooled']['metrics'][report['target']], 'ua')}")
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_json(output, report)


def probe_layers(recipe: Recipe, heard: int | None = None) -> dict[str, Any]:
    """The report (`kind` `probe`): for each layer and for all together, what the test sides of all folds show."""
    columns, recipe = recipe.model.center_by, _of_all_states(recipe)
    target = recipe.model.target_task
    prepared = [prepare(replace(recipe, data=replace(recipe.data, test_fold=fold))) for fold in find_folds(recipe)]
    embeddings = embed(prepared[0])
    # learned from as they are, tested as if only so many of a group had been heard
    sides = [centred(embeddings, prepared[0].dataset, columns, count) for count in (None, heard)]
    inputs = {f"layer {layer + 1}": [side[:, layer] for side in sides] for layer in range(embeddings.shape[1])}
    inputs[ALL_LAYERS] = [side.reshape(len(side), -1) for side in sides]
    task = prepared[0].tasks[target]
    rows = [
        {"name": name, "pooled": report_on(probe(*values, prepared, target), {target: task}, target)}
        for name, values in tqdm(inputs.items(), unit="probe")
    ]
    corpus = " + ".join(source.corpus for source in recipe.data.sources)
    protocol = {"corpus": corpus, "folds": [each.test_fold for each in prepared]}
    protocol |= centering_protocol(columns) | ({} if heard is None else {"recordings_to_centre_by": heard})
    return {"kind": "probe", "target": target, "protocol": protocol, "rows": rows, "versions": environment()}


def embed(prepared: Preparation) -> np.ndarray:
    """The mean over the frames of each layer's hidden states: `(utterances, layers, width)`."""
    (stage, *_) = prepared.recipe.stages.values()
    model = prepared.new_model().eval().to("cuda" if torch.cuda.is_available() else "cpu")
    states = prepared.build_collator(model, replace(stage, freeze_layers="all")).states
    names = prepared.dataset["utterance_id"]
    return np.stack([states.of(name, 1.0).mean(axis=1, dtype=np.float32) for name in names])


def centred(embeddings: np.ndarray, dataset: Dataset, columns: list[str], heard: int | None) -> np.ndarray:
    """Less the mean of those that are the same in the columns, or of so many of them, drawn at random."""
    if not columns:
        return embeddings
    chance, less = np.random.default_rng(0), np.empty_like(embeddings)
    for rows in dataset.select_columns(columns).to_pandas().groupby(columns, dropna=False).indices.values():
        known = rows if heard is None else chance.choice(rows, min(heard, len(rows)), replace=False)
        less[rows] = embeddings[rows] - embeddings[known].mean(axis=0)
    return less


def probe(learned_from: np.ndarray, tested: np.ndarray, prepared: list[Preparation], target: str) -> pandas.DataFrame:
    """Predictions for the test sides of all folds, by a logistic regression on `(utterances, width)` of the others."""
    dataset, labels = prepared[0].dataset, prepared[0].tasks[target]["labels"]
    table = dataset.remove_columns("audio").to_pandas()
    known = table[target].notna().to_numpy()
    predictions = []
    for fold in prepared:
        train, test = ([row for row in fold.sides[side] if known[row]] for side in ("train", "test"))
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=REGULARISATION, max_iter=1000))
        scores = classifier.fit(learned_from[train], table[target].iloc[train]).predict_proba(tested[test])
        scores = pandas.DataFrame(scores, columns=classifier.classes_)[labels].to_numpy()
        predicted = [labels[best] for best in scores.argmax(axis=1)]
        columns = {f"{target}_predicted": predicted, f"{target}_scores": list(scores)}
        predictions.append(table.iloc[test].assign(**columns))
    return pandas.concat(predictions, ignore_index=True)


def _of_all_states(recipe: Recipe) -> Recipe:
    """With every layer's plain states at one speed, which is all that a probe reads."""
    if recipe.cache is None:
        raise UserError("cache=null: name a folder that keeps the frozen encoder's states, as cache=FOLDER")
    model = replace(recipe.model, layer_fusion="ari", center_by=[])
    return replace(recipe, model=model, data=replace(recipe.data, speed_factors=[1.0]), cache_layers=True)


if __name__ == "__main__":
    typer.run(main)
