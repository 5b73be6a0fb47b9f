import numpy as np
import pytest
import soundfile

from ser_meta.configuration.degradations import KINDS, AugmentationRecipe, ChanceRecipe, effects_of
from ser_meta.configuration.errors import UserError
from ser_meta.training.batches.augmentation import Augmentation
from ser_meta.training.batches.degradations import Condition, active_level, coloured_noise

RATE = 16_000
EVERY = AugmentationRecipe(
    **{name: ChanceRecipe(0.5, chance.between, chance.among) for name, chance in AugmentationRecipe().chances.items()}
)
CONDITIONS = [
    *("telephone", "telephone:gsm", "noise:10", "noise:0:white", "noise:5:brown", "reverb", "reverb:2", "gain:-30"),
    *("clipping:10", "mp3:16", "mp3:32", "mp3:64", "opus:16", "noise:10+telephone"),
]


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Two seconds of noise with the spectrum and the rhythm of a voice, and a pause in the middle."""
    times = np.arange(2 * RATE) / RATE
    voice = coloured_noise(2 * RATE, "pink", np.random.default_rng(1)) * (1 + 0.5 * np.sin(2 * np.pi * 4 * times))
    voice[RATE - 4_000 : RATE + 4_000] = 0
    return (0.1 * voice / voice.std()).astype(np.float32)


def decibels(power: float) -> float:
    return 10 * np.log10(power)


def power(samples: np.ndarray, low: float, high: float) -> float:
    spectrum = np.abs(np.fft.rfft(samples)) ** 2
    frequencies = np.fft.rfftfreq(len(samples), 1 / RATE)
    return float(spectrum[(frequencies >= low) & (frequencies < high)].sum())


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_condition_keeps_length_and_place_and_is_the_same_again(name, speech):
    heard = Condition(name)(speech, RATE, "one")
    assert heard.shape == speech.shape and heard.dtype == np.float32
    np.testing.assert_array_equal(heard, Condition(name)(speech, RATE, "one"))
    padded = 2 * len(speech)
    correlation = np.fft.irfft(np.fft.rfft(heard, padded) * np.conj(np.fft.rfft(speech, padded)))
    lag = int(correlation.argmax())
    assert min(lag, padded - lag) <= 32  # 2 ms, of the telephone's band


def test_other_utterances_are_met_by_another_noise(speech):
    noise = Condition("noise:10")
    assert not np.array_equal(noise(speech, RATE, "one"), noise(speech, RATE, "two"))


@pytest.mark.parametrize("wanted", [0, 10, 20])
def test_noise_lies_so_far_below_what_is_spoken_and_not_below_its_pauses(wanted, speech):
    added = Condition(f"noise:{wanted}:white")(speech, RATE, "one") - speech
    spoken = np.concatenate([speech[:11_000], speech[21_000:]])
    assert decibels((spoken**2).mean() / (added**2).mean()) == pytest.approx(wanted, abs=0.5)


@pytest.mark.parametrize(("colour", "slope"), [("white", 0), ("pink", -3), ("brown", -6)])
def test_the_colours_fall_by_so_many_decibels_an_octave(colour, slope):
    noise = coloured_noise(2**17, colour, np.random.default_rng(0))
    # twice the width of a band at twice the frequency
    octaves = decibels(power(noise, 2_000, 4_000) / 2 / power(noise, 1_000, 2_000))
    assert octaves == pytest.approx(slope, abs=0.3)


def test_noise_comes_from_a_folder(tmp_path, speech):
    soundfile.write(tmp_path / "hum.wav", 0.1 * np.sin(2 * np.pi * 50 * np.arange(8_000) / RATE), RATE)
    added = Condition(f"noise:10:{tmp_path}")(speech, RATE, "one") - speech
    assert power(added, 40, 60) > 0.9 * power(added, 0, RATE)


@pytest.mark.parametrize("coding", ["alaw", "gsm"])
def test_a_telephone_passes_its_band_alone(coding):
    noise = (0.1 * np.random.default_rng(0).normal(size=2 * RATE)).astype(np.float32)
    heard = Condition(f"telephone:{coding}")(noise, RATE, "one")
    within = power(heard, 300, 3_400) / 3_100
    assert decibels(power(heard, 4_200, 8_000) / 3_800 / within) < -40
    assert decibels(power(heard, 0, 100) / 100 / within) < -12
    assert decibels(within * 3_100 / power(noise, 300, 3_400)) == pytest.approx(0, abs=3)


def test_a_telephone_ends_without_the_reader_s_noise():
    # a second of GSM 6.10 has an odd number of blocks, behind which libsndfile reads 40 ms of noise
    heard = Condition("telephone:gsm")(np.zeros(RATE, np.float32), RATE, "one")
    assert np.abs(heard).max() < 0.01


def test_an_echo_fades_by_60_decibels_in_its_time():
    click = np.zeros(2 * RATE, np.float32)
    click[0] = 0.5
    heard = Condition("reverb:1")(click, RATE, "one")
    early, late = (heard[round(at * RATE) :][: RATE // 20] for at in (0.1, 0.6))
    assert decibels((early**2).mean() / (late**2).mean()) == pytest.approx(30, abs=2)


def test_clipping_cuts_so_many_samples_off(speech):
    heard = Condition("clipping:10")(speech, RATE, "one")
    assert np.mean(np.abs(heard) >= np.abs(heard).max() * 0.9999) == pytest.approx(0.1, abs=0.01)


def test_gain_leaves_16_bits(speech):
    heard = Condition("gain:-30")(speech, RATE, "one").astype(np.float64) * 2**15
    np.testing.assert_array_equal(heard, np.round(heard))


def test_links_to_nothing_in_a_folder_of_noise_are_passed_over(speech, tmp_path):
    for name in ("some", "none"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "b.wav").symlink_to("gone.wav")
    soundfile.write(tmp_path / "some" / "a.wav", coloured_noise(RATE, "pink", np.random.default_rng(1)), RATE)
    for number in range(4):  # each draws a recording
        assert not np.array_equal(Condition(f"noise:10:{tmp_path / 'some'}")(speech, RATE, str(number)), speech)
    with pytest.raises(UserError, match="none holds no sound files: all are links to what is not there"):
        Condition(f"noise:10:{tmp_path / 'none'}")(speech, RATE, "one")


def test_silence_stays_silence():
    silence = np.zeros(RATE, np.float32)
    assert active_level(silence, RATE) == 0
    for name in ("noise:10", "reverb", "clipping", "mp3:32", "gain:20"):
        assert np.abs(Condition(name)(silence, RATE, "one")).max() < 1e-3


def drawn(seed: int, epoch: int, copies: int | None = None, utterances: int = 300) -> list[list]:
    augmentation = Augmentation(AugmentationRecipe(**{**vars(EVERY), "copies": copies}), [1.0], seed)
    augmentation.set_epoch(epoch)
    names = [f"utterance {number}" for number in range(utterances)]
    return [augmentation.degradation(name).effects(name) for name in names]


def test_effects_are_drawn_by_seed_epoch_and_utterance_alone():
    assert drawn(1, 3) == drawn(1, 3)
    assert drawn(1, 3) != drawn(1, 4)
    assert drawn(1, 3) != drawn(2, 3)
    assert drawn(1, 3, utterances=20) == drawn(1, 3)[:20]


def test_effects_are_as_frequent_and_as_strong_as_asked():
    effects = [effect for each in drawn(1, 0) for effect in each]
    for name, chance in EVERY.chances.items():
        found = [effect for effect in effects if effect.kind == name]
        assert 110 < len(found) < 190
        assert all(chance.between[0] <= effect.amount <= chance.between[1] for effect in found)
        assert {effect.variety for effect in found} == set(chance.among or [""])
    for each in drawn(1, 0):
        kinds = [effect.kind for effect in each]
        assert kinds == [kind for kind in KINDS if kind in kinds]


def test_copies_are_the_same_in_every_epoch_and_for_every_seed():
    kinds = {(seed, epoch): drawn(seed, epoch, copies=2) for seed in (1, 2) for epoch in range(8)}
    of_one = {tuple(each[0]) for each in kinds.values()}
    assert len(of_one) == 2
    assert kinds[1, 0] != kinds[1, 1]  # which of them is heard is drawn anew


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nois:10", "is no condition that is known: choose among telephone"),
        ("noise:loud", "needs decibels that the speech is above it, from -20 to 60"),
        ("gain", "needs decibels, from -60 to 40"),
        ("telephone:ulaw", "ulaw is none of alaw, gsm"),
        ("noise:10:/nowhere", "/nowhere is none of pink, white, brown, and no folder"),
        ("mp3:1", "needs kbit/s, from 9 to 128"),
    ],
)
def test_what_is_no_condition_is_told(name, told):
    with pytest.raises(ValueError, match=told):
        effects_of(name)
