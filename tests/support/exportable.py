"""A tiny model of each family that can be exported, what it hears, and what it means that two results are the same."""

import numpy as np
import pytest
import torch
from tiny_model import LAYERS, RAW
from transformers import (
    HubertConfig,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2BertConfig,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    WavLMConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
)

from ser_meta.modeling_ser_meta import SerMetaConfig, SerMetaModel
from ser_meta.training.learning.narrowing import narrowed

TASKS = {
    "transcript": {"kind": "ctc"},
    "emotion": {"labels": ["neutral", "happy", "angry"]},
    "valence": {"kind": "regression", "range": [1, 5]},
    "speaker": {"labels": ["ann", "bob"]},
}
WHISPER = {"d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 32}
CONFIGS = {
    "wav2vec2": lambda: Wav2Vec2Config(**RAW),
    "hubert": lambda: HubertConfig(**RAW),
    "wavlm": lambda: WavLMConfig(**RAW),
    "wav2vec2-bert": lambda: Wav2Vec2BertConfig(**LAYERS, conv_depthwise_kernel_size=7),
    "whisper": lambda: WhisperConfig(**WHISPER, vocab_size=60, pad_token_id=0, bos_token_id=1, eos_token_id=2),
}
EXTRACTORS = {
    "wav2vec2": lambda: Wav2Vec2FeatureExtractor(do_normalize=False),
    "hubert": lambda: Wav2Vec2FeatureExtractor(do_normalize=True),
    "wavlm": lambda: Wav2Vec2FeatureExtractor(do_normalize=True),
    "wav2vec2-bert": lambda: SeamlessM4TFeatureExtractor(padding_value=1.0),
    "whisper": lambda: WhisperFeatureExtractor(feature_size=80),
}


def make_model(config, narrow=None, **settings) -> SerMetaModel:
    """A model of random weights that answers otherwise to other sounds; `narrow` as in a recipe."""
    options = {"tasks": TASKS, "coattention_heads": 2, "head_hidden_size": 8, "classifier_hidden_size": 8, **settings}
    torch.manual_seed(0)
    model = SerMetaModel(SerMetaConfig(speech_config=config, **options, calibration_temperature=2.0))
    model = narrowed(model, narrow) if narrow else model
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("encoder") and parameter.dim() > 1:
                parameter.normal_(std=parameter.shape[-1] ** -0.5)
    return model.eval()


def speech(seconds: float, seed: int = 0) -> np.ndarray:
    """A tone that swells and wavers, with a quiet start `(samples,)`."""
    chance, time = np.random.default_rng(seed), np.arange(round(seconds * 16_000)) / 16_000
    tone = 0.3 * np.sin(2 * np.pi * (200 + 60 * np.sin(2 * time)) * time) * (time > 0.2)
    return (tone + 1e-3 * chance.normal(size=len(time))).astype(np.float32)


def assert_same_result(found, expected, tolerance=1e-4):
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for name in expected:
            assert_same_result(found[name], expected[name], tolerance)
    elif isinstance(expected, list) and expected and isinstance(expected[0], dict) and "label" in expected[0]:
        scores = {entry["label"]: entry["score"] for entry in expected}
        assert {entry["label"]: entry["score"] for entry in found} == pytest.approx(scores, abs=tolerance)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same_result(one, other, tolerance)
    else:
        assert found == (expected if isinstance(expected, str) else pytest.approx(expected, abs=tolerance))
