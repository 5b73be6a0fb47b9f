"""What a stage leaves as it is."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import torch

from ...configuration.recipe import StageRecipe
from ...modeling_ser_meta.modeling_ser_meta import SerMetaModel
from ..batches.frozen_states import frozen_layers, trains_adapter_alone


def apply_freeze_mask(model: SerMetaModel, stage: StageRecipe, taught: Collection[str] = ()) -> list[str]:
    """Freezes what the stage freezes, and what its losses do not reach; returns the parameters' names.

    Args:
        model: of the stage.
        stage: its loss weights name the tasks that it learns from labels.
        taught: tasks that it learns from a teacher beside.
    """
    frozen = model.freeze_feature_encoder() if stage.freeze_feature_encoder else []
    frozen += model.freeze_layers(frozen_layers(stage, len(model.encoder.layers)))
    if trains_adapter_alone(stage, model):
        frozen += model.freeze_all_but_adapter()
    unreached = _unreached(model, {*stage.loss_weights, *taught})
    if stage.freeze_layer_fusion:
        unreached.append(model.layer_fusion)
    return frozen + model.freeze(unreached)


def _unreached(model: SerMetaModel, learned: Collection[str]) -> list[torch.nn.Module]:
    """Modules above the encoder that have no part in the losses of these tasks."""
    config = model.config
    target_trained = config.target_task in learned
    unreached = [] if target_trained else [model.classifier, model.coattention, model.frame_pooling]
    attended = target_trained and model.coattention is not None and config.coattention_gradient
    for name, head in model.heads.items():
        if name not in learned:
            # the co-attention still reaches a head's hidden vector, though not its logits
            unreached.append(head.classifier if attended else head)
    return [module for module in unreached if module is not None]


@contextmanager
def frozen_as_in(model: SerMetaModel, stage: StageRecipe, taught: Collection[str] = ()) -> Iterator[None]:
    """Meanwhile the model is frozen as in a stage, see `apply_freeze_mask`; afterwards as it was."""
    trained = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    apply_freeze_mask(model, stage, taught)
    try:
        yield
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad = trained[name]
        model.train(model.training)
