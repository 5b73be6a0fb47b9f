"""A model around each of the younger families of encoders: trained, pushed, loaded by its name, used."""

import pytest
import torch
import transformers
from transformers import (
    CONFIG_MAPPING,
    AutoModel,
    ParakeetFeatureExtractor,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
    pipeline,
)

from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.modeling_ser_meta.loading_ser_meta import ENCODER_CLASSES
from ser_meta.training.runs.stages import run_stages

LAYERS = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
RAW = {
    **LAYERS,
    "conv_dim": (8, 8, 8),
    "conv_kernel": (10, 8, 8),
    "conv_stride": (5, 8, 8),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
WHISPER = {"d_model": 16, "encoder_layers": 3, "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "num_mel_bins": 40}
MOONSHINE = {
    **{f"encoder_{name}": LAYERS[name] for name in ("num_hidden_layers", "num_attention_heads")},
    **{f"decoder_{name}": 1 for name in ("num_hidden_layers", "num_attention_heads")},
    "hidden_size": 16,
    "intermediate_size": 32,
    "vocab_size": 40,
}
FAMILIES = {
    "unispeech": (RAW, Wav2Vec2FeatureExtractor),
    "sew-d": ({**RAW, "position_buckets": 8, "max_position_embeddings": 32}, Wav2Vec2FeatureExtractor),
    "moonshine": (MOONSHINE, Wav2Vec2FeatureExtractor),
    "qwen2_audio_encoder": (WHISPER, lambda: WhisperFeatureExtractor(feature_size=40)),
    "voxtral_encoder": ({**LAYERS, "num_mel_bins": 40}, lambda: WhisperFeatureExtractor(feature_size=40)),
    "parakeet_encoder": (
        {**LAYERS, "conv_kernel_size": 5, "num_mel_bins": 40, "subsampling_conv_channels": 4},
        lambda: ParakeetFeatureExtractor(feature_size=40),
    ),
}
if "fun_asr_nano_encoder" in CONFIG_MAPPING:  # newer releases have it; its extractor needs torchaudio
    FUN_ASR = {
        "num_mel_bins": 24,
        "num_stacked_frames": 3,
        "num_hidden_layers": 4,
        "num_timestamp_prediction_layers": 1,
    }
    FAMILIES["fun_asr_nano_encoder"] = (
        {**LAYERS, **FUN_ASR},
        lambda: transformers.FunAsrNanoFeatureExtractor(feature_size=24, num_frames_lfr=3, stride_lfr=2),
    )


@pytest.fixture
def encoder(tmp_path):
    """Writes a family's tiny encoder as it stands on the Hub."""

    def write(family: str) -> str:
        settings, extractor = FAMILIES[family]
        torch.manual_seed(0)
        config = CONFIG_MAPPING[family](**settings)
        made = ENCODER_CLASSES[family](config) if family in ENCODER_CLASSES else AutoModel.from_config(config)
        made.save_pretrained(tmp_path / "encoder")
        try:
            extractor().save_pretrained(tmp_path / "encoder")
        except ImportError as error:
            pytest.skip(f"this release's extractor needs more: {error}")
        return str(tmp_path / "encoder")

    return write


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_trained_pushed_and_used_by_its_name(family, encoder, recipe_file, push, speech_table, tmp_path):
    stages = [f"stages.{stage}.epochs=0.2" for stage in ("metadata", "emotion")]
    settings = [f"model.encoder={encoder(family)}", "model.encoder_layers=2", "data.speed_factors=[1.0]", *stages]
    recipe = load_recipe(str(recipe_file), [*settings, f"cache={tmp_path / 'states'}"])
    report = run_stages(recipe, tmp_path / "run")
    assert report.metrics["emotion"]["n"] == 12
    code, _, _ = push(f"someone/{family}", folder=tmp_path / "run")
    assert code == 0
    recognise = pipeline("speech-emotion-recognition", model=f"someone/{family}", trust_remote_code=True)
    assert recognise.model.config.speech_config.model_type == family and len(recognise.model.encoder.layers) == 2
    found = recognise([str(speech_table.parent / f"emil-{emotion}-scripted.wav") for emotion in ("sad", "angry")])
    own = pipeline("speech-emotion-recognition", model=str(tmp_path / "run" / "model"), trust_remote_code=True)
    expected = own(str(speech_table.parent / "emil-sad-scripted.wav"))
    for one, same in zip(found[0]["emotion"], expected["emotion"], strict=True):
        assert one["label"] == same["label"] and one["score"] == pytest.approx(same["score"], abs=1e-5)
