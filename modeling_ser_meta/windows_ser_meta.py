"""A recording of any length in pieces, and one account of it from what the model says of each piece."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from typing import Any, NamedTuple

import numpy as np

LONGEST_PIECE = 15.0  # seconds that go to the model at once unless windows are asked for (ours)
WINDOW_SECONDS = 4.0  # about as long as an utterance of the corpora (ours)


class Piece(NamedTuple):
    """A stretch of a recording: a window of it, or all of it.

    Args:
        samples: `(samples,)`.
        start: index of the first sample in the recording.
        windowed: whether the recording is cut into windows.
        silent: whether all of the recording lies below the gate.
    """

    samples: np.ndarray
    start: int
    windowed: bool
    silent: bool = False


def cut_recording(
    blocks: Iterable[np.ndarray], sampling_rate: int, window_seconds: float | None, hop_seconds: float | None
) -> Iterator[Piece]:
    """A short recording in one piece, a longer one in windows; only the samples of one window are kept.

    Args:
        blocks: of the recording, each `(samples,)`.
        sampling_rate: in Hz.
        window_seconds: length of a window; None for windows of 4 s in recordings of more than 15 s.
        hop_seconds: from the start of one window to the next; None for half a window.

    Raises:
        ValueError: a hop that is longer than the window.
    """
    window = round((window_seconds or WINDOW_SECONDS) * sampling_rate)
    hop = round(hop_seconds * sampling_rate) if hop_seconds else max(1, window // 2)
    if hop > window:
        raise ValueError(f"hop_seconds={hop_seconds} must be at most the {window / sampling_rate:g} s of a window")
    if window_seconds or hop_seconds:
        return cut_windows(blocks, window, hop)
    return _whole_or_windows(iter(blocks), round(LONGEST_PIECE * sampling_rate), window, hop)


def cut_windows(blocks: Iterable[np.ndarray], window: int, hop: int) -> Iterator[Piece]:
    """Windows of `window` samples, each `hop` samples after the one before; the last one ends with the recording.

    recording   |------------------|
    windows     |======|
                    |======|
                        |======|
                            |======|    the last start is nearer where the length is no multiple of the hop
    """
    start, held, before = 0, np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.float32)
    for block in blocks:
        held = np.concatenate([held, block])
        while len(held) > window:
            yield Piece(held[:window], start, windowed=True)
            before, held, start = held[:hop], held[hop:], start + hop
    # what is held is never longer than a window, and with the hop before it never shorter
    last = np.concatenate([before, held])[-window:]
    yield Piece(last, start + len(held) - len(last), windowed=True)


def audible_pieces(pieces: Iterable[Piece], sampling_rate: int, gate_decibels: float) -> Iterator[Piece]:
    """The pieces above an energy gate; where there are none, the last piece, marked as silent.

    The gate is ours and simple: a piece passes when its loudest 100 ms have a level of `gate_decibels` or more, in
    decibels of full scale. It tells sound from silence, not speech from noise.
    """
    silent = None
    passed = False
    for piece in pieces:
        if level(piece.samples, sampling_rate) >= gate_decibels:
            passed = True
            yield piece
        else:
            silent = piece
    if not passed:
        yield silent._replace(silent=True)


def level(samples: np.ndarray, sampling_rate: int) -> float:
    """The root mean square of the loudest 100 ms of `(samples,)`, in decibels of full scale."""
    frame = max(1, min(len(samples), sampling_rate // 10))
    energies = np.square(samples[: len(samples) // frame * frame].reshape(-1, frame)).mean(axis=1)
    return float(10 * np.log10(energies.max() + 1e-12))


def regions(pieces: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """What each of the pieces, `(start, end)` in seconds and in order, answers for: overlaps are halved."""
    starts, ends = [start for start, _ in pieces], [end for _, end in pieces]
    middles = [(sum(first) + sum(second)) / 4 for first, second in pairwise(pieces)]
    starts[1:] = [max(start, middle) for start, middle in zip(starts[1:], middles, strict=True)]
    ends[:-1] = [min(end, middle) for end, middle in zip(ends[:-1], middles, strict=True)]
    return list(zip(starts, ends, strict=True))


def verdict(scores: np.ndarray) -> np.ndarray:
    """From scores `(pieces, labels)` to one row of them: a mean in which a piece weighs as much as its best score."""
    weights = scores.max(axis=1)
    return weights @ scores / weights.sum()


def merged_segments(
    scores: np.ndarray, spans: Sequence[tuple[float, float]], smoothing: int
) -> list[tuple[float, float, np.ndarray]]:
    """Neighbouring pieces of the same best label, joined.

    Args:
        scores: `(pieces, labels)`.
        spans: what each piece answers for, see `regions`.
        smoothing: over how many neighbouring pieces the scores are averaged first; 1 for none.

    Returns:
        start, end, and the mean of the smoothed scores `(labels,)` by time.
    """
    found = []
    for run in _runs(spans):
        smoothed = _smoothed(scores[run], smoothing)
        best = smoothed.argmax(axis=1)
        edges = [0, *(np.flatnonzero(np.diff(best)) + 1).tolist(), len(best)]
        for first, last in pairwise(edges):
            within = spans[run.start + first : run.start + last]
            mean = np.average(smoothed[first:last], axis=0, weights=[end - start for start, end in within])
            found.append((within[0][0], within[-1][1], mean))
    return found


def own_frames(ids: np.ndarray, heard: tuple[float, float], span: tuple[float, float]) -> np.ndarray:
    """Characters of the frames `(frames,)` of a piece that lie in what it answers for, so that none counts twice."""
    times = heard[0] + (np.arange(len(ids)) + 0.5) / max(1, len(ids)) * (heard[1] - heard[0])
    return ids[(times >= span[0]) & (times < span[1])]


def ranked(labels: list[str], scores: np.ndarray) -> list[dict[str, Any]]:
    """`[{"label", "score"}, ...]`, best first."""
    return [{"label": labels[i], "score": float(scores[i])} for i in np.argsort(-scores, kind="stable")]


def _runs(spans: Sequence[tuple[float, float]]) -> list[slice]:
    """Pieces that follow each other without a gap."""
    gaps = [index + 1 for index in range(len(spans) - 1) if spans[index + 1][0] > spans[index][1]]
    edges = [0, *gaps, len(spans)]
    return [slice(first, last) for first, last in pairwise(edges)]


def _smoothed(scores: np.ndarray, smoothing: int) -> np.ndarray:
    reach = smoothing // 2
    return np.stack([scores[max(0, row - reach) : row + reach + 1].mean(axis=0) for row in range(len(scores))])


def _whole_or_windows(blocks: Iterator[np.ndarray], longest: int, window: int, hop: int) -> Iterator[Piece]:
    read, samples = [], 0
    for block in blocks:
        read.append(block)
        samples += len(block)
        if samples > longest:
            return (yield from cut_windows(chain(read, blocks), window, hop))
    yield Piece(np.concatenate(read), 0, windowed=False)
