"""A recording in pieces, and what is made of the pieces' scores."""

import numpy as np
import pytest

from ser_meta.modeling_ser_meta.windows_ser_meta import (
    audible_pieces,
    cut_recording,
    cut_windows,
    level,
    merged_segments,
    regions,
    verdict,
)


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
            for piece in cut_recording(iter(np.zeros((seconds, 100), dtype=np.float32)), 100, *options)
        ]

    assert pieces(15, None, None) == [(0, 15, False)]
    assert pieces(16, None, None) == [(start, 4, True) for start in (0, 2, 4, 6, 8, 10, 12)]
    assert pieces(3, 4, None) == [(0, 3, True)]
    assert pieces(5, 2, None) == [(0, 2, True), (1, 2, True), (2, 2, True), (3, 2, True)]
    assert pieces(7, None, 1.5) == [(0, 4, True), (1.5, 4, True), (3, 4, True)]
    with pytest.raises(ValueError, match=r"hop_seconds=3 must be at most the 2 s of a window"):
        pieces(5, 2, 3)


def test_each_moment_belongs_to_one_piece():
    assert regions([(0, 4)]) == [(0, 4)]
    assert regions([(0, 4), (2, 6), (3, 7)]) == [(0, 3), (3, 4.5), (4.5, 7)]
    assert regions([(0, 4), (6, 10)]) == [(0, 4), (6, 10)]


def test_a_confident_piece_weighs_more_in_the_verdict():
    scores = np.array([[0.9, 0.1], [0.4, 0.6]])
    np.testing.assert_allclose(verdict(scores), (0.9 * scores[0] + 0.6 * scores[1]) / 1.5)
    np.testing.assert_allclose(verdict(scores[:1]), scores[0])


def test_neighbours_of_the_same_label_are_one_segment():
    first, second = [0.8, 0.2], [0.3, 0.7]
    spans = [(0, 3), (3, 5), (5, 7), (7, 10), (12, 14)]
    scores = np.array([first, [0.6, 0.4], second, second, second])
    found = merged_segments(scores, spans, smoothing=1)
    assert [(start, end) for start, end, _ in found] == [(0, 5), (5, 10), (12, 14)]
    np.testing.assert_allclose(found[0][2], (3 * scores[0] + 2 * scores[1]) / 5)
    np.testing.assert_allclose(found[1][2], second)


def test_smoothing_takes_out_a_lone_window_but_not_across_a_gap():
    first, second = [0.9, 0.1], [0.3, 0.7]
    scores = np.array([first, first, second, first, second])
    together = [(start, start + 1) for start in range(5)]
    assert [segment[:2] for segment in merged_segments(scores, together, 1)] == [(0, 2), (2, 3), (3, 4), (4, 5)]
    assert [segment[:2] for segment in merged_segments(scores, together, 3)] == [(0, 5)]
    apart = [*together[:4], (6, 7)]
    assert [segment[:2] for segment in merged_segments(scores, apart, 3)] == [(0, 4), (6, 7)]


def test_the_gate_passes_what_is_loud_for_a_tenth_of_a_second(tone):
    loud, quiet = tone(2.0), 1e-4 * tone(2.0)
    word = quiet.copy()
    word[16_000:18_000] = loud[:2_000]
    assert level(np.full(3_200, 0.1), 16_000) == pytest.approx(-20, abs=0.01)
    blocks = [quiet, loud, quiet, word, quiet]
    pieces = list(cut_windows(blocks, 32_000, 32_000))
    passed = list(audible_pieces(pieces, 16_000, -40))
    assert [piece.start for piece in passed] == [32_000, 96_000] and not any(piece.silent for piece in passed)
    (silent,) = audible_pieces(pieces[::2], 16_000, -40)
    assert silent.silent
