"""Which recordings a prediction is asked about: files, folders, patterns, or what comes in on standard input."""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from glob import glob
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile

from ...configuration.errors import UserError
from ...modeling_ser_meta.audio_ser_meta import AudioError, cannot_be_read, channel_number, part_seconds, recordings_in

STANDARD_INPUT = "-"
RAW_BLOCK = 20_000  # bytes


def find_recordings(given: Sequence[str]) -> list[str]:
    """Paths of the recordings in what was given, in order; `-` stays as it is.

    Of a folder those with a sound file's ending, but no hidden ones; one line tells which sound files are passed over.

    Raises:
        UserError: a folder without sound files that can be read.
    """
    found, passed_over = [], []
    for name in given:
        if Path(name).is_dir():
            readable, others = _in_folder(name)
            found += map(str, readable)
            passed_over += others
        elif name == STANDARD_INPUT or Path(name).exists():
            found.append(name)
        else:
            found += sorted(glob(name, recursive=True)) or [name]
    if passed_over:
        from ..progress import say  # torch's

        say(f"passed over: {cannot_be_read(passed_over)}")
    return found


def heard_channels(recording: Any, channels: str) -> list[int | None]:
    """The channels that give a result each, counted from 0; `[None]` for all of them mixed.

    Args:
        recording: as `open_recording` gives it.
        channels: `mix`, `separate` for one result a channel, `left`, `right`, or the number of one.

    Raises:
        UserError: another word for channels.
    """
    if channels == "separate":
        header = _header(recording)
        return list(range(header.channels if header else 1))
    try:
        return [channel_number({"channel": channels})]
    except AudioError as error:
        raise UserError(f"--channels {channels} is none of mix, separate, left, right, 0, 1, ...") from error


def require_some(given: Sequence[str]) -> None:
    """Raise `UserError` where nothing that was given is there; what is missing beside others is told at the end."""
    if not given:
        raise UserError("nothing to recognise: give sound files, folders or patterns, or a table as --table")
    there = [name for name in given if name == STANDARD_INPUT or Path(name).exists() or glob(name, recursive=True)]
    if not there:
        raise UserError(f"no such file: {given[0]}{f' ({len(given)} are missing)' if len(given) > 1 else ''}")
    for name in there:
        if Path(name).is_dir():
            _in_folder(name)


def open_recording(name: str, raw_rate: int | None = None) -> Any:
    """What the pipeline takes for a recording: its path, or the stream on standard input.

    Args:
        name: a path, or `-` for standard input.
        raw_rate: standard input is raw signed 16-bit little-endian PCM of one channel at this rate, in Hz, and is
            heard as it comes; None for a sound file, which is kept on disk, since few formats can be read in order.
    """
    if name != STANDARD_INPUT:
        return name
    if raw_rate is not None:
        return {"path": "standard input", "blocks": _pcm_blocks(sys.stdin.buffer), "sampling_rate": raw_rate}
    kept = tempfile.TemporaryFile()  # noqa: SIM115 - closed and gone with the last reference to it
    shutil.copyfileobj(sys.stdin.buffer, kept)
    return {"path": "standard input", "bytes": kept}


def seconds_of(recording: Any) -> float | None:
    """A recording's length by its header; None where it has none that can be read."""
    header = _header(recording)
    try:
        return part_seconds(recording, header) if header else None
    except AudioError:  # told when it is read
        return None


def _in_folder(name: str) -> tuple[list[Path], list[Path]]:
    """The recordings of a folder, and the sound files that are none; `UserError` for a folder without any."""
    try:
        return recordings_in(Path(name))
    except AudioError as error:
        raise UserError(str(error)) from error


def _header(recording: Any) -> Any:
    if isinstance(recording, dict):
        recording = recording.get("bytes") or recording.get("path")
    if hasattr(recording, "seek"):
        recording.seek(0)
    try:
        return soundfile.info(recording)
    except (soundfile.LibsndfileError, TypeError):
        return None


def _pcm_blocks(stream: BinaryIO) -> Iterator[np.ndarray]:
    rest = b""
    while read := stream.read1(RAW_BLOCK):
        read = rest + read
        whole = len(read) // 2 * 2
        rest = read[whole:]
        yield np.frombuffer(read[:whole], dtype="<i2").astype(np.float32) / 32768
