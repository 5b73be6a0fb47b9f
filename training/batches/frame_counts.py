"""How many frames an encoder makes of recordings, before it has heard them."""

import torch

from ...modeling_ser_meta.features_ser_meta import input_lengths
from ...modeling_ser_meta.modeling_ser_meta import SerMetaModel
from ...modeling_ser_meta.processing_ser_meta import SerMetaProcessor


def frame_counts(model: SerMetaModel, processor: SerMetaProcessor, seconds: list[float]) -> torch.Tensor:
    """Frames of the encoder `(recordings,)` for recordings that last so long."""
    samples = (torch.tensor(seconds, dtype=torch.float64) * processor.sampling_rate).round().long()
    return model.encoder.frame_lengths(input_lengths(processor.feature_extractor, samples))
