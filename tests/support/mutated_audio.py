"""Small recordings in every format and subtype, and what a faulty disk or a malicious hand makes of them."""

import io
import random
import struct
from collections.abc import Callable, Iterator

import numpy as np
import soundfile

FORMATS = ("WAV", "FLAC", "OGG", "MP3")
RATES = (8_000, 16_000, 24_000, 48_000)  # Opus has no others
NUMBERS = (0, 1, 2, 7, 255, 2**15, 2**16 - 1, 10_000_000, 2**31 - 1, 2**31, 2**32 - 1)
# field: where it lies, behind which mark, and its form; of FLAC's packed ones, the bytes that hold them
FIELDS = {
    "WAV": {
        "size of the file": (b"RIFF", 4, "<I"),
        "kind of samples": (b"fmt ", 8, "<H"),
        "channels": (b"fmt ", 10, "<H"),
        "rate": (b"fmt ", 12, "<I"),
        "bytes a second": (b"fmt ", 16, "<I"),
        "block": (b"fmt ", 20, "<H"),
        "bits a sample": (b"fmt ", 22, "<H"),
        "size of the format": (b"fmt ", 4, "<I"),
        "samples": (b"data", 4, "<I"),
    },
    "FLAC": {
        "size of the header": (b"fLaC", 4, ">I"),
        "shortest block": (b"fLaC", 8, ">H"),
        "longest block": (b"fLaC", 10, ">H"),
        "rate, channels, bits": (b"fLaC", 18, ">I"),
        "samples": (b"fLaC", 22, ">I"),
    },
    "OGG": {
        "position": (b"OggS", 6, "<I"),
        "upper position": (b"OggS", 10, "<I"),
        "number of the stream": (b"OggS", 14, "<I"),
        "segments": (b"OggS", 26, "<B"),
        "channels (Opus)": (b"OpusHead", 9, "<B"),
        "skipped (Opus)": (b"OpusHead", 10, "<H"),
        "rate (Opus)": (b"OpusHead", 12, "<I"),
        "channels (Vorbis)": (b"\x01vorbis", 11, "<B"),
        "rate (Vorbis)": (b"\x01vorbis", 12, "<I"),
        "blocks (Vorbis)": (b"\x01vorbis", 28, "<B"),
    },
    "MP3": {
        "frame": (b"\xff\xfb", 0, ">I"),
        "second byte of the frame": (b"\xff\xfb", 2, ">H"),
        "flags (Xing)": (b"Xing", 4, ">I"),
        "frames (Xing)": (b"Xing", 8, ">I"),
        "bytes (Xing)": (b"Xing", 12, ">I"),
        "frames (Info)": (b"Info", 8, ">I"),
        "bytes (Info)": (b"Info", 12, ">I"),
    },
}


def originals(name: str, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """Recordings of 0.2 to 0.6 s in a format, one of each of its subtypes, one or two channels, at several rates."""
    for subtype in soundfile.available_subtypes(name):
        for rate, channels in ((chance.choice(RATES), 1), (chance.choice(RATES), 2)):
            content = io.BytesIO()
            try:
                soundfile.write(
                    content, speechlike(chance.uniform(0.2, 0.6), rate, channels), rate, subtype, format=name
                )
            except soundfile.LibsndfileError:  # a codec of telephones: one rate or one channel only
                continue
            yield f"{subtype} {rate} Hz {channels}", content.getvalue()


def speechlike(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    """A tone that swells and fades in a little noise, `(samples, channels)`."""
    time = np.arange(round(seconds * rate)) / rate
    tone = 0.3 * np.sin(2 * np.pi * 200 * time) * np.sin(np.pi * time / seconds)
    noise = np.random.default_rng(len(time)).normal(scale=0.01, size=(len(time), channels))
    return tone[:, None] + noise


def mutants(name: str, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """`count` damaged recordings of a format, each with what was done; the same ones for the same seed."""
    chance = random.Random(f"{seed} {name}")
    whole = list(originals(name, chance))
    for _ in range(count):
        label, content = chance.choice(whole)
        done = []
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            change = chance.choice(CHANGES)
            content = change(content, chance, name)
            done.append(change.__name__)
        if name == "OGG" and chance.random() < 0.7:
            content = mend_checksums(content)
            done.append("mend_checksums")
        yield f"{label}: {', '.join(done)}", content


def flip_bits(content: bytes, chance: random.Random, name: str) -> bytes:
    """One to sixteen bits anywhere."""
    return _flipped(content, chance, len(content))


def flip_bits_of_the_header(content: bytes, chance: random.Random, name: str) -> bytes:
    """One to sixteen bits of the first hundred bytes."""
    return _flipped(content, chance, min(100, len(content)))


def set_a_field(content: bytes, chance: random.Random, name: str) -> bytes:
    """A field of the header, such as the number of channels, gets an absurd value."""
    mark, offset, form = chance.choice(list(FIELDS[name].values()))
    size = struct.calcsize(form)
    places = [place for place in _places(content, mark) if place + offset + size <= len(content)]
    if not places:
        return set_any_number(content, chance, name)
    value = chance.choice((*NUMBERS, chance.getrandbits(32))) & (2 ** (8 * size) - 1)
    start = chance.choice(places) + offset
    return content[:start] + struct.pack(form, value) + content[start + size :]


def set_any_number(content: bytes, chance: random.Random, name: str) -> bytes:
    """Four bytes of the first hundred become an absurd number."""
    start = chance.randrange(max(1, min(100, len(content))))
    value = struct.pack(chance.choice("<>") + "I", chance.choice(NUMBERS))
    return content[:start] + value + content[start + 4 :]


def truncate(content: bytes, chance: random.Random, name: str) -> bytes:
    """Only the start is there."""
    return content[: chance.randrange(len(content) + 1)]


def cut_out(content: bytes, chance: random.Random, name: str) -> bytes:
    """A stretch is missing."""
    start, end = sorted(chance.randrange(len(content) + 1) for _ in range(2))
    return content[:start] + content[end:]


def repeat(content: bytes, chance: random.Random, name: str) -> bytes:
    """A stretch is there twice."""
    start, end = sorted(chance.randrange(len(content) + 1) for _ in range(2))
    return content[:end] + content[start:]


def overwrite(content: bytes, chance: random.Random, name: str) -> bytes:
    """A stretch is random, zero or full of ones."""
    start, size = chance.randrange(len(content) + 1), chance.randrange(1, 400)
    filler = chance.choice((chance.randbytes(size), bytes(size), b"\xff" * size))
    return content[:start] + filler + content[start + size :]


def keep_the_mark_only(content: bytes, chance: random.Random, name: str) -> bytes:
    """Nothing but the first bytes is the format's."""
    return content[: chance.randrange(64)] + chance.randbytes(chance.randrange(2_000))


def become_anything(content: bytes, chance: random.Random, name: str) -> bytes:
    """Raw bytes."""
    return chance.randbytes(chance.randrange(3_000))


CHANGES: tuple[Callable[[bytes, random.Random, str], bytes], ...] = (
    flip_bits,
    flip_bits,
    flip_bits_of_the_header,
    flip_bits_of_the_header,
    set_a_field,
    set_a_field,
    set_a_field,
    set_any_number,
    truncate,
    cut_out,
    repeat,
    overwrite,
    keep_the_mark_only,
    become_anything,
)


def mend_checksums(content: bytes) -> bytes:
    """An OGG file whose pages have the checksums of what they hold, so that a reader looks into them."""
    mended = bytearray(content)
    for start in _places(content, b"OggS"):
        segments = mended[start + 27 : start + 27 + mended[start + 26]] if start + 27 <= len(mended) else b""
        end = start + 27 + len(segments) + sum(segments)
        if segments and end <= len(mended):
            mended[start + 22 : start + 26] = bytes(4)
            mended[start + 22 : start + 26] = struct.pack("<I", _checksum(mended[start:end]))
    return bytes(mended)


def _checksum(page: bytes) -> int:
    value = 0
    for byte in page:
        value = (value << 8 & 0xFFFFFFFF) ^ CHECKSUMS[value >> 24 ^ byte]
    return value


def _shifted(value: int) -> int:
    value <<= 24
    for _ in range(8):
        value = value << 1 ^ (0x104C11DB7 if value & 0x80000000 else 0)
    return value & 0xFFFFFFFF


CHECKSUMS = [_shifted(byte) for byte in range(256)]


def _flipped(content: bytes, chance: random.Random, within: int) -> bytes:
    flipped = bytearray(content)
    for _ in range(chance.randint(1, 16) if within else 0):
        flipped[chance.randrange(within)] ^= 1 << chance.randrange(8)
    return bytes(flipped)


def _places(content: bytes, mark: bytes) -> list[int]:
    places, place = [], content.find(mark)
    while place >= 0:
        places.append(place)
        place = content.find(mark, place + 1)
    return places
