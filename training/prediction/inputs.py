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

SOUND_FILES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".au")
STANDARD_INPUT = "-"
RAW_BLOCK = 20_000  # bytes


def find_recordings(given: Sequence[str]) -> list[str]:
    """Paths of the recordings in what was given, in order; `-` stays as it is.

    Raises:
        UserError: a folder without sound files.
    """
    return [path for name in given for path in _expanded(name)]


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
    if isinstance(recording, dict):
        recording = recording.get("bytes")
    if hasattr(recording, "seek"):
        recording.seek(0)
    try:
        return soundfile.info(recording).duration
    except (soundfile.LibsndfileError, TypeError):
        return None


def _expanded(name: str) -> list[str]:
    path = Path(name)
    if path.is_dir():
        found = sorted(str(file) for file in path.rglob("*") if file.suffix.lower() in SOUND_FILES)
        if not found:
            raise UserError(f"{path} holds no sound files: {', '.join(SOUND_FILES)} are read")
        return found
    if name == STANDARD_INPUT or path.exists():
        return [name]
    return sorted(glob(name, recursive=True)) or [name]


def _pcm_blocks(stream: BinaryIO) -> Iterator[np.ndarray]:
    rest = b""
    while read := stream.read1(RAW_BLOCK):
        read = rest + read
        whole = len(read) // 2 * 2
        rest = read[whole:]
        yield np.frombuffer(read[:whole], dtype="<i2").astype(np.float32) / 32768
