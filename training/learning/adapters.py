"""Whether an adapter can learn what it is for, tried before anything is trained."""

from collections.abc import Iterable

import numpy as np
import torch

from ...configuration.errors import UserError
from ...configuration.recipe import StageRecipe
from ...modeling_ser_meta.adapters_ser_meta import OF_ADAPTER, adapted_modules, first_adapted_layer
from ...modeling_ser_meta.modeling_ser_meta import SerMetaModel
from ...modeling_ser_meta.processing_ser_meta import SerMetaProcessor
from ..batches.frozen_states import frozen_layers

SECONDS = 0.5  # of noise: attention over a single frame has nothing to learn


def check_adapter(model: SerMetaModel, processor: SerMetaProcessor, stages: Iterable[StageRecipe]) -> None:
    """Refuses an adapter of which a part could learn nothing.

    Raises:
        UserError: its settings name a layer that every stage freezes; or it is in one whose weights the encoder uses
            without calling it. Such an adapter has no gradient and no part in the output, and changes it when it is
            merged.
    """
    layers = len(model.encoder.layers)
    lowest, trained = first_adapted_layer(model.encoder), min(frozen_layers(stage, layers) for stage in stages)
    if model.config.adapter["layers"] is not None and lowest < trained:
        raise UserError(
            f"model.adapter.layers={model.config.adapter['layers']}: every stage freezes layer {lowest}: choose of "
            f"{trained} to {layers - 1}, or lower freeze_layers"
        )
    if dead := _without_gradient(model, processor):
        more = f" and {len(dead) - 1} more have" if len(dead) > 1 else " has"
        raise UserError(
            f"model.adapter.targets: {dead[0]}{more} no part in what the encoder gives, and would learn nothing: "
            "choose other targets, or take the adapter away"
        )


def _without_gradient(model: SerMetaModel, processor: SerMetaProcessor) -> list[str]:
    """The adapted linear layers whose adapter does not reach a random sum of the states of all layers."""
    names, weights = [], []
    for name, module in adapted_modules(model.encoder).items():
        for own, weight in module.named_parameters():
            if own.startswith(OF_ADAPTER):
                names.append(name)
                weights.append(weight)
    draws = np.random.default_rng(0)
    noise = draws.normal(0, 0.1, round(SECONDS * processor.sampling_rate)).astype(np.float32)
    inputs = processor(noise, sampling_rate=processor.sampling_rate).to(model.device)
    training = model.training
    states = model.eval().encode(**inputs).hidden_states
    model.train(training)
    total = sum((state * torch.from_numpy(draws.normal(size=state.shape)).to(state)).sum() for state in states)
    gradients = torch.autograd.grad(total, weights, allow_unused=True)
    alive = {name for name, grad in zip(names, gradients, strict=True) if grad is not None and grad.any()}
    return [name for name in dict.fromkeys(names) if name not in alive]
