"""What a pretrained encoder knows of emotion before any fine-tuning: a linear probe on each of its frozen layers.

Each layer's frames are averaged over the utterance, and a logistic regression on them is judged on the folds of a
recipe, whose speakers it has not heard; a last one has all layers side by side. That one is the first yardstick for a
fine-tuned model. The best layer of this list has been picked by its test score: do not report it as a result.

python examples/freeze_and_probe.py iemocap-wavlm-base data.root=/data/IEMOCAP_full_release cache=/tmp/states
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas
import torch
import typer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe import Recipe
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.configuration.run_folder import write_json
from ser_meta.hub_cards.study_page import with_interval
from ser_meta.training.centering import centering_protocol, group_of
from ser_meta.training.environment import environment
from ser_meta.training.judgement import report_on
from ser_meta.training.preparation import Preparation, find_folds, prepare

ALL_LAYERS = "all layers"
REGULARISATION = 0.01  # the same for every layer and corpus: a whole encoder has as many states as a corpus utterances


def main(
    recipe: Annotated[str, typer.Argument(help="A recipe with a cache: its corpus, folds and encoder count.")],
    settings: Annotated[list[str] | None, typer.Argument(help="As key=value.", metavar="[KEY=VALUE]...")] = None,
    output: Annotated[Path | None, typer.Option(help="Where to write the report, as JSON.")] = None,
) -> None:
    """Prints the unweighted accuracy of a linear probe on each layer of a frozen encoder, with its interval."""
    report = probe_layers(load_recipe(recipe, settings))
    for row in report["rows"]:
        print(f"{row['name']:<10}  UA {with_interval(row['pooled']['metrics'][report['target']], 'ua')}")
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_json(output, report)


def probe_layers(recipe: Recipe) -> dict[str, Any]:
    """The report (`kind` `probe`): for each layer and for all together, what the test sides of all folds show."""
    recipe = _of_all_states(recipe)
    target = recipe.model.target_task
    prepared = [prepare(replace(recipe, data=replace(recipe.data, test_fold=fold))) for fold in find_folds(recipe)]
    embeddings = embed(prepared[0])
    inputs = {f"layer {layer + 1}": embeddings[:, layer] for layer in range(embeddings.shape[1])}
    inputs[ALL_LAYERS] = embeddings.reshape(len(embeddings), -1)
    task = prepared[0].tasks[target]
    rows = [
        {"name": name, "pooled": report_on(probe(values, prepared, target), {target: task}, target)}
        for name, values in tqdm(inputs.items(), unit="probe")
    ]
    corpus = " + ".join(source.corpus for source in recipe.data.sources)
    protocol = {"corpus": corpus, "folds": [each.test_fold for each in prepared]}
    protocol |= centering_protocol(recipe.model.center_by)
    return {"kind": "probe", "target": target, "protocol": protocol, "rows": rows, "versions": environment()}


def embed(prepared: Preparation) -> np.ndarray:
    """Each layer's mean over the frames, less that of the `center_by`: `(utterances, layers, width)`."""
    (stage, *_) = prepared.recipe.stages.values()
    model = prepared.new_model().eval().to("cuda" if torch.cuda.is_available() else "cpu")
    collator = prepared.collator(model, replace(stage, freeze_layers="all"))
    columns = model.config.center_by
    states = (collator.collator if columns else collator).states
    names = prepared.dataset["utterance_id"]
    embeddings = np.stack([states.of(name, 1.0).mean(axis=1, dtype=np.float32) for name in names])
    if columns:
        rows = prepared.dataset.select_columns(columns)
        embeddings -= np.stack([collator.means[group_of(row, columns)].numpy() for row in rows])
    return embeddings


def probe(embeddings: np.ndarray, prepared: list[Preparation], target: str) -> pandas.DataFrame:
    """Predictions for the test sides of all folds, by a logistic regression on `(utterances, width)` of the others."""
    dataset, labels = prepared[0].dataset, prepared[0].tasks[target]["labels"]
    table = dataset.remove_columns("audio").to_pandas()
    known = table[target].notna().to_numpy()
    tested = []
    for fold in prepared:
        train, test = ([row for row in fold.sides[side] if known[row]] for side in ("train", "test"))
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=REGULARISATION, max_iter=1000))
        scores = classifier.fit(embeddings[train], table[target].iloc[train]).predict_proba(embeddings[test])
        scores = pandas.DataFrame(scores, columns=classifier.classes_)[labels].to_numpy()
        predicted = [labels[best] for best in scores.argmax(axis=1)]
        columns = {f"{target}_predicted": predicted, f"{target}_scores": list(scores)}
        tested.append(table.iloc[test].assign(**columns))
    return pandas.concat(tested, ignore_index=True)


def _of_all_states(recipe: Recipe) -> Recipe:
    """With every layer's states at one speed, which is all that a probe reads."""
    if recipe.cache is None:
        raise UserError("cache=null: name a folder that keeps the frozen encoder's states, as cache=FOLDER")
    model = replace(recipe.model, layer_fusion="ari")
    return replace(recipe, model=model, data=replace(recipe.data, speed_factors=[1.0]), cache_layers=True)


if __name__ == "__main__":
    typer.run(main)
