"""What the layers of a pretrained encoder know of the target before any fine-tuning, and how many are worth having.

Each layer's frames are averaged over the utterance, and a logistic regression on them is judged on speakers that it
has not heard; further ones have the lowest layers side by side, and all of them. That one is what a fine-tuned model
is to be compared with first. The last one has the deviation of all layers' frames beside their mean.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas
import torch
from datasets import Dataset
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from ...configuration.protocol import Protocol
from ...configuration.recipe import Recipe
from ...configuration.study_report import ProbeReport, ProbeRow, SuggestedLayers
from ..batches.group_means import describe_centering
from ..corpora.mixture import corpora_words, label_maps
from ..machine.environment import environment
from ..machine.processes import say
from ..measures.resampling import CONFIDENCE
from ..measures.statistics import paired_difference
from ..planning.plan import find_folds
from ..planning.sides import describe_styles, left_out_of_all
from ..runs.judging import describe_longest, report_on
from ..runs.preparation import Preparation, prepare

ALL_LAYERS = "all layers"
WITH_DEVIATION = "all layers, mean and deviation"
REGULARISATION = 0.01  # the same for every layer and corpus: a whole encoder has as many states as a corpus utterances


def probe_layers(recipe: Recipe, side: str = "validation", heard: int | None = None) -> ProbeReport:
    """What each layer, the lowest ones together, and all of them tell.

    Args:
        recipe: its corpus, folds, encoder and cache count.
        side: of all folds: `validation`, by which a number of layers may be chosen, or `test`.
        heard: with `model.center_by`, the recordings of each judged group that it is centred by.
    """
    columns, recipe = recipe.model.center_by, _of_all_states(recipe)
    target = recipe.model.target_task
    prepared = [prepare(replace(recipe, data=replace(recipe.data, test_fold=fold))) for fold in find_folds(recipe)]
    embeddings = embed(prepared[0])
    layers = embeddings.shape[1] // 2
    # learned from as they are, judged as if only so many of a group had been heard
    sides = [centred(embeddings, prepared[0].dataset, columns, count) for count in (None, heard)]
    judged = {
        name: probe(*(each[:, read].reshape(len(each), -1) for each in sides), prepared, target, side)
        for name, read in tqdm(layer_sets(layers).items(), unit="probe")
    }
    task = prepared[0].tasks[target]
    pooled = {name: report_on(table, {target: task}, target) for name, table in judged.items()}
    return ProbeReport(
        target=target,
        encoder=recipe.model.encoder,
        protocol=_protocol(recipe, prepared, side, columns, heard),
        rows=[ProbeRow(name=name, pooled=found) for name, found in pooled.items()],
        suggested=suggest(judged, lowest_layers(layers), target),
        versions=environment(),
    )


def layer_sets(layers: int) -> dict[str, slice]:
    """By a row's name, which parts it has of what `embed` gives of so many layers."""
    alone = {f"layer {layer + 1}": slice(layer, layer + 1) for layer in range(layers)}
    together = {f"lowest {count} layers": slice(count) for count in range(2, layers)}
    return {**alone, **together, ALL_LAYERS: slice(layers), WITH_DEVIATION: slice(2 * layers)}


def lowest_layers(layers: int) -> list[str]:
    """The rows with the lowest layer, the lowest two, and so on up to all of so many."""
    return [
        *(["layer 1"] if layers > 1 else []),
        *(f"lowest {count} layers" for count in range(2, layers)),
        ALL_LAYERS,
    ]


def suggest(judged: Mapping[str, pandas.DataFrame], names: Sequence[str], target: str) -> SuggestedLayers:
    """How few of the lowest layers are as good as the best number of them.

    As good is within one standard error of the difference, which is taken over speakers on the same utterances: the
    rule of Breiman et al. (Classification and Regression Trees, 1984). With too few speakers for an interval there is
    no such error, and what is suggested is as good as the best in UA itself.

    Args:
        judged: by row, the predictions.
        names: of the rows with one layer, two, and so on.
        target: the column.
    """
    against = [paired_difference(judged[name], judged[names[-1]], target)["ua"]["difference"] for name in names]
    best = int(np.argmax(against))
    differences = [paired_difference(judged[names[best]], judged[name], target)["ua"] for name in names]
    fewest = next(place for place, each in enumerate(differences) if each["difference"] <= _standard_error(each))
    return SuggestedLayers(encoder_layers=fewest + 1, best=best + 1, differences=differences)


def _standard_error(difference: Mapping[str, Any]) -> float:
    low, high = difference.get("interval", (0.0, 0.0))
    return (high - low) / (2 * NormalDist().inv_cdf((1 + CONFIDENCE) / 2))


def embed(prepared: Preparation) -> np.ndarray:
    """The mean of each layer's states over the frames, then their deviation: `(utterances, 2 x layers, width)`.

    NaN of recordings that are too long to be heard whole, which is told.
    """
    (stage, *_) = prepared.recipe.stages.values()
    model = prepared.new_model().eval().to("cuda" if torch.cuda.is_available() else "cpu")
    states = prepared.build_collator(model, replace(stage, freeze_layers="all")).states
    names, short = prepared.dataset["utterance_id"], prepared.short_rows()
    if too_long := sorted({*range(len(names))} - {*short}):
        say(f"left out: {len(too_long)} recordings too long to be heard whole, such as {names[too_long[0]]}")
    heard = (states.of(names[row], 1.0).astype(np.float32) for row in short)
    pooled = np.stack([np.concatenate([frames.mean(axis=1), frames.std(axis=1)]) for frames in heard])
    found = np.full((len(names), *pooled.shape[1:]), np.nan, np.float32)
    found[short] = pooled
    return found


def centred(embeddings: np.ndarray, dataset: Dataset, columns: list[str], heard: int | None) -> np.ndarray:
    """Less the mean of those that are the same in the columns, or of so many of them, drawn at random.

    What was not heard, and is NaN, stays so, and is not drawn.
    """
    if not columns:
        return embeddings
    chance, less = np.random.default_rng(0), embeddings.copy()
    finite = np.isfinite(embeddings).all(axis=(1, 2))
    for rows in dataset.select_columns(columns).to_pandas().groupby(columns, dropna=False).indices.values():
        known = rows[finite[rows]]
        if heard is not None:
            known = chance.choice(known, min(heard, len(known)), replace=False)
        if len(known):
            less[rows] -= embeddings[known].mean(axis=0)
    return less


def probe(
    learned_from: np.ndarray, judged: np.ndarray, prepared: list[Preparation], target: str, side: str
) -> pandas.DataFrame:
    """Predictions for one side of all folds, by a logistic regression on the training side's `(utterances, width)`."""
    dataset, labels = prepared[0].dataset, prepared[0].tasks[target]["labels"]
    table = dataset.remove_columns("audio").to_pandas()
    known = table[target].notna().to_numpy() & np.isfinite(learned_from).all(axis=1)
    predictions = []
    for fold in prepared:
        train, rows = ([row for row in fold.sides[each] if known[row]] for each in ("train", side))
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=REGULARISATION, max_iter=1000))
        classifier.fit(learned_from[train], table[target].iloc[train])
        if not rows:
            continue
        scores = pandas.DataFrame(classifier.predict_proba(judged[rows]), columns=classifier.classes_)
        scores = scores.reindex(columns=labels, fill_value=0.0).to_numpy()  # of votes alone a label may not be learned
        predicted = [labels[best] for best in scores.argmax(axis=1)]
        columns = {f"{target}_predicted": predicted, f"{target}_scores": list(scores)}
        predictions.append(table.iloc[rows].assign(**columns))
    return pandas.concat(predictions, ignore_index=True)


def _of_all_states(recipe: Recipe) -> Recipe:
    """With every layer's plain states at one speed, which is all that a probe reads."""
    model = replace(recipe.model, layer_fusion="ari", center_by=[], encoder_layers=None)
    return replace(recipe, model=model, data=replace(recipe.data, speed_factors=[1.0]), cache_layers=True)


def _protocol(
    recipe: Recipe, prepared: list[Preparation], side: str, columns: list[str], heard: int | None
) -> Protocol:
    data, validates = recipe.data, side == "validation"
    drawn = validates and data.validation in ("random", "speaker")
    return Protocol(
        corpus=corpora_words(data.sources),
        label_map=label_maps(data.sources),
        left_out=left_out_of_all([each.left_out for each in prepared]),
        allow_speaker_overlap=data.speakers_may_overlap,
        longest=None if data.longest is None else describe_longest(data.longest, [each.too_long for each in prepared]),
        styles=describe_styles(prepared[0].side("train"), prepared[0].side(side)),
        searched="nothing",
        folds=[each.test_fold for each in prepared],
        validation=data.validation if validates else None,
        validation_fraction=data.validation_fraction if drawn else None,
        states_centred_by=describe_centering(columns),
        recordings_to_centre_by=heard,
        judged_on="validation sides" if validates else None,
    )
