"""Tiny encoders of every family: the real convolution layout of the base models, four narrow layers."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from transformers import (
    CONFIG_MAPPING,
    Data2VecAudioConfig,
    HubertConfig,
    MoonshineConfig,
    ParakeetEncoderConfig,
    PretrainedConfig,
    Qwen2AudioEncoderConfig,
    SEWConfig,
    SEWDConfig,
    UniSpeechConfig,
    UniSpeechSatConfig,
    VoxtralEncoderConfig,
    Wav2Vec2BertConfig,
    Wav2Vec2Config,
    Wav2Vec2ConformerConfig,
    WavLMConfig,
    WhisperConfig,
)

from ser_meta.modeling_ser_meta import SerMetaConfig, SerMetaModel
from ser_meta.modeling_ser_meta.settings_ser_meta import WHISPER_ENCODERS

torch.set_num_threads(1)

# not in alphabetical order, which is how a config file is written
TASKS = {
    "transcript": {"kind": "ctc"},
    "style": {"labels": ["scripted", "improvised"]},
    "emotion": {"labels": ["neutral", "happy", "angry", "sad"]},
    "gender": {"labels": ["female", "male"]},
    "speaker": {"labels": ["ann", "bob", "cid"]},
}
LAYERS = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 64}
CONVOLUTIONS = {
    "conv_dim": (8,) * 7,
    "conv_kernel": (10, 3, 3, 3, 3, 2, 2),
    "conv_stride": (5, 2, 2, 2, 2, 2, 2),
    "num_feat_extract_layers": 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
RAW = {**LAYERS, **CONVOLUTIONS}
LARGE = {**RAW, "feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
WHISPER = {
    "d_model": 32,
    "encoder_layers": 4,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_layers": 1,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 64,
    "num_mel_bins": 80,
    "vocab_size": 60,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
WHISPER_ENCODER = {name: value for name, value in WHISPER.items() if "decoder" not in name and "token" not in name}
MOONSHINE = {
    **{
        name: 4
        for part in ("en", "de")
        for name in (f"{part}coder_num_hidden_layers", f"{part}coder_num_attention_heads")
    },
    "hidden_size": 32,
    "intermediate_size": 64,
    "vocab_size": 60,
}
PARAKEET = {**LAYERS, "conv_kernel_size": 5, "num_mel_bins": 80, "subsampling_conv_channels": 8}
FAMILIES: dict[str, Callable[..., PretrainedConfig]] = {
    "wav2vec2": lambda: Wav2Vec2Config(**RAW),
    "wav2vec2-large": lambda: Wav2Vec2Config(**LARGE),
    "mms": lambda: Wav2Vec2Config(**LARGE, adapter_attn_dim=8),
    "hubert": lambda: HubertConfig(**RAW),
    "mhubert": lambda: HubertConfig(**RAW, conv_pos_batch_norm=True),
    "distilhubert": lambda: HubertConfig(**{**RAW, "num_hidden_layers": 2}, feat_proj_layer_norm=False),
    "wavlm": lambda: WavLMConfig(**RAW),
    "wavlm-large": lambda: WavLMConfig(**LARGE),
    "data2vec-audio": lambda: Data2VecAudioConfig(**{**RAW, "num_conv_pos_embeddings": 3}, conv_pos_kernel_size=5),
    "unispeech-sat": lambda: UniSpeechSatConfig(**RAW),
    "sew": lambda: SEWConfig(**RAW, squeeze_factor=2),
    "wav2vec2-conformer": lambda: Wav2Vec2ConformerConfig(**LARGE, conv_depthwise_kernel_size=7),
    "wav2vec2-conformer-rotary": lambda: Wav2Vec2ConformerConfig(
        **LARGE, conv_depthwise_kernel_size=7, position_embeddings_type="rotary"
    ),
    "wav2vec2-bert": lambda: Wav2Vec2BertConfig(**LAYERS, conv_depthwise_kernel_size=7),
    "wav2vec2-bert-rotary": lambda: Wav2Vec2BertConfig(
        **LAYERS, conv_depthwise_kernel_size=7, position_embeddings_type="rotary"
    ),
    "whisper": lambda: WhisperConfig(**WHISPER),
    "unispeech": lambda: UniSpeechConfig(**RAW),
    "sew-d": lambda: SEWDConfig(**RAW, squeeze_factor=2, max_position_embeddings=64, position_buckets=16),
    "moonshine": lambda: MoonshineConfig(**MOONSHINE),
    "qwen2_audio_encoder": lambda: Qwen2AudioEncoderConfig(**WHISPER_ENCODER),
    "voxtral_encoder": lambda: VoxtralEncoderConfig(**LAYERS, num_mel_bins=80),
    "parakeet_encoder": lambda: ParakeetEncoderConfig(**PARAKEET),
}
if "fun_asr_nano_encoder" in CONFIG_MAPPING:  # newer releases of Transformers have it
    FAMILIES["fun_asr_nano_encoder"] = lambda: CONFIG_MAPPING["fun_asr_nano_encoder"](
        **LAYERS, num_mel_bins=8, num_stacked_frames=5, fsmn_kernel_size=5, num_timestamp_prediction_layers=1
    )
INPUTS = {
    **dict.fromkeys(WHISPER_ENCODERS, lambda n: (80, n)),
    "wav2vec2-bert": lambda n: (n, 160),
    "parakeet_encoder": lambda n: (n, 80),
    "fun_asr_nano_encoder": lambda n: (n, 40),
}  # of log-mel features, with so many frames


@pytest.fixture(params=FAMILIES)
def family(request) -> str:
    """Each family's name in turn."""
    return request.param


@pytest.fixture(scope="session")
def make_speech_config() -> Callable[..., PretrainedConfig]:
    """Makes a family's tiny configuration; `still` takes every dropout and SpecAugment out of it."""

    def make(family: str, still: bool = False, **changes) -> PretrainedConfig:
        config = FAMILIES[family]()
        if still:
            dropouts = [name for name, value in config.to_dict().items() if "dropout" in name and value]
            changes = {"mask_time_prob": 0.0, **dict.fromkeys(dropouts, 0.0), **changes}
        for name, value in changes.items():
            setattr(config, name, value)
        return config

    return make


@pytest.fixture(scope="session")
def make_model(make_speech_config) -> Callable[..., SerMetaModel]:
    """Makes a family's tiny model in evaluation mode, every weight random and large enough to matter."""

    def make(
        family: str = "wav2vec2", *, still: bool = False, random: bool = True, changes: dict | None = None, **options
    ) -> SerMetaModel:
        options = {"tasks": TASKS, "coattention_heads": 4, "head_hidden_size": 16, **options}
        options.update({"dropout": 0.0} if still else {})
        torch.manual_seed(0)
        speech_config = make_speech_config(family, still, **(changes or {}))
        model = SerMetaModel(SerMetaConfig(speech_config=speech_config, **options))
        if random:
            randomize(model)
        return model.eval()

    return make


@torch.no_grad()
def randomize(model: torch.nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2)
    for name, parameter in model.named_parameters():
        if "parametrizations" in name:  # a weight norm's own parts fit each other as they are
            continue
        if parameter.dim() < 2:
            parameter.normal_(mean=float("norm" in name and name.endswith("weight")), std=0.3)
        else:
            inputs = parameter.shape[-1] if "layer_fusion" in name else parameter[0].numel()
            parameter.normal_(std=inputs**-0.5)


@pytest.fixture(scope="session")
def make_inputs() -> Callable[..., list[dict[str, torch.Tensor]]]:
    """Makes noise of several lengths as a model takes it: alone, one batch a recording."""

    def make(model: SerMetaModel, lengths: list[int]) -> list[dict[str, torch.Tensor]]:
        generator = torch.Generator().manual_seed(1)
        kind = model.config.speech_config.model_type
        shape = INPUTS.get(kind, lambda n: (n,))
        noise = [torch.randn(1, *shape(length), generator=generator) for length in lengths]
        return [
            {model.encoder.input_name: x, "attention_mask": torch.ones(1, length, dtype=torch.long)}
            for x, length in zip(noise, lengths, strict=True)
        ]

    return make


@pytest.fixture(scope="session")
def join() -> Callable[..., dict[str, torch.Tensor]]:
    """Joins recordings into one padded batch; the padding of log-mel features is not zero in every encoder."""

    def join(model: SerMetaModel, alone: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        name = model.encoder.input_name
        time = -1 if model.config.speech_config.model_type in WHISPER_ENCODERS or name == "input_values" else 1
        filler = 0.0 if name == "input_values" else 3.0
        longest = max(row["attention_mask"].shape[1] for row in alone)
        rows, masks = [], []
        for row in alone:
            x = row[name].transpose(time, -1)
            missing = (0, longest - x.shape[-1])
            rows.append(torch.nn.functional.pad(x, missing, value=filler).transpose(time, -1))
            masks.append(torch.nn.functional.pad(row["attention_mask"], missing))
        return {name: torch.cat(rows), "attention_mask": torch.cat(masks)}

    return join


@pytest.fixture(scope="session")
def make_batch(make_inputs, join) -> Callable[..., dict[str, torch.Tensor]]:
    """Makes one padded batch of four recordings of 25 to 625 ms for a model, in `seconds` of its own kind."""

    def make(model: SerMetaModel, labels: bool = False) -> dict:
        lengths = [6_401, 400, 10_000, 3_211] if model.encoder.input_name == "input_values" else [41, 2, 62, 21]
        batch = join(model, make_inputs(model, [max(length, model.encoder.shortest_input) for length in lengths]))
        return {**batch, "labels": some_labels()} if labels else batch

    return make


def some_labels() -> dict[str, torch.Tensor]:
    characters = torch.full((4, 90), -100)
    characters[0, :5] = torch.tensor([7, 7, 2, 9, 11])  # row 1 is empty, row 3 longer than its frames
    characters[2, :3] = torch.tensor([4, 5, 6])
    characters[3] = torch.arange(90) % 27 + 3
    return {
        "transcript": characters,
        "style": torch.tensor([0, -100, 1, 0]),
        "emotion": torch.tensor([3, 1, -100, 2]),
        "gender": torch.tensor([1, 0, 0, 1]),
        "speaker": torch.tensor([0, 1, 2, -100]),
    }


@pytest.fixture(scope="session")
def tone() -> Callable[..., np.ndarray]:
    """A noisy tone `(samples,)`, or `(channels, samples)` with as many pitches."""

    def make(seconds: float = 0.5, rate: int = 16_000, pitches: tuple[float, ...] = (220.0,)) -> np.ndarray:
        time = np.arange(round(seconds * rate)) / rate
        noise = np.random.default_rng(0).normal(scale=0.01, size=(len(pitches), len(time)))
        channels = 0.3 * np.sin(2 * np.pi * np.array(pitches)[:, None] * time) + noise
        return (channels if len(pitches) > 1 else channels[0]).astype(np.float32)

    return make
