"""What is made of the pieces' scores."""

from itertools import pairwise, product

import numpy as np
import pytest

from ser_meta.modeling_ser_meta.segments_ser_meta import best_path, merged_segments, own_frames, regions, weights
from ser_meta.modeling_ser_meta.windows_ser_meta import cut_recording


def test_each_moment_belongs_to_one_piece():
    assert regions([(0, 4)]) == [(0, 4)]
    assert regions([(0, 4), (2, 6), (3, 7)]) == [(0, 3), (3, 4.5), (4.5, 7)]
    assert regions([(0, 4), (6, 10)]) == [(0, 4), (6, 10)]
    # of unequal length, with and without an overlap
    assert regions([(0, 4), (4, 4.6)]) == [(0, 4), (4, 4.6)]
    assert regions([(0, 0.6), (0.6, 4.6)]) == [(0, 0.6), (0.6, 4.6)]
    assert regions([(0, 4), (3, 4.5)]) == [(0, 3.5), (3.5, 4.5)]


def test_all_that_is_heard_is_answered_for_once():
    """Long and short stretches of sound between pauses, some with an overlap of windows."""
    rate, chance = 1_000, np.random.default_rng(0)
    sounds = [chance.normal(0, 0.1, round(seconds * rate)) for seconds in (3.8, 0.4, 9.7, 0.3, 3.8, 0.5, 6.1)]
    recording = np.concatenate([part for sound in sounds for part in (sound, np.zeros(600))]).astype(np.float32)
    for window, hop in ((None, None), (4, 4), (4, 1), (5, 3)):
        pieces = list(cut_recording([recording], rate, window, hop))
        ends = [(piece.start, piece.start + len(piece.samples)) for piece in pieces]
        spans = regions([(start / rate, end / rate) for start, end in ends])
        heard = np.zeros(len(recording), dtype=int)
        for start, end in ends:
            heard[start:end] = 1
        answered = np.zeros(len(recording), dtype=int)
        # a frame a sample: each with the number of its sample
        for (start, end), span in zip(ends, spans, strict=True):
            own = own_frames(np.arange(start, end), (start / rate, end / rate), span)
            np.add.at(answered, own, 1)
        assert len({end - start for start, end in ends}) > 1
        np.testing.assert_array_equal(answered, heard)


def test_a_confident_and_a_longer_piece_weigh_more():
    scores = np.array([[0.9, 0.1], [0.4, 0.6]])
    np.testing.assert_allclose(weights(scores, [(0, 2), (2, 4)]), [0.6, 0.4])
    np.testing.assert_allclose(weights(scores, [(0, 1), (1, 4)]), [1 / 3, 2 / 3])
    assert weights(scores[:1], [(0, 3)]).tolist() == [1.0]


def test_neighbours_of_the_same_label_are_one_segment():
    first, second = [0.8, 0.2], [0.3, 0.7]
    spans = [(0, 3), (3, 5), (5, 7), (7, 10)]
    scores = np.array([first, [0.6, 0.4], second, second])
    found = merged_segments(scores, spans, [0] * 4, smoothing=0)
    assert [(start, end) for start, end, *_ in found] == [(0, 5), (5, 10)]
    mean = np.exp((3 * np.log(scores[0]) + 2 * np.log(scores[1])) / 5)
    np.testing.assert_allclose(found[0][2], mean / mean.sum())
    np.testing.assert_allclose(found[1][2], second)


def test_a_pause_is_halved_unless_it_is_long():
    first, second = [0.9, 0.1], [0.1, 0.9]
    spans = [(0.5, 3), (4, 6), (7.5, 9), (12, 13), (14, 15)]
    found = merged_segments(np.array([first, second, second, second, first]), spans, range(5))
    assert [(start, end) for start, end, *_ in found] == [(0.5, 3.5), (3.5, 9), (12, 13.5), (13.5, 15)]
    assert [segment.scores.argmax() for segment in found] == [0, 1, 1, 0]


def test_smoothing_takes_out_a_lone_window_but_no_stretch_of_its_own():
    first, second = [0.9, 0.1], [0.3, 0.7]
    scores, spans = np.array([first, first, second, first, second]), [(start, start + 1) for start in range(5)]

    def times(stretches, smoothing):
        return [segment[:2] for segment in merged_segments(scores, spans, stretches, smoothing)]

    assert times([0] * 5, 0) == [(0, 2), (2, 3), (3, 4), (4, 5)]
    # a window of 1 s gains 0.85 by a label of its own: two changes in the middle, one at the end
    assert times([0] * 5, 0.4) == [(0, 2), (2, 3), (3, 4), (4, 5)]
    assert times([0] * 5, 0.6) == [(0, 4), (4, 5)]
    assert times([0] * 5, 0.9) == [(0, 5)]
    assert times([0, 0, 1, 2, 2], 0.9) == [(0, 2), (2, 3), (3, 5)]


@pytest.mark.parametrize("change", [0.0, 0.5, 2.0])
def test_the_path_is_the_best_of_all(change):
    for seed in range(20):
        evidence = np.random.default_rng(seed).normal(size=(6, 3))

        def total(path, evidence=evidence):
            gained = sum(row[label] for row, label in zip(evidence, path, strict=True))
            return gained - change * sum(one != other for one, other in pairwise(path))

        assert tuple(best_path(evidence, change)) == max(product(range(3), repeat=6), key=total)


def test_a_segments_label_has_its_highest_score():
    chance = np.random.default_rng(0)
    for _ in range(50):
        scores = chance.dirichlet(np.full(4, 0.3), size=12)
        edges = np.cumsum(chance.uniform(0.5, 2, size=13))
        spans, stretches = list(pairwise(edges)), np.sort(chance.integers(0, 4, size=12))
        found = merged_segments(scores, spans, stretches, smoothing=0)
        for start, end, mean, _ in found:
            inside = [row for row, span in zip(scores, spans, strict=True) if start <= span[0] and span[1] <= end]
            assert len({row.argmax() for row in inside}) == 1 and mean.argmax() == inside[0].argmax()
        assert all(one[2].argmax() != other[2].argmax() for one, other in pairwise(found))
