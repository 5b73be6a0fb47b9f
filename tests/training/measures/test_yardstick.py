import io

import numpy as np
import pytest
import soundfile
from datasets import Audio, Dataset

from ser_meta.modeling_ser_meta.audio_ser_meta import AudioError
from ser_meta.training.measures.yardstick import (
    SAMPLING_RATE,
    STATISTICS,
    acoustic_statistics,
    logistic_regression_yardstick,
)

TIME = np.arange(SAMPLING_RATE) / SAMPLING_RATE


def voice(pitch, loudness=0.1):
    """One second of a harmonic tone: what the autocorrelation of a vowel looks like."""
    return (loudness * sum(np.sin(2 * np.pi * k * pitch * TIME) / k for k in range(1, 9))).astype(np.float32)


def statistic(waveform, name):
    return acoustic_statistics(waveform, SAMPLING_RATE)[STATISTICS.index(name)]


def dataset(waveforms, labels):
    files = []
    for waveform in waveforms:
        buffer = io.BytesIO()
        soundfile.write(buffer, waveform, SAMPLING_RATE, format="FLAC")
        files.append({"bytes": buffer.getvalue(), "path": None})
    return Dataset.from_dict({"audio": files, "emotion": labels}).cast_column("audio", Audio(decode=False))


def two_classes(generator, count):
    pairs = [
        (p, s)
        for _ in range(count)
        for p, s in ((generator.uniform(90, 130), 0.05), (generator.uniform(200, 260), 0.2))
    ]
    return dataset([voice(*pair) for pair in pairs], ["sad", "happy"] * count)


@pytest.mark.parametrize("pitch", [70, 110, 220, 440])
def test_pitch_of_a_known_tone(pitch):
    assert statistic(voice(pitch), "pitch, median") == pytest.approx(np.log2(pitch), abs=0.03)
    assert statistic(voice(pitch), "pitch, range") == pytest.approx(0, abs=0.03)


def test_a_glide_has_its_range_in_octaves():
    octaves = 2 * TIME
    glide = np.sin(2 * np.pi * np.cumsum(100 * 2**octaves) / SAMPLING_RATE).astype(np.float32)
    assert statistic(glide, "pitch, range") == pytest.approx(0.8 * 2, abs=0.1)


def test_loudness_and_brightness_move_their_own_statistics():
    quiet, loud = voice(150, 0.01), voice(150, 0.1)
    difference = acoustic_statistics(loud, SAMPLING_RATE) - acoustic_statistics(quiet, SAMPLING_RATE)
    assert difference[0] == pytest.approx(2 * np.log(10), abs=0.02)
    assert difference[2:] == pytest.approx(0, abs=0.5)
    assert statistic(np.sin(2 * np.pi * 3000 * TIME), "spectral centroid, mean") == pytest.approx(3000, rel=0.02)
    assert statistic(np.sin(2 * np.pi * 1000 * TIME), "zero-crossing rate, mean") == pytest.approx(1 / 8, abs=0.005)


def test_noise_has_no_pitch_but_all_else():
    values = acoustic_statistics(np.random.default_rng(0).normal(size=SAMPLING_RATE), SAMPLING_RATE)
    assert np.isnan(values).tolist() == [False] * 5 + [True] * 2


@pytest.mark.parametrize("waveform", [np.zeros(SAMPLING_RATE), np.zeros(1), np.ones(50)])
def test_silence_and_fragments_have_finite_statistics(waveform):
    assert np.isfinite(acoustic_statistics(waveform, SAMPLING_RATE)[:5]).all()


def test_the_yardstick_learns_what_the_statistics_show():
    generator = np.random.default_rng(0)
    train, test = two_classes(generator, 12), two_classes(generator, 6)
    measures = logistic_regression_yardstick(train, test, "emotion")
    assert measures["ua"] == 1
    assert measures["support"] == {"happy": 6, "sad": 6}


def test_rows_without_the_target_are_left_out():
    generator = np.random.default_rng(0)
    train = two_classes(generator, 4)
    test = dataset([voice(100, 0.05), voice(230, 0.2)], ["sad", None])
    assert logistic_regression_yardstick(train, test, "emotion")["n"] == 1
    unlabelled = dataset([voice(100)], [None])
    assert "not_applicable" in logistic_regression_yardstick(train, unlabelled, "emotion")


def test_what_cannot_be_learned_or_read_is_said():
    train = two_classes(np.random.default_rng(0), 2)
    found = logistic_regression_yardstick(dataset([voice(100)], ["sad"]), train, "emotion")
    assert found == {"not_applicable": "the training side has 1 emotion class(es), and two are to be told apart"}
    test = dataset([voice(100), voice(400)], [train["emotion"][0], "afraid"])  # which is never learned
    assert logistic_regression_yardstick(train, test, "emotion")["recall"]["afraid"] == 0
    broken = Dataset.from_dict({"audio": [{"bytes": b"text", "path": "a.wav"}], "emotion": ["sad"]})
    with pytest.raises(AudioError, match=r"a\.wav"):
        logistic_regression_yardstick(train, broken, "emotion")
