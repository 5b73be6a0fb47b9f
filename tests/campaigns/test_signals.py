"""Recordings that nobody means to make: a finite answer, or one line that says what is wrong."""

import resource

import numpy as np
import pytest
import soundfile
from tiny_model import save_tiny_model

from ser_meta.modeling_ser_meta import SpeechEmotionPipeline
from ser_meta.modeling_ser_meta.audio_ser_meta import AudioError, read_audio, stream_audio
from ser_meta.training.runs.loading import load_model

RATE = 16_000
SECOND = np.arange(RATE) / RATE
ANSWERED = {
    "silence": np.zeros(RATE),
    "a constant": np.full(RATE, 0.5),
    "a constant beyond full scale": np.full(RATE, -1.5),
    "a full-scale square wave": np.sign(np.sin(2 * np.pi * 100 * SECOND + 0.1)),
    "the smallest numbers": np.full(RATE, np.float32(1e-45)),
    "one click": np.eye(1, RATE)[0],
    "white noise": np.random.default_rng(0).uniform(-1, 1, RATE),
    "25 ms": 0.1 * np.sin(2 * np.pi * 200 * SECOND[:400]),
    "just below the highest pitch": 0.5 * np.cos(np.pi * 0.999 * np.arange(RATE)),
}
REFUSED = {
    "NaN": (np.full(RATE, np.nan), "holds NaN or infinite samples"),
    "infinity": (np.where(SECOND > 0.5, np.inf, 0.1), "holds NaN or infinite samples"),
    "the largest numbers": (np.full(RATE, 3e38), r"holds samples of 3e\+38"),
    "integers in disguise": (np.full(RATE, 32_767.0), "holds samples of 32767"),
    "20 ms": (np.full(320, 0.1), "320 samples is shorter than the"),
    "nothing": (np.zeros(0), "holds no samples"),
}


@pytest.fixture(scope="module", params=[True, False], ids=["normalised", "as it is"])
def recogniser(request, tmp_path_factory) -> SpeechEmotionPipeline:
    model, processor = load_model(save_tiny_model(tmp_path_factory.mktemp("model"), request.param))
    return SpeechEmotionPipeline(model=model, processor=processor)


def assert_is_an_answer(result: dict) -> None:
    for task in ("emotion", "gender"):
        scores = [entry["score"] for entry in result[task]]
        assert np.isfinite(scores).all() and sum(scores) == pytest.approx(1)


@pytest.mark.parametrize("signal", ANSWERED)
def test_what_is_answered(signal, recogniser, tmp_path):
    soundfile.write(tmp_path / "a.wav", ANSWERED[signal], RATE, subtype="FLOAT")
    features = recogniser.processor(read_audio(tmp_path / "a.wav"), sampling_rate=RATE)
    assert all(values.isfinite().all() for values in features.values())
    assert_is_an_answer(recogniser(tmp_path / "a.wav"))
    assert_is_an_answer(recogniser(tmp_path / "a.wav", window_seconds=0.5))


@pytest.mark.parametrize("signal", REFUSED)
def test_what_is_refused(signal, recogniser, tmp_path):
    samples, message = REFUSED[signal]
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match=message) as refused:
        recogniser(tmp_path / "a.wav")
    assert str(tmp_path / "a.wav") in str(refused.value) and len(str(refused.value).splitlines()) == 1


def test_an_hour_takes_no_more_memory_than_a_minute(tmp_path):
    path = tmp_path / "hour.flac"
    with soundfile.SoundFile(path, "w", 8_000, 1) as file:
        for _ in range(60):
            file.write(np.zeros(60 * 8_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lengths = [len(block) for block in stream_audio(path)]
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # KiB
    assert sum(lengths) == 3_600 * RATE and max(lengths) < 11 * RATE
    assert grown < 32 * 1024  # all of it has 225 MiB


@pytest.mark.campaign
def test_an_hour_of_noise_is_answered(tmp_path):
    model, processor = load_model(save_tiny_model(tmp_path / "model"))
    path, chance = tmp_path / "hour.flac", np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", 8_000, 1) as file:
        for minute in range(60):
            file.write(chance.normal(scale=0.1 if minute % 2 else 0.001, size=60 * 8_000))
    recogniser = SpeechEmotionPipeline(model=model, processor=processor, batch_size=8)
    recogniser({"array": np.zeros(20 * RATE), "sampling_rate": RATE})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = recogniser(path)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"an hour through the pipeline: {len(result['segments'])} segments, memory grew by {grown:.0f} MiB")
    assert_is_an_answer(result)
    assert result["segments"][-1]["end"] <= 3_600.1 and grown < 200
