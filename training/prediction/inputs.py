"""Which recordings a prediction is asked about: files, folders, patterns, or what comes in on standard input."""

import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from glob import glob
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from ...configuration.errors import UserError
from ...modeling_ser_meta.audio_ser_meta import (
    AudioError,
    Header,
    cannot_be_read,
    channel_number,
    file_header,
    is_text,
    part_seconds,
    recordings_in,
    sound_files_in,
)
from .shards import ENDING, in_shard, read_member, shard_names

STANDARD_INPUT = "-"
RAW_BLOCK = 20_000  # bytes


class Inputs(Protocol):
    """The recordings of one call, by name.

    Args:
        names: by which each is opened, and its results are found again.
        left_out: how many were asked about and are not there.
        read_once: whether one of them can be read only once.
        files: what is read of this machine, the recordings among it.
        recordings: by file, or by id where a recording is in no file, what no other is called, without ending.
        settings: what else its predictions depend on.
        of_parts: whether it names parts of recordings.
    """

    names: Sequence[str]
    files: Sequence[str]
    recordings: Mapping[str, Path]
    left_out: int
    read_once: bool
    of_parts: bool
    settings: Mapping[str, Any]

    def open(self, name: str) -> Any:
        """What the pipeline takes for a recording."""

    def describe(self, name: str) -> dict[str, Any]:
        """What a recording's result begins with: of `OF_A_ROW` what is known before it is heard."""

    def speaker_of(self, name: str) -> str | None:
        """Who speaks; None where nobody is named."""

    def paths(self, folder: Path, ending: str) -> dict[str, Path]:
        """By name, the file that an output makes of each; `folder` is that file itself where it has the ending."""


class Files:
    """Recordings that were given as files, folders, patterns, or as standard input; see `Inputs`.

    Args:
        given: these words.
        raw_rate: of standard input, see `open_recording`.

    Raises:
        UserError: nothing of it is there, or a rate without standard input.
    """

    left_out = 0
    of_parts = False
    settings: Mapping[str, Any] = {}

    def __init__(self, given: Sequence[str], raw_rate: int | None = None):
        require_some(given)
        if raw_rate is not None and STANDARD_INPUT not in given:
            raise UserError(f"--raw-rate {raw_rate} is of standard input: give - as the recording")
        self.given, self.raw_rate, self.read_once = given, raw_rate, raw_rate is not None

    @cached_property
    def names(self) -> list[str]:
        """Paths of the recordings, see `find_recordings`."""
        return find_recordings(self.given)

    @property
    def files(self) -> list[str]:
        """What was given, and what it was found to mean."""
        return [*self.given, *self.names]

    def open(self, name: str) -> Any:
        """The path, or the stream."""
        return open_recording(name, self.raw_rate)

    def describe(self, name: str) -> dict[str, Any]:
        """The path as it was given."""
        return {"file": name}

    def speaker_of(self, name: str) -> None:
        """Nobody."""

    def paths(self, folder: Path, ending: str) -> dict[str, Path]:
        """See `output_paths`."""
        return output_paths(folder, self.names, ending)

    @cached_property
    def recordings(self) -> dict[str, Path]:
        """See `names_below`."""
        return names_below(self.names)


def find_inputs(words: Sequence[str], table: str | None = None, raw_rate: int | None = None) -> Inputs:
    """What `ser-meta predict` is asked about.

    Args:
        words: files, folders, patterns and `-`; or behind a table its settings, as `key=value`.
        table: of recordings; None for files.
        raw_rate: of standard input, in Hz.

    Raises:
        UserError: no recording, a table among them, or files beside a table; what of the table cannot be read.
    """
    if table is None:
        from ..corpora.annotations import READERS as ANNOTATIONS
        from ..corpora.table_files import READERS

        endings = {*READERS, *ANNOTATIONS}
        if written := [word for word in words if Path(word).suffix.lower() in endings and os.path.isfile(word)]:
            raise UserError(f"{written[0]} is a table, and no recording: give it as --table {written[0]}")
        return Files(words, raw_rate)
    if raw_rate is not None:
        raise UserError(f"--raw-rate {raw_rate} is of standard input, not of --table {table}: leave one of them out")
    if others := [word for word in words if "=" not in word]:
        raise UserError(
            f"{others[0]} stands beside --table {table}: ask about files in another call; a table's settings are "
            "written as key=value"
        )
    from .table_rows import TableRows

    return TableRows(table, words)


def find_recordings(given: Sequence[str]) -> list[str]:
    """Paths of the recordings in what was given, in order; `-` stays as it is, a shard gives its recordings.

    Of a folder those with a sound file's ending, but no hidden ones. One line tells what of it is passed over,
    another one which names are: those that are not UTF-8 fit into no table.

    Raises:
        UserError: a folder without sound files that can be read, or no name that is UTF-8.
    """
    found, passed_over = [], []
    for name in given:
        if os.path.isdir(name):
            readable, others = _in_folder(name)
            found += map(str, readable)
            passed_over += others
        elif name == STANDARD_INPUT or os.path.exists(name):
            found += _within(name)
        else:
            paths = sorted(glob(name, recursive=True))
            matching, others = _in_all(paths)
            if paths and not (matching or others):
                raise UserError(f"{name} means folders without sound files: name one with some")
            found += matching if paths else [name]
            passed_over += others
    if passed_over and not found:
        raise UserError(f"nothing there can be read: {cannot_be_read(passed_over)}")
    odd = [name for name in found if not is_text(name)]
    if found and len(odd) == len(found):
        raise UserError(_not_text(odd))
    reasons = [words(files) for words, files in ((cannot_be_read, passed_over), (_not_text, odd)) if files]
    if reasons:
        from ..machine.processes import say  # torch's

        say("\n".join(f"passed over: {reason}" for reason in reasons))
    return [name for name in found if is_text(name)]


def heard_channels(recording: Any, channels: str) -> list[int | None]:
    """The channels that give a result each, counted from 0; `[None]` for all of them mixed.

    Args:
        recording: as `open_recording` gives it.
        channels: `mix`, `separate` for one result a channel, `left`, `right`, or the number of one; of a table's row
            its own goes first.

    Raises:
        UserError: another word for channels.
    """
    own = channel_number(recording)
    if own is not None:
        return [own]
    if channels == "separate":
        header = header_of(recording)
        return list(range(header.channels if header else 1))
    try:
        return [channel_number({"channel": channels})]
    except AudioError as error:
        raise UserError(f"--channels {channels} is none of mix, separate, left, right, 0, 1, ...") from error


def require_some(given: Sequence[str]) -> None:
    """Raise `UserError` where nothing that was given is there; what is missing beside others is told at the end."""
    if not given:
        raise UserError("nothing to recognise: give sound files, folders or patterns, or a table as --table")
    there = [name for name in given if name == STANDARD_INPUT or os.path.exists(name) or glob(name, recursive=True)]
    if not there:
        raise UserError(f"no such file: {given[0]}{f' ({len(given)} are missing)' if len(given) > 1 else ''}")
    for name in there:
        if os.path.isdir(name):
            _in_folder(name)  # refuses one without recordings


def open_recording(name: str, raw_rate: int | None = None) -> Any:
    """What the pipeline takes for a recording: its path, or the stream on standard input.

    Args:
        name: a path, or `-` for standard input.
        raw_rate: standard input is raw signed 16-bit little-endian PCM of one channel at this rate, in Hz, and is
            heard as it comes; None for a sound file, which is kept on disk, since few formats can be read in order.
    """
    if name != STANDARD_INPUT:
        return read_member(name) if in_shard(name) else name
    if raw_rate is not None:
        return {"path": "standard input", "blocks": _pcm_blocks(sys.stdin.buffer), "sampling_rate": raw_rate}
    kept = tempfile.TemporaryFile()  # noqa: SIM115 - closed and gone with the last reference to it
    shutil.copyfileobj(sys.stdin.buffer, kept)
    return {"path": "standard input", "bytes": kept}


def seconds_of(recording: Any) -> float | None:
    """The length of a recording, or of the part that is asked for, by its header; None where that does not tell."""
    header = header_of(recording)
    try:
        return part_seconds(recording, header) if header else None
    except AudioError:  # told when it is read
        return None


def output_paths(folder: Path, names: Sequence[str], ending: str) -> dict[str, Path]:
    """A file for each recording, in a folder with the recordings' own sub-folders; a path of that ending is a file."""
    if folder.suffix == ending:
        return {names[0]: folder}
    return {name: folder / f"{below}{ending}" for name, below in names_below(names).items()}


def names_below(names: Sequence[str]) -> dict[str, Path]:
    """By path, a recording's own below the folder that all are in, without its ending.

    The ending stays where two recordings differ in it only.
    """
    files = {name: Path(os.path.abspath(name)) for name in names if name != STANDARD_INPUT}  # without `..`
    root = os.path.commonpath([file.parent for file in files.values()]) if files else ""
    whole = {name: file.relative_to(root) for name, file in files.items()}
    short = {name: path.with_suffix("") for name, path in whole.items()}
    taken = Counter([*short.values(), *whole.values()])
    below = {name: short[name] if taken[short[name]] == 1 else whole[name] for name in files}
    return {name: below.get(name, Path("standard-input")) for name in names}


def _not_text(names: list[str]) -> str:
    if len(names) == 1:
        return f"{names[0]!a} is a name that is not UTF-8: rename it"
    return f"{len(names)} names such as {names[0]!a} are not UTF-8: rename them"


def _in_folder(name: str) -> tuple[list[Path], list[Path]]:
    """The recordings of a folder, and the sound files that are none; `UserError` for a folder without any."""
    try:
        return recordings_in(Path(name))
    except AudioError as error:
        raise UserError(str(error)) from error


def _in_all(paths: Sequence[str]) -> tuple[list[str], list[Path]]:
    """The recordings among these and in their folders, each once, and what there cannot be read."""
    found: list[str] = []
    others: list[Path] = []
    for path in paths:
        readable, unreadable = sound_files_in(Path(path)) if os.path.isdir(path) else (_within(path), [])
        found += map(str, readable)
        others += unreadable
    return list(dict.fromkeys(found)), list(dict.fromkeys(others))


def _within(path: str) -> list[str]:
    """A shard's recordings, or the path itself."""
    return shard_names(path) if path.endswith(ENDING) and os.path.isfile(path) else [path]


def header_of(recording: Any) -> Header | None:
    """What a recording's file says of itself; None for what is no file, or cannot be read."""
    if isinstance(recording, dict) and "blocks" in recording:
        return None
    try:
        return file_header(recording)
    except AudioError:  # told when it is read
        return None


def _pcm_blocks(stream: BinaryIO) -> Iterator[np.ndarray]:
    rest = b""
    while read := stream.read1(RAW_BLOCK):
        read = rest + read
        whole = len(read) // 2 * 2
        rest = read[whole:]
        yield np.frombuffer(read[:whole], dtype="<i2").astype(np.float32) / 32768
