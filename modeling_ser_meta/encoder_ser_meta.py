"""One small adapter around every family of speech encoders: true lengths in, the layers' hidden states out.

Raw-waveform families (wav2vec2 with XLS-R and MMS, HuBERT with DistilHuBERT, WavLM, data2vec-audio, UniSpeech and
UniSpeech-SAT, SEW and SEW-D, wav2vec2-conformer, Moonshine) and log-mel families (wav2vec2-bert, the encoders of
Whisper, Qwen2-Audio and Voxtral, Parakeet, Fun-ASR-Nano). What the adapter adds to each is that padding never changes
a frame:

    recording   |x x x x x x|            frames |h h h|
    in a batch  |x x x x x x 0 0 0 0|           |h h h - -|   the same h; what stands at - is never looked at
"""

import inspect

import torch
from torch import nn
from transformers import AutoModel, PretrainedConfig, PreTrainedModel

from .adapters_ser_meta import call_projections
from .configuration_ser_meta import layer_count, with_lowest_layers
from .families_ser_meta import MaskedFrames, MoonshineFrames, ParakeetFrames
from .frames_ser_meta import (
    EncoderOutput,
    FrameRule,
    PlainFrames,
    RepeatedFrames,
    attention_bias,
    given,
    require_frames,
    rounded_up,
    states_above,
    true_lengths,
)
from .general_ser_meta import GeneralFrames
from .loading_ser_meta import ENCODER_CLASSES, prepare_config
from .padding_ser_meta import (
    ConvolutionalFront,
    MaskedPositions,
    convolved,
    forget_rotary_positions,
    keep_running_statistics,
    mask_depthwise_convolutions,
    mask_normalised_positions,
    mask_of,
)
from .settings_ser_meta import WHISPER_ENCODERS

try:
    from transformers.masking_utils import create_bidirectional_mask
except ImportError:  # transformers 4 makes its masks otherwise
    create_bidirectional_mask = None

SQUEEZING = ("sew", "sew-d")  # families whose layers work on several frames as one
WHISPER_BATCH = 50  # log-mel frames that a batch may be padded to a multiple of: half a second


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
        if config.model_type == "wavlm":
            call_projections(backbone.encoder.layers)
        if getattr(config, "conv_pos_batch_norm", False):  # of some HuBERTs
            mask_normalised_positions(backbone.encoder.pos_conv_embed)
            keep_running_statistics(backbone.encoder.pos_conv_embed)
        if config.model_type == "data2vec-audio":
            backbone.encoder.pos_conv_embed = MaskedPositions(backbone.encoder.pos_conv_embed)
        if config.model_type == "wav2vec2-conformer":
            mask_depthwise_convolutions(backbone.encoder.layers)
            forget_rotary_positions(backbone.encoder)
            keep_running_statistics(backbone.encoder.layers)
            # the stock forward has this module and never calls it
            backbone.encoder.pos_conv_embed.requires_grad_(False)

    @property
    def layers(self) -> nn.ModuleList:
        """The Transformer layers, first to last."""
        encoder = self.backbone.encoder
        return encoder.encoder.layer if self.backbone.config.model_type == "sew-d" else encoder.layers

    @property
    def front(self) -> list[nn.Module]:
        """The convolutional feature encoder."""
        return [self.backbone.feature_extractor]

    @property
    def behind_layers(self) -> list[nn.Module]:
        """What stands behind the last layer: the norm of the pre-norm families, SEW's upsampling."""
        return [getattr(self.backbone.encoder, self._behind)] if self._behind else []

    @property
    def _behind(self) -> str | None:
        config = self.backbone.config
        if config.model_type in SQUEEZING:
            return "upsample"
        pre_norm = getattr(config, "do_stable_layer_norm", False) or config.model_type == "wav2vec2-conformer"
        return "layer_norm" if pre_norm else None

    def end_with_last_layer(self, whole: PretrainedConfig) -> None:
        """Takes away what stands behind the whole encoder's last layer, where the last one here is a lower one."""
        if self._behind:
            setattr(self.backbone.encoder, self._behind, RepeatedFrames(self.squeeze_factor))

    @property
    def continues(self) -> bool:
        """Whether `from_layers` can go on above any layer.

        SEW's layers work on squeezed frames, and the conformer's take position embeddings from below them.
        """
        return self.backbone.config.model_type not in (*SQUEEZING, "wav2vec2-conformer")

    def frame_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
        """Frames `(batch,)` that recordings of `lengths` samples give."""
        for kernel, stride in self.convolutions:
            lengths = convolved(lengths, kernel, stride)
        return lengths

    @property
    def shortest_input(self) -> int:
        """Samples that one frame needs."""
        return self._samples_for(torch.tensor(1)).item()

    def forward(
        self, inputs: torch.Tensor, attention_mask: torch.Tensor | None, output_attentions: bool = False
    ) -> EncoderOutput:
        """From a waveform `(batch, samples)` and its mask of true samples to the layers' hidden states."""
        return self.from_features(*self.features(inputs, attention_mask), output_attentions)

    def features(self, inputs: torch.Tensor, attention_mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """From a waveform and its mask to the convolutions' output `(batch, frames, channels)` and its frame mask."""
        lengths = true_lengths(inputs.shape[-1], attention_mask, inputs)
        known = lengths.cpu()  # a GPU is asked once: each number that is read from it waits for all its work before
        require_frames(self.frame_lengths(known), known, self.shortest_input)
        lengths, known = self._whole_frames(lengths), self._whole_frames(known)
        inputs = nn.functional.pad(inputs, (0, max(0, int(known.max()) - inputs.shape[-1])))
        ragged = bool((known < inputs.shape[-1]).any())
        features = self.backbone.feature_extractor(inputs, lengths if ragged else None).transpose(1, 2)
        return features, mask_of(self.frame_lengths(lengths), features.shape[1])

    def from_features(
        self, features: torch.Tensor, frame_mask: torch.Tensor, output_attentions: bool = False
    ) -> EncoderOutput:
        """From what `features` gave, computed now or before, to the layers' hidden states."""
        # SpecAugment refuses a batch in which not one of its spans fits
        missing = max(0, _masked_span(self.backbone) - features.shape[1])
        features, frame_mask = (
            nn.functional.pad(features, (0, 0, 0, missing)),
            nn.functional.pad(frame_mask, (0, missing)),
        )
        output = self.backbone(
            features.transpose(1, 2),
            attention_mask=self._sample_mask(frame_mask),
            output_hidden_states=True,
            output_attentions=output_attentions,
        )
        lower = [self._at_full_rate(state, features.shape[1]) for state in output.hidden_states[1 : len(self.layers)]]
        return EncoderOutput((*lower, output.last_hidden_state), frame_mask, given(output.attentions))

    def from_layers(self, states: tuple[torch.Tensor, ...], frame_mask: torch.Tensor) -> EncoderOutput:
        """From the states of the lower layers, computed before, to those of all; at least one layer is above them."""
        arguments = self._layer_arguments(states[-1], None if frame_mask.all() else frame_mask)
        return EncoderOutput(states_above(self, states, arguments), frame_mask)

    def _layer_arguments(self, hidden_states: torch.Tensor, frame_mask: torch.Tensor | None) -> dict:
        """What the stock forward gives each layer beside the hidden states."""
        encoder = self.backbone.encoder
        if self.backbone.config.model_type == "wavlm":
            attention = encoder.layers[0].attention
            bias = attention.compute_bias(hidden_states.shape[1], hidden_states.shape[1])
            return {"attention_mask": frame_mask, "position_bias": bias.repeat(hidden_states.shape[0], 1, 1)}
        if hasattr(encoder, "_update_full_mask"):  # transformers 4
            return {"attention_mask": encoder._update_full_mask(frame_mask, hidden_states)}
        mask = create_bidirectional_mask(config=encoder.config, inputs_embeds=hidden_states, attention_mask=frame_mask)
        return {"attention_mask": mask}

    def _sample_mask(self, frame_mask: torch.Tensor) -> torch.Tensor | None:
        """The mask of samples from which the backbone finds this mask of frames.

        None without padding: then the backbone runs the same kernels, and gives the same bits, as without the adapter.
        """
        frames = frame_mask.sum(dim=-1)
        known = frames.cpu()
        if (known == frame_mask.shape[1]).all():
            return None
        return mask_of(self._samples_for(frames), int(self._samples_for(known).max()))

    def _whole_frames(self, lengths: torch.Tensor) -> torch.Tensor:
        """Samples with the silence by which SEW's recordings are extended: it averages frames in pairs.

        An odd last frame would be averaged with padding in a batch and dropped alone.
        """
        if self.squeeze_factor == 1:
            return lengths
        even = rounded_up(self.frame_lengths(lengths), self.squeeze_factor)
        return torch.maximum(lengths, self._samples_for(even))

    def _samples_for(self, frames: torch.Tensor) -> torch.Tensor:
        for kernel, stride in reversed(self.convolutions):
            frames = (frames - 1) * stride + kernel
        return frames

    def _at_full_rate(self, state: torch.Tensor, frames: int) -> torch.Tensor:
        # SEW's layers work on squeezed frames; its last hidden state is back at the full rate
        return RepeatedFrames(self.squeeze_factor)(state)[:, :frames]


class Wav2Vec2BertFrames(PlainFrames):
    """wav2vec2-bert: stacked log-mel features in, one frame each; it has no convolutions in front."""

    input_name = "input_features"
    shortest_input = 1

    def __init__(self, backbone: PreTrainedModel):
        super().__init__()
        self.backbone = backbone
        forget_rotary_positions(backbone.encoder)

    @property
    def layers(self) -> nn.ModuleList:
        """The Transformer layers, first to last."""
        return self.backbone.encoder.layers

    @property
    def continues(self) -> bool:
        """Whether the encoder can go on above any layer: its layers take position embeddings from below them."""
        return False

    def frame_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
        """Frames `(batch,)` that `lengths` feature vectors give."""
        return lengths

    def forward(
        self, inputs: torch.Tensor, attention_mask: torch.Tensor | None, output_attentions: bool = False
    ) -> EncoderOutput:
        """From features `(batch, frames, 160)` and their mask to the layers' hidden states."""
        lengths = true_lengths(inputs.shape[1], attention_mask, inputs)
        inputs = nn.functional.pad(inputs, (0, 0, 0, max(0, _masked_span(self.backbone) - inputs.shape[1])))
        frame_mask = mask_of(lengths, inputs.shape[1])
        output = self.backbone(
            inputs,
            attention_mask=None if frame_mask.all() else frame_mask,
            output_hidden_states=True,
            output_attentions=output_attentions,
        )
        states = (*output.hidden_states[1 : len(self.layers)], output.last_hidden_state)
        return EncoderOutput(states, frame_mask, given(output.attentions))


class WhisperFrames(nn.Module):
    """The Whisper encoder at a recording's true length instead of 30 s, with its padding masked.

    Those of Qwen2-Audio and Voxtral are built of the same parts. What they pool behind the last layer, two frames to
    one, is left out: all states have one rate. There are no attention weights: the stock layers drop them.
    """

    input_name = "input_features"
    shortest_input = 1
    continues = True

    def __init__(self, backbone: PreTrainedModel):
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

    @property
    def behind_layers(self) -> list[nn.Module]:
        """The norm behind the last layer."""
        return [self.backbone.layer_norm]

    def end_with_last_layer(self, whole: PretrainedConfig) -> None:
        """Takes away the norm behind the whole encoder's last layer, where the last one here is a lower one."""
        self.backbone.layer_norm = nn.Identity()

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
        return self.from_features(*self.features(inputs, attention_mask))

    def features(self, inputs: torch.Tensor, attention_mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """From log-mel features and their mask to the convolutions' output `(batch, frames, width)` and its mask."""
        if attention_mask is not None and attention_mask.shape[-1] != inputs.shape[-1]:
            # the stock feature extractor, called by a stock pipeline, gives its mask in samples
            attention_mask = attention_mask[:, :: attention_mask.shape[-1] // inputs.shape[-1]]
        lengths = true_lengths(inputs.shape[-1], attention_mask, inputs)
        # the rest of 30 s is cut off, but not what a batch is rounded up to
        inputs = inputs[..., : int(rounded_up(lengths.max(), WHISPER_BATCH))]
        features = self.convolve(inputs, mask_of(lengths, inputs.shape[-1]))
        return features, mask_of(self.frame_lengths(lengths), features.shape[1])

    def from_features(
        self, features: torch.Tensor, frame_mask: torch.Tensor, output_attentions: bool = False
    ) -> EncoderOutput:
        """From what `features` gave, computed now or before, to the layers' hidden states."""
        return self.run_layers(self.embed(features), frame_mask, padded=not frame_mask.all())

    def from_layers(self, states: tuple[torch.Tensor, ...], frame_mask: torch.Tensor) -> EncoderOutput:
        """From the states of the lower layers, computed before, to those of all; at least one layer is above them."""
        mask = None if frame_mask.all() else attention_bias(self.backbone, frame_mask, states[-1].dtype)
        arguments = {"attention_mask": mask, **self.layer_arguments}
        return EncoderOutput(states_above(self, states, arguments), frame_mask)

    def run_layers(self, hidden_states: torch.Tensor, frame_mask: torch.Tensor, padded: bool) -> EncoderOutput:
        """From the embedded frames `(batch, frames, width)` to the layers' hidden states; without padding no mask."""
        mask = attention_bias(self.backbone, frame_mask, hidden_states.dtype) if padded else None
        arguments = {"attention_mask": mask, **self.layer_arguments}
        return EncoderOutput(states_above(self, (), arguments, hidden_states), frame_mask)

    def convolve(self, inputs: torch.Tensor, input_mask: torch.Tensor) -> torch.Tensor:
        """From log-mel features and their mask to the convolutions' output `(batch, frames, width)`."""
        backbone = self.backbone
        # zeros beyond the end of each recording before either convolution, as when it is alone
        hidden_states = nn.functional.gelu(backbone.conv1(inputs * input_mask[:, None]))
        return nn.functional.gelu(backbone.conv2(hidden_states * input_mask[:, None])).transpose(1, 2)

    def embed(self, features: torch.Tensor) -> torch.Tensor:
        """From the convolutions' output to what the first layer takes `(batch, frames, width)`."""
        backbone, positions = self.backbone, self.backbone.config.max_source_positions
        frames = features.shape[1]
        if frames > positions:
            raise ValueError(
                f"a recording of {frames / 50:.1f} s is longer than the {positions / 50:.0f} s that this encoder has "
                "positions for: cut it into shorter pieces"
            )
        hidden_states = features + backbone.embed_positions.weight[:frames]
        return nn.functional.dropout(hidden_states, backbone.dropout, training=backbone.training)


ADAPTERS = {  # of the families that are not WaveformEncoder's
    **dict.fromkeys(WHISPER_ENCODERS, WhisperFrames),
    "wav2vec2-bert": Wav2Vec2BertFrames,
    "moonshine": MoonshineFrames,
    "parakeet_encoder": ParakeetFrames,
    "fun_asr_nano_encoder": MaskedFrames,
}


def build_encoder(
    config: PretrainedConfig,
    backbone: PreTrainedModel | None = None,
    layers: int | None = None,
    rule: FrameRule | None = None,
) -> nn.Module:
    """The adapter of the config's family, around `backbone` or around one with new weights.

    Args:
        config: of the whole encoder.
        backbone: has so many layers already.
        layers: how many of the encoder's layers there are, from the lowest up; None for all.
        rule: how an encoder of a family that is not known by name makes frames.

    LayerDrop is off, since it removes entries from the hidden states; so is the adapter that some checkpoints add
    behind the last layer, since it changes the frame rate.
    """
    if backbone is None:
        prepare_config(config)
        made = with_lowest_layers(config, layers)
        encoder_class = ENCODER_CLASSES.get(config.model_type)
        backbone = AutoModel.from_config(made) if encoder_class is None else encoder_class._from_config(made)
    if hasattr(backbone, "masked_spec_embed") and not _masks_spans(config):
        # no loss would reach it, which training on several processes takes for a mistake
        backbone.masked_spec_embed.requires_grad_(False)
    adapter = ADAPTERS.get(config.model_type, WaveformEncoder)
    encoder = adapter(backbone) if rule is None else GeneralFrames(backbone, rule)
    if layers not in (None, layer_count(config)):
        encoder.end_with_last_layer(config)
    return encoder


def _masked_span(backbone: PreTrainedModel) -> int:
    """Frames that one span of SpecAugment takes; 0 while it is off."""
    return backbone.config.mask_time_length if backbone.training and _masks_spans(backbone.config) else 0


def _masks_spans(config: PretrainedConfig) -> bool:
    """Whether SpecAugment replaces spans of frames in training."""
    return getattr(config, "apply_spec_augment", True) and config.mask_time_prob > 0
