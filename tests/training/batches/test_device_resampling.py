import io

import numpy as np
import pytest
import soundfile
import torch

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.modeling_ser_meta.audio_ser_meta import read_audio, resample
from ser_meta.modeling_ser_meta.processing_ser_meta import SerMetaProcessor
from ser_meta.training.batches.augmentation import SpeedPerturbation
from ser_meta.training.batches.collator import SpeechCollator
from ser_meta.training.batches.device_resampling import DeviceCollator, DeviceResampler
from ser_meta.training.machine.torchaudio_build import check_resampler, find_torchaudio

TASKS = {"emotion": {"kind": "classification", "labels": ["angry", "sad"]}}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LENGTHS = (16_000, 8_001, 40_003)

build = find_torchaudio()
needs_torchaudio = pytest.mark.skipif(build is None or bool(build.fault), reason="no torchaudio that imports")


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=0.1, size=samples).astype(np.float32)


def decibels_below(expected: np.ndarray, found: np.ndarray) -> float:
    """How far the difference lies below what was expected."""
    return 10 * np.log10(np.square(expected).mean() / np.square(expected - found).mean())


@needs_torchaudio
@pytest.mark.parametrize(("rate", "target"), [(0.8, 1), (1.2, 1), (48_000, 16_000), (44_100, 16_000), (8_000, 16_000)])
def test_a_batch_equals_soxrs_recordings(rate, target):
    recordings = [noise(length) for length in LENGTHS]
    found = DeviceResampler(DEVICE)(recordings, [rate] * 3, target)
    for samples, resampled in zip(recordings, found, strict=True):
        expected = resample(samples, rate, target)
        assert resampled.dtype == np.float32 and resampled.shape == expected.shape
        # noise is as loud at the edge of the band as anywhere, where the filters differ; speech is not
        assert decibels_below(expected, resampled) > 45


@needs_torchaudio
def test_a_recording_is_resampled_alike_whatever_it_is_beside():
    short, long = noise(5_000), noise(50_000, seed=1)
    resampler = DeviceResampler(DEVICE)
    (alone,) = resampler([short], [1.2], 1)
    beside, own_speed, slower = resampler([short, long, long], [1.2, 1, 0.8], 1)
    np.testing.assert_allclose(beside, alone, atol=1e-6)
    np.testing.assert_array_equal(own_speed, long)
    assert len(slower) == 62_500


def test_rates_without_a_small_ratio_are_soxrs_to_the_bit():
    samples = noise(44_056)
    (found,) = DeviceResampler(DEVICE)([samples], [44_056], 16_000)
    np.testing.assert_array_equal(found, resample(samples, 44_056, 16_000))


@needs_torchaudio
def test_a_collator_on_a_device_makes_the_same_batches(encoder_folder):
    processor = SerMetaProcessor.from_backbone_pretrained(encoder_folder)

    def row(name: str, rate: int, seconds: float) -> dict:
        file = io.BytesIO()
        tones = [np.sin(2 * np.pi * pitch * np.arange(round(rate * seconds)) / rate) for pitch in (220, 1_400)]
        soundfile.write(file, 0.2 * np.stack(tones, axis=1), rate, format="FLAC")
        return {"audio": {"bytes": file.getvalue(), "path": None}, "utterance_id": name, "emotion": "sad"}

    rows = [row("a", 48_000, 1.0), row("b", 16_000, 0.7), row("c", 44_100, 0.4), row("d", 48_000, 0.02)]
    plain = SpeechCollator(processor, TASKS, SpeedPerturbation([0.8, 1.0, 1.2], seed=2, shortest=400))
    on_device = DeviceCollator(plain, DEVICE)
    for epoch in range(2):
        plain.speed.set_epoch(epoch)
        expected, found = plain(rows), on_device(rows)
        assert found["attention_mask"].equal(expected["attention_mask"])
        assert found["labels"]["emotion"].equal(expected["labels"]["emotion"])
        assert decibels_below(expected["input_values"].numpy(), found["input_values"].numpy()) > 48
    assert type(on_device.without_speed()) is SpeechCollator


def test_what_is_asked_of_torchaudio_is_refused_where_it_cannot_be():
    with pytest.raises(UserError, match="in the training's own process: set workers=0 and cache=null"):
        load_recipe("demo", ["data.resampler=torchaudio", "workers=2"])
    if DEVICE == "cpu" or build is None or build.fault:
        with pytest.raises(UserError, match=r"=torchaudio needs a CUDA GPU and a torchaudio that imports"):
            check_resampler("torchaudio")


@needs_torchaudio
def test_speech_differs_by_less_than_48_decibels_below_it(shared):
    files = sorted((shared / "data").rglob("*.flac"))
    recordings = [read_audio(files[place]) for place in range(0, len(files), len(files) // 20)]
    for factor in (0.8, 1.2):
        found = DeviceResampler(DEVICE)(recordings, [factor] * len(recordings), 1)
        for samples, resampled in zip(recordings, found, strict=True):
            assert decibels_below(resample(samples, factor, 1), resampled) > 48
