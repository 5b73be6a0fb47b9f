"""Recordings as the model hears them: mono float32 at the model's sampling rate, whole or block by block."""

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

try:
    import soundfile
    import soxr
except ImportError:
    soundfile = soxr = None

BLOCK_SECONDS = 10  # of a recording that is read from disk piece by piece


class AudioError(ValueError):
    """A recording that cannot be used; the message is one line naming the recording, what is wrong and the remedy."""


def read_audio(source: Any, sampling_rate: int = 16_000) -> np.ndarray:
    """Reads one recording, mixes its channels down and resamples it.

    Args:
        source: a path, the bytes of an audio file, `{"path", "bytes"}` (bytes win; a seekable binary file will do), or
            `{"array", "sampling_rate"}` with samples of shape `(samples,)` or `(channels, samples)`.
        sampling_rate: of the result, in Hz.

    Returns:
        float32 samples of shape `(samples,)`.

    Raises:
        AudioError: no such file, not audio, empty, or samples that are not finite or not in -1..1 but integers.
    """
    return np.concatenate(list(stream_audio(source, sampling_rate)))


def stream_audio(source: Any, sampling_rate: int = 16_000) -> Iterator[np.ndarray]:
    """Reads one recording block by block, so that an hour takes no more memory than a minute.

    The blocks joined are the samples that `read_audio` returns.

    Args:
        source: as in `read_audio`, or `{"blocks", "sampling_rate"}` with an iterable of float arrays `(samples,)`,
            such as a microphone gives.
        sampling_rate: of the result, in Hz.

    Yields:
        float32 samples of shape `(samples,)`.

    Raises:
        AudioError: as `read_audio`, as soon as the block in question is read.
    """
    name = recording_name(source)
    blocks, rate = _blocks(source, name)
    return _resampled(_checked(blocks, name), rate, sampling_rate)


def resample(samples: np.ndarray, rate: float, target_rate: float) -> np.ndarray:
    """Band-limited resampling of `(samples,)` from `rate` to `target_rate`, both in Hz."""
    return np.concatenate(list(_resampled([samples], rate, target_rate)))


def recording_name(source: Any) -> str:
    """What messages call a recording: its path, where it has one."""
    if isinstance(source, (str, Path)):
        return str(source)
    path = source.get("path") if isinstance(source, dict) else None
    return str(path) if path else f"the recording given as {type(source).__name__}"


def speech_bounds(samples: np.ndarray, sampling_rate: int, decibels: float) -> tuple[int, int]:
    """First sample and end of what `trim_silence` leaves of `(samples,)`."""
    frame, margin = sampling_rate // 100, sampling_rate // 10
    energy = np.square(samples[: len(samples) // frame * frame].reshape(-1, frame)).mean(axis=1)
    loud = np.flatnonzero(energy >= energy.max(initial=0) * 10 ** (-decibels / 10))
    if not loud.size:
        return 0, len(samples)
    return max(0, loud[0] * frame - margin), min(len(samples), (loud[-1] + 1) * frame + margin)


def trim_silence(samples: np.ndarray, sampling_rate: int, decibels: float) -> np.ndarray:
    """Cuts off both ends of `(samples,)` what lies more than `decibels` below the loudest 10 ms; 100 ms of it stay."""
    return samples[slice(*speech_bounds(samples, sampling_rate, decibels))]


def _blocks(source: Any, name: str) -> tuple[Iterable[np.ndarray], float]:
    if isinstance(source, dict) and ("array" in source or "blocks" in source):
        if not source.get("sampling_rate"):
            raise AudioError(f'{name} has no sampling rate: pass {{"array": ..., "sampling_rate": ...}}')
        blocks = source["blocks"] if "blocks" in source else [_mono(np.asarray(source["array"]), name)]
        return blocks, float(source["sampling_rate"])
    return _file_blocks(_file(source, name), name)


def _mono(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype.kind in "iu":
        raise AudioError(f"{name} holds {array.dtype} samples: divide them by their full scale (int16: 32768)")
    array = array.astype(np.float32)
    return array.mean(axis=0) if array.ndim == 2 else array


def _file(source: Any, name: str) -> Any:
    if isinstance(source, dict):
        source = source.get("bytes") or source.get("path")
    if isinstance(source, bytes):
        return io.BytesIO(source)
    if isinstance(source, (str, Path)) and not Path(source).is_file():
        raise AudioError(f"no such file: {source}")
    if not isinstance(source, (str, Path)) and not hasattr(source, "seek"):
        raise AudioError(
            f"{name} is no recording: give a path, the bytes of a file, or an array and its sampling rate"
        )
    if hasattr(source, "seek"):
        source.seek(0)
    return source


def _file_blocks(file: Any, name: str) -> tuple[Iterable[np.ndarray], float]:
    _require_audio_libraries()
    try:
        opened = soundfile.SoundFile(file)
    except (soundfile.LibsndfileError, TypeError, ValueError) as error:
        raise _unreadable(name, error) from error
    return _blocks_of(opened, name), opened.samplerate


def _blocks_of(opened: Any, name: str) -> Iterator[np.ndarray]:
    with opened:
        try:
            for block in opened.blocks(BLOCK_SECONDS * opened.samplerate, dtype="float32", always_2d=True):
                yield block.T.mean(axis=0)
        except soundfile.LibsndfileError as error:
            raise _unreadable(name, error) from error


def _unreadable(name: str, error: Exception) -> AudioError:
    return AudioError(f"{name} cannot be read as audio ({error}): give WAV, FLAC, OGG or MP3")


def _checked(blocks: Iterable[np.ndarray], name: str) -> Iterator[np.ndarray]:
    empty = True
    for block in blocks:
        if not np.isfinite(block).all():
            raise AudioError(f"{name} holds NaN or infinite samples: export it again, or leave it out")
        empty = empty and not block.size
        yield block
    if empty:
        raise AudioError(f"{name} holds no samples: leave it out or record it again")


def _resampled(blocks: Iterable[np.ndarray], rate: float, target_rate: float) -> Iterator[np.ndarray]:
    if rate == target_rate:
        yield from (np.ascontiguousarray(block, dtype=np.float32) for block in blocks)
        return
    _require_audio_libraries()
    stream = soxr.ResampleStream(rate, target_rate, num_channels=1, dtype="float32")
    for block in blocks:
        yield stream.resample_chunk(np.ascontiguousarray(block, dtype=np.float32))
    yield stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)


def _require_audio_libraries() -> None:
    if soundfile is None:
        raise AudioError("reading and resampling recordings needs soundfile and soxr: pip install soundfile soxr")
