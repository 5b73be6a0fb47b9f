"""Sound files, opened: libsndfile reads what it reads rightly, FFmpeg, where `av` (PyAV) is installed, all else.

What libsndfile and soundfile get wrong is put right here, by what the file itself says:
soundfile seeks after each read, which an MP3's decoder answers with a burst, and which a FLAC stream of open length
refuses: here nothing is sought but where any sample is found at once. GSM 6.10 and ADPCM in WAV fill up their last
block: the `fact` chunk tells where the recording ends. An MP3 without an encoder's tag, also in WAV, or one that is
shorter than its tag says, and FLAC of open length are counted. A WAV whose sizes were never filled in is FFmpeg's, and
so are MP3 and Ogg files of which several were joined. Not noticed, since only reading all would tell, are joined FLAC
files, and Ogg files of one serial number, such as a file behind itself.
"""

import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import chain, takewhile
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
HEAD_BYTES = 4096  # of an MP3, in which its encoder's tag begins; behind another file, what is shorter is none (ours)
MP3_TAG = re.compile(rb"(?:Xing|Info)\0\0\0(.)", re.DOTALL)  # and which numbers follow: 1 of frames, 2 of bytes
OGG_PAGE = re.compile(rb"OggS\0(.).{8}(.{4})", re.DOTALL)  # its flags, of which 2 begins a stream, and its stream
OGG_PAGE_BYTES = 2**16  # at most
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
    "joined files": "several files, one behind the other: other programs may play the first alone; all is heard",
    "cut off": "an MP3 whose tag tells of more sound than there is, as of a broken download: what is there is heard",
    "late MP3": "without its encoder's tag: sound begins up to 0.1 s late, so that times of other programs differ",
    "read by FFmpeg": "libsndfile does not read it, or not rightly: whoever trains or listens needs the extra `media`",
}
"""What is odd about a file, though it is read rightly."""
MISREAD = {
    "never filled in": "its header says that it is empty, as of a recorder that was stopped",
    "joined files": "it is several files, one behind the other, of which libsndfile hears the first alone",
}
"""Why a file that libsndfile opens is FFmpeg's."""
OF_FFMPEG = () if av is None else (av.FFmpegError,)
# What libraries and disks raise for a file
FAULTS = (OSError, ValueError, *OF_FFMPEG, *(() if soundfile is None else (soundfile.LibsndfileError,)))


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


class _Mp3Tag(NamedTuple):
    """What an MP3's encoder has told of its delay, the number of samples, and of bytes.

    Args:
        found: whether it has.
        end: the byte at which the sound ends by that, as far as it is told.
        size: of the file, in bytes.
        others_follow: whether other MPEG files stand behind it.
    """

    found: bool = False
    end: int = 0
    size: int = 0
    others_follow: bool = False


def open_sound(file: Any, name: str) -> Any:
    """Opens a sound file.

    Args:
        file: a path, or a seekable binary file at its start.
        name: of the recording, for messages.

    Returns:
        what has `header()`, `samplerate`, `skip_to(sample)` and `blocks(samples)`; each file is read once, forward.

    Raises:
        AudioError: no sound file, or one that cannot be opened, or that nothing installed here reads.
    """
    if soundfile is None:
        raise AudioError("reading recordings needs soundfile and soxr: pip install soundfile soxr")
    with _told(name):
        try:
            opened = _OfLibsndfile(file, name)
        except (*FAULTS, TypeError) as error:  # that of what ends in .raw
            return _open_by_ffmpeg(file, name, error)
        if oddity := opened.misread:
            return _open_by_ffmpeg(file, name, ValueError(MISREAD[oddity]), oddity)
        return opened


def read_header(file: Any, name: str) -> Header:
    """What is known of a sound file, see `open_sound`; one whose header does not tell its length is read through."""
    opened = open_sound(file, name)
    with _told(name):
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
    if isinstance(error, (FileNotFoundError, IsADirectoryError)):
        return AudioError(f"{name} cannot be read ({reason}): give a sound file that is there")
    if isinstance(error, OSError) and not isinstance(error, OF_FFMPEG):
        return AudioError(
            f"{name} cannot be read ({reason}): see to the permissions, and that the disk answers; or leave it out"
        )
    more = f", or {EXTRA} for M4A, AMR, WebM and others" if av is None else ""
    return AudioError(
        f"{name} cannot be read as audio ({reason}): it is damaged, or not what its name says; give WAV, FLAC, OGG or "
        f"MP3{more}"
    )


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Makes `AudioError` of what libraries and disks raise for a file."""
    try:
        yield
    except AudioError:
        raise
    except FAULTS as error:
        raise unreadable(name, error) from error


class _OfLibsndfile:
    """A file that libsndfile reads."""

    def __init__(self, file: Any, name: str):
        self._path, self._name = file, name
        self._file = soundfile.SoundFile(file)
        self._can_seek = self._file.seekable() and self._file.subtype.startswith(EXACT)
        self._can_seek = self._can_seek and self._file.frames < OPEN_LENGTH
        self._file.seekable = lambda: False  # or soundfile seeks after each read
        self.samplerate, self.channels = self._file.samplerate, self._file.channels

    @property
    def misread(self) -> str | None:
        """Which of `MISREAD` it is."""
        found = {"never filled in": self._was_never_filled_in, "joined files": self._is_joined}
        return next((name for name, holds in found.items() if holds), None)

    @property
    def _was_never_filled_in(self) -> bool:
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
            "late MP3": self._is_mpeg and not self._tag.found,
            "cut off": self._is_short and self._samples < self._file.frames,
        }
        return tuple(name for name, holds in found.items() if holds)

    @property
    def _is_mpeg(self) -> bool:
        return self._file.subtype.startswith("MPEG_LAYER")

    @property
    def _is_to_count(self) -> bool:
        return self._file.frames >= OPEN_LENGTH or self._is_short or (self._is_mpeg and not self._tag.found)

    @property
    def _is_short(self) -> bool:
        """Whether an MP3 has fewer bytes than its tag says."""
        return self._tag.end > self._tag.size

    @property
    def _is_joined(self) -> bool:
        """Whether other files stand behind the one that libsndfile reads."""
        if self._file.format != "OGG":
            return self._tag.others_follow
        with _bytes_of(self._path) as content:
            return _ogg_is_joined(content)

    @cached_property
    def _tag(self) -> _Mp3Tag:
        if self._file.format != "MP3":
            return _Mp3Tag()
        with _bytes_of(self._path) as content:
            return _mp3_tag(content)

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
        with self._file, _told(self._name):
            while len(block := self._file.read(min(most, left), dtype="float32", always_2d=True)):
                yield block
                left -= len(block)


class _OfFfmpeg:
    """The first sound of a file that FFmpeg reads."""

    def __init__(self, file: Any, name: str, *oddities: str):
        self._path, self._name, self._oddities = file, name, (*oddities, "read by FFmpeg")
        self._container, stream = _container(file)
        self._decoded = self._frames(stream)
        first = next(self._decoded, None)
        # the decoder's own, which of HE-AAC is twice the header's
        self.samplerate = first.sample_rate if first else stream.rate
        self.channels = first.layout.nb_channels if first else stream.channels
        self._decoded = chain([first] if first else [], self._decoded)

    def header(self) -> Header:
        """What is known of it, of which the length is that of its packets, and not what it claims."""
        # of joined files the packets' times begin anew
        samples = sum(map(len, self.blocks())) if "joined files" in self._oddities else self._samples_in_packets()
        return Header(samples, self.samplerate, self.channels, self._oddities)

    def _samples_in_packets(self) -> int:
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
        return round(seconds * self.samplerate)

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
        with self._container, _told(self._name):
            for frame in chain(self._decoded, [None]):
                self._require_same_kind(frame)
                kept += [part.to_ndarray().T for part in resampler.resample(frame)]
                if kept and (frame is None or sum(map(len, kept)) >= most):
                    yield np.concatenate(kept)
                    kept = []

    def _frames(self, stream: Any) -> Iterator[Any]:
        for packet in self._container.demux(stream):
            try:
                yield from packet.decode()
            except av.error.InvalidDataError:
                if "joined files" not in self._oddities:  # between those may stand tags and pictures
                    raise

    def _require_same_kind(self, frame: Any) -> None:
        """Raises `ValueError` where another file begins, which is unlike the first."""
        if frame is not None and (frame.sample_rate, frame.layout.nb_channels) != (self.samplerate, self.channels):
            raise ValueError("its parts differ in their sampling rate or channels")


def _open_by_ffmpeg(file: Any, name: str, why: Exception, *oddities: str) -> _OfFfmpeg:
    with _bytes_of(file) as content:
        content.read(1)  # a disk's own fault is told first
    if av is None:
        raise unreadable(name, why) from why
    return _OfFfmpeg(file, name, *oddities)


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


def _mp3_tag(content: Any) -> _Mp3Tag:
    start, size = _start_of_mpeg(content, 0), content.seek(0, os.SEEK_END)
    content.seek(start)
    head = content.read(HEAD_BYTES)
    tag = MP3_TAG.search(head)
    if tag is None:
        return _Mp3Tag()
    flags = tag[1][0]
    place = tag.end() + 4 * (flags & 1)
    told = int.from_bytes(head[place : place + 4]) if flags & 2 else 0
    if not told:
        return _Mp3Tag(found=True)
    following = _start_of_mpeg(content, start + told)
    content.seek(following)
    # some encoders leave the tag's own frame out, so that the last one stands behind the end
    follows = size - following > HEAD_BYTES and _is_mpeg_frame(content.read(2))
    return _Mp3Tag(True, start + told, size, follows)


def _start_of_mpeg(content: Any, place: int) -> int:
    """The byte, from `place` on, at which tags of ID3 and APE end, which may hold pictures."""
    while True:
        content.seek(place)
        head = content.read(16)
        if head.startswith(b"ID3"):
            # seven bits a byte
            place += 10 + sum((byte & 127) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=False))
        elif head.startswith(b"TAG"):
            place += 128
        elif head.startswith(b"APETAGEX"):
            place += 32 + int.from_bytes(head[12:], "little")
        else:
            return place


def _is_mpeg_frame(head: bytes) -> bool:
    """Whether two bytes begin a frame of layer III."""
    return len(head) == 2 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2


def _ogg_is_joined(content: Any) -> bool:
    """Whether the stream of an Ogg file's last page is none of those that begin with the file."""
    head = content.read(HEAD_BYTES)
    content.seek(max(0, content.seek(0, os.SEEK_END) - OGG_PAGE_BYTES))
    begun = [page[2] for page in takewhile(lambda page: page[1][0] & 2, OGG_PAGE.finditer(head))]
    pages = OGG_PAGE.findall(content.read())
    return bool(pages) and pages[-1][1] not in begun
