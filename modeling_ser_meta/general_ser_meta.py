"""The adapter of families that are not known by name: what it infers of an encoder, and what it tries on the spot."""

import inspect
import logging
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import FeatureExtractionMixin, PretrainedConfig, PreTrainedModel

from .configuration_ser_meta import encoder_width, layer_count
from .families_ser_meta import MASKS, MaskedFrames
from .features_ser_meta import features_of, has_extractor, load_extractor, time_axis
from .frames_ser_meta import EncoderOutput, FrameRule
from .loading_ser_meta import load_backbone
from .padding_ser_meta import keep_running_statistics

logger = logging.getLogger(__name__)

SHORT, LONG = 0.7, 1.0  # seconds of the two noises
TOLERANCE = 1e-4  # of the states' own spread, by which a recording may differ in a batch
PROBED = 64  # inputs, at the least, around which it is measured how many frames are made of them


class GeneralFrames(MaskedFrames):
    """An encoder whose family is not known: its layers, its frames and its inputs are inferred.

    Args:
        backbone: see [`examine`].
        rule: how many frames it makes of its inputs.
    """

    def __init__(self, backbone: PreTrainedModel, rule: FrameRule):
        super().__init__(backbone, rule)
        self.ends_bare = False
        keep_running_statistics(self.layers)

    @property
    def layers(self) -> nn.ModuleList:
        """The Transformer layers, first to last: the first list of as many modules as the configuration tells."""
        return next(_lists_of_layers(self.backbone))

    def end_with_last_layer(self, whole: PretrainedConfig) -> None:
        """Has the last state be what that layer gives: what stands behind it in the whole encoder is not known."""
        self.ends_bare = True

    def forward(
        self, inputs: torch.Tensor, attention_mask: torch.Tensor | None, output_attentions: bool = False
    ) -> EncoderOutput:
        """From inputs `(batch, time, ...)` and their mask to the layers' hidden states."""
        if not self.ends_bare:
            return super().forward(inputs, attention_mask, output_attentions)
        given, thread = [], threading.get_ident()  # threads may share a model

        def keep(layer: nn.Module, arguments: tuple, output: torch.Tensor | tuple) -> None:
            if threading.get_ident() == thread:
                given.append(output[0] if isinstance(output, tuple) else output)

        hook = self.layers[-1].register_forward_hook(keep)
        try:
            encoded = super().forward(inputs, attention_mask, output_attentions)
        finally:
            hook.remove()
        return encoded._replace(hidden_states=(*encoded.hidden_states[:-1], given[0]))


def load_unknown(
    name_or_path: str, config: PretrainedConfig, layers: int | None, revision: str, **options: Any
) -> tuple[PreTrainedModel, FrameRule]:
    """The encoder of a checkpoint whose family is not known by name, and how it makes frames; a warning says what was
    inferred.

    Raises:
        ValueError: it cannot be used, with what failed.
    """
    name = f"{config.model_type} is no family that is known by name, and "
    if not has_extractor(name_or_path, revision):
        raise ValueError(f"{name}{name_or_path} has no feature extractor's settings: give a speech encoder")
    try:
        backbone = load_backbone(name_or_path, config, layers, revision=revision, **options)
        rule = examine(backbone, load_extractor(name_or_path, revision))
    except ValueError as error:
        raise ValueError(f"{name}cannot be used: {error}") from error
    logger.warning(
        "%sis used as it was found: %d layers of width %d, one frame for %d of its %s; batch independence was checked "
        "with two short noises",
        *(name, layer_count(backbone.config), encoder_width(config), rule.stride, backbone.main_input_name),
    )
    return backbone, rule


def _lists_of_layers(backbone: PreTrainedModel) -> Iterator[nn.ModuleList]:
    count = layer_count(backbone.config)
    return (part for part in backbone.modules() if isinstance(part, nn.ModuleList) and len(part) == count)


@torch.no_grad()
def examine(backbone: PreTrainedModel, extractor: FeatureExtractionMixin) -> FrameRule:
    """Whether an encoder of an unknown family can be used, tried on two short noises; how it makes frames.

    Raises:
        ValueError: it cannot, with what failed.
    """
    _check_signature(backbone, extractor)
    chance = np.random.default_rng(0)
    noises = [chance.normal(0, 0.1, round(seconds * extractor.sampling_rate)) for seconds in (SHORT, LONG)]
    try:
        short, long = (features_of(extractor, noise.astype(np.float32)) for noise in noises)
    except ValueError as error:
        raise ValueError(f"its feature extractor has no rate: {error}") from error
    training = backbone.training
    backbone.eval()
    try:
        _check_states(backbone, long)
        rule = FrameRule.measured(lambda inputs: _frames(backbone, long, inputs), max(PROBED, len(short)))
        _check_batch(GeneralFrames(backbone, rule), short, long)
    finally:
        backbone.train(training)
    return rule


def _check_signature(backbone: PreTrainedModel, extractor: FeatureExtractionMixin) -> None:
    name = backbone.main_input_name
    if name not in ("input_values", "input_features"):
        raise ValueError(f"it takes {name}, neither a waveform nor features of one")
    if not any(mask in _arguments(backbone) for mask in MASKS):
        raise ValueError("it takes no mask of true inputs, so that padding would be heard")
    if time_axis(extractor) != 0:
        raise ValueError("its features have their time last, which nothing but Whisper's kin is known to take")
    count = getattr(backbone.config, "num_hidden_layers", None)
    if count is None or next(_lists_of_layers(backbone), None) is None:
        raise ValueError(f"no list of its {count or 'num_hidden_layers'} layers is found")


def _arguments(backbone: PreTrainedModel) -> tuple[str, ...]:
    return tuple(inspect.signature(backbone.forward).parameters)


def _check_states(backbone: PreTrainedModel, features: torch.Tensor) -> None:
    """That there are hidden states for every layer, of one width and one length."""
    output = _run(backbone, features)
    layers, states = layer_count(backbone.config), getattr(output, "hidden_states", None)
    if states is None or len(states) != layers + 1:
        found = "none" if states is None else len(states)
        raise ValueError(f"of its input and its {layers} layers it returns {found} hidden_states")
    shapes = {tuple(state.shape[1:]) for state in (*states[1:], output.last_hidden_state)}
    if len(shapes) > 1 or any(len(shape) != 2 for shape in shapes):
        raise ValueError(f"its hidden states differ in length or width: {', '.join(map(str, sorted(shapes)))}")
    width = encoder_width(backbone.config)
    if next(iter(shapes))[1] != width:
        raise ValueError(f"its hidden states have a width of {next(iter(shapes))[1]}, its configuration tells {width}")


def _frames(backbone: PreTrainedModel, features: torch.Tensor, inputs: int) -> int:
    repeated = features.repeat(-(-inputs // len(features)), *[1] * (features.dim() - 1))[:inputs]
    return _run(backbone, repeated).last_hidden_state.shape[1]


def _run(backbone: PreTrainedModel, features: torch.Tensor) -> Any:
    """Its output for one recording without padding."""
    mask = next(name for name in MASKS if name in _arguments(backbone))
    ones = torch.ones(1, len(features), dtype=torch.long)
    return backbone(features[None], **{mask: ones}, output_hidden_states=True)


def _check_batch(encoder: GeneralFrames, short: torch.Tensor, long: torch.Tensor) -> None:
    """That a recording has the same states alone and beside a longer one."""
    padded = torch.stack([nn.functional.pad(short.T, (0, len(long) - len(short))).T, long])
    mask = torch.stack([torch.arange(len(long)) < len(each) for each in (short, long)]).long()
    together = encoder(padded, mask)
    alone = encoder(short[None], None)
    frames = int(together.frame_mask[0].sum())
    for layer, (state, same) in enumerate(zip(together.hidden_states, alone.hidden_states, strict=True), start=1):
        difference = (state[0, :frames] - same[0, :frames]).abs().max() / same.std()
        if not difference < TOLERANCE:
            raise ValueError(
                f"a recording's states differ in a batch, in layer {layer} by {difference:.2g} of their deviation: "
                "padding reaches its true frames"
            )
