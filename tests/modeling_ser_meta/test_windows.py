"""A recording in pieces: at its pauses, and into windows where it has none."""

import numpy as np
import pytest

from ser_meta.modeling_ser_meta.windows_ser_meta import Frame, cut_recording, cut_windows, is_silent, levels_of

RATE = 1_000


def sound(seconds: float, decibels: float, seed: int = 0) -> np.ndarray:
    """Noise of this level, in decibels of full scale."""
    noise = np.random.default_rng(seed).uniform(-1, 1, round(seconds * RATE))
    return (noise / np.sqrt(np.square(noise).mean()) * 10 ** (decibels / 20)).astype(np.float32)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), dtype=np.float32)


def speech(seconds: float, decibels: float) -> np.ndarray:
    """Syllables of 200 ms, the gaps between them 30 dB weaker."""
    syllables = (np.arange(round(seconds * RATE)) // (RATE // 10)) % 3 < 2
    return sound(seconds, decibels) * np.where(syllables, 1, 10 ** (-30 / 20)).astype(np.float32)


def stretches(*parts: np.ndarray, **options) -> list[tuple[float, float]]:
    """Start and end of what lies between two pauses, in seconds."""
    ends: dict[int, list[int]] = {}
    for piece in cut_recording([np.concatenate(parts)], RATE, window_seconds=4.0, **options):
        if not piece.silent:
            ends.setdefault(piece.stretch, []).extend([piece.start, piece.start + len(piece.samples)])
    assert list(ends) == list(range(len(ends)))
    return [(min(samples) / RATE, max(samples) / RATE) for samples in ends.values()]


@pytest.mark.parametrize("length", [3, 10, 11, 14, 22, 23, 100])
@pytest.mark.parametrize("block", [1, 7, 1000])
@pytest.mark.parametrize("hop", [1, 4, 10])
def test_windows_cover_the_recording_whatever_the_blocks(length, block, hop):
    recording = np.arange(length, dtype=np.float32)
    blocks = (recording[start : start + block] for start in range(0, length, block))
    pieces = list(cut_windows(blocks, window=10, hop=hop))
    for piece in pieces:
        np.testing.assert_array_equal(piece.samples, recording[piece.start : piece.start + len(piece.samples)])
    starts = [piece.start for piece in pieces]
    assert starts[:-1] == [index * hop for index in range(len(pieces) - 1)]
    assert 0 <= starts[-1] - max([0, *starts[:-1]]) <= hop
    assert all(len(piece.samples) == min(10, length) for piece in pieces)
    assert starts[-1] + len(pieces[-1].samples) == length


def test_a_recording_is_cut_when_it_is_long_or_when_windows_are_asked_for():
    def pieces(seconds, *options):
        return [
            (piece.start / 100, len(piece.samples) / 100, piece.windowed)
            for piece in cut_recording(iter(np.tile(np.float32([1, -1]), (seconds, 50))), 100, *options)
        ]

    assert pieces(15, None, None) == [(0, 15, False)]
    assert pieces(16, None, None) == [(start, 4, True) for start in (0, 2, 4, 6, 8, 10, 12)]
    assert pieces(3, 4, None) == [(0, 3, True)]
    assert pieces(5, 2, None) == [(0, 2, True), (1, 2, True), (2, 2, True), (3, 2, True)]
    assert pieces(7, None, 1.5) == [(0, 4, True), (1.5, 4, True), (3, 4, True)]
    with pytest.raises(ValueError, match=r"hop_seconds=3 must be at most the 2 s of a window"):
        pieces(5, 2, 3)


def test_no_window_straddles_a_pause():
    parts = [sound(3, -20), silence(1), sound(2, -20), silence(0.35), sound(1, -20), silence(5), sound(6, -20)]
    recording = np.concatenate(parts)
    pieces = list(cut_recording([recording], RATE, window_seconds=4.0))
    found = [(piece.stretch, piece.start / RATE, len(piece.samples) / RATE) for piece in pieces]
    # 200 ms of a pause stay with what is next to it, one of less than 400 ms is none; the last stretch has two windows
    assert found == [(0, 0, 3.2), (1, 3.8, 3.75), (2, 12.15, 4.0), (2, 14.15, 4.0), (2, 14.35, 4.0)]
    for piece in pieces:
        np.testing.assert_array_equal(piece.samples, recording[piece.start :][: len(piece.samples)])


@pytest.mark.parametrize("block", [1, 333, 10_000])
def test_a_stream_is_cut_as_the_whole(block):
    parts = [silence(1), speech(5, -15), sound(2, -60), speech(9, -40), silence(40), sound(6, -50), speech(7, -30)]
    recording = np.concatenate(parts)[:-17]
    expected = list(cut_recording([recording], RATE))
    found = list(cut_recording((recording[at : at + block] for at in range(0, len(recording), block)), RATE))
    assert [piece[1:] for piece in found] == [piece[1:] for piece in expected]
    for mine, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine.samples, other.samples)


def test_only_a_few_seconds_of_a_stream_are_held():
    read = []

    def blocks():
        for turn in range(300):
            read.append(1)
            yield speech(1, -20) if turn % 40 < 36 else silence(1)

    for piece in cut_recording(blocks(), RATE):
        # a stretch's last piece waits for the next one to begin: a pause of 4 s here
        assert len(read) <= max(16, (piece.start + len(piece.samples)) / RATE + 8)
    assert len(read) == 300


def test_a_quiet_voice_after_a_loud_one_is_heard():
    loud, quiet = speech(3, -10), speech(3, -44)
    assert stretches(loud, silence(1), quiet, silence(1), loud) == [(0, 3.2), (3.8, 7.1), (7.8, 11)]
    with_noise = [part + sound(len(part) / RATE, -40, seed=1) for part in (loud, silence(1), speech(3, -22))]
    assert stretches(*with_noise) == [(0, 3.1), (3.8, 7.0)]


def test_steady_noise_is_a_pause_of_a_talk_but_a_held_tone_is_sound():
    noise = sound(25, -50, seed=1)
    assert stretches(speech(5, -20), noise, speech(5, -20)) == [(0, 5.2), (29.8, 35)]
    assert stretches(sound(40, -30)) == [(0, 40)]


def test_a_click_is_no_speech():
    click = sound(0.1, -10)
    assert stretches(speech(3, -20), silence(2), click, silence(2), speech(3, -20)) == [(0, 3.2), (6.9, 10.1)]


@pytest.mark.parametrize("lengths", [[], [3], [800] * 5, [800] * 5 + [1]])
def test_the_level_of_a_frame_is_its_own_whatever_stands_beside_it(lengths):
    frames = [Frame(0.3 + sound(length / RATE, -20, seed), 0) for seed, length in enumerate(lengths)]
    alone = [10 * np.log10(frame.samples.var(dtype=np.float64) + 1e-12) for frame in frames]
    np.testing.assert_array_equal(levels_of(frames), alone)


def test_what_is_silent_throughout_is_one_silent_piece():
    for recording in (silence(40), sound(40, -75)):
        (piece,) = cut_recording([recording], RATE)
        assert piece.silent and piece.windowed and piece.start + len(piece.samples) == 40 * RATE
    assert stretches(sound(30, -45), gate_decibels=-40) == []
    for seconds, decibels, silent in ((10, -75, True), (10, -60, False)):
        (piece,) = cut_recording([sound(seconds, decibels)], RATE)
        assert (piece.silent, piece.windowed, len(piece.samples)) == (silent, False, seconds * RATE)


def test_sound_is_what_lies_above_the_gate_around_its_mean():
    for dead in (np.full(3_200, 0.1, np.float32), np.full(10, -0.5, np.float32), silence(3) + np.float32(0.001)):
        assert is_silent(dead, RATE, -70)
    assert not is_silent(0.3 + sound(1, -60), RATE, -70)
    assert is_silent(0.3 + sound(1, -60), RATE, -50)
    # a click of up to 100 ms is no sound, however loud, also at either end
    for seconds in (0.02, 0.05, 0.1):
        assert is_silent(sound(seconds, -10), RATE, -70)
        for parts in ((silence(2), sound(seconds, -10), silence(2)), (sound(seconds, -10), silence(4))):
            assert is_silent(np.concatenate(parts), RATE, -70)
    assert not is_silent(np.concatenate([silence(1), sound(0.3, -40), silence(1)]), RATE, -70)


@pytest.mark.parametrize("offset", [0.0, 0.001, -0.4])
def test_an_offset_makes_no_sound_of_a_pause(offset):
    talk = [speech(3, -40), silence(2), speech(3, -40)]
    assert stretches(*(part + np.float32(offset) for part in talk)) == [(0, 3.1), (4.8, 8)]
    (piece,) = cut_recording([silence(40) + np.float32(offset)], RATE)
    assert piece.silent


def test_a_click_at_either_end_is_no_speech():
    for parts in ((sound(0.05, -10), silence(20)), (silence(20), sound(0.05, -10)), (sound(0.1, -10), silence(20))):
        (piece,) = cut_recording([np.concatenate(parts)], RATE)
        assert piece.silent
