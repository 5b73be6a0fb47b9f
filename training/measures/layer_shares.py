"""Which of the encoder's layers each task reads."""

import torch
from torch import nn

from ...modeling_ser_meta.modeling_ser_meta import SerMetaModel
from ...modeling_ser_meta.modules_ser_meta import AugmentedResidualIntegration, WeightedSum


@torch.no_grad()
def layer_shares(model: SerMetaModel) -> dict[str, list[float]]:
    """By task: the share of each Transformer layer, first to last, in what its first linear map makes of the frames.

    The weights of the layer fusion are one for all tasks; what differs is what a task reads of the frames. A layer's
    share is the Frobenius norm of the product of its weight in the fusion and the task's first map, over the sum of
    all layers' norms (ours). The target reads through the co-attention's values, or where there is none through its
    classifier, from whichever statistic of the frames. Shares sum to 1; the states' own scales are not part of it.
    """
    fused = _fusion_maps(model)
    maps = {name: head.dense.weight for name, head in model.heads.items()}
    maps[model.config.target_task] = _target_map(model)
    return {name: _shares(maps[name], fused) for name in model.config.tasks}


def _fusion_maps(model: SerMetaModel) -> list[torch.Tensor]:
    """By layer: the map `(width, width)` from its states to the frames that the tasks see."""
    fusion, width = model.layer_fusion, model.config.width
    identity = torch.eye(width, device=model.device)
    layers = len(model.encoder.layers)
    if isinstance(fusion, WeightedSum):
        return [weight * identity for weight in fusion.weight.softmax(dim=0)]
    if not isinstance(fusion, AugmentedResidualIntegration):
        return [torch.zeros_like(identity)] * (layers - 1) + [identity]
    weights = fusion.scale * fusion.weight.softmax(dim=0) if fusion.scale is not None else fusion.weight
    lower = [(weight if weight.dim() == 2 else weight * identity).T for weight in weights]
    if fusion.projection is None:
        return [*lower, identity]
    of_last, of_sum = fusion.projection.weight.split(width, dim=1)
    return [*(of_sum @ weight for weight in lower), of_last]


def _target_map(model: SerMetaModel) -> torch.Tensor:
    if model.coattention is not None:
        return model.coattention.value.weight
    first = next(module for module in model.classifier.modules() if isinstance(module, nn.Linear))
    return torch.cat(first.weight.split(model.config.width, dim=1))


def _shares(first_map: torch.Tensor, fused: list[torch.Tensor]) -> list[float]:
    norms = torch.stack([(first_map @ weight).norm() for weight in fused])
    return (norms / norms.sum()).tolist()
