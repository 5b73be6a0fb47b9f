"""Stock encoder modules made blind to padding, under their own parameter names.

What each would mix over time, norm statistics and convolutions, sees a recording's true frames only.
"""

import threading

import torch
from torch import nn


class ConvolutionalFront(nn.Module):
    """A raw-waveform encoder's convolutions, with group norm statistics over the true samples only.

    Takes the place of the backbone's own feature encoder, under the same parameter names. A three-dimensional input is
    taken for features computed before, and passes through: this is how the adapter hands the backbone its result.
    """

    def __init__(self, conv_layers: nn.ModuleList):
        super().__init__()
        self.conv_layers = conv_layers

    def forward(self, inputs: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """From a waveform `(batch, samples)`, true `lengths` `(batch,)` in samples or None when all are full, to
        features `(batch, channels, frames)`."""
        if inputs.dim() == 3:
            return inputs
        features = inputs[:, None]
        for layer in self.conv_layers:
            norm = getattr(layer, "layer_norm", None)
            if lengths is not None and isinstance(norm, nn.GroupNorm):
                lengths = convolved(lengths, layer.conv.kernel_size[0], layer.conv.stride[0])
                features = layer.activation(masked_group_norm(norm, layer.conv(features), lengths))
            else:
                features = layer(features)
        return features


class MaskedPositions(nn.Module):
    """data2vec's stack of positional convolutions, each of which sees zeros beyond a recording's end, as alone."""

    def __init__(self, stack: nn.Module):
        super().__init__()
        self.layers = stack.layers

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Position embeddings `(batch, frames, width)`."""
        # the backbone has just set the padded frames, and only those, to zero
        true_frames = (hidden_states != 0).any(dim=-1)[:, None]
        positions = hidden_states.transpose(1, 2)
        for layer in self.layers:
            positions = layer(positions) * true_frames
        return positions.transpose(1, 2)


def mask_normalised_positions(positions: nn.Module) -> None:
    """Has a positional convolution behind a batch norm see zeros beyond a recording's end, as alone."""
    positions.batch_norm.register_forward_hook(_only_true_frames)


def _only_true_frames(norm: nn.Module, args: tuple, normalised: torch.Tensor) -> torch.Tensor:
    """The norm's output `(batch, width, frames)` where its input is not zero, to which padded frames have been set."""
    (frames,) = args
    return normalised * (frames != 0).any(dim=1, keepdim=True)


def convolved(lengths: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
    """Frames that a convolution without padding makes of `lengths`."""
    return torch.div(lengths - kernel, stride, rounding_mode="floor") + 1


def mask_of(lengths: torch.Tensor, size: int) -> torch.Tensor:
    """Bool `(batch, size)`, true below each of the lengths `(batch,)`."""
    return torch.arange(size, device=lengths.device)[None] < lengths[:, None]


def masked_group_norm(norm: nn.GroupNorm, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Group norm over time, one channel a group or all of them, of `(batch, channels, frames)`.

    Its statistics are those of the true frames only. In float32, as the stock kernel computes it.
    """
    values = features.float()
    mask, count = mask_of(lengths, features.shape[-1])[:, None], lengths[:, None, None]
    over = -1 if norm.num_groups == norm.num_channels else (1, 2)
    count = count if over == -1 else count * norm.num_channels
    mean = (values * mask).sum(dim=over, keepdim=True) / count
    variance = ((values - mean).square() * mask).sum(dim=over, keepdim=True) / count
    normed = (values - mean) * torch.rsqrt(variance + norm.eps)
    return (normed * norm.weight[:, None] + norm.bias[:, None]).to(features.dtype)


def keep_running_statistics(layers: nn.Module) -> None:
    """The batch norms in an encoder use the statistics of the encoder's own training, also in training.

    Those of a batch would depend on the other recordings in it, and on their padding.
    """
    for module in layers.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.register_forward_pre_hook(_as_in_evaluation)


def _as_in_evaluation(norm: nn.BatchNorm1d, args: tuple) -> None:
    norm.eval()


def forget_rotary_positions(encoder: nn.Module) -> None:
    """Has a conformer encoder's rotary position embeddings, if it has such, computed in each call.

    The stock module keeps those of the last length, in two attributes one after the other: of two threads that share
    a model, one can be given the other's.
    """
    if hasattr(encoder.embed_positions, "cached_sequence_length"):
        encoder.embed_positions.register_forward_hook(_rotary_positions)


def _rotary_positions(positions: nn.Module, args: tuple, kept: torch.Tensor) -> torch.Tensor:
    """Cosines and sines `(2, frames, 1, 1, head width)` for `(batch, frames, width)`, in the place of what is kept."""
    (hidden_states,) = args
    frequencies = positions.inv_freq
    frames = torch.arange(hidden_states.shape[1], device=frequencies.device, dtype=frequencies.dtype)
    angles = torch.cat([frames[:, None] * frequencies] * 2, dim=-1)[:, None, None]
    return torch.stack([angles.cos(), angles.sin()]).to(hidden_states.dtype)


_call = threading.local()  # threads may share a model, and each has a mask of its own


def mask_depthwise_convolutions(layers: nn.ModuleList) -> None:
    """Conformer layers convolve over time behind the attention, without a mask of their own: give them one.

    The layer's attention mask reaches its depthwise convolution by two hooks, so that it is also there when gradient
    checkpointing runs the layer again.
    """
    for layer in layers:
        layer.register_forward_pre_hook(_remember_true_frames, with_kwargs=True)
        layer.conv_module.depthwise_conv.register_forward_pre_hook(_zero_padded_frames)


def _remember_true_frames(layer: nn.Module, args: tuple, kwargs: dict) -> None:
    mask = kwargs.get("attention_mask")
    keys = None if mask is None else mask[:, 0, -1]
    _call.true_frames = keys if keys is None or keys.dtype == torch.bool else keys == 0


def _zero_padded_frames(depthwise: nn.Module, args: tuple) -> tuple | None:
    return None if _call.true_frames is None else (args[0] * _call.true_frames[:, None],)
