"""Encoders and models of random weights, small enough to be trained in a second and asked thousands of times."""

from pathlib import Path
from typing import Any

import torch
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

from ser_meta.modeling_ser_meta import SerMetaConfig, SerMetaModel, SerMetaProcessor
from ser_meta.modeling_ser_meta.processing_ser_meta import character_tokenizer

TASKS = {
    "emotion": {"kind": "classification", "labels": ["angry", "neutral", "sad"]},
    "gender": {"kind": "classification", "labels": ["female", "male"]},
    "transcript": {"kind": "ctc"},
}
LAYERS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
RAW = {  # of an encoder that hears samples: three convolutions, a frame every 20 ms
    **LAYERS,
    "conv_dim": (8, 8, 8),
    "conv_kernel": (10, 8, 8),
    "conv_stride": (5, 8, 8),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


def save_tiny_encoder(folder: Path, do_normalize: bool = False, **settings: Any) -> Path:
    """Writes a wav2vec2-type encoder with its feature extractor; `settings` are of its config."""
    torch.manual_seed(0)
    Wav2Vec2Model(Wav2Vec2Config(**{**RAW, **settings})).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=do_normalize).save_pretrained(folder)
    return folder


def save_tiny_model(folder: Path, do_normalize: bool = True) -> Path:
    """Writes a model on such an encoder with its processor."""
    torch.manual_seed(0)
    config = SerMetaConfig(speech_config=Wav2Vec2Config(**RAW), tasks=TASKS, coattention_heads=2, head_hidden_size=8)
    SerMetaModel(config).save_pretrained(folder)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=do_normalize)
    SerMetaProcessor(extractor, character_tokenizer()).save_pretrained(folder)
    return folder
