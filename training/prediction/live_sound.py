"""Sound that is still being made: bytes as they come, in a buffer that has an end, and the samples they stand for."""

import io
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Condition, Event, Thread
from typing import NamedTuple

import numpy as np
import soundfile

from ...configuration.errors import UserError
from ...modeling_ser_meta.audio_ser_meta import check_rate

PIECE = 2**14  # bytes that are taken at once, at most
ENCODINGS = {
    "pcm_u8": 1,
    "pcm_16": 2,
    "pcm_24": 3,
    "pcm_32": 4,
    "float": 4,
    "double": 8,
    "alaw": 1,
    "ulaw": 1,
}  # bytes of a sample, by libsndfile's names
OF_WAV = {(1, 8): "pcm_u8", (1, 16): "pcm_16", (1, 24): "pcm_24", (1, 32): "pcm_32", (3, 32): "float",
          (3, 64): "double", (6, 8): "alaw", (7, 8): "ulaw"}  # by format tag and bits  # fmt: skip
EXTENSIBLE = 0xFFFE
UNKNOWN_BYTES = 0x7FFF0000  # or more: what programs write of a length that they do not know yet
LONGEST_HEADER = 2**16  # bytes


class SoundFormat(NamedTuple):
    """How samples are written.

    Args:
        sampling_rate: in Hz.
        channels: whose samples take turns.
        encoding: one of `ENCODINGS`, the least byte first.
    """

    sampling_rate: int
    channels: int = 1
    encoding: str = "pcm_16"

    @property
    def frame(self) -> int:
        """Bytes of one sample of every channel."""
        return self.channels * ENCODINGS[self.encoding]

    def checked(self) -> "SoundFormat":
        """The same; `UserError` for an encoding or channels that there are not, `AudioError` for such a rate."""
        check_rate(self.sampling_rate, "the sound")
        if self.encoding not in ENCODINGS:
            raise UserError(f"the encoding {self.encoding} is none of {', '.join(ENCODINGS)}")
        if not 0 < self.channels <= 64:
            raise UserError(f"{self.channels} channels are none from 1 to 64")
        return self

    def samples(self, written: bytes) -> np.ndarray:
        """Float32 samples `(samples, channels)` of whole frames of bytes."""
        if not written:
            return np.zeros((0, self.channels), dtype=np.float32)
        facts = {"samplerate": self.sampling_rate, "channels": self.channels, "subtype": self.encoding.upper()}
        reading = {"format": "RAW", "endian": "LITTLE", "dtype": "float32", "always_2d": True}
        return soundfile.read(io.BytesIO(written), **facts, **reading)[0]


class Decoder:
    """Makes samples of bytes that come bit by bit: a WAV file, or raw ones.

    Args:
        given: how raw samples are written; None for a WAV file, whose header tells, also one without its length.
    """

    def __init__(self, given: SoundFormat | None = None):
        self.format, self.held, self.left = given and given.checked(), b"", None

    def feed(self, received: bytes) -> np.ndarray | None:
        """Samples `(samples, channels)`; None as long as the header is not whole.

        Raises:
            UserError: no WAV file, or one whose samples are packed.
        """
        self.held += received
        if self.format is None:
            begun = _header(self.held)
            if begun is None:
                return None
            self.format, start, self.left = begun
            self.held = self.held[start:]
        sound = self.held if self.left is None else self.held[: self.left]
        whole = len(sound) // self.format.frame * self.format.frame
        if self.left is not None:  # behind the samples a WAV file may have a title
            self.left -= whole
            self.held = self.held[whole:] if self.left else b""
        else:
            self.held = self.held[whole:]
        return self.format.samples(sound[:whole])


def _header(written: bytes) -> tuple[SoundFormat, int, int | None] | None:
    """Format, first byte of the samples and their number of bytes, or None for any; None if more must be read."""
    if len(written) >= 4 and written[:4] not in (b"RIFF", b"RF64"):
        raise UserError("what comes in is no WAV file: say the rate of raw samples, by --raw-rate or as sampling_rate")
    place, found = 12, None
    while len(written) >= place + 8:
        name, size = struct.unpack_from("<4sI", written, place)
        if name == b"data" and found:
            return found, place + 8, size if 0 < size < UNKNOWN_BYTES else None
        if name == b"fmt " and len(written) >= place + 8 + size:
            found = _of_wav(written[place + 8 : place + 8 + size])
        place += 8 + size + size % 2
    if max(place, len(written)) > LONGEST_HEADER:
        raise UserError("what comes in is no WAV file that can be heard: its header has no end")
    return None


def _of_wav(chunk: bytes) -> SoundFormat:
    if len(chunk) < 16:
        raise UserError("what comes in is no WAV file that can be heard: its header is damaged")
    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == EXTENSIBLE and len(chunk) >= 26:
        (tag,) = struct.unpack_from("<H", chunk, 24)
    if (tag, bits) not in OF_WAV:
        raise UserError(
            f"what comes in is a WAV file of the format {tag} with {bits} bits, which cannot be heard while it is "
            "made: send PCM, float, A-law or mu-law"
        )
    return SoundFormat(rate, channels, OF_WAV[tag, bits]).checked()


@dataclass
class Arrival:
    """Bytes, and when they came, by `time.monotonic()`."""

    received: bytes
    at: float


class Arrivals:
    """Takes bytes as they come, in a thread of its own, and keeps those that nobody has heard yet.

    When so much waits, no more is taken, and whoever sends has to wait: nothing is dropped.

    Args:
        read: the next bytes, none at the end.
        most: bytes that wait at most.
    """

    def __init__(self, read: Callable[[], bytes], most: int):
        self.most, self.waiting, self.bytes = most, deque(), 0
        self.changed, self.stopped, self.ended = Condition(), Event(), False
        self.was_full, self.error = False, None
        Thread(target=self._take, args=(read,), daemon=True).start()

    def stop(self) -> None:
        """Takes no more; what has come is still given. May be called by a signal's handler."""
        self.stopped.set()

    def __iter__(self) -> Iterator[Arrival]:
        while True:
            with self.changed:
                while not (self.waiting or self.ended or self.stopped.is_set()):
                    self.changed.wait(0.1)  # not for ever: a signal's handler cannot notify
                if not self.waiting:
                    break
                arrival = self.waiting.popleft()
                self.bytes -= len(arrival.received)
                self.changed.notify()
            yield arrival
        if self.error:
            raise self.error

    def _take(self, read: Callable[[], bytes]) -> None:
        try:
            while not self.stopped.is_set() and (received := read()):
                with self.changed:
                    while self.bytes >= self.most and not self.stopped.is_set():
                        self.was_full = True
                        self.changed.wait(0.1)
                    self.waiting.append(Arrival(received, time.monotonic()))
                    self.bytes += len(received)
                    self.changed.notify()
        except Exception as error:  # told where the bytes are heard
            self.error = error
        with self.changed:
            self.ended = True
            self.changed.notify()
