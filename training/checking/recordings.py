"""What a check of a corpus measures of a recording, and whether two recordings hold the same speech."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Features, List, Value
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

from ...modeling_ser_meta.audio_ser_meta import (
    LOUDEST,
    chosen_channels,
    file_blocks,
    file_header,
    lost_in_mix,
    loud_frames,
    read_audio,
)
from ..corpora.recordings import recording

FULL_SCALE = 0.9999  # from which a sample counts as cut off
EDGE_DECIBELS = 40  # below the loudest 10 ms: near-silent
SPEECH = (60.0, 3400.0)  # Hz: what is left of speech at every rate and after every codec
BANDS = 64
COMPARISON_RATE = 8_000  # Hz
PART = ("start", "end", "channel")  # of a recording, that a source may ask for

FACTS = Features(
    {
        "error": Value("string"),
        "digest": Value("string"),
        "rate": Value("int64"),
        "samples": Value("int64"),
        "finite": Value("bool"),
        "peak": Value("float64"),
        "clipped": Value("float64"),
        "channels": Value("int64"),
        "lost": Value("float64"),
        "head": Value("float64"),
        "tail": Value("float64"),
        "oddities": List(Value("string")),
        "spectrum": List(Value("float32"), length=BANDS),
    }
)
"""What `measure` tells: `samples` of a channel at `rate` in Hz, `peak` around the mean (full scale 1), `clipped` as a
share of all samples, `lost` as the share of the energy of all `channels` that is not in their mean, `head` and `tail`
as the seconds that are near-silent, `oddities` by the names in `sound_files_ser_meta.ODDITIES`, `spectrum` as
`band_shares` has it."""


NO_FACTS = {**dict.fromkeys(name for name in FACTS if name != "spectrum"), "samples": 0}
"""Those of a recording that was not read, without its spectrum."""


def measure(row: dict[str, Any]) -> dict[str, Any]:
    """The `FACTS` of a row's recording. One that cannot be read has an `error` and no digest."""
    facts: dict[str, Any] = NO_FACTS | {"spectrum": np.zeros(BANDS, np.float32)}
    try:
        source = recording(row)
        samples, rate = decode(source)
        facts["oddities"] = list(file_header(source).oddities)
    except (OSError, TypeError, ValueError) as error:
        return facts | {"error": " ".join(str(error).split())}
    facts |= {"digest": _digest(source, samples), "rate": rate, "samples": len(samples)}
    facts["finite"] = bool(np.abs(samples).max(initial=0) <= LOUDEST)  # which NaN is not either
    if not samples.size or not facts["finite"]:
        return facts
    mono = samples.mean(axis=1)
    head, tail = silent_edges(mono, rate)
    return facts | {
        "peak": float(np.abs(mono - mono.mean()).max()),
        "clipped": float((np.abs(samples) >= FULL_SCALE).mean()),
        "channels": samples.shape[1],
        "lost": lost_in_mix(samples),
        "head": head,
        "tail": tail,
        "spectrum": band_shares(mono, rate),
    }


def decode(source: dict[str, Any]) -> tuple[np.ndarray, int]:
    """Samples `(samples, channels)` of a recording, or of its part or channel, and their rate in Hz.

    Raises `AudioError` for what is no sound, a rate that no recording has, and a segment that is not in its recording.
    """
    blocks, rate = file_blocks(source)
    heard = [chosen_channels(block, source) for block in blocks]
    return (np.concatenate(heard) if heard else np.zeros((0, 1), dtype=np.float32)), int(rate)


def is_part(source: dict[str, Any]) -> bool:
    """Whether what is read of a recording is a segment or a channel of it."""
    return any(source.get(name) is not None for name in PART)


def read_bytes(audio: dict[str, Any]) -> bytes:
    """A recording's file as it is, from the row or the disk."""
    return audio["bytes"] or Path(audio["path"]).read_bytes()


def digests(sources: Iterable[dict[str, Any]]) -> Iterator[str]:
    """What is the same for the same bytes, of a segment the same times in them; a process reads each file once."""
    for source in sources:
        found = digest(source["bytes"]) if source["bytes"] else _file_digest(source["path"], _stamp(source["path"]))
        yield " ".join([found, *(f"{name} {source[name]}" for name in PART if source.get(name) is not None)])


@cache
def _file_digest(path: str, stamp: tuple[int, int]) -> str:
    return digest(Path(path).read_bytes())


def _stamp(path: str) -> tuple[int, int]:
    """What changes when a file is written anew: its size in bytes and its time of change."""
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def _digest(source: dict[str, Any], samples: np.ndarray) -> str:
    """What is the same for the same file only, or for segments with the same samples."""
    return digest(samples.tobytes() if is_part(source) else read_bytes(source))


def digest(content: bytes) -> str:
    """What is the same for the same bytes only."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def silent_edges(samples: np.ndarray, rate: int) -> tuple[float, float]:
    """Seconds at the start and the end of `(samples,)` before and after anything within 40 dB of the loudest 10 ms."""
    frames = loud_frames(samples, rate, EDGE_DECIBELS)
    loud = np.flatnonzero(frames)
    return (loud[0] / 100, (len(frames) - 1 - loud[-1]) / 100) if loud.size else (0.0, 0.0)


def band_shares(samples: np.ndarray, rate: int) -> np.ndarray:
    """How the energy of `(samples,)` is shared among bands of about 50 Hz: `(64,)` roots, a vector of length 1 (ours).

    Level, polarity, silence around the speech, sampling rate and codec hardly change it. In trials with RAVDESS and
    nEMO, MP3, Opus, Vorbis, mu-law, 8 kHz and clipping moved it by 0.044 at most, while two recordings of the same
    speaker, words and emotion lay 0.075 or more apart.
    """
    size = next_fast_len(len(samples), real=True)
    power = np.abs(rfft(samples, size)) ** 2
    edges = np.round(np.linspace(*SPEECH, BANDS + 1) * size / rate).astype(int)
    energy = np.add.reduceat(power, np.minimum(edges, len(power) - 1))[:-1]
    return np.sqrt(energy / (energy.sum() + 1e-20)).astype(np.float32)


def likeness(one: dict[str, Any], other: dict[str, Any]) -> float:
    """The highest correlation of two recordings at any shift, from 0 to 1, of their speech below 3.4 kHz.

    In the same trials 0.98 or more for one recording in two forms, and 0.51 or less for two recordings.
    """
    first, second = (read_audio(audio, COMPARISON_RATE) for audio in (one, other))
    size = next_fast_len(len(first) + len(second), real=True)
    frequencies = rfftfreq(size, 1 / COMPARISON_RATE)
    within = (frequencies >= SPEECH[0]) & (frequencies <= SPEECH[1])
    first, second = rfft(first, size) * within, rfft(second, size) * within
    energies = [irfft(np.abs(spectrum) ** 2, size)[0] for spectrum in (first, second)]
    return float(np.abs(irfft(first * second.conj(), size)).max() / (np.sqrt(np.prod(energies)) + 1e-20))
