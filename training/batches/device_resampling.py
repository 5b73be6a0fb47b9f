"""Resampling and speed perturbation of whole batches on a GPU, by torchaudio."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from ...modeling_ser_meta.audio_ser_meta import read_as_recorded, resample
from ..corpora.recordings import recording
from .collator import SpeechCollator

# As near to soxr's filter as torchaudio's comes: on 60 recordings of RAVDESS and nEMO at speeds 0.8 and 1.2 the
# difference lay 48 dB or more below the recording (65 in the median), and at most at 0.0011 of full scale; with
# torchaudio's own defaults 17 dB and 0.044.
FILTER = {"lowpass_filter_width": 88, "rolloff": 0.956, "resampling_method": "sinc_interp_kaiser", "beta": 11.0}
LARGEST_TERM = 1_000  # of the ratio of two rates, in lowest terms: torchaudio's filter grows with its square


class DeviceCollator(SpeechCollator):
    """Another collator's batches, resampled and perturbed on a device, all recordings of one rate or factor together.

    Args:
        collator: whose processor, tasks and draws of speed these are.
        device: to compute on; it must be usable in the process that makes the batches.
    """

    def __init__(self, collator: SpeechCollator, device: torch.device | str):
        super().__init__(collator.processor, collator.tasks, collator.speed, collator.shares)
        self.resampler = DeviceResampler(device)

    def _played(self, rows: list[dict[str, Any]], names: list[str]) -> list[np.ndarray]:
        target = self.processor.sampling_rate
        recorded = [read_as_recorded(recording(row)) for row in rows]
        heard = self.resampler([samples for samples, _ in recorded], [rate for _, rate in recorded], target)
        if self.speed is None:
            return heard
        factors = [self.speed.heard_at(name, len(samples)) for name, samples in zip(names, heard, strict=True)]
        return self.resampler(heard, factors, 1)


class DeviceResampler:
    """torchaudio's resampling, of many recordings at a time, with soxr's filter and lengths as nearly as it can.

    Two rates in a ratio of large numbers, such as 44,056 and 16,000 Hz, are left to soxr.

    Args:
        device: to compute on.
    """

    def __init__(self, device: torch.device | str):
        self.device = torch.device(device)
        self.transforms: dict[Fraction, torch.nn.Module] = {}

    def __call__(self, recordings: Sequence[np.ndarray], rates: Sequence[float], target: float) -> list[np.ndarray]:
        """Recordings `(samples,)` at another rate.

        Args:
            recordings: float32.
            rates: of each, in Hz.
            target: the rate of the results.
        """
        found, by_rate = list(recordings), {}
        for place, rate in enumerate(rates):
            if rate != target:
                by_rate.setdefault(rate, []).append(place)
        for rate, places in by_rate.items():
            resampled = self._of_one_rate([found[place] for place in places], rate, target)
            for place, samples in zip(places, resampled, strict=True):
                found[place] = samples
        return found

    @torch.no_grad()
    def _of_one_rate(self, recordings: list[np.ndarray], rate: float, target: float) -> list[np.ndarray]:
        ratio = Fraction(str(rate)) / Fraction(str(target))
        if max(ratio.numerator, ratio.denominator) > LARGEST_TERM:
            return [resample(samples, rate, target) for samples in recordings]
        padded = pad_sequence([torch.from_numpy(samples) for samples in recordings], batch_first=True)
        # without TensorFloat-32, which would round to 10 bits
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            resampled = self._transform(ratio)(padded.to(self.device)).cpu().numpy()
        lengths = [int(len(samples) / ratio + Fraction(1, 2)) for samples in recordings]
        return [row[:length] for row, length in zip(resampled, lengths, strict=True)]

    def _transform(self, ratio: Fraction) -> torch.nn.Module:
        if ratio not in self.transforms:
            from torchaudio.transforms import Resample

            transform = Resample(ratio.numerator, ratio.denominator, **FILTER)
            self.transforms[ratio] = transform.to(self.device)
        return self.transforms[ratio]
