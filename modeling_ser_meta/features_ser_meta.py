"""What is used of Transformers' feature extractors, in this file alone: their `pad` and their helpers are to change.

Each recording is processed alone. What an extractor makes of a batch, its mask included, is never used.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from transformers import AutoFeatureExtractor, FeatureExtractionMixin, Wav2Vec2FeatureExtractor
from transformers.utils import FEATURE_EXTRACTOR_NAME, PROCESSOR_NAME, cached_file

from .frames_ser_meta import FrameRule

LOG_MEL, STACKED_LOG_MEL, WAVEFORM, OTHER = "log_mel", "kaldi_log_mel", "waveform", "other"
KINDS = {
    "WhisperFeatureExtractor": LOG_MEL,
    "SeamlessM4TFeatureExtractor": STACKED_LOG_MEL,
    "Wav2Vec2FeatureExtractor": WAVEFORM,
}
PADDED_TO = 2  # log-mel frames: SeamlessM4T's fills up to a multiple of so many
TWO_LOG_MEL_FRAMES = 560  # samples: SeamlessM4T's divides by their deviation over time
PROBED_SAMPLES = 8_000  # around which it is measured how many frames an extractor makes


def kind_of(extractor: FeatureExtractionMixin) -> str:
    """What an extractor makes of a waveform."""
    return KINDS.get(type(extractor).__name__, OTHER)


def has_extractor(name_or_path: str, revision: str) -> bool:
    """Whether a repository or a folder has a feature extractor's settings; raises where that cannot be found out."""
    names = (FEATURE_EXTRACTOR_NAME, PROCESSOR_NAME)
    absent = {"revision": revision, "_raise_exceptions_for_missing_entries": False}
    return any(cached_file(name_or_path, name, **absent) is not None for name in names)


def load_extractor(name_or_path: str, revision: str) -> FeatureExtractionMixin:
    """The feature extractor of a repository or a folder."""
    return AutoFeatureExtractor.from_pretrained(name_or_path, revision=revision, trust_remote_code=False)


def usual_extractor() -> FeatureExtractionMixin:
    """Raw speech, normalised to zero mean and unit variance."""
    return Wav2Vec2FeatureExtractor(do_normalize=True)


def features_of(extractor: FeatureExtractionMixin, recording: np.ndarray) -> torch.Tensor:
    """The features of one recording `(samples,)`, without padding; `time_axis` tells where their time is."""
    kind, rate = kind_of(extractor), extractor.sampling_rate
    name = extractor.model_input_names[0]
    if kind == LOG_MEL:
        # silence behind the end, as in the 30 s that the encoder was trained on, and then cut to the true length
        frames = -(-len(recording) // extractor.hop_length)
        recording = np.pad(recording, (0, extractor.n_fft))
        features = extractor(recording, sampling_rate=rate, padding=False, truncation=False, return_tensors="pt")
        return features[name][0, :, :frames]
    shortest = {STACKED_LOG_MEL: TWO_LOG_MEL_FRAMES, WAVEFORM: 1}.get(kind) or _two_frames(extractor)
    recording = np.pad(recording, (0, max(0, shortest - len(recording))))
    features = extractor(recording, sampling_rate=rate, padding=True, return_tensors="pt")[name][0]
    # some make a frame more than they count as true
    return features[: _rule(extractor).frames(torch.tensor(len(recording)))] if kind == OTHER else features


def time_axis(extractor: FeatureExtractionMixin) -> int:
    """Where the features of one recording have their time."""
    return 1 if kind_of(extractor) == LOG_MEL else 0


def inputs_per_second(extractor: FeatureExtractionMixin) -> int:
    """Samples or feature vectors that the encoder gets of a second."""
    kind, rate = kind_of(extractor), extractor.sampling_rate
    if kind == LOG_MEL:
        return rate // extractor.hop_length
    if kind == STACKED_LOG_MEL:
        return 100 // extractor.stride
    return rate if kind == WAVEFORM else rate // _rule(extractor).stride


def input_lengths(extractor: FeatureExtractionMixin, samples: torch.Tensor) -> torch.Tensor:
    """Samples or feature vectors that the encoder gets of recordings of so many samples."""
    kind = kind_of(extractor)
    if kind == LOG_MEL:
        return torch.div(samples + extractor.hop_length - 1, extractor.hop_length, rounding_mode="floor")
    if kind == STACKED_LOG_MEL:
        mels = torch.div(samples.clamp(min=TWO_LOG_MEL_FRAMES) - 400, 160, rounding_mode="floor") + 1
        return torch.div(mels + extractor.stride - 1, extractor.stride, rounding_mode="floor")
    return samples if kind == WAVEFORM else _rule(extractor).frames(samples.clamp(min=_two_frames(extractor)))


def export_facts(extractor: FeatureExtractionMixin) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What computes the same features without Transformers: settings, and the tables of the log-mel kinds.

    Raises:
        ValueError: it is not known how this extractor works.
    """
    kind = kind_of(extractor)
    if kind == LOG_MEL:
        settings = {"kind": kind, "n_fft": extractor.n_fft, "hop_length": extractor.hop_length}
        return settings, {"mel_filters": extractor.mel_filters}
    if kind == STACKED_LOG_MEL:
        tables = {"mel_filters": extractor.mel_filters, "window": extractor.window}
        settings = {"stride": extractor.stride, "padding_value": extractor.padding_value}
        return {"kind": kind, "pad_to_multiple_of": PADDED_TO, **settings}, tables
    if kind == OTHER:
        raise ValueError(f"features of {type(extractor).__name__} cannot be computed without Transformers")
    return {"kind": kind, "normalize": extractor.do_normalize}, {}


def _rule(extractor: FeatureExtractionMixin) -> FrameRule:
    """How many true frames an extractor makes of samples, measured once for its settings."""
    return _measured(_Settings(extractor))


def _two_frames(extractor: FeatureExtractionMixin) -> int:
    rule = _rule(extractor)
    return 2 * rule.stride - rule.offset


class _Settings:
    """An extractor that is the same as another with the same settings."""

    def __init__(self, extractor: FeatureExtractionMixin):
        self.extractor, self.written = extractor, extractor.to_json_string()

    def __hash__(self) -> int:
        return hash(self.written)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Settings) and self.written == other.written


@lru_cache(maxsize=16)
def _measured(settings: _Settings) -> FrameRule:
    extractor = settings.extractor
    name, *others = extractor.model_input_names
    mask = next((other for other in others if "mask" in other), None)

    def count(samples: int) -> int:
        noise = np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32)
        made = extractor(noise, sampling_rate=extractor.sampling_rate, padding=True, return_tensors="pt")
        return int(made[mask][0].sum()) if mask in made else len(made[name][0])

    return FrameRule.measured(count, PROBED_SAMPLES)
