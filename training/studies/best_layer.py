"""The single layer that Table I's second baseline reads (ours; the paper's baseline reads the last one).

It is chosen by fold, on speakers whom that fold trains on.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from accelerate.utils import broadcast_object_list
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ...configuration.errors import UserError
from ...configuration.recipe import Recipe
from ...configuration.recipe_files import load_recipe
from ...configuration.run_folder import RunFolder
from ..machine.processes import say
from ..planning.folds import read
from ..runs.preparation import Preparation, prepare
from .crossval import FoldRun
from .probe import REGULARISATION

PARTS = 5  # of a fold's training speakers, of which each validates once


def on_best_layer(runs: list[FoldRun]) -> list[FoldRun]:
    """The runs of a baseline, each with the encoder cut behind the layer that it reads.

    A run that has begun keeps its layer. For the others a linear probe of each layer of the encoder, frozen as it
    comes, is judged on speakers of the fold's training side: no test speaker is looked at.

    Raises:
        UserError: a training side has one speaker alone, and none to choose by.
    """
    layers = [_kept(run) for run in runs]
    if None in layers:
        means = mean_states(runs[0].recipe)
        chosen = choose_layers([run for run, kept in zip(runs, layers, strict=True) if kept is None], means)
        chosen = iter(broadcast_object_list([chosen])[0])  # other processes might round otherwise
        layers = [next(chosen) if kept is None else kept for kept in layers]
    say(f"the baseline's best layer, by speakers of the training sides: {layers_words(layers)}")
    return [replace(run, recipe=_cut(run.recipe, layer)) for run, layer in zip(runs, layers, strict=True)]


def choose_layers(runs: Sequence[FoldRun], means: dict[str, np.ndarray]) -> list[int]:
    """For each run, the layer that its own training side chooses; one that several seeds share is asked once."""
    by_side: dict[tuple[int, ...], int] = {}
    layers = []
    for run in runs:
        prepared = prepare(run.recipe)
        side = tuple(prepared.sides["train"])
        if side not in by_side:
            by_side[side] = best_layer(prepared, means)
        layers.append(by_side[side])
    return layers


def layers_words(layers: Sequence[int]) -> str:
    """Which layers so many trainings read."""
    counts = Counter(layers)
    if len(counts) == 1:
        return f"layer {layers[0]}"
    return ", ".join(f"layer {layer} in {count} of {len(layers)} trainings" for layer, count in sorted(counts.items()))


def mean_states(recipe: Recipe) -> dict[str, np.ndarray]:
    """By utterance, the mean over the frames of each layer's states: `(layers, width)`; the encoder is as it comes."""
    one_by_one = replace(recipe.model, layer_fusion="ari", standardize_states=True, center_by=["utterance_id"])
    data = replace(recipe.data, speed_factors=[1.0])
    prepared = prepare(replace(recipe, model=one_by_one, data=data, cache_layers=True))
    (stage, *_) = recipe.stages.values()
    prepared.build_collator(prepared.new_model(), replace(stage, freeze_layers="all"))
    return {name: mean.numpy() for (name,), mean in prepared.means.items()}


def best_layer(prepared: Preparation, means: dict[str, np.ndarray]) -> int:
    """Of one fold, the number of the layer by which a linear probe recognises the target best, from 1 on."""
    target = prepared.recipe.model.target_task
    labels, names = read(prepared.dataset, target), read(prepared.dataset, "utterance_id")
    owners = [speaker or name for speaker, name in zip(read(prepared.dataset, "speaker"), names, strict=True)]
    rows = [row for row in prepared.sides["train"] if labels[row] is not None]
    groups = [owners[row] for row in rows]
    parts = min(PARTS, len(set(groups)))
    if parts < 2:
        raise UserError("the baseline's best layer is chosen by speakers of the training side, which has one alone")
    states, truth = np.stack([means[names[row]] for row in rows]), [labels[row] for row in rows]
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=REGULARISATION, max_iter=1000))
    found = [
        balanced_accuracy_score(
            truth, cross_val_predict(classifier, states[:, layer], truth, groups=groups, cv=GroupKFold(parts))
        )
        for layer in range(states.shape[1])
    ]
    return int(np.argmax(found)) + 1


def _kept(run: FoldRun) -> int | None:
    recipe = RunFolder(run.folder).recipe
    return load_recipe(str(recipe)).model.encoder_layers if recipe.is_file() else None


def _cut(recipe: Recipe, layers: int) -> Recipe:
    """With the lowest layers alone, of which a stage can freeze no more than there are."""
    stages = {
        name: replace(stage, freeze_layers=min(stage.freeze_layers, layers))
        if isinstance(stage.freeze_layers, int)
        else stage
        for name, stage in recipe.stages.items()
    }
    return replace(recipe, model=replace(recipe.model, encoder_layers=layers), stages=stages)
