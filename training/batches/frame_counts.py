"""How many frames an encoder makes of recordings, before it has heard them."""

import torch
from transformers import SeamlessM4TFeatureExtractor, WhisperFeatureExtractor

from ...modeling_ser_meta.modeling_ser_meta import SerMetaModel
from ...modeling_ser_meta.processing_ser_meta import SerMetaProcessor


def frame_counts(model: SerMetaModel, processor: SerMetaProcessor, seconds: list[float]) -> torch.Tensor:
    """Frames of the encoder `(recordings,)` for recordings that last so long."""
    samples = (torch.tensor(seconds, dtype=torch.float64) * processor.sampling_rate).round().long()
    return model.encoder.frame_lengths(_input_lengths(processor, samples))


def _input_lengths(processor: SerMetaProcessor, samples: torch.Tensor) -> torch.Tensor:
    """Samples, or the feature vectors that a log-mel encoder gets of them."""
    extractor = processor.feature_extractor
    if isinstance(extractor, WhisperFeatureExtractor):
        return torch.div(samples + extractor.hop_length - 1, extractor.hop_length, rounding_mode="floor")
    if isinstance(extractor, SeamlessM4TFeatureExtractor):
        mels = torch.div(samples.clamp(min=560) - 400, 160, rounding_mode="floor") + 1
        return torch.div(mels + extractor.stride - 1, extractor.stride, rounding_mode="floor")
    return samples
