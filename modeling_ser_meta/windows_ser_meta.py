"""A recording of any length in pieces: cut at its pauses, and where somebody speaks on and on, into windows."""

from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

LONGEST_PIECE = 15.0  # seconds that go to the model at once unless windows are asked for (ours)
WINDOW_SECONDS = 4.0  # about as long as an utterance of the corpora (ours)
GATE_DECIBELS = -70.0  # of full scale; the quietest acted speech that we know is 16 dB above (ours)

# The pauses, ours; chosen on strings of RAVDESS recordings
FRAME_SECONDS = 0.05
PAUSE_FRAMES = 8  # or more; half of them stay with the speech before, half with the speech after
MEDIAN_REACH = 2  # frames to either side: a click is no speech
NEAR_FRAMES = 40  # to either side, whose quietest and loudest tell what is a pause
PAST_FRAMES = 600  # the same where nothing changes nearby
QUIET_SHARE = 1 / 3  # of the decibels from the quietest to the loudest
STEADY_DECIBELS = 12.0  # or less from the quietest to the loudest: not speech and pauses


class Piece(NamedTuple):
    """A stretch of a recording: a window of it, or all of it.

    Args:
        samples: `(samples,)`.
        start: index of the first sample in the recording.
        windowed: whether the recording is cut.
        stretch: number of the stretch between two pauses in which the piece lies.
        silent: whether the recording is silent throughout; the piece is then the last of it.
    """

    samples: np.ndarray
    start: int
    windowed: bool
    stretch: int = 0
    silent: bool = False


class Frame(NamedTuple):
    """Some 50 ms of a recording: samples `(samples,)`, the index of the first, and the number of its stretch."""

    samples: np.ndarray
    start: int
    stretch: int = 0


def cut_recording(
    blocks: Iterable[np.ndarray],
    sampling_rate: int,
    window_seconds: float | None = None,
    hop_seconds: float | None = None,
    gate_decibels: float = GATE_DECIBELS,
) -> Iterator[Piece]:
    """A short recording in one piece, a longer one at its pauses; a few seconds of samples are kept, no more.

    Args:
        blocks: of the recording, each `(samples,)`.
        sampling_rate: in Hz.
        window_seconds: what lies between two pauses and is longer is cut into windows of this length; None for 4 s,
            and only in recordings of more than 15 s.
        hop_seconds: from the start of one window to the next; None for half a window.
        gate_decibels: what is quieter is silence, in decibels of full scale, its mean taken off.

    Raises:
        ValueError: a hop that is longer than the window.
    """
    window = round((window_seconds or WINDOW_SECONDS) * sampling_rate)
    hop = round(hop_seconds * sampling_rate) if hop_seconds else max(1, window // 2)
    if hop > window:
        raise ValueError(f"hop_seconds={hop_seconds} must be at most the {window / sampling_rate:g} s of a window")
    read, samples, blocks = [], 0, iter(blocks)
    if not (window_seconds or hop_seconds):
        for block in blocks:
            read.append(block)
            samples += len(block)
            if samples > LONGEST_PIECE * sampling_rate:
                break
        else:
            whole = np.concatenate(read)
            return iter([Piece(whole, 0, windowed=False, silent=is_silent(whole, sampling_rate, gate_decibels))])
    return cut_speech(chain(read, blocks), sampling_rate, window, hop, gate_decibels)


def place(piece: Piece, sampling_rate: int, heard: tuple[int, int]) -> dict[str, Any]:
    """Where a piece lies in its recording, in seconds, as `segments_ser_meta.ResultMaker` takes it.

    Args:
        piece: of a recording.
        sampling_rate: in Hz.
        heard: first sample and end of what is heard of the piece, see `audio_ser_meta.speech_bounds`.
    """
    return {
        "span": (piece.start / sampling_rate, (piece.start + len(piece.samples)) / sampling_rate),
        "heard": tuple((piece.start + bound) / sampling_rate for bound in heard),
        "windowed": piece.windowed,
        "stretch": piece.stretch,
        "silent": piece.silent,
    }


def cut_speech(
    blocks: Iterable[np.ndarray], sampling_rate: int, window: int, hop: int, gate_decibels: float
) -> Iterator[Piece]:
    """Windows of each stretch between two pauses, so that none straddles a pause; a short stretch is one piece.

    recording   ~~~~~~~~~~~~____~~~~~~______~~~~~~~~~~~~~~~~~
    windows     |======|       |======|   |======|
                     |======|                 |======|
                                                  |======|
    """
    frames = stretches(sounding_frames(blocks, round(FRAME_SECONDS * sampling_rate), gate_decibels))
    for number, stretch in groupby(frames, key=lambda frame: frame.stretch):
        first = next(stretch)
        samples = (frame.samples for frame in chain([first], stretch))
        for piece in cut_windows(samples, window, hop):
            yield piece._replace(start=first.start + piece.start, stretch=number, silent=number < 0)


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


def stretches(frames: Iterable[tuple[Frame, bool]]) -> Iterator[Frame]:
    """Frames between pauses, numbered by stretch; of a pause only what lies next to sound.

    Where nothing sounds, the last of the recording, as stretch -1.
    """
    number, pause, half = -1, [], PAUSE_FRAMES // 2
    for frame, sounds in frames:
        if not sounds:
            pause.append(frame)
            if len(pause) > PAUSE_FRAMES:
                del pause[half if number >= 0 else 0]
            continue
        if number < 0 or len(pause) == PAUSE_FRAMES:
            if number >= 0:
                yield from (held._replace(stretch=number) for held in pause[:half])
            number, pause = number + 1, pause[-half:]
        yield from (held._replace(stretch=number) for held in (*pause, frame))
        pause = []
    yield from (held._replace(stretch=number) for held in (pause if number < 0 else pause[:half]))


def sounding_frames(blocks: Iterable[np.ndarray], frame: int, gate_decibels: float) -> Iterator[tuple[Frame, bool]]:
    """Frames of `frame` samples, and whether each is sound: known once two seconds more have been read."""
    past, ahead = PAST_FRAMES + MEDIAN_REACH, NEAR_FRAMES + MEDIAN_REACH
    held, levels, begun = [], np.zeros(0), False
    for starts, rows in _framed(blocks, frame):
        levels = np.concatenate([levels, np.maximum(_decibels(rows), gate_decibels)])
        held += map(Frame, rows, starts)
        if not begun and len(levels) > ahead:
            levels, begun = _with_past(levels, past), True
        known = len(levels) - past - ahead
        if begun and known > 0:
            yield from zip(held[:known], _sounds(levels, gate_decibels), strict=True)
            held, levels = held[known:], levels[known:]
    levels = levels if begun else _with_past(levels, past)
    levels = np.concatenate([levels, np.full(ahead, np.median(levels[-2 * MEDIAN_REACH - 1 :]))])
    yield from zip(held, _sounds(levels, gate_decibels), strict=True)


def is_silent(samples: np.ndarray, sampling_rate: int, gate_decibels: float) -> bool:
    """Whether `(samples,)` hold no sound above the gate; what is as short as a click, 50 ms, is none (ours)."""
    frames = _framed([samples], round(FRAME_SECONDS * sampling_rate))
    levels = np.concatenate([_decibels(rows) for _, rows in frames])
    return not (_smooth(np.pad(levels, MEDIAN_REACH, constant_values=-np.inf)) >= gate_decibels).any()


def _framed(blocks: Iterable[np.ndarray], frame: int) -> Iterator[tuple[range, np.ndarray]]:
    """Starts and samples of frames; at the end of the recording, one that is shorter."""
    start, rest = 0, np.zeros(0, dtype=np.float32)
    for block in blocks:
        rest = np.concatenate([rest, block])
        whole = len(rest) // frame * frame
        if whole:
            yield range(start, start + whole, frame), rest[:whole].reshape(-1, frame)
            start, rest = start + whole, rest[whole:]
    if len(rest):
        yield range(start, start + 1), rest[None]


def _with_past(levels: np.ndarray, past: int) -> np.ndarray:
    """Levels with as many before them as are looked back at; a click at the very start is not taken for the past."""
    return np.concatenate([np.full(past, np.median(levels[: 2 * MEDIAN_REACH + 1])), levels])


def _decibels(rows: np.ndarray) -> np.ndarray:
    """Level of each row around its own mean: a dead channel with an offset is as silent as one without."""
    return 10 * np.log10(rows.var(axis=1, dtype=np.float64) + 1e-12)


def _smooth(levels: np.ndarray) -> np.ndarray:
    return np.median(sliding_window_view(levels, 2 * MEDIAN_REACH + 1), axis=-1)


def _sounds(levels: np.ndarray, gate_decibels: float) -> np.ndarray:
    """Whether frames are louder than a pause would be there; those at both ends are only heard for the others.

    A pause lies in the lowest third from the quietest to the loudest of the two seconds before and after, so a quiet
    voice after a loud one counts. Where these are all alike, the half minute before tells noise from a held tone.
    """
    smooth = _smooth(levels)
    past = sliding_window_view(smooth[:-NEAR_FRAMES], PAST_FRAMES + 1)
    near = sliding_window_view(smooth[PAST_FRAMES - NEAR_FRAMES :], 2 * NEAR_FRAMES + 1)
    limit = _limit(near, _limit(past, gate_decibels))
    return smooth[PAST_FRAMES:-NEAR_FRAMES] > limit


def _limit(surroundings: np.ndarray, otherwise: np.ndarray | float) -> np.ndarray:
    lowest, highest = surroundings.min(axis=1), surroundings.max(axis=1)
    limit = lowest + QUIET_SHARE * (highest - lowest)
    return np.where(highest - lowest < STEADY_DECIBELS, otherwise, limit)
