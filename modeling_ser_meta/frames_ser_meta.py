"""What all adapters of encoders share: what they hand on, and how lengths are counted."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel


class EncoderOutput(NamedTuple):
    """What the encoder hands on.

    Args:
        hidden_states: `(batch, frames, width)` for each Transformer layer, first to last; the last one is the
            encoder's `last_hidden_state`, after its final layer norm where it has one; of an encoder's lowest layers
            alone it is what that layer gives.
        frame_mask: bool `(batch, frames)`, true where a frame belongs to the recording.
        attentions: of each layer `(batch, heads, frames, frames)`, or None where the attention kernel keeps none: only
            `"eager"` does.
    """

    hidden_states: tuple[torch.Tensor, ...]
    frame_mask: torch.Tensor
    attentions: tuple[torch.Tensor, ...] | None = None


class FrameRule(NamedTuple):
    """How many frames an encoder makes of inputs: `(inputs + offset) // stride`, as any chain of convolutions does."""

    stride: int
    offset: int

    def frames(self, inputs: torch.Tensor) -> torch.Tensor:
        """Of so many inputs each."""
        return torch.div(inputs + self.offset, self.stride, rounding_mode="floor")

    @property
    def shortest(self) -> int:
        """Inputs that one frame needs."""
        return max(1, self.stride - self.offset)

    @classmethod
    def measured(cls, count: Callable[[int], int], around: int) -> "FrameRule":
        """The rule by which `count` tells the frames of so many inputs, found near a number of inputs.

        Raises:
            ValueError: there is none.
        """
        frames = count(around)
        first, second = (_least_inputs(count, around, frames + more) for more in (1, 2))
        stride = second - first
        rule = cls(stride, (frames + 1) * stride - first)
        for inputs in (around, 2 * around + 1, 3 * around + 7):
            if (found := count(inputs)) != (inputs + rule.offset) // stride:
                raise ValueError(f"{found} frames of {inputs} inputs are not those of one rate")
        return rule

    def convolved(self, kernel: int, stride: int, padding: int = 0) -> "FrameRule":
        """The rule with one more convolution behind it, padded so much on both sides."""
        return FrameRule(self.stride * stride, self.offset + self.stride * (2 * padding - kernel + stride))


def _least_inputs(count: Callable[[int], int], low: int, frames: int) -> int:
    """The fewest inputs above `low` of which so many frames are made."""
    high = 2 * low
    if count(high) < frames:
        raise ValueError(f"{count(low)} frames of {low} inputs, and no more of {high}")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if count(middle) >= frames else (middle, high)
    return high


class PlainFrames(nn.Module):
    """What an encoder has unless its family says otherwise: no convolutional front, and nothing behind its last layer.

    Its frames are those of `rule`, a `FrameRule` that its family sets.
    """

    rule: FrameRule

    @property
    def front(self) -> list[nn.Module]:
        """The convolutional feature encoder: none."""
        return []

    @property
    def behind_layers(self) -> list[nn.Module]:
        """What stands behind the last layer: nothing."""
        return []

    def end_with_last_layer(self, whole: PretrainedConfig) -> None:
        """Takes away what stands behind the whole encoder's last layer: nothing."""

    def frame_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
        """Frames `(batch,)` that `lengths` inputs give."""
        return self.rule.frames(lengths)

    @property
    def shortest_input(self) -> int:
        """Inputs that one frame needs."""
        return self.rule.shortest


class RepeatedFrames(nn.Module):
    """Each frame so many times: how SEW's squeezed frames come back to the full rate without learned weights."""

    def __init__(self, times: int):
        super().__init__()
        self.times = times

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """From `(batch, frames, width)` to `(batch, times x frames, width)`."""
        return frames if self.times == 1 else frames.repeat_interleave(self.times, dim=1)


def states_above(
    encoder: nn.Module,
    below: tuple[torch.Tensor, ...],
    arguments: dict,
    embedded: torch.Tensor | None = None,
) -> tuple[torch.Tensor, ...]:
    """All layers' states, from those of the lower layers, or from what is `embedded` for the first."""
    states, hidden_states = [*below], below[-1] if below else embedded
    for layer in encoder.layers[len(below) :]:
        output = layer(hidden_states, **arguments)
        hidden_states = output[0] if isinstance(output, tuple) else output
        states.append(hidden_states)
    for module in encoder.behind_layers:
        states[-1] = module(states[-1])
    return tuple(states)


def attention_bias(backbone: PreTrainedModel, frame_mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What hides padded frames in a stock attention: `(batch, 1, frames, frames)`, for flash the mask itself."""
    if "flash" in backbone.config._attn_implementation:
        return frame_mask
    padded = ~frame_mask[:, None, None, :].expand(-1, -1, frame_mask.shape[1], -1)
    return torch.zeros(padded.shape, dtype=dtype, device=padded.device).masked_fill(padded, torch.finfo(dtype).min)


def rounded_up(lengths: torch.Tensor, multiple: int) -> torch.Tensor:
    """The next multiple of each length."""
    return (lengths + multiple - 1) // multiple * multiple


def true_lengths(full: int, attention_mask: torch.Tensor | None, inputs: torch.Tensor) -> torch.Tensor:
    """True inputs `(batch,)` of a batch that is `full` long; without a mask all are."""
    if attention_mask is None:
        return torch.full((inputs.shape[0],), full, device=inputs.device)
    return attention_mask.sum(dim=-1)


def require_frames(frames: torch.Tensor, lengths: torch.Tensor, shortest: int) -> None:
    """Raises `ValueError` for a recording of which not one frame is left."""
    if int(frames.min()) < 1:
        raise ValueError(
            f"a recording of {int(lengths.min())} samples is shorter than the {shortest} that the encoder's "
            "convolutions need for one frame: leave it out, or pad it with silence"
        )


def given(attentions: tuple | None) -> tuple | None:
    """The attention weights, where the kernel keeps them."""
    return attentions if attentions and attentions[0] is not None else None
