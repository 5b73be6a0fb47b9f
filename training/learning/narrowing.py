"""A model with a narrower encoder, which starts from what fits of the wide one."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from itertools import pairwise

import torch
from torch import nn

from ...configuration.errors import UserError
from ...modeling_ser_meta.configuration_ser_meta import SerMetaConfig
from ...modeling_ser_meta.modeling_ser_meta import SerMetaModel
from ...modeling_ser_meta.settings_ser_meta import LAYER_COUNT, LAYER_COUNTS


@torch.no_grad()
def narrowed(model: SerMetaModel, settings: Mapping[str, int]) -> SerMetaModel:
    """A model whose encoder has smaller numbers in its configuration, such as `{"encoder_ffn_dim": 1024}`.

    Weights are kept where their shapes are the same, and the rest is new. Of a feed-forward block that is narrower
    inside, the neurons are kept that can add most to its output: those with the largest product of the norms of what
    they read by and of what they write by (ours; whole neurons, as Han et al., 2015, prune single weights).

    Raises:
        UserError: a setting that this encoder does not have, or that is not smaller.
    """
    narrow = _with_new_weights(model.config, settings)
    narrow.inherited = model.inherited
    wide, own = model.state_dict(), narrow.state_dict()
    for name, tensor in own.items():
        if name in wide and wide[name].shape == tensor.shape:
            tensor.copy_(wide[name])
    for layer, source in zip(narrow.encoder.layers, model.encoder.layers, strict=True):
        linear, its = _linear_maps(layer), _linear_maps(source)
        for place in _blocks(its):
            _keep_strongest(linear[place : place + 2], its[place : place + 2])
    return narrow


def _with_new_weights(config: SerMetaConfig, settings: Mapping[str, int]) -> SerMetaModel:
    config, encoder = deepcopy(config), config.speech_config.model_type
    for name, size in settings.items():
        own = getattr(config.speech_config, name, None)
        if name in (LAYER_COUNT, *LAYER_COUNTS.values()):
            raise UserError(f"model.narrow.{name}={size} takes layers away: set model.encoder_layers={size}")
        if type(own) is not int:
            raise UserError(f"model.narrow.{name}={size}: the configuration of {encoder} has no such number")
        if size > own:
            raise UserError(f"model.narrow.{name}={size} is larger than the encoder's own {own}: lower it")
        setattr(config.speech_config, name, size)
    try:
        return SerMetaModel._from_config(config)
    except ValueError as error:
        told = ", ".join(f"{name}={size}" for name, size in settings.items())
        raise UserError(f"model.narrow with {told} makes no {encoder}: {str(error).splitlines()[0]}") from error


def _keep_strongest(narrow: list[nn.Linear], wide: list[nn.Linear]) -> None:
    """Copies into a feed-forward block those neurons of a wider one that can add most to its output."""
    (reads, writes), (read_from, written_from) = narrow, wide
    if (reads.in_features, writes.out_features) != (read_from.in_features, written_from.out_features):
        return
    strength = read_from.weight.norm(dim=1) * written_from.weight.norm(dim=0)
    kept = strength.topk(reads.out_features).indices.sort().values
    reads.weight.copy_(read_from.weight[kept])
    reads.bias.copy_(read_from.bias[kept])
    writes.weight.copy_(written_from.weight[:, kept])


def _linear_maps(layer: nn.Module) -> list[nn.Linear]:
    return [module for module in layer.modules() if isinstance(module, nn.Linear)]


def _blocks(maps: list[nn.Linear]) -> Iterator[int]:
    """Where in a layer's linear maps a feed-forward block begins: one to a larger width, and one back from it."""
    for place, (reads, writes) in enumerate(pairwise(maps)):
        if reads.in_features == writes.out_features < reads.out_features == writes.in_features:
            yield place
