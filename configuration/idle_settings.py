"""Settings of the model that change nothing, because another one takes what they are of out of it."""

from collections.abc import Iterator
from dataclasses import replace

from .recipe import ModelRecipe

OF_ARI = ("ari_weighting", "ari_join", "ari_normalize")
OF_COATTENTION = ("coattention_heads", "coattention_gradient", "coattention_pooled_frames")


def idle_settings(model: ModelRecipe) -> dict[str, str]:
    """Each setting that is not its default and changes nothing, by name, and why."""
    default = ModelRecipe()
    return {name: why for name, why in _without_effect(model) if getattr(model, name) != getattr(default, name)}


def as_built(model: ModelRecipe) -> ModelRecipe:
    """The model with the default for each setting that changes nothing: equal where two would be built alike."""
    default = ModelRecipe()
    idle = {name: getattr(default, name) for name, _ in _without_effect(model)}
    return replace(model, coattention=_attends(model), **idle)


def _without_effect(model: ModelRecipe) -> Iterator[tuple[str, str]]:
    if model.layer_fusion != "ari":
        for name in OF_ARI:
            yield name, f"model.layer_fusion is {model.layer_fusion}"
    if not _attends(model):
        why = "model.coattention is false" if model.auxiliary_tasks else "there is no auxiliary task to attend"
        for name in OF_COATTENTION:
            yield name, why
    elif not model.coattention_pooled_frames:
        yield "frame_pooling", "beside the co-attention, frames are pooled only with model.coattention_pooled_frames"
    if model.target_loss != "focal":
        yield "focal_gamma", f"model.target_loss is {model.target_loss}"
    if not model.label_smoothing:
        yield "smoothing_toward", "model.label_smoothing is 0"
    if not model.auxiliary_tasks:
        yield "head_hidden_size", "there is no auxiliary task with a head"


def _attends(model: ModelRecipe) -> bool:
    return bool(model.coattention and model.auxiliary_tasks)
