"""Recordings as the model hears them: mono float32 at the model's sampling rate, whole or block by block."""

import io
import os
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .sound_files_ser_meta import (
    EXTRA,
    OF_OTHER_DECODERS,
    SOUND_FILES,
    AudioError,
    Header,
    open_sound,
    read_header,
    readable_endings,
)

try:
    import soxr
except ImportError:
    soxr = None

# What lies outside is a damaged header or no speech: telephones have 8 kHz, studios 768 kHz at most; and every second
# of a lower rate would become as many samples as any other (ours).
LOWEST_RATE, HIGHEST_RATE = 4_000, 768_000
END_SECONDS = 0.01  # that a part may end behind its recording: tables round their times (ours)
FULL_SCALES = {"uint8": (128, 128), "int16": (0, 2**15), "int32": (0, 2**31)}  # middle and largest, as in WAV files
CHANNELS = {"left": 0, "right": 1}
LOST_IN_MIX = 0.1  # share of the energy of all channels, from which on they differ (ours)
LISTENED = 60  # seconds of a recording, in which its channels are compared
OF_SYSTEMS = ("__MACOSX", "lost+found")  # folders that nobody means; and macOS leaves a ._a.wav beside an a.wav
LOUDEST = 100.0  # of a sample, where full scale is 1: 40 dB beyond it are integers in disguise, or damaged (ours)


def read_audio(source: Any, sampling_rate: int = 16_000) -> np.ndarray:
    """Reads one recording, mixes its channels down and resamples it.

    Args:
        source: a path, the bytes of an audio file, `{"path", "bytes"}` (bytes win; a seekable binary file will do), or
            `{"array", "sampling_rate"}` (or `"raw"`) with samples of shape `(samples,)`, `(channels, samples)` or
            `(samples, channels)`, floats in -1..1 or integers of 8 (from 0), 16 or 32 bits; or what `datasets` or
            torchcodec decode. A dict may have `start` and `end`, in seconds: then it is that part of the recording;
            either may be None. Of a file whose samples are stored one by one (WAV, FLAC, AIFF, ...) nothing else is
            decoded. And it may have a `channel`: `left`, `right` or a number from 0; all are mixed otherwise.
        sampling_rate: of the result, in Hz.

    Returns:
        float32 samples of shape `(samples,)`.

    Raises:
        AudioError: no such file, not audio, empty, a sampling rate outside 4 to 768 kHz, an array of another shape,
            samples that are not finite, or floats as large as integers, a part that is empty or not in the recording,
            or a channel that it has not.
    """
    return np.concatenate(list(stream_audio(source, sampling_rate)))


def read_as_recorded(source: Any) -> tuple[np.ndarray, float]:
    """As `read_audio`, but at the rate at which it was recorded; and that rate in Hz."""
    name = recording_name(source)
    blocks, rate = _blocks(_described(source), name)
    blocks = _not_empty(_resampled(_checked(blocks, name), rate, rate), name)
    return np.concatenate(list(blocks)), rate


def stream_audio(source: Any, sampling_rate: int = 16_000) -> Iterator[np.ndarray]:
    """Reads one recording block by block, so that an hour takes no more memory than a minute.

    The blocks joined are the samples that `read_audio` returns.

    Args:
        source: as in `read_audio`, or `{"blocks", "sampling_rate"}` with an iterable of arrays, such as a microphone
            gives.
        sampling_rate: of the result, in Hz.

    Yields:
        float32 samples of shape `(samples,)`.

    Raises:
        AudioError: as `read_audio`, as soon as the block in question is read.
    """
    name = recording_name(source)
    blocks, rate = _blocks(_described(source), name)
    return _not_empty(_resampled(_checked(blocks, name), rate, sampling_rate), name)


def read_block(samples: Any, name: str) -> np.ndarray:
    """A block of one channel as float32 `(samples,)`; `AudioError` for what is none, see `read_audio`."""
    if np.ndim(samples) != 1:
        raise AudioError(f"{name} has blocks of the shape {np.shape(samples)}: give (samples,), a stream a channel")
    (block,) = _checked([_mono(samples, None, name)], name)
    return block


def channels_differ(source: Any) -> bool:
    """Whether mixing the channels of a recording's file loses more than `LOST_IN_MIX` of it, by its first minute.

    So it is where two people speak on a channel each, and where one channel is silent.
    """
    blocks, rate = file_blocks(source)
    heard, seconds = [], 0.0
    for block in blocks:
        heard.append(block)
        seconds += len(block) / rate
        if seconds >= LISTENED or block.shape[1] == 1:
            break
    return bool(heard) and lost_in_mix(np.concatenate(heard)) > LOST_IN_MIX


def lost_in_mix(samples: np.ndarray) -> float:
    """The share of the energy of `(samples, channels)` that is not in the mean of the channels: 0 where all are equal.

    It is a half for two voices of one loudness in two channels, and for a channel beside a silent one, and all of it
    where a channel is the other one upside down.
    """
    moving = samples - samples.mean(axis=0)
    energy = float(np.square(moving).mean())
    return float(np.square(moving - moving.mean(axis=1, keepdims=True)).mean()) / energy if energy else 0.0


def resample(samples: np.ndarray, rate: float, target_rate: float) -> np.ndarray:
    """Band-limited resampling of `(samples,)` from `rate` to `target_rate`, both in Hz."""
    return np.concatenate(list(_resampled([samples], rate, target_rate)))


def check_rate(rate: Any, name: str) -> float:
    """A recording's sampling rate in Hz; `AudioError` for one outside 4 to 768 kHz."""
    try:
        known = LOWEST_RATE <= float(rate) <= HIGHEST_RATE
    except (TypeError, ValueError):
        known = False
    if not known:
        raise AudioError(
            f"{name} has a sampling rate of {rate} Hz, not one from {LOWEST_RATE} to {HIGHEST_RATE}: "
            "mend its header, or record it again"
        )
    return float(rate)


def part_samples(source: Any, rate: float) -> tuple[int, int | None]:
    """First sample and end, at `rate` in Hz, of what is read of a recording; None for its own end.

    Seconds become the nearest sample: `round(seconds * rate)`.

    Raises:
        AudioError: the part is empty, or its times are no seconds.
    """
    start, end = _part(source)
    try:
        first, last = (None if seconds is None else round(float(seconds) * rate) for seconds in (start or 0, end))
        valid = first >= 0 and (last is None or last > first)
    except (TypeError, ValueError, OverflowError):  # not a number, or one that is not finite
        valid = False
    if not valid:
        raise AudioError(
            f"{recording_name(source)} is an empty part: give start and end in seconds, the end after the start"
        )
    return first, last


def part_seconds(source: Any, header: Header) -> float:
    """Seconds of what is read of a recording, by its file's header.

    Args:
        source: see `read_audio`.
        header: the file's, see `file_header`.

    Raises:
        AudioError: the part is empty, or not in the recording.
    """
    first, last = part_samples(source, header.samplerate)
    _check_end(source, first, last, header.frames, header.samplerate)
    return (min(header.frames, last or header.frames) - first) / header.samplerate


def file_header(source: Any) -> Header:
    """What is known of a recording's file before it is heard; `AudioError` for one that cannot be read."""
    name = recording_name(source)
    return read_header(_file(source, name), name)


def file_blocks(source: Any) -> tuple[Iterator[np.ndarray], float]:
    """What a source asks for of its file: every channel, each block `(samples, channels)`; and its rate in Hz."""
    name = recording_name(source)
    opened = open_sound(_file(source, name), name)
    rate = check_rate(opened.samplerate, name)
    first, last = part_samples(source, rate)
    place = opened.skip_to(first)
    return _cut(opened.blocks(last and last - place), source, rate, place), rate


def recordings_in(folder: Path) -> tuple[list[Path], list[Path]]:
    """Sound files in a folder and below that can be read, by their endings, and what cannot; no hidden ones.

    What cannot be read are sound files that take another decoder, and folders that cannot be opened.

    Raises:
        AudioError: there is none that can be read.
    """
    readable, others = sound_files_in(folder)
    if not readable and others:
        raise AudioError(f"{folder} holds no sound files that can be read: {cannot_be_read(others)}")
    if not readable:
        raise AudioError(f"{folder} holds no sound files: {', '.join(SOUND_FILES)} are read")
    return readable, others


def sound_files_in(folder: Path) -> tuple[list[Path], list[Path]]:
    """As `recordings_in`, but with nothing at all where there is none."""
    files, closed = files_below(folder)
    endings = readable_endings()
    readable = [file for file in files if file.suffix.lower() in endings]
    return readable, [file for file in files if file.suffix.lower() in set(OF_OTHER_DECODERS) - set(endings)] + closed


def files_below(folder: Path) -> tuple[list[Path], list[Path]]:
    """Files in a folder and below, sorted, and the folders that cannot be opened; nothing hidden.

    Links to folders are followed, after all folders that are none: each is looked through once, however many lead
    to it.
    """
    files: list[Path] = []
    closed: list[Path] = []
    seen, waiting = set(), deque([folder])
    while waiting:
        here = waiting.popleft()
        if (real := os.path.realpath(here)) in seen:
            continue
        seen.add(real)
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except FileNotFoundError:  # gone meanwhile
            continue
        except OSError:
            closed.append(here)
            continue
        for entry in (entry for entry in entries if not _is_hidden(entry.name)):
            if not _is_folder(entry):
                files.append(Path(entry.path))
            elif entry.is_symlink():
                waiting.append(Path(entry.path))
            else:
                waiting.appendleft(Path(entry.path))
    return sorted(files), sorted(closed)


def is_text(name: str) -> bool:
    """Whether a file's name is UTF-8."""
    return name.encode(errors="replace").decode() == name


def cannot_be_read(paths: list[Path]) -> str:
    """Why sound files and folders are passed over, in one line."""
    closed = [path for path in paths if path.suffix.lower() not in OF_OTHER_DECODERS or os.path.isdir(path)]
    files = [path for path in paths if path not in closed]
    reasons = []
    if files:
        endings = ", ".join(sorted({file.suffix.lower() for file in files}))
        which = f"{files[0]} is" if len(files) == 1 else f"{len(files)} files such as {files[0]} are"
        remedy = f"{EXTRA}, or convert to WAV or FLAC"
        reasons.append(f"{which} of a kind that libsndfile does not read ({endings}): {remedy}")
    if closed:
        which = str(closed[0]) if len(closed) == 1 else f"{len(closed)} folders such as {closed[0]}"
        reasons.append(f"{which} cannot be opened: see to the permissions, and that the disk answers")
    return "; ".join(reasons)


def recording_name(source: Any) -> str:
    """What messages call a recording: its path, quoted if it would not fit one line, and the seconds of a part."""
    path = source.get("path") if isinstance(source, dict) else source
    if not isinstance(path, (str, Path)) or not str(path):
        name = f"the recording given as {type(source).__name__}"
    else:
        name = str(path) if str(path).isprintable() else repr(str(path))
    start, end = _part(source)
    if start is None and end is None:
        return name
    return f"{name} ({0 if start is None else start} s to {'its end' if end is None else f'{end} s'})"


def require_length(samples: np.ndarray, shortest: int, name: str) -> None:
    """Raises `AudioError` for a piece `(samples,)` of a recording that is shorter than the encoder needs."""
    if len(samples) < shortest:
        raise AudioError(
            f"{name}: a piece of {len(samples)} samples is shorter than the {shortest} that the encoder needs: "
            "leave it out, or ask for longer windows"
        )


def loud_frames(samples: np.ndarray, sampling_rate: int, decibels: float) -> np.ndarray:
    """Which 10 ms of `(samples,)` lie within `decibels` of the loudest: bool `(frames,)`."""
    frame = sampling_rate // 100
    energy = np.square(samples[: len(samples) // frame * frame].reshape(-1, frame)).mean(axis=1)
    return energy >= energy.max(initial=0) * 10 ** (-decibels / 10)


def speech_bounds(samples: np.ndarray, sampling_rate: int, decibels: float | None) -> tuple[int, int]:
    """First sample and end of what `trim_silence` leaves of `(samples,)`: all of it where `decibels` is None."""
    if decibels is None:
        return 0, len(samples)
    frame, margin = sampling_rate // 100, sampling_rate // 10
    loud = np.flatnonzero(loud_frames(samples, sampling_rate, decibels))
    if not loud.size:
        return 0, len(samples)
    return max(0, loud[0] * frame - margin), min(len(samples), (loud[-1] + 1) * frame + margin)


def trim_silence(samples: np.ndarray, sampling_rate: int, decibels: float) -> np.ndarray:
    """Cuts off both ends of `(samples,)` what lies more than `decibels` below the loudest 10 ms; 100 ms of it stay."""
    return samples[slice(*speech_bounds(samples, sampling_rate, decibels))]


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to where nobody may look: told when it is opened
        return True


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in OF_SYSTEMS


def _part(source: Any) -> tuple[Any, Any]:
    """Start and end of a part, in seconds; None where the recording's own are meant."""
    return (source.get("start"), source.get("end")) if isinstance(source, dict) else (None, None)


def _described(source: Any) -> Any:
    """A recording that others have decoded as a dict of ours; everything else as it is."""
    if isinstance(source, dict):
        return {**source, "array": source["raw"]} if "raw" in source else source
    if hasattr(source, "get_all_samples"):  # torchcodec's decoder, and so that of datasets
        source = source.get_all_samples()
    if hasattr(source, "sample_rate") and hasattr(source, "data"):
        return {"array": source.data, "sampling_rate": source.sample_rate}
    if isinstance(source, (str, bytes, Path)) or not hasattr(source, "__getitem__"):
        return source
    try:
        return {name: source[name] for name in ("array", "sampling_rate")}
    except (TypeError, LookupError):
        return source


def _blocks(source: Any, name: str) -> tuple[Iterable[np.ndarray], float]:
    """What is read of a recording, each block `(samples,)`, and its sampling rate."""
    if isinstance(source, dict) and ("array" in source or "blocks" in source):
        if not source.get("sampling_rate"):
            raise AudioError(f'{name} has no sampling rate: pass {{"array": ..., "sampling_rate": ...}}')
        rate = check_rate(source["sampling_rate"], name)
        given = source["blocks"] if "blocks" in source else [source["array"]]
        return _cut((_mono(block, source, name) for block in given), source, rate), rate
    blocks, rate = file_blocks(source)
    return (_heard(block.T, source) for block in blocks), rate


def _cut(blocks: Iterable[np.ndarray], source: Any, rate: float, position: int = 0) -> Iterator[np.ndarray]:
    """What a source asks for of a recording's blocks, of which the first starts with the sample `position`."""
    first, last = part_samples(source, rate)
    for block in blocks:
        yield block[max(0, first - position) : None if last is None else max(0, last - position)]
        position += len(block)
        if last is not None and position >= last:
            return
    _check_end(source, first, last, position, rate)


def _check_end(source: Any, first: int, last: int | None, samples: int, rate: float) -> None:
    """Raises `AudioError` for a part that goes beyond the `samples` of a recording."""
    if (first and first >= samples) or (last is not None and last - samples > END_SECONDS * rate):
        raise AudioError(
            f"{recording_name(source)} is not in the recording, which lasts {samples / rate:.3f} s: mend start and end"
        )


def _mono(samples: Any, source: Any, name: str) -> np.ndarray:
    if hasattr(samples, "detach"):  # a tensor, wherever it lies
        samples = samples.detach().cpu()
        samples = samples.float() if samples.is_floating_point() else samples
    try:
        array = np.asarray(samples)
    except ValueError as error:
        raise AudioError(f"{name} has rows of different lengths: give (samples,) or (channels, samples)") from error
    if array.dtype.kind in "iu" and array.dtype.name not in FULL_SCALES:
        raise AudioError(f"{name} holds {array.dtype} samples: divide them by their full scale (of 16 bits: 32768)")
    if array.dtype.kind not in "fiu":
        raise AudioError(f"{name} holds {array.dtype} and no samples: give floats in -1..1")
    if array.ndim == 2 and array.shape[0] > array.shape[1]:
        array = array.T
    if array.ndim not in (1, 2) or (array.ndim == 2 and not len(array)):
        raise AudioError(f"{name} is an array of the shape {array.shape}: give (samples,) or (channels, samples)")
    if array.dtype.kind in "iu":
        middle, full_scale = FULL_SCALES[array.dtype.name]
        array = (array.astype(np.float64) - middle) / full_scale
    return _heard(array if array.ndim == 2 else array[None], source)


def _heard(channels: np.ndarray, source: Any) -> np.ndarray:
    """The channel that a source asks for, or all of `(channels, samples)` mixed."""
    # what becomes infinite here is refused afterwards
    with np.errstate(over="ignore", invalid="ignore"):
        return chosen_channels(channels.T, source).astype(np.float32, copy=False).mean(axis=1)


def chosen_channels(samples: np.ndarray, source: Any) -> np.ndarray:
    """Of `(samples, channels)` the channel that a source asks for, or all; `AudioError` for one that is not there."""
    require_channel(source, samples.shape[1])
    number = channel_number(source)
    return samples if number is None else samples[:, [number]]


def require_channel(source: Any, channels: int) -> None:
    """Raises `AudioError` where a source asks for a channel that a recording of so many has not."""
    number = channel_number(source)
    if number is not None and number >= channels:
        raise AudioError(
            f"{recording_name(source)} has no channel {number}, but {channels}, counted from 0: choose another one"
        )


def channel_number(source: Any) -> int | None:
    """Which channel of a recording is heard, counted from 0; None for all of them, mixed."""
    channel = source.get("channel") if isinstance(source, dict) else None
    if channel is None or channel == "mix":
        return None
    number = CHANNELS.get(channel, channel)
    if not str(number).isdecimal():
        raise AudioError(f"channel={channel!r} is none of mix, left, right, 0, 1, ...")
    return int(number)


def _file(source: Any, name: str) -> Any:
    if isinstance(source, dict):
        source = source.get("bytes") or source.get("path")
    if isinstance(source, bytes):
        return io.BytesIO(source)
    if isinstance(source, (str, Path)) and not os.path.isfile(source):
        raise AudioError(f"no such file: {name}")
    if not isinstance(source, (str, Path)) and not hasattr(source, "seek"):
        raise AudioError(
            f"{name} is no recording: give a path, the bytes of a file, or an array and its sampling rate"
        )
    if hasattr(source, "seek"):
        source.seek(0)
    return source


def _checked(blocks: Iterable[np.ndarray], name: str) -> Iterator[np.ndarray]:
    for block in blocks:
        if not np.isfinite(block).all():
            raise AudioError(f"{name} holds NaN or infinite samples: export it again, or leave it out")
        peak = np.abs(block).max(initial=0)
        if peak > LOUDEST:
            raise AudioError(
                f"{name} holds samples of {peak:g}, where full scale is 1: divide them by their full scale "
                "(of int16 32768), or leave it out"
            )
        yield block


def _not_empty(blocks: Iterable[np.ndarray], name: str) -> Iterator[np.ndarray]:
    empty = True
    for block in blocks:
        empty = empty and not block.size
        yield block
    if empty:
        raise AudioError(f"{name} holds no samples: leave it out or record it again")


def _resampled(blocks: Iterable[np.ndarray], rate: float, target_rate: float) -> Iterator[np.ndarray]:
    resampler = Resampler(rate, target_rate)
    for block in blocks:
        yield resampler.feed(block)
    if rate != target_rate:
        yield resampler.end()


class Resampler:
    """Band-limited resampling of a stream; joined, what it gives is the same for blocks of any size.

    Args:
        rate: of what is fed, in Hz.
        target_rate: of what it gives, in Hz.
    """

    def __init__(self, rate: float, target_rate: float):
        self.stream = None
        if rate != target_rate:
            if soxr is None:
                raise AudioError("resampling recordings needs soxr: pip install soxr")
            self.stream = soxr.ResampleStream(rate, target_rate, num_channels=1, dtype="float32")

    def feed(self, block: np.ndarray) -> np.ndarray:
        """Takes the next samples `(samples,)`; gives those that are ready."""
        block = np.ascontiguousarray(block, dtype=np.float32)
        return block if self.stream is None else self.stream.resample_chunk(block)

    def end(self) -> np.ndarray:
        """The samples that are left when the stream ends."""
        nothing = np.zeros(0, dtype=np.float32)
        return nothing if self.stream is None else self.stream.resample_chunk(nothing, last=True)
