"""One account of a recording from what the model says of each of its pieces."""

from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Any

import numpy as np

LONGEST_BRIDGE = 2.0  # seconds of a pause that neighbouring segments share; a longer one is in no segment (ours)
SMOOTHING = 2.0  # what a change of label costs where there is no pause (ours; chosen on RAVDESS without its pauses)


def regions(pieces: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Shares time among the pieces, `(start, end)` in seconds and in order: neighbours meet mid-overlap.

    Returns:
        `(start, end)` a piece, without overlaps; the pieces may be of any lengths, and no moment that lies in one of
        them is lost.
    """
    starts, ends = [start for start, _ in pieces], [end for _, end in pieces]
    middles = [(first[1] + second[0]) / 2 for first, second in pairwise(pieces)]
    starts[1:] = [max(start, middle) for start, middle in zip(starts[1:], middles, strict=True)]
    ends[:-1] = [min(end, middle) for end, middle in zip(ends[:-1], middles, strict=True)]
    return list(zip(starts, ends, strict=True))


def weights(scores: np.ndarray, spans: Sequence[tuple[float, float]]) -> np.ndarray:
    """How much each piece counts in one account of all: its best score times the seconds that it answers for.

    Args:
        scores: `(pieces, labels)`.
        spans: see `regions`.

    Returns:
        `(pieces,)`, their sum 1.
    """
    found = scores.max(axis=1) * [end - start for start, end in spans]
    return found / found.sum()


def merged_segments(
    scores: np.ndarray, spans: Sequence[tuple[float, float]], stretches: Sequence[int], smoothing: float = SMOOTHING
) -> list[tuple[float, float, np.ndarray]]:
    """Neighbouring pieces of the same label, joined; between two pieces in a pause, the pause's middle.

    Args:
        scores: `(pieces, labels)`.
        spans: what each piece answers for, see `regions`.
        stretches: the number of each piece's stretch between two pauses.
        smoothing: see `best_path`; a change costs nothing at a pause.

    Returns:
        start, end, and the geometric mean of the scores `(labels,)` by time, of which the label's is the highest.
    """
    seconds = np.array([end - start for start, end in spans])
    evidence = np.log(scores + 1e-12) * seconds[:, None]
    rows = [[index for index, _ in of] for _, of in groupby(enumerate(stretches), key=lambda numbered: numbered[1])]
    path = np.concatenate([best_path(evidence[row], smoothing) for row in rows])
    segments = []
    for first, last in _runs(path, spans):
        mean = np.exp(evidence[first:last].sum(axis=0) / seconds[first:last].sum())
        segments.append((spans[first][0], spans[last - 1][1], mean / mean.sum()))
    return _bridged(segments)


def best_path(evidence: np.ndarray, change: float) -> np.ndarray:
    """The labels, one a piece, of the most evidence in all: Viterbi's path.

    Args:
        evidence: `(pieces, labels)`, logarithms of scores times the seconds of each piece.
        change: what is taken off where the label changes: the advantage in log score, times seconds, that a label
            must have over its neighbours' to be one of its own.

    Returns:
        `(pieces,)`.
    """
    total, came_from = evidence[0], []
    for row in evidence[1:]:
        best = total.argmax()
        stays = total >= total[best] - change
        came_from.append(np.where(stays, np.arange(len(row)), best))
        total = np.where(stays, total, total[best] - change) + row
    path = [total.argmax()]
    for before in reversed(came_from):
        path.append(before[path[-1]])
    return np.array(path[::-1])


def own_frames(ids: np.ndarray, heard: tuple[float, float], span: tuple[float, float]) -> np.ndarray:
    """Characters of the frames `(frames,)` of a piece that lie in what it answers for, so that none counts twice."""
    times = heard[0] + (np.arange(len(ids)) + 0.5) / max(1, len(ids)) * (heard[1] - heard[0])
    return ids[(times >= span[0]) & (times < span[1])]


def ranked(labels: list[str], scores: np.ndarray) -> list[dict[str, Any]]:
    """`[{"label", "score"}, ...]`, best first."""
    return [{"label": labels[i], "score": float(scores[i])} for i in np.argsort(-scores, kind="stable")]


def _runs(path: np.ndarray, spans: Sequence[tuple[float, float]]) -> list[tuple[int, int]]:
    """First and end of pieces of the same label without a long pause between them."""
    pauses = np.array([after[0] - before[1] for before, after in pairwise(spans)])
    edges = np.flatnonzero((np.diff(path) != 0) | (pauses > LONGEST_BRIDGE)) + 1
    return list(pairwise([0, *edges.tolist(), len(path)]))


def _bridged(segments: list[tuple[float, float, np.ndarray]]) -> list[tuple[float, float, np.ndarray]]:
    """Neighbours share the pause between them, half and half, unless it is long."""
    starts, ends = [start for start, _, _ in segments], [end for _, end, _ in segments]
    for index, (end, start) in enumerate(zip(ends[:-1], starts[1:], strict=True)):
        if start - end <= LONGEST_BRIDGE:
            ends[index] = starts[index + 1] = (start + end) / 2
    return list(zip(starts, ends, [scores for _, _, scores in segments], strict=True))
