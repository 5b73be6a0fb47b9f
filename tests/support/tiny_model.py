"""A model of random weights that is small enough to be asked thousands of times."""

from pathlib import Path

import torch
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor

from ser_meta.modeling_ser_meta import SerMetaConfig, SerMetaModel, SerMetaProcessor
from ser_meta.modeling_ser_meta.processing_ser_meta import character_tokenizer

TASKS = {
    "emotion": {"kind": "classification", "labels": ["angry", "neutral", "sad"]},
    "gender": {"kind": "classification", "labels": ["female", "male"]},
    "transcript": {"kind": "ctc"},
}


def save_tiny_model(folder: Path, normalize: bool = True) -> Path:
    """Writes a wav2vec2-type model of two layers with its processor."""
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8, 8),
        conv_kernel=(10, 8, 8),
        conv_stride=(5, 8, 8),
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
    )
    model = SerMetaModel(SerMetaConfig(speech_config=config, tasks=TASKS, coattention_heads=2, head_hidden_size=8))
    model.save_pretrained(folder)
    SerMetaProcessor(Wav2Vec2FeatureExtractor(do_normalize=normalize), character_tokenizer()).save_pretrained(folder)
    return folder
