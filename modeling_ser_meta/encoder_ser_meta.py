"""One small adapter around every family of speech encoders: true lengths in, the layers' hidden states out.

Raw-waveform families (wav2vec2 with XLS-R and MMS, HuBERT with DistilHuBERT, WavLM, data2vec-audio, UniSpeech-SAT,
SEW, wav2vec2-conformer) and log-mel families (wav2vec2-bert, the Whisper encoder). What the adapter adds to each is
that padding never changes a frame:

    recording   |x x x x x x|            frames |h h h|
    in a batch  |x x x x x x 0 0 0 0|           |h h h - -|   the same h; what stands at - is never looked at
"""

import inspect
import logging
from typing import NamedTuple

import torch
from torch import nn
from transformers import AutoModel, PretrainedConfig, PreTrainedModel, WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

logger = logging.getLogger(__name__)

# A full Whisper checkpoint holds the encoder under one of these prefixes; "model." Transformers takes off itself, and
# version 4 leaves out what does not have it
_WHISPER_PREFIXES = {r"^model\.encoder\.": "model.", r"^encoder\.": ""}


class EncoderOutput(NamedTuple):
    """What the encoder hands on.

    Args:
        hidden_states: `(batch, frames, width)` for each Transformer layer, first to last; the last one is the
            encoder's `last_hidden_state`, after its final layer norm where it has one.
        frame_mask: bool `(batch, frames)`, true where a frame belongs to the recording.
        attentions: of each layer `(batch, heads, frames, frames)`, or None where the attention kernel keeps none: only
            `"eager"` does.
    """

    hidden_states: tuple[torch.Tensor, ...]
    frame_mask: torch.Tensor
    attentions: tuple[torch.Tensor, ...] | None = None


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
                lengths = _convolved(lengths, layer.conv.kernel_size[0], layer.conv.stride[0])
                features = layer.activation(_masked_group_norm(norm, layer.conv(features), lengths))
            else:
                features = layer(features)
        return features


class _MaskedPositions(nn.Module):
    """data2vec's stack of positional convolutions, each of which sees zeros beyond a recording's end, as alone."""

    def __init__(self, stack: nn.Module):
        super().__init__()
        self.layers = stack.layers

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        # the backbone has just set the padded frames, and only those, to zero
        true_frames = (hidden_states != 0).any(dim=-1)[:, None]
        positions = hidden_states.transpose(1, 2)
        for layer in self.layers:
            positions = layer(positions) * true_frames
        return positions.transpose(1, 2)


class WaveformEncoder(nn.Module):
    """The raw-waveform families behind one face; `backbone` is the untouched Transformers model but for its front."""

    input_name = "input_values"

    def __init__(self, backbone: PreTrainedModel):
        super().__init__()
        self.backbone = backbone
        backbone.feature_extractor = ConvolutionalFront(backbone.feature_extractor.conv_layers)
        config = backbone.config
        self.convolutions = list(zip(config.conv_kernel, config.conv_stride, strict=True))
        self.squeeze_factor = getattr(config, "squeeze_factor", 1)
        if config.model_type == "data2vec-audio":
            backbone.encoder.pos_conv_embed = _MaskedPositions(backbone.encoder.pos_conv_embed)
        if config.model_type == "wav2vec2-conformer":
            _mask_depthwise_convolutions(backbone.encoder.layers)
            # the stock forward has this module and never calls it
            backbone.encoder.pos_conv_embed.requires_grad_(False)

    @property
    def layers(self) -> nn.ModuleList:
        """The Transformer layers, first to last."""
        return self.backbone.encoder.layers

    @property
    def front(self) -> list[nn.Module]:
        """The convolutional feature encoder."""
        return [self.backbone.feature_extractor]

    def frame_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
        """Frames `(batch,)` that recordings of `lengths` samples give."""
        for kernel, stride in self.convolutions:
            lengths = _convolved(lengths, kernel, stride)
        return lengths

    @property
    def shortest_input(self) -> int:
        """Samples that one frame needs."""
        return self._samples_for(torch.tensor(1)).item()

    def forward(
        self, inputs: torch.Tensor, attention_mask: torch.Tensor | None, output_attentions: bool = False
    ) -> EncoderOutput:
        """From a waveform `(batch, samples)` and its mask of true samples to the layers' hidden states."""
        inputs, lengths = self._whole_frames(inputs, _true_lengths(inputs.shape[-1], attention_mask, inputs))
        ragged = bool((lengths < inputs.shape[-1]).any())
        features = self.backbone.feature_extractor(inputs, lengths if ragged else None)
        # without padding the backbone gets no mask: the same kernels, so the same bits, as without the adapter
        mask = mask_of(lengths, inputs.shape[-1]) if ragged else None
        output = self.backbone(
            features, attention_mask=mask, output_hidden_states=True, output_attentions=output_attentions
        )
        frame_mask = mask_of(self.frame_lengths(lengths), features.shape[-1])
        lower = [self._at_full_rate(state, features.shape[-1]) for state in output.hidden_states[1 : len(self.layers)]]
        return EncoderOutput((*lower, output.last_hidden_state), frame_mask, _given(output.attentions))

    def _whole_frames(self, inputs: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Extends recordings by silence where the encoder cannot take them as they are.

        SEW averages frames in pairs, so an odd last frame would be averaged with padding in a batch and dropped alone;
        SpecAugment refuses a batch in which not one of its spans fits.
        """
        frames = self.frame_lengths(lengths)
        _require_frames(frames, lengths, self.shortest_input)
        if self.squeeze_factor > 1:
            lengths = torch.maximum(lengths, self._samples_for(_rounded_up(frames, self.squeeze_factor)))
        samples = int(lengths.max())
        span = _masked_span(self.backbone)
        if int(frames.max()) < span:
            samples = self._samples_for(torch.tensor(span)).item()
        return nn.functional.pad(inputs, (0, max(0, samples - inputs.shape[-1]))), lengths

    def _samples_for(self, frames: torch.Tensor) -> torch.Tensor:
        for kernel, stride in reversed(self.convolutions):
            frames = (frames - 1) * stride + kernel
        return frames

    def _at_full_rate(self, state: torch.Tensor, frames: int) -> torch.Tensor:
        # SEW's layers work on squeezed frames; its last hidden state is back at the full rate
        return state if self.squeeze_factor == 1 else state.repeat_interleave(self.squeeze_factor, dim=1)[:, :frames]


class Wav2Vec2BertFrames(nn.Module):
    """wav2vec2-bert: stacked log-mel features in, one frame each; it has no convolutions in front."""

    input_name = "input_features"
    shortest_input = 1

    def __init__(self, backbone: PreTrainedModel):
        super().__init__()
        self.backbone = backbone

    @property
    def layers(self) -> nn.ModuleList:
        """The Transformer layers, first to last."""
        return self.backbone.encoder.layers

    @property
    def front(self) -> list[nn.Module]:
        """What stands for the convolutional feature encoder: nothing."""
        return []

    def frame_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
        """Frames `(batch,)` that `lengths` feature vectors give."""
        return lengths

    def forward(
        self, inputs: torch.Tensor, attention_mask: torch.Tensor | None, output_attentions: bool = False
    ) -> EncoderOutput:
        """From features `(batch, frames, 160)` and their mask to the layers' hidden states."""
        lengths = _true_lengths(inputs.shape[1], attention_mask, inputs)
        inputs = nn.functional.pad(inputs, (0, 0, 0, max(0, _masked_span(self.backbone) - inputs.shape[1])))
        frame_mask = mask_of(lengths, inputs.shape[1])
        output = self.backbone(
            inputs,
            attention_mask=None if frame_mask.all() else frame_mask,
            output_hidden_states=True,
            output_attentions=output_attentions,
        )
        states = (*output.hidden_states[1 : len(self.layers)], output.last_hidden_state)
        return EncoderOutput(states, frame_mask, _given(output.attentions))


class WhisperFrames(nn.Module):
    """The Whisper encoder at a recording's true length instead of 30 s, with its padding masked.

    It gives no attention weights: the stock layers drop them.
    """

    input_name = "input_features"
    shortest_input = 1

    def __init__(self, backbone: WhisperEncoder):
        super().__init__()
        self.backbone = backbone
        takes = inspect.signature(backbone.layers[0].forward).parameters
        # transformers 4 asks for a mask of heads, which nobody sets
        self.layer_arguments = {"layer_head_mask": None} if "layer_head_mask" in takes else {}

    @property
    def layers(self) -> nn.ModuleList:
        """The Transformer layers, first to last."""
        return self.backbone.layers

    @property
    def front(self) -> list[nn.Module]:
        """The two convolutions over the log-mel frames."""
        return [self.backbone.conv1, self.backbone.conv2]

    def frame_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
        """Frames `(batch,)` that `lengths` log-mel frames give."""
        return (lengths - 1) // 2 + 1

    def forward(
        self, inputs: torch.Tensor, attention_mask: torch.Tensor | None, output_attentions: bool = False
    ) -> EncoderOutput:
        """From log-mel features `(batch, mels, frames)` and their mask to the layers' hidden states.

        Raises:
            ValueError: more frames than the encoder has positions (30 s).
        """
        if attention_mask is not None and attention_mask.shape[-1] != inputs.shape[-1]:
            # the stock feature extractor, called by a stock pipeline, gives its mask in samples
            attention_mask = attention_mask[:, :: attention_mask.shape[-1] // inputs.shape[-1]]
        lengths = _true_lengths(inputs.shape[-1], attention_mask, inputs)
        inputs = inputs[..., : int(lengths.max())]
        frame_mask = mask_of(self.frame_lengths(lengths), int(self.frame_lengths(lengths).max()))
        hidden_states = self.embed(inputs, mask_of(lengths, inputs.shape[-1]))
        return self.run_layers(hidden_states, frame_mask, padded=not frame_mask.all())

    def run_layers(self, hidden_states: torch.Tensor, frame_mask: torch.Tensor, padded: bool) -> EncoderOutput:
        """From the embedded frames `(batch, frames, width)` to the layers' hidden states; without padding no mask."""
        mask = self._layer_mask(frame_mask, hidden_states.dtype) if padded else None
        states = []
        for layer in self.layers:
            output = layer(hidden_states, mask, **self.layer_arguments)
            hidden_states = output[0] if isinstance(output, tuple) else output
            states.append(hidden_states)
        states[-1] = self.backbone.layer_norm(hidden_states)
        return EncoderOutput(tuple(states), frame_mask)

    def embed(self, inputs: torch.Tensor, input_mask: torch.Tensor) -> torch.Tensor:
        """From log-mel features and their mask to what the first layer takes `(batch, frames, width)`."""
        backbone, positions = self.backbone, self.backbone.config.max_source_positions
        # zeros beyond the end of each recording before either convolution, as when it is alone
        hidden_states = nn.functional.gelu(backbone.conv1(inputs * input_mask[:, None]))
        hidden_states = nn.functional.gelu(backbone.conv2(hidden_states * input_mask[:, None])).transpose(1, 2)
        frames = hidden_states.shape[1]
        if frames > positions:
            raise ValueError(
                f"a recording of {frames / 50:.1f} s is longer than the {positions / 50:.0f} s that this encoder has "
                "positions for: cut it into shorter pieces"
            )
        hidden_states = hidden_states + backbone.embed_positions.weight[:frames]
        return nn.functional.dropout(hidden_states, backbone.dropout, training=backbone.training)

    def _layer_mask(self, frame_mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        if "flash" in self.backbone.config._attn_implementation:
            return frame_mask
        padded = ~frame_mask[:, None, None, :].expand(-1, -1, frame_mask.shape[1], -1)
        return torch.zeros(padded.shape, dtype=dtype, device=padded.device).masked_fill(padded, torch.finfo(dtype).min)


def build_encoder(config: PretrainedConfig, backbone: PreTrainedModel | None = None) -> nn.Module:
    """The adapter of the config's family, around `backbone` or around one with new weights.

    LayerDrop is off, since it removes entries from the hidden states; so is the adapter that some checkpoints add
    behind the last layer, since it changes the frame rate.
    """
    if backbone is None:
        prepare_config(config)
        is_whisper = config.model_type == "whisper"
        backbone = WhisperEncoder._from_config(config) if is_whisper else AutoModel.from_config(config)
    if hasattr(backbone, "masked_spec_embed") and not _masks_spans(config):
        # no loss would reach it, which training on several processes takes for a mistake
        backbone.masked_spec_embed.requires_grad_(False)
    families = {"whisper": WhisperFrames, "wav2vec2-bert": Wav2Vec2BertFrames}
    return families.get(config.model_type, WaveformEncoder)(backbone)


def load_backbone(name_or_path: str, config: PretrainedConfig, **hub_options) -> PreTrainedModel:
    """The pretrained speech encoder out of any checkpoint that holds one, in float32.

    Reads safetensors or an old `pytorch_model.bin` (weights only), sharded or not, in half precision or not, with the
    prefixes and extra heads of `...ForPreTraining`, `...ForCTC` and `...ForSequenceClassification`. One logged line
    says what the checkpoint lacks or has too much.
    """
    prepare_config(config)
    options = {"config": config, "dtype": torch.float32, "output_loading_info": True, **hub_options}
    with _transformers_silent():
        if isinstance(config, WhisperConfig):
            backbone, info = WhisperEncoder.from_pretrained(name_or_path, key_mapping=_WHISPER_PREFIXES, **options)
        else:
            backbone, info = AutoModel.from_pretrained(name_or_path, **options)
    _report(name_or_path, sorted(info["missing_keys"]), sorted(info["unexpected_keys"]))
    return backbone


def prepare_config(config: PretrainedConfig) -> None:
    """Sets LayerDrop to 0 and drops the length adapter, in place."""
    for name in ("layerdrop", "encoder_layerdrop"):
        if hasattr(config, name):
            setattr(config, name, 0.0)
    if getattr(config, "add_adapter", False):
        config.add_adapter = False


class _transformers_silent:
    """Transformers' own multi-line report about keys is replaced by our one line."""

    def __enter__(self):
        self.logger = logging.getLogger("transformers")
        self.level = self.logger.level
        self.logger.setLevel(logging.ERROR)

    def __exit__(self, *_):
        self.logger.setLevel(self.level)


def _report(name: str, missing: list[str], unexpected: list[str]) -> None:
    remarks = []
    if missing:
        remarks.append(f"lacks {len(missing)} tensors, newly initialised ({_shortened(missing)})")
    if unexpected:
        remarks.append(f"has {len(unexpected)} tensors that the encoder does not use ({_shortened(unexpected)})")
    if remarks:
        logger.warning("checkpoint %s %s", name, "; ".join(remarks))


def _shortened(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _convolved(lengths: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
    return torch.div(lengths - kernel, stride, rounding_mode="floor") + 1


def _rounded_up(lengths: torch.Tensor, multiple: int) -> torch.Tensor:
    return (lengths + multiple - 1) // multiple * multiple


def _true_lengths(full: int, attention_mask: torch.Tensor | None, inputs: torch.Tensor) -> torch.Tensor:
    if attention_mask is None:
        return torch.full((inputs.shape[0],), full, device=inputs.device)
    return attention_mask.sum(dim=-1)


def _masked_span(backbone: PreTrainedModel) -> int:
    """Frames that one span of SpecAugment takes; 0 while it is off."""
    return backbone.config.mask_time_length if backbone.training and _masks_spans(backbone.config) else 0


def _masks_spans(config: PretrainedConfig) -> bool:
    """Whether SpecAugment replaces spans of frames in training."""
    return getattr(config, "apply_spec_augment", True) and config.mask_time_prob > 0


def _require_frames(frames: torch.Tensor, lengths: torch.Tensor, shortest: int) -> None:
    if int(frames.min()) < 1:
        raise ValueError(
            f"a recording of {int(lengths.min())} samples is shorter than the {shortest} that the encoder's "
            "convolutions need for one frame: leave it out, or pad it with silence"
        )


def _given(attentions: tuple | None) -> tuple | None:
    return attentions if attentions and attentions[0] is not None else None


def mask_of(lengths: torch.Tensor, size: int) -> torch.Tensor:
    """Bool `(batch, size)`, true below each of the lengths `(batch,)`."""
    return torch.arange(size, device=lengths.device)[None] < lengths[:, None]


def _masked_group_norm(norm: nn.GroupNorm, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Group norm over time, one channel a group, of `(batch, channels, frames)`: statistics over true frames only.

    In float32, as the stock kernel computes it.
    """
    values = features.float()
    mask, count = mask_of(lengths, features.shape[-1])[:, None], lengths[:, None, None]
    mean = (values * mask).sum(dim=-1, keepdim=True) / count
    variance = ((values - mean).square() * mask).sum(dim=-1, keepdim=True) / count
    normed = (values - mean) * torch.rsqrt(variance + norm.eps)
    return (normed * norm.weight[:, None] + norm.bias[:, None]).to(features.dtype)


def _mask_depthwise_convolutions(layers: nn.ModuleList) -> None:
    """Conformer layers convolve over time behind the attention, without a mask of their own: give them one.

    The layer's attention mask reaches its depthwise convolution by two hooks, so that it is also there when gradient
    checkpointing runs the layer again.
    """
    for layer in layers:
        depthwise = layer.conv_module.depthwise_conv
        depthwise.true_frames = None
        layer.register_forward_pre_hook(_remember_true_frames, with_kwargs=True)
        depthwise.register_forward_pre_hook(_zero_padded_frames)


def _remember_true_frames(layer: nn.Module, args: tuple, kwargs: dict) -> None:
    mask = kwargs.get("attention_mask")
    keys = None if mask is None else mask[:, 0, -1]
    layer.conv_module.depthwise_conv.true_frames = keys if keys is None or keys.dtype == torch.bool else keys == 0


def _zero_padded_frames(depthwise: nn.Module, args: tuple) -> tuple | None:
    return None if depthwise.true_frames is None else (args[0] * depthwise.true_frames[:, None],)
