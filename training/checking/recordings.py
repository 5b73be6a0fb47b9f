"""What a check of a corpus measures of a recording, and whether two recordings hold the same speech."""

import hashlib
import io
import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from datasets import Features, List, Value
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

from ...modeling_ser_meta.audio_ser_meta import (
    EXACT,
    LOUDEST,
    check_rate,
    loud_frames,
    part_samples,
    part_seconds,
    read_audio,
    sound_blocks,
)
from ..corpora.recordings import recording

FULL_SCALE = 0.9999  # from which a sample counts as cut off
EDGE_DECIBELS = 40  # below the loudest 10 ms: near-silent
SPEECH = (60.0, 3400.0)  # Hz: what is left of speech at every rate and after every codec
BANDS = 64
COMPARISON_RATE = 8_000  # Hz

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
        "spectrum": List(Value("float32"), length=BANDS),
    }
)
"""What `measure` tells: `samples` of a channel at `rate` in Hz, `peak` around the mean (full scale 1), `clipped` as a
share of all samples, `lost` as the share of the energy of all `channels` that is not in their mean, `head` and `tail`
as the seconds that are near-silent, `spectrum` as `band_shares` has it."""


NO_FACTS = {**dict.fromkeys(name for name in FACTS if name != "spectrum"), "samples": 0}
"""Those of a recording that was not read, without its spectrum."""


def measure(row: dict[str, Any]) -> dict[str, Any]:
    """The `FACTS` of a row's recording. One that cannot be read has an `error` and no digest."""
    facts: dict[str, Any] = NO_FACTS | {"spectrum": np.zeros(BANDS, np.float32)}
    try:
        source = recording(row)
        samples, rate = decode(source)
    except (OSError, soundfile.LibsndfileError, TypeError, ValueError) as error:
        reason = getattr(error, "error_string", None) or str(error)  # libsndfile's, without the name of the object
        return facts | {"error": " ".join(reason.split())}
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
    """Samples `(samples, channels)` of a recording, or its segment, and their rate in Hz.

    Raises `AudioError` for a rate that no recording has, and a segment that is not in its recording.
    """
    with soundfile.SoundFile(io.BytesIO(source["bytes"]) if source["bytes"] else source["path"]) as opened:
        check_rate(opened.samplerate, "it")
        first, last = part_samples(source, opened.samplerate)
        if is_part(source):
            part_seconds(source, opened)
        if first and opened.seekable() and opened.subtype.startswith(EXACT):
            opened.seek(first)
            first, last = 0, last and last - first
        nothing = np.zeros((0, opened.channels), dtype=np.float32)
        return np.concatenate([nothing, *sound_blocks(opened, last)])[first:], opened.samplerate


def is_part(source: dict[str, Any]) -> bool:
    """Whether what is read of a recording is a segment of it."""
    return source.get("start") is not None or source.get("end") is not None


def read_bytes(audio: dict[str, Any]) -> bytes:
    """A recording's file as it is, from the row or the disk."""
    return audio["bytes"] or Path(audio["path"]).read_bytes()


def digests(sources: Iterable[dict[str, Any]]) -> Iterator[str]:
    """What is the same for the same bytes, of a segment the same times in them; a process reads each file once."""
    for source in sources:
        found = digest(source["bytes"]) if source["bytes"] else _file_digest(source["path"], _stamp(source["path"]))
        yield f"{found} {source['start']} {source['end']}" if is_part(source) else found


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


def lost_in_mix(samples: np.ndarray) -> float:
    """The share of the energy of `(samples, channels)` that is not in the mean of the channels: 0 where all are equal.

    It is a half for two voices of one loudness in two channels, and for a channel beside a silent one, and all of it
    where a channel is the other one upside down.
    """
    moving = samples - samples.mean(axis=0)
    energy = float(np.square(moving).mean())
    return float(np.square(moving - moving.mean(axis=1, keepdims=True)).mean()) / energy if energy else 0.0


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
