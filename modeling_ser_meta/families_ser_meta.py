"""Adapters of the younger families, which are built otherwise than wav2vec2 and Whisper."""

import inspect

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from .frames_ser_meta import (
    EncoderOutput,
    FrameRule,
    PlainFrames,
    attention_bias,
    given,
    require_frames,
    states_above,
    true_lengths,
)
from .padding_ser_meta import convolved, keep_running_statistics, mask_of, masked_group_norm

ONE_EACH = FrameRule(1, 0)
MASKS = ("input_features_mask", "attention_mask")  # what a stock forward calls the mask of its true inputs


class MoonshineFrames(nn.Module):
    """The encoder of Moonshine: three convolutions over the waveform, a group norm between them, rotary positions.

    The norm's statistics are those of the true frames only. There are no attention weights: the layers drop them.
    """

    input_name = "input_values"
    continues = True

    def __init__(self, backbone: PreTrainedModel):
        super().__init__()
        self.backbone = backbone

    @property
    def layers(self) -> nn.ModuleList:
        """The Transformer layers, first to last."""
        return self.backbone.layers

    @property
    def front(self) -> list[nn.Module]:
        """The convolutions and the norm between them."""
        return [*self._convolutions, self.backbone.groupnorm]

    @property
    def _convolutions(self) -> list[nn.Conv1d]:
        return [self.backbone.conv1, self.backbone.conv2, self.backbone.conv3]

    @property
    def behind_layers(self) -> list[nn.Module]:
        """The norm behind the last layer."""
        return [self.backbone.layer_norm]

    def end_with_last_layer(self, whole: PretrainedConfig) -> None:
        """Takes away the norm behind the whole encoder's last layer, where the last one here is a lower one."""
        self.backbone.layer_norm = nn.Identity()

    def frame_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
        """Frames `(batch,)` that recordings of `lengths` samples give."""
        for convolution in self._convolutions:
            lengths = convolved(lengths, convolution.kernel_size[0], convolution.stride[0])
        return lengths

    @property
    def shortest_input(self) -> int:
        """Samples that one frame needs."""
        samples = 1
        for convolution in reversed(self._convolutions):
            samples = (samples - 1) * convolution.stride[0] + convolution.kernel_size[0]
        return samples

    def forward(
        self, inputs: torch.Tensor, attention_mask: torch.Tensor | None, output_attentions: bool = False
    ) -> EncoderOutput:
        """From a waveform `(batch, samples)` and its mask of true samples to the layers' hidden states."""
        return self.from_features(*self.features(inputs, attention_mask))

    def features(self, inputs: torch.Tensor, attention_mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """From a waveform and its mask to the convolutions' output `(batch, frames, width)` and its frame mask."""
        lengths, backbone = true_lengths(inputs.shape[-1], attention_mask, inputs), self.backbone
        frames, known = self.frame_lengths(lengths), lengths.cpu()  # a GPU is asked once
        require_frames(self.frame_lengths(known), known, self.shortest_input)
        features = nn.functional.tanh(backbone.conv1(inputs[:, None]))
        if (known < inputs.shape[-1]).any():
            first = convolved(lengths, backbone.conv1.kernel_size[0], backbone.conv1.stride[0])
            features = masked_group_norm(backbone.groupnorm, features, first)
        else:
            features = backbone.groupnorm(features)
        features = nn.functional.gelu(backbone.conv3(nn.functional.gelu(backbone.conv2(features)))).transpose(1, 2)
        return features, mask_of(frames, features.shape[1])

    def from_features(
        self, features: torch.Tensor, frame_mask: torch.Tensor, output_attentions: bool = False
    ) -> EncoderOutput:
        """From what `features` gave, computed now or before, to the layers' hidden states."""
        return EncoderOutput(states_above(self, (), self._arguments(features, frame_mask), features), frame_mask)

    def from_layers(self, states: tuple[torch.Tensor, ...], frame_mask: torch.Tensor) -> EncoderOutput:
        """From the states of the lower layers, computed before, to those of all; at least one layer is above them."""
        return EncoderOutput(states_above(self, states, self._arguments(states[-1], frame_mask)), frame_mask)

    def _arguments(self, hidden_states: torch.Tensor, frame_mask: torch.Tensor) -> dict:
        """What the stock forward gives each layer beside the hidden states."""
        places = torch.arange(hidden_states.shape[1], device=hidden_states.device)[None]
        mask = None if frame_mask.all() else attention_bias(self.backbone, frame_mask, hidden_states.dtype)
        positions = self.backbone.rotary_emb(hidden_states, places)
        return {"attention_mask": mask, "position_ids": places, "position_embeddings": positions}


class ParakeetFrames(PlainFrames):
    """The Fast Conformer of Parakeet: log-mel frames in, one of eight out; it gives no attention weights."""

    input_name = "input_features"
    continues = True

    def __init__(self, backbone: PreTrainedModel):
        super().__init__()
        self.backbone = backbone
        keep_running_statistics(backbone.layers)
        config, rule = backbone.config, ONE_EACH
        kernel, stride = config.subsampling_conv_kernel_size, config.subsampling_conv_stride
        for _ in range(config.subsampling_factor.bit_length() - 1):
            rule = rule.convolved(kernel, stride, padding=(kernel - 1) // 2)
        self.rule = rule

    @property
    def layers(self) -> nn.ModuleList:
        """The Conformer layers, first to last."""
        return self.backbone.layers

    @property
    def front(self) -> list[nn.Module]:
        """The convolutions that subsample."""
        return [self.backbone.subsampling]

    def forward(
        self, inputs: torch.Tensor, attention_mask: torch.Tensor | None, output_attentions: bool = False
    ) -> EncoderOutput:
        """From log-mel features `(batch, frames, mels)` and their mask to the layers' hidden states."""
        return self.from_features(*self.features(inputs, attention_mask))

    def features(self, inputs: torch.Tensor, attention_mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """From log-mel features and their mask to the convolutions' output `(batch, frames, width)` and its mask."""
        lengths = true_lengths(inputs.shape[1], attention_mask, inputs)
        mask = mask_of(lengths, inputs.shape[1])
        features = self.backbone.subsampling(inputs * mask[..., None], None if mask.all() else mask)
        return features, mask_of(self.frame_lengths(lengths), features.shape[1])

    def from_features(
        self, features: torch.Tensor, frame_mask: torch.Tensor, output_attentions: bool = False
    ) -> EncoderOutput:
        """From what `features` gave, computed now or before, to the layers' hidden states."""
        backbone = self.backbone
        scaled = features * backbone.input_scale
        arguments = self._arguments(scaled, frame_mask)
        embedded = nn.functional.dropout(scaled, p=backbone.dropout, training=backbone.training)
        return EncoderOutput(states_above(self, (), arguments, embedded), frame_mask)

    def from_layers(self, states: tuple[torch.Tensor, ...], frame_mask: torch.Tensor) -> EncoderOutput:
        """From the states of the lower layers, computed before, to those of all; at least one layer is above them."""
        return EncoderOutput(states_above(self, states, self._arguments(states[-1], frame_mask)), frame_mask)

    def _arguments(self, hidden_states: torch.Tensor, frame_mask: torch.Tensor) -> dict:
        """What the stock forward gives each layer beside the hidden states."""
        backbone = self.backbone
        positions = backbone.encode_positions(hidden_states)
        positions = nn.functional.dropout(positions, p=backbone.dropout_positions, training=backbone.training)
        mask = None if frame_mask.all() else (frame_mask[:, None] & frame_mask[:, :, None])[:, None]
        return {"attention_mask": mask, "position_embeddings": positions}


class MaskedFrames(PlainFrames):
    """An encoder that sees to its own padding, by its stock forward: Fun-ASR-Nano's.

    Args:
        backbone: takes a mask of its true inputs, and returns the hidden states of what it embeds and of each layer.
        rule: how many frames it makes of inputs; by default one each.
    """

    continues = False

    def __init__(self, backbone: PreTrainedModel, rule: FrameRule = ONE_EACH):
        super().__init__()
        self.backbone = backbone
        self.rule = rule
        self.input_name = backbone.main_input_name
        takes = inspect.signature(backbone.forward).parameters
        self.mask_name = next(name for name in MASKS if name in takes)

    @property
    def layers(self) -> nn.ModuleList:
        """The Transformer layers, first to last."""
        return self.backbone.layers

    def end_with_last_layer(self, whole: PretrainedConfig) -> None:
        """Takes away the norm that ends the whole encoder's last layer, and the last before its time stamps.

        With fewer layers the configuration puts one on the last layer there is.
        """
        count = len(self.layers)
        if count != whole.num_hidden_layers - whole.num_timestamp_prediction_layers:
            self.layers[-1].final_layernorm = nn.Identity()

    def forward(
        self, inputs: torch.Tensor, attention_mask: torch.Tensor | None, output_attentions: bool = False
    ) -> EncoderOutput:
        """From inputs `(batch, frames, ...)` and their mask to the layers' hidden states."""
        lengths = true_lengths(inputs.shape[1], attention_mask, inputs)
        require_frames(self.frame_lengths(lengths), lengths, self.shortest_input)
        mask = mask_of(lengths, inputs.shape[1])
        output = self.backbone(
            inputs * mask.view(*mask.shape, *[1] * (inputs.dim() - 2)),
            **{self.mask_name: mask.long()},
            output_hidden_states=True,
            output_attentions=output_attentions,
        )
        states = (*output.hidden_states[1 : len(self.layers)], output.last_hidden_state)
        return EncoderOutput(
            states, mask_of(self.frame_lengths(lengths), states[-1].shape[1]), given(output.attentions)
        )
