"""`ser-meta listen`: turns as JSON lines while the sound still comes in, from standard input or a WebSocket."""

import io
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from ...configuration.errors import UserError
from ...configuration.printable import json_line
from ...modeling_ser_meta import SpeechEmotionPipeline, SpeechEmotionStream
from ...modeling_ser_meta.audio_ser_meta import channel_number
from .live_sound import PIECE, Arrivals, Decoder, SoundFormat

ALONE = nullcontext()
Heard = dict[int | None, SpeechEmotionStream]


@dataclass
class Listening:
    """How live sound is heard.

    Args:
        recognise: the pipeline.
        channels: `separate`, each of several by a stream of its own; `mix`, `left`, `right`, or the number of one.
        provisional: seconds after which a turn that goes on is told, again and again; None for never.
        buffer: seconds of sound that may wait to be heard; then whoever sends it has to wait.
    """

    recognise: SpeechEmotionPipeline
    channels: str = "separate"
    provisional: float | None = None
    buffer: float = 10.0

    def __post_init__(self) -> None:
        if not self.buffer > 0:
            raise UserError(f"--buffer {self.buffer:g} must be above 0 seconds")
        self.streams(SoundFormat(16_000, 64))  # what is wrong with an option is told before any sound comes

    def arrivals(self, read: Callable[[], bytes], sound: SoundFormat | None) -> Arrivals:
        """Bytes as `read` gives them; of a WAV file nobody knows the rate yet, so that it is taken for a CD's."""
        sound = sound or SoundFormat(44_100, 2)
        return Arrivals(read, round(self.buffer * sound.sampling_rate) * sound.frame)

    def streams(self, sound: SoundFormat) -> Heard:
        """What hears each channel; of a single one, or of all mixed, the key is None."""
        separate = self.channels == "separate"
        try:
            chosen = None if separate else channel_number({"channel": self.channels})
            numbers = list(range(sound.channels)) if separate and sound.channels > 1 else [chosen]
            options = {"provisional_seconds": self.provisional}
            heard = {number: self.recognise.stream(sound.sampling_rate, **options) for number in numbers}
        except ValueError as error:
            raise UserError(str(error).replace("channel=", "--channels ")) from error
        if chosen is not None and chosen >= sound.channels:
            raise UserError(f"--channels {self.channels}: the sound has {sound.channels}, counted from 0")
        return heard


def hear(
    listening: Listening, arrivals: Arrivals, decoder: Decoder, turn_taking: AbstractContextManager = ALONE
) -> Iterator[dict[str, Any]]:
    """The lines that are told of live sound.

    A turn's is that of `SpeechEmotionStream`, with its `channel` where there are several, and with `delay`: the
    seconds since the sound came in that ended it. `{"behind": seconds}` tells how much sound waits, when the buffer is
    full although sound comes no faster than it is made: whoever sends it has to wait. It comes once till all is heard.

    Args:
        listening: how.
        arrivals: the bytes.
        decoder: of the bytes.
        turn_taking: is held while the model hears; a lock where several listen with one.

    Raises:
        UserError: what comes in is no sound that can be heard.
        AudioError: it is damaged.
    """
    streams: Heard | None = None
    pace = Pace(arrivals)
    at = time.monotonic()
    for arrival in arrivals:
        at = arrival.at
        samples = decoder.feed(arrival.received)
        if samples is None or not len(samples):
            continue
        streams = streams or listening.streams(decoder.format)
        for channel, stream in streams.items():
            with turn_taking:
                turns = stream.feed(samples.mean(axis=1) if channel is None else samples[:, channel])
            yield from (_line(turn, channel, at) for turn in turns)
        if behind := pace.behind(len(samples), decoder.format):
            yield {"behind": behind}
    if streams is None and decoder.held:
        raise UserError("what came in has ended before its first sample")
    for channel, stream in (streams or {}).items():
        with turn_taking:
            turns = stream.close()
        yield from (_line(turn, channel, at) for turn in turns)


class Pace:
    """Whether live sound is heard more slowly than it is made.

    Args:
        arrivals: its bytes.
    """

    def __init__(self, arrivals: Arrivals):
        self.arrivals, self.began, self.seconds, self.told = arrivals, time.monotonic(), 0.0, False

    def behind(self, samples: int, sound: SoundFormat) -> float | None:
        """Seconds of sound that wait, when this is to be told: once until all has been heard; None otherwise."""
        self.seconds += samples / sound.sampling_rate
        waiting = self.arrivals.bytes / sound.frame / sound.sampling_rate
        if not waiting:
            self.arrivals.was_full = self.told = False
        is_live = self.seconds + waiting <= time.monotonic() - self.began + 1
        if not self.arrivals.was_full or self.told or not is_live:
            return None
        self.told = True
        return round(waiting, 1)


def listen_to_input(listening: Listening, raw: SoundFormat | None) -> None:
    """Hears standard input to its end, or to Ctrl-C, and prints the lines.

    Args:
        listening: how.
        raw: how its samples are written; None for a WAV file.

    Raises:
        UserError: see `hear`.
        AudioError: see `hear`.
    """
    if sys.stdin.isatty():
        raise UserError("standard input is a keyboard: send sound in, as ser-meta listen --help shows")
    decoder = Decoder(raw)
    source = io.FileIO(sys.stdin.fileno(), closefd=False)
    arrivals = listening.arrivals(lambda: source.read(PIECE) or b"", raw)
    with ended_by_signals(arrivals.stop):
        for line in hear(listening, arrivals, decoder):
            print(json_line(line), flush=True)


@contextmanager
def ended_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM call `stop` once; a second one ends the process as ever."""

    def handle(number: int, _: Any) -> None:
        signal.signal(number, before[number])
        stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _line(turn: dict[str, Any], channel: int | None, at: float) -> dict[str, Any]:
    of_channel = {} if channel is None else {"channel": channel}
    return {**of_channel, **turn, "delay": round(time.monotonic() - at, 3)}
