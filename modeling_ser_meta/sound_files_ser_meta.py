"""Sound files, opened: libsndfile reads what it reads rightly, FFmpeg, where `av` (PyAV) is installed, all else.

What libsndfile and soundfile get wrong is put right here, by what the file itself says:
soundfile seeks after each read, which an MP3's decoder answers with a burst, and which a FLAC stream of open length
refuses: here nothing is sought but where any sample is found at once. GSM 6.10 and ADPCM in WAV fill up their last
block: the `fact` chunk tells where the recording ends. An MP3 without an encoder's tag, also in WAV, and FLAC of open
length are counted. A WAV whose sizes were never filled in is FFmpeg's.
"""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple

try:
    import soundfile
except ImportError:
    soundfile = None
try:
    import av
except ImportError:
    av = None

BLOCK_SECONDS = 10  # of a recording that is read from disk piece by piece
BLOCK_VALUES = 2**22  # of all channels together that are read at once: a header may claim 1,024 channels
EXACT = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")  # encodings in which any sample is found at once (FLAC's is PCM)
FILLED_UP = ("GSM610", "IMA_ADPCM", "MS_ADPCM")  # encodings of blocks, of which the last one is filled up
OPEN_LENGTH = 2**62  # samples, from which on a header does not tell how many there are
HEAD_BYTES = 4096  # of an MP3, in which its encoder's tag begins
SOUND_FILES = (
    *(".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".aifc", ".au", ".snd", ".caf"),
    *(".w64", ".rf64", ".sph", ".nist", ".voc", ".sf", ".8svx"),
)
OF_OTHER_DECODERS = (
    *(".m4a", ".m4b", ".aac", ".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".amr", ".awb", ".wma", ".webm", ".weba"),
    *(".mkv", ".mka", ".avi", ".flv", ".spx", ".ac3", ".eac3", ".ape", ".wv", ".tta", ".ra", ".dss", ".gsm"),
)
# What FFmpeg may open: none of its lists (HLS, concat, ...), through which a file could name others, or addresses
DEMUXERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,asf,avi,flv,rm,mpegts,ogg,wav,w64,aiff,au,caf,voc,flac,mp3,aac,amr,amrnb,"
    "amrwb,ac3,eac3,ape,wv,tta,dss,gsm,nistsphere"
)
EXTRA = 'pip install "ser-meta[media]" (or av)'
ODDITIES = {
    "padded blocks": "GSM or ADPCM, which fills up its last block: what lies behind the end is not heard",
    "open length": "the header does not tell it: written into a pipe; all samples are heard",
    "never filled in": "a WAV whose writer was stopped: its header says that it is empty; all that is there is heard",
    "late MP3": "without its encoder's tag: sound begins up to 0.1 s late, so that times of other programs differ",
    "read by FFmpeg": "libsndfile does not read it, or not rightly: whoever trains or listens needs the extra `media`",
}
"""What is odd about a file, though it is read rightly."""


class AudioError(ValueError):
    """A recording that cannot be used; the message is one line naming the recording, what is wrong and the remedy."""


class Header(NamedTuple):
    """What is known of a sound file before it is heard.

    Args:
        frames: samples of a channel; of FFmpeg's files up to one packet more are read.
        samplerate: in Hz.
        channels: how many.
        oddities: names in `ODDITIES`.
    """

    frames: int
    samplerate: float
    channels: int
    oddities: tuple[str, ...]


def open_sound(file: Any, name: str) -> Any:
    """Opens a sound file.

    Args:
        file: a path, or a seekable binary file at its start.
        name: of the recording, for messages.

    Returns:
        what has `header()`, `samplerate`, `skip_to(sample)` and `blocks(samples)`; each file is read once, forward.

    Raises:
        AudioError: no sound file, or one that nothing installed here reads.
    """
    if soundfile is None:
        raise AudioError("reading recordings needs soundfile and soxr: pip install soundfile soxr")
    try:
        opened = _OfLibsndfile(file, name)
    except (soundfile.LibsndfileError, TypeError, ValueError) as error:
        return _open_by_ffmpeg(file, name, error)
    if opened.was_never_filled_in:
        reason = ValueError("its header says that it is empty, as of a recorder that was stopped")
        return _open_by_ffmpeg(file, name, reason, "never filled in")
    return opened


def read_header(file: Any, name: str) -> Header:
    """What is known of a sound file, see `open_sound`; one whose header does not tell its length is read through."""
    opened = open_sound(file, name)
    try:
        return opened.header()
    finally:
        opened.close()


def readable_endings() -> tuple[str, ...]:
    """Endings of the files that can be read here."""
    return SOUND_FILES if av is None else (*SOUND_FILES, *OF_OTHER_DECODERS)


def unreadable(name: str, error: Exception) -> AudioError:
    """What is told of a file that cannot be read."""
    reason = " ".join(str(getattr(error, "error_string", None) or getattr(error, "strerror", None) or error).split())
    more = f", or {EXTRA} for M4A, AMR, WebM and others" if av is None else ""
    return AudioError(
        f"{name} cannot be read as audio ({reason}): it is damaged, or not what its name says; give WAV, FLAC, OGG or "
        f"MP3{more}"
    )


class _OfLibsndfile:
    """A file that libsndfile reads."""

    def __init__(self, file: Any, name: str):
        self._path, self._name = file, name
        self._file = soundfile.SoundFile(file)
        self._can_seek = self._file.seekable() and self._file.subtype.startswith(EXACT)
        self._can_seek = self._can_seek and self._file.frames < OPEN_LENGTH
        self._file.seekable = lambda: False  # or soundfile seeks after each read
        self.samplerate, self.channels = self._file.samplerate, self._file.channels

    @cached_property
    def was_never_filled_in(self) -> bool:
        """Whether it is a WAV whose sizes were never filled in, though there is sound."""
        if self._file.frames or not self._file.format.startswith("WAV"):
            return False
        with _bytes_of(self._path) as content:
            chunks = _chunks(content)
            size = content.seek(0, os.SEEK_END)
        start, told = chunks.get(b"data", (size, 0))
        return told == 0 and start < size and chunks[b"RIFF"][1] != size - 8

    def header(self) -> Header:
        """What is known of it; a file without a length is read through for that."""
        return Header(self._samples, self.samplerate, self.channels, self._oddities)

    @cached_property
    def _samples(self) -> int:
        return sum(map(len, self.blocks())) if self._is_to_count else min(self._file.frames, self._end)

    @property
    def _oddities(self) -> tuple[str, ...]:
        found = {
            "padded blocks": self._end < min(self._file.frames, OPEN_LENGTH),
            "open length": self._file.frames >= OPEN_LENGTH,
            "late MP3": self._is_mpeg and not self._has_tag,
        }
        return tuple(name for name, holds in found.items() if holds)

    @property
    def _is_mpeg(self) -> bool:
        return self._file.subtype.startswith("MPEG_LAYER")

    @property
    def _is_to_count(self) -> bool:
        return self._file.frames >= OPEN_LENGTH or (self._is_mpeg and not self._has_tag)

    @cached_property
    def _has_tag(self) -> bool:
        """Whether an MP3's encoder has told its delay, and the number of samples."""
        with _bytes_of(self._path) as content:
            head = content.read(10)
            # an ID3 tag in front may hold a picture; seven bits a byte
            size = sum((byte & 127) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
            content.seek(10 + size if head.startswith(b"ID3") else 0)
            head = content.read(HEAD_BYTES)
        return self._file.format == "MP3" and (b"Xing" in head or b"Info" in head)

    @cached_property
    def _end(self) -> int:
        """The sample at which the recording ends, where its encoding fills up the last block."""
        if self._file.subtype not in FILLED_UP or not self._file.format.startswith("WAV"):
            return OPEN_LENGTH
        with _bytes_of(self._path) as content:
            chunks = _chunks(content)
            told = _number(content, chunks.get(b"fact"), 0, 4)
            block = _number(content, chunks.get(b"fmt "), 18, 2)
        # not every program tells it, nor tells it in samples; libsndfile gives up to two blocks of GSM too many
        return told if told and 0 <= self._file.frames - told < 2 * block else OPEN_LENGTH

    def close(self) -> None:
        """Closes it, though not a file that was given open."""
        self._file.close()

    def skip_to(self, sample: int) -> int:
        """Goes on from this sample where any sample is found at once; the sample at which reading goes on."""
        if sample and self._can_seek and sample < self._file.frames:
            return self._file.seek(sample)
        return 0

    def blocks(self, samples: int | None = None) -> Iterator[Any]:
        """What it holds, float32 `(samples, channels)` at a time, however many its header claims.

        Args:
            samples: of a channel that are read at most; None for all that are left.
        """
        most = min(BLOCK_SECONDS * self.samplerate, BLOCK_VALUES // self.channels)
        left = self._end if samples is None else min(self._end, samples)
        with self._file:
            try:
                while len(block := self._file.read(min(most, left), dtype="float32", always_2d=True)):
                    yield block
                    left -= len(block)
            except soundfile.LibsndfileError as error:
                raise unreadable(self._name, error) from error


class _OfFfmpeg:
    """The first sound of a file that FFmpeg reads."""

    def __init__(self, file: Any, name: str, *oddities: str):
        self._path, self._name, self._oddities = file, name, (*oddities, "read by FFmpeg")
        self._container, stream = _container(file)
        self._decoded = self._container.decode(stream)
        first = next(self._decoded, None)
        # the decoder's own, which of HE-AAC is twice the header's
        self.samplerate = first.sample_rate if first else stream.rate
        self.channels = first.layout.nb_channels if first else stream.channels
        self._decoded = chain([first] if first else [], self._decoded)

    def header(self) -> Header:
        """What is known of it, of which the length is that of its packets, and not what it claims."""
        container, stream = _container(self._path)
        first, end, length = None, 0, 0
        with container:
            for packet in container.demux(stream):
                if packet.pts is not None and packet.size:
                    first = packet.pts if first is None else first
                    end, length = max(end, packet.pts + (packet.duration or 0)), length + (packet.duration or 0)
            # before 0 lies what a decoder needs to start, and does not give
            first = first or 0
            seconds = float(max(end - max(first, 0), length + min(first, 0)) * (stream.time_base or 0))
        return Header(round(seconds * self.samplerate), self.samplerate, self.channels, self._oddities)

    def close(self) -> None:
        """As that of libsndfile's."""
        self._container.close()

    def skip_to(self, sample: int) -> int:
        """0: packets tell their times too roughly."""
        return 0

    def blocks(self, samples: int | None = None) -> Iterator[Any]:
        """As that of libsndfile's; `samples` are what somebody needs, and more may come."""
        import numpy as np

        resampler = av.AudioResampler(format="fltp")  # of the samples' kind alone
        most, kept = BLOCK_SECONDS * self.samplerate, []
        with self._container:
            try:
                for frame in chain(self._decoded, [None]):
                    kept += [part.to_ndarray().T for part in resampler.resample(frame)]
                    if kept and (frame is None or sum(map(len, kept)) >= most):
                        yield np.concatenate(kept)
                        kept = []
            except (av.FFmpegError, ValueError) as error:
                raise unreadable(self._name, error) from error


def _open_by_ffmpeg(file: Any, name: str, why: Exception, *oddities: str) -> _OfFfmpeg:
    if av is None:
        raise unreadable(name, why) from why
    try:
        return _OfFfmpeg(file, name, *oddities)
    except (av.FFmpegError, ValueError) as error:
        raise unreadable(name, error) from error


def _container(file: Any) -> tuple[Any, Any]:
    """A file as FFmpeg has it, and its first sound."""
    if hasattr(file, "seek"):
        file.seek(0)
    # through Python's own file, so that no name is taken for an address
    content = file if hasattr(file, "seek") else open(file, "rb")  # noqa: SIM115 - closed with the container
    container = av.open(content, options={"format_whitelist": DEMUXERS, "protocol_whitelist": "none"})
    if not container.streams.audio:
        raise ValueError("it holds no sound")
    return container, container.streams.audio[0]


@contextmanager
def _bytes_of(file: Any) -> Iterator[Any]:
    """A file's bytes from the start; one that is open stays where it was."""
    if not hasattr(file, "seek"):
        with open(file, "rb") as content:
            yield content
        return
    place = file.tell()
    file.seek(0)
    yield file
    file.seek(place)


def _chunks(content: Any) -> dict[bytes, tuple[int, int]]:
    """Where each chunk of a WAV up to its sound begins, and its size, in bytes; of `RIFF` the whole's."""
    found, place = {b"RIFF": struct.unpack("<4xI", content.read(8))}, 12
    found[b"RIFF"] = (8, *found[b"RIFF"])
    content.seek(place)
    while b"data" not in found and len(head := content.read(8)) == 8:
        name, size = struct.unpack("<4sI", head)
        found[name] = place + 8, size
        place += 8 + size + size % 2
        content.seek(place)
    return found


def _number(content: Any, chunk: tuple[int, int] | None, offset: int, size: int) -> int:
    """An unsigned number in a chunk of a WAV; 0 where there is no such chunk."""
    if chunk is None or chunk[1] < offset + size:
        return 0
    content.seek(chunk[0] + offset)
    return int.from_bytes(content.read(size), "little")
