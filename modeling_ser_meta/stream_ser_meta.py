"""Emotion while people still speak: blocks of samples in, turns with their scores out."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .audio_ser_meta import Resampler, check_rate, read_block
from .segments_ser_meta import told_tasks
from .turns_ser_meta import turn_cutter
from .windows_ser_meta import FRAME_SECONDS, GATE_DECIBELS, Frames, Piece, window_samples

if TYPE_CHECKING:  # it imports this file
    from .pipeline_ser_meta import SpeechEmotionPipeline


class SpeechEmotionStream:
    """Hears one channel block by block, and answers when a turn ends: after a pause of 0.4 s, or 30 s of speech.

    The turns and their scores depend on the sound alone: not on how it is cut into blocks, nor on whether it is fed
    as it is made or at once (`ser-meta predict --turns found` feeds files). A few seconds of samples are kept, no
    more. Two people on two channels take two streams, which may share one pipeline.

    A turn is a dict: its number `turn`, `start` and `end` in seconds, whether it is `final`, its `confidence` (the
    best score of the first task with labels), and what the pipeline tells of a recording of that length. One of more
    than 4 s is heard in windows, and has `segments` where its label changes.

    ```python
    recognise = pipeline("speech-emotion-recognition", "someone/emotions", trust_remote_code=True)
    stream = recognise.stream(8_000, provisional_seconds=2)    # or SpeechEmotionStream(recognise, 8_000, ...)
    for block in microphone:
        for turn in stream.feed(block):
            print(turn["start"], turn["end"], turn["emotion"][0])
    last = stream.close()
    ```

    Args:
        recognise: the pipeline; its own options hold.
        sampling_rate: of the blocks, in Hz; any from 4 to 768 kHz.
        provisional_seconds: how often a turn that goes on is told too, with `final` false; None for never.
        options: of a call of the pipeline, such as `tasks`, `threshold`, `window_seconds`.

    Raises:
        ValueError: an option, or a rate, that has no such value.
    """

    def __init__(
        self,
        recognise: "SpeechEmotionPipeline",
        sampling_rate: float,
        provisional_seconds: float | None = None,
        **options: Any,
    ):
        if provisional_seconds is not None and not provisional_seconds > 0:
            raise ValueError(f"provisional_seconds={provisional_seconds} must be above 0")
        own = recognise._preprocess_params, recognise._forward_params, recognise._postprocess_params
        given = recognise._sanitize_parameters(**options)
        reading, self._forward, self._telling = (mine | asked for mine, asked in zip(own, given, strict=True))
        self.recognise, self.rate = recognise, recognise.processor.sampling_rate
        self.name = "the stream"
        self._resampler = Resampler(check_rate(sampling_rate, self.name), self.rate)
        window, hop = window_samples(self.rate, reading.get("window_seconds"), reading.get("hop_seconds"))
        gate = reading.get("gate_decibels")
        self._cutter = turn_cutter(self.rate, window, hop, GATE_DECIBELS if gate is None else gate)
        self._provisional = provisional_seconds and round(provisional_seconds * self.rate)
        self._frames = Frames(round(FRAME_SECONDS * self.rate))
        self._leading = told_tasks(recognise._facts, self._telling.get("tasks"))[1]
        self._said: list[dict[str, Any]] = []  # of each window of the turn that goes on
        self._last: tuple[tuple[int, int] | None, dict[str, Any]] = None, {}  # what was asked last, and the answer
        self._number, self._told = 0, 0
        self._closed = False

    def feed(self, block: Any) -> list[dict[str, Any]]:
        """Takes the next samples, and tells what is known now.

        Args:
            block: `(samples,)`, one or a million: floats in -1..1, or integers of 8 (from 0), 16 or 32 bits.

        Returns:
            the turns that ended, and with `provisional_seconds` the one that goes on; mostly none.

        Raises:
            AudioError: no samples, such as several channels, or not a number.
            ValueError: the stream has been closed.
        """
        if self._closed:
            raise ValueError("the stream is closed: make another one for what comes now")
        turns = list(self._hear(self._resampler.feed(read_block(block, self.name))))
        last = self._cutter.last() if self._cutter.stretches.waits else None
        if last is not None:  # while the pause goes on that will end the turn, there is time for its last window
            self._ask(last)
        return turns

    def close(self) -> list[dict[str, Any]]:
        """The turn that still goes on, if one does: the stream has ended."""
        if self._closed:
            return []
        self._closed = True
        turns = list(self._hear(self._resampler.end()))
        for rest in self._frames.end():
            turns += [turn for piece in self._cutter.feed(rest.samples) for turn in self._add(piece)]
        return [*turns, *(turn for piece in self._cutter.end() for turn in self._add(piece))]

    def turns(self, blocks: Iterable[Any]) -> Iterator[dict[str, Any]]:
        """The turns of a whole recording, each as soon as it is known."""
        for block in blocks:
            yield from self.feed(block)
        yield from self.close()

    def _hear(self, samples: np.ndarray) -> Iterator[dict[str, Any]]:
        for frame in self._frames.feed(samples):
            for piece in self._cutter.feed(frame.samples):
                yield from self._add(piece)
            yield from self._so_far()

    def _add(self, piece: Piece) -> Iterator[dict[str, Any]]:
        """Takes a window; gives the turn that ends with it."""
        if piece.silent or len(piece.samples) < self.recognise.model.encoder.shortest_input:
            return  # nobody spoke, or for less time than a sound takes
        self._said.append(self._ask(piece))
        if piece.ends:
            yield self._turn(self._said, final=True)
            self._said, self._told = [], 0
            self._number += 1

    def _so_far(self) -> Iterator[dict[str, Any]]:
        """The turn that goes on, each time that it has become so much longer."""
        last = self._cutter.last() if self._provisional else None
        if last is None:
            return
        start = self._said[0]["span"][0] * self.rate if self._said else last.start
        due = int((last.start + len(last.samples) - start) // self._provisional)
        if due > self._told:
            self._told = due
            yield self._turn([*self._said, self._ask(last)], final=False)

    def _ask(self, piece: Piece) -> dict[str, Any]:
        """What the model says of a window; once only of the last one, which may have been asked about ahead."""
        place = piece.start, len(piece.samples)
        if place != self._last[0]:
            entry = {**self.recognise._entry(piece, self.name), "is_last": piece.ends}
            self._last = place, self.recognise.forward(entry, **self._forward)
        return self._last[1]

    def _turn(self, said: list[dict[str, Any]], final: bool) -> dict[str, Any]:
        result = self.recognise.postprocess(said, **self._telling)
        start, end = round(said[0]["span"][0], 3), round(said[-1]["span"][1], 3)
        turn = {"turn": self._number, "start": start, "end": end, "final": final}
        if self._leading:
            turn["confidence"] = result[self._leading][0]["score"]
        segments = result.pop("segments", [])
        return turn | result | ({"segments": segments} if len(segments) > 1 else {})
