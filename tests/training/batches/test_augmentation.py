from collections import Counter

import numpy as np
import pytest

from ser_meta.training.batches.augmentation import SpeedPerturbation

FACTORS = [0.8, 1.0, 1.2]
NAMES = [f"utterance {number}" for number in range(600)]


def draws(seed: int, epoch: int) -> list[float]:
    speed = SpeedPerturbation(FACTORS, seed)
    speed.set_epoch(epoch)
    return [speed.factor(name) for name in NAMES]


def test_a_draw_depends_on_seed_epoch_and_utterance_alone():
    speed = SpeedPerturbation(FACTORS, seed=1)
    speed.set_epoch(3)
    backwards = [speed.factor(name) for name in reversed(NAMES)][::-1]
    assert backwards == draws(seed=1, epoch=3)
    assert draws(1, 3) != draws(1, 4)
    assert draws(1, 3) != draws(2, 3)


def test_every_factor_is_drawn_about_as_often():
    counts = Counter(draws(seed=1, epoch=0))
    assert set(counts) == set(FACTORS)
    assert min(counts.values()) > len(NAMES) / 4


def test_an_utterance_gets_every_factor_over_the_epochs():
    assert {draws(seed=1, epoch=epoch)[0] for epoch in range(20)} == set(FACTORS)


@pytest.mark.parametrize("factor", FACTORS)
def test_speed_changes_length_and_pitch(factor):
    samples = np.sin(2 * np.pi * 400 * np.arange(16_000) / 16_000).astype(np.float32)
    heard = SpeedPerturbation([factor], seed=1)(samples, "utterance")
    assert abs(len(heard) - 16_000 / factor) <= 1
    middle = heard[2_000:-2_000]
    pitch = np.abs(np.fft.rfft(middle * np.hanning(len(middle)))).argmax() * 16_000 / len(middle)
    assert pitch == pytest.approx(400 * factor, abs=2)
    assert heard.dtype == np.float32


def test_own_speed_leaves_every_sample_as_it_is():
    samples = np.random.default_rng(0).normal(size=500).astype(np.float32)
    np.testing.assert_array_equal(SpeedPerturbation([1.0], seed=1)(samples, "utterance"), samples)


def test_what_would_become_too_short_keeps_its_speed():
    speed = SpeedPerturbation([1.2], seed=1, shortest=400)
    assert len(speed(np.zeros(450, dtype=np.float32), "utterance")) == 450
    assert len(speed(np.zeros(480, dtype=np.float32), "utterance")) == 400
