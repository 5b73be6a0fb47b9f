"""A recording of any length in pieces: cut at its pauses, and where somebody speaks on and on, into windows."""

from collections.abc import Iterable, Iterator, Sequence
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
        ends: whether its stretch ends with it.
    """

    samples: np.ndarray
    start: int
    windowed: bool
    stretch: int = 0
    silent: bool = False
    ends: bool = False


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
    window, hop = window_samples(sampling_rate, window_seconds, hop_seconds)
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


def window_samples(
    sampling_rate: int, window_seconds: float | None = None, hop_seconds: float | None = None
) -> tuple[int, int]:
    """Samples of a window, and from the start of one to the next; see `cut_recording`."""
    window = round((window_seconds or WINDOW_SECONDS) * sampling_rate)
    hop = round(hop_seconds * sampling_rate) if hop_seconds else max(1, window // 2)
    if window < 1:
        raise ValueError(f"window_seconds={window_seconds} is shorter than a sample of {sampling_rate} Hz")
    if hop > window:
        raise ValueError(f"hop_seconds={hop_seconds} must be at most the {window / sampling_rate:g} s of a window")
    return window, hop


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
    """What `SpeechCutter` makes of a recording that is there."""
    cutter = SpeechCutter(Sounding(round(FRAME_SECONDS * sampling_rate), gate_decibels), Stretches(), window, hop)
    for block in blocks:
        yield from cutter.feed(block)
    yield from cutter.end()


def cut_windows(blocks: Iterable[np.ndarray], window: int, hop: int) -> Iterator[Piece]:
    """What `Windows` makes of a recording that is there."""
    windows = Windows(window, hop)
    for block in blocks:
        yield from windows.feed(block)
    yield windows.last()


class SpeechCutter:
    """Windows of each stretch between two pauses, so that none straddles a pause; a short stretch is one piece.

    recording   ~~~~~~~~~~~~____~~~~~~______~~~~~~~~~~~~~~~~~
    windows     |======|       |======|   |======|
                     |======|                 |======|
                                                  |======|

    Args:
        sounding: tells which frames sound.
        stretches: puts these together.
        window: of how many samples.
        hop: samples from the start of one window to the next.
    """

    def __init__(self, sounding: "Sounding", stretches: "Stretches", window: int, hop: int):
        self.sounding, self.stretches, self.size, self.hop = sounding, stretches, window, hop
        self.number, self.windows = -1, None

    def feed(self, block: np.ndarray) -> Iterator[Piece]:
        """Takes the next samples `(samples,)`; gives the pieces that are whole."""
        for frame, sounds in self.sounding.feed(block):
            yield from self._add(self.stretches.feed(frame, sounds))

    def end(self) -> Iterator[Piece]:
        """The pieces that are left when the recording ends."""
        for frame, sounds in self.sounding.end():
            yield from self._add(self.stretches.feed(frame, sounds))
        yield from self._add(self.stretches.end())
        yield from self._close()

    def last(self) -> Piece | None:
        """The piece that would end the stretch if it ended now; None between two of them."""
        return self.windows and self.windows.last()._replace(stretch=self.number, silent=self.number < 0)

    def _add(self, frames: list[Frame]) -> Iterator[Piece]:
        for frame in frames:
            if self.windows is None or frame.stretch != self.number:
                yield from self._close()
                self.number, self.windows = frame.stretch, Windows(self.size, self.hop, frame.start)
            for piece in self.windows.feed(frame.samples):
                yield piece._replace(stretch=self.number)
        if not self.stretches.goes_on:
            yield from self._close()

    def _close(self) -> Iterator[Piece]:
        if self.windows is not None:
            yield self.last()._replace(ends=True)
        self.windows = None


class Windows:
    """Windows of `window` samples, each `hop` samples after the one before; the last one ends with the recording.

    recording   |------------------|
    windows     |======|
                    |======|
                        |======|
                            |======|    the last start is nearer where the length is no multiple of the hop

    Args:
        window: of how many samples.
        hop: samples from the start of one window to the next.
        start: index of the first sample that is fed.
    """

    def __init__(self, window: int, hop: int, start: int = 0):
        self.window, self.hop, self.start = window, hop, start
        self.held = self.before = np.zeros(0, dtype=np.float32)

    def feed(self, samples: np.ndarray) -> Iterator[Piece]:
        """Takes the next samples `(samples,)`; gives the windows that are whole, and not the last."""
        self.held = np.concatenate([self.held, samples])
        while len(self.held) > self.window:
            yield Piece(self.held[: self.window], self.start, windowed=True)
            self.before, self.held = self.held[: self.hop], self.held[self.hop :]
            self.start += self.hop

    def last(self) -> Piece:
        """The last window, if this is the end; more may be fed all the same."""
        # what is held is never longer than a window, and with the hop before it never shorter
        samples = np.concatenate([self.before, self.held])[-self.window :]
        return Piece(samples, self.start + len(self.held) - len(samples), windowed=True)


class Stretches:
    """Numbers the frames between pauses by stretch; of a pause only what lies next to sound is kept.

    Where nothing sounds, the last frames of the recording are stretch -1.

    Args:
        after: frames of a pause that stay with the sound before.
        before: frames of a pause that stay with the sound after; with those after it makes a pause.
        longest: frames of a stretch, after which another one begins without a pause; None for any number.
    """

    def __init__(self, after: int = PAUSE_FRAMES // 2, before: int = PAUSE_FRAMES // 2, longest: int | None = None):
        self.after, self.before, self.longest = after, before, longest
        self.number, self.goes_on, self.quiet, self.frames = -1, False, 0, 0
        self.held: list[Frame] = []

    @property
    def waits(self) -> bool:
        """Whether the stretch has all that it would have if the pause that has begun ends it."""
        return self.goes_on and self.quiet >= self.after

    def feed(self, frame: Frame, sounds: bool) -> list[Frame]:
        """Takes the next frame; gives those that are known to be of a stretch."""
        if sounds:
            begins, found = not self.goes_on, [*self.held[-self.before :], frame]
            self.goes_on, self.quiet, self.held = True, 0, []
            return self._numbered(found, begins)
        self.quiet += 1
        if self.goes_on and self.quiet <= self.after:
            return self._numbered([frame])
        self.held = [*self.held, frame][-self.after - self.before :]
        self.goes_on = self.goes_on and self.quiet < self.after + self.before
        return []

    def end(self) -> list[Frame]:
        """What is left when the recording ends."""
        self.goes_on = False
        return [frame._replace(stretch=-1) for frame in self.held] if self.number < 0 else []

    def _numbered(self, frames: list[Frame], begins: bool = False) -> list[Frame]:
        numbered = []
        for frame in frames:
            if begins or self.frames == self.longest:
                self.number, self.frames, begins = self.number + 1, 0, False
            numbered.append(frame._replace(stretch=self.number))
            self.frames += 1
        return numbered


class Sounding:
    """Tells which frames of a recording are sound, each as soon as the two seconds after it have been heard.

    Args:
        frame: of how many samples.
        gate_decibels: what is quieter is silence.
    """

    ahead = NEAR_FRAMES

    def __init__(self, frame: int, gate_decibels: float):
        self.frames, self.gate = Frames(frame), gate_decibels
        self.held: list[Frame] = []
        self.levels, self.begun = np.zeros(0), False

    def feed(self, block: np.ndarray) -> Iterator[tuple[Frame, bool]]:
        """Takes the next samples `(samples,)`; gives the frames that are known, and whether each is sound."""
        return self._add(self.frames.feed(block))

    def end(self) -> Iterator[tuple[Frame, bool]]:
        """The frames that are left when the recording ends."""
        yield from self._add(self.frames.end())
        if not self.held:
            return
        levels = self.levels if self.begun else _with_past(self.levels)
        ahead = np.full(self.ahead + MEDIAN_REACH, np.median(levels[-2 * MEDIAN_REACH - 1 :]))
        yield from zip(self.held, self.sounds(np.concatenate([levels, ahead])), strict=True)

    def sounds(self, levels: np.ndarray) -> np.ndarray:
        """Whether frames are louder than a pause would be there; those at both ends are only heard for the others.

        A pause lies in the lowest third from the quietest to the loudest of the two seconds before and after, so a
        quiet voice after a loud one counts. Where these are all alike, the half minute before tells noise from a held
        tone.
        """
        smooth = smoothed(levels)
        past = sliding_window_view(smooth[: -self.ahead], PAST_FRAMES + 1)
        near = sliding_window_view(smooth[PAST_FRAMES - NEAR_FRAMES :], NEAR_FRAMES + self.ahead + 1)
        return smooth[PAST_FRAMES : -self.ahead] > limits(near, limits(past, self.gate))

    def _add(self, frames: list[Frame]) -> Iterator[tuple[Frame, bool]]:
        if not frames:
            return
        self.held += frames
        self.levels = np.concatenate([self.levels, np.maximum(levels_of(frames), self.gate)])
        ahead = self.ahead + MEDIAN_REACH
        if not self.begun and len(self.levels) > ahead:
            self.levels, self.begun = _with_past(self.levels), True
        known = len(self.levels) - PAST_FRAMES - MEDIAN_REACH - ahead
        if self.begun and known > 0:
            told = list(zip(self.held[:known], self.sounds(self.levels), strict=True))
            self.held, self.levels = self.held[known:], self.levels[known:]
            yield from told


class Frames:
    """Frames of `frame` samples; at the end of the recording, one that is shorter."""

    def __init__(self, frame: int):
        self.frame, self.start, self.rest = frame, 0, np.zeros(0, dtype=np.float32)

    def feed(self, block: np.ndarray) -> list[Frame]:
        """Takes the next samples `(samples,)`; gives the frames that are whole."""
        samples = np.concatenate([self.rest, block])
        whole = len(samples) // self.frame * self.frame
        starts = range(self.start, self.start + whole, self.frame)
        self.start, self.rest = self.start + whole, samples[whole:]
        return list(map(Frame, samples[:whole].reshape(-1, self.frame), starts))

    def end(self) -> list[Frame]:
        """What is left, if anything is."""
        return [Frame(self.rest, self.start)] if len(self.rest) else []


def is_silent(samples: np.ndarray, sampling_rate: int, gate_decibels: float) -> bool:
    """Whether `(samples,)` hold no sound above the gate; what is as short as a click, 100 ms, is none (ours)."""
    frames = Frames(round(FRAME_SECONDS * sampling_rate))
    levels = levels_of([*frames.feed(samples), *frames.end()])
    return not (smoothed(np.pad(levels, MEDIAN_REACH, constant_values=-np.inf)) >= gate_decibels).any()


def levels_of(frames: Sequence[Frame]) -> np.ndarray:
    """Decibels of each frame around its own mean: a dead channel with an offset is as silent as one without."""
    alike = groupby((frame.samples for frame in frames), len)  # the last of a recording may be shorter
    powers = [np.array(list(samples), dtype=np.float64).var(axis=1) for _, samples in alike]
    return 10 * np.log10(np.concatenate([np.zeros(0), *powers]) + 1e-12)


def _with_past(levels: np.ndarray) -> np.ndarray:
    """Levels with as many before them as are looked back at; a click at the very start is not taken for the past."""
    past = PAST_FRAMES + MEDIAN_REACH
    return np.concatenate([np.full(past, np.median(levels[: 2 * MEDIAN_REACH + 1])), levels])


def smoothed(levels: np.ndarray) -> np.ndarray:
    """Medians `(frames - 4,)` of each level and its neighbours: clicks and gaps of two frames are gone."""
    return np.median(sliding_window_view(levels, 2 * MEDIAN_REACH + 1), axis=-1)


def limits(surroundings: np.ndarray, otherwise: np.ndarray | float) -> np.ndarray:
    """Decibels of the loudest pause `(frames,)`, of levels `(frames, neighbours)`; `otherwise` where all are alike."""
    lowest, highest = surroundings.min(axis=1), surroundings.max(axis=1)
    limit = lowest + QUIET_SHARE * (highest - lowest)
    return np.where(highest - lowest < STEADY_DECIBELS, otherwise, limit)
