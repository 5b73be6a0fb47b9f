"""The recordings of rows: which of them are not there, and what of its file a row is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ...configuration.errors import UserError
from .rows import SEGMENT
from .values import to_channel

if TYPE_CHECKING:
    from datasets import Dataset

    from .rows import Rows

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
RECORDING = ("audio", *SEGMENT, "channel")
LARGEST_POINTER = 1024  # bytes, as Git LFS has it
ABSENT = {
    "missing recording": "no such file: complete the corpus, or leave these rows out",
    "Git LFS pointer": "a text in the place of the recording: fetch it with git lfs pull",
    "macOS leftover": "a ._ file, which macOS writes beside a recording: remove it from disk and table",
}
"""What a path may name instead of a recording, and the remedy."""


def find_absent(rows: Rows) -> dict[str, dict[int, str]]:
    """By finding of `ABSENT`, the rows without a recording, with their paths."""
    found: dict[str, dict[int, str]] = {}
    for row, recording in enumerate(rows["audio"]):
        if isinstance(recording, str) and (finding := _absence(recording)):
            found.setdefault(finding, {})[row] = recording
    return found


def require_recordings(rows: Rows, corpus: str) -> None:
    """Raise `UserError` if any recording is not there: names the first, counts them, and says how to mend it."""
    for finding, absent in find_absent(rows).items():
        path = next(iter(absent.values()))
        count = f"{len(absent)} of {len(rows)}"
        if finding != "missing recording":
            raise UserError(f"{corpus}: {path} is a {finding} ({count} are): {ABSENT[finding].partition(': ')[2]}")
        raise UserError(
            f"{corpus}: no such recording: {path} ({count} are missing); complete the corpus, check its folder, or "
            "leave them out with data.leave_out_missing=true, or with a quarantine of ser-meta check"
        )
    require_segments(rows, corpus)


def require_segments(rows: Rows, corpus: str) -> None:
    """Raise `UserError` for segments that are not in their recordings, by the headers of the files."""
    outside = dict(find_outside(rows))
    if outside:
        row, reason = next(iter(outside.items()))
        raise UserError(
            f"{corpus}: {rows['utterance_id'][row]}: {reason} ({len(outside)} of {len(rows)} segments); if the times "
            "are not in seconds, say so with time_unit=ms or time_unit=h:m:s"
        )


def find_outside(rows: Rows) -> Iterator[tuple[int, str]]:
    """The rows whose segments are not in their recordings, and why; each file is opened once."""
    if not {*SEGMENT} <= {*rows.column_names}:
        return
    from ...modeling_ser_meta.audio_ser_meta import AudioError, file_header, part_seconds

    headers: dict[str, Any] = {}
    for row, (path, start, end) in enumerate(zip(rows["audio"], rows["start"], rows["end"], strict=True)):
        if not isinstance(path, str) or (start is None and end is None):
            continue
        try:
            headers[path] = headers.get(path) or file_header(path)
        except AudioError:  # told when it is read
            continue
        try:
            part_seconds({"path": path, "start": start, "end": end}, headers[path])
        except AudioError as error:
            yield row, str(error)


def leave_out_absent(rows: Rows, corpus: str) -> Rows:
    """The rows that have a recording; the others are counted in the remarks. `UserError` if none is left."""
    found = find_absent(rows)
    absent = {row for these in found.values() for row in these}
    if len(absent) == len(rows):
        require_recordings(rows, corpus)
    kept = rows.select(row for row in range(len(rows)) if row not in absent)
    for finding, these in found.items():
        kept.remarks.setdefault("left out", {})[f"{corpus}: {finding}"] = f"{len(these)} of {len(rows)} rows"
    return kept


def with_channel(rows: Rows, channel: str) -> Rows:
    """The rows with a channel where they have none; `UserError` for what is no channel."""
    try:
        channel = to_channel(channel)
    except ValueError as error:
        raise UserError(f"channel={channel} is none of mix, left, right, 0, 1, ...") from error
    own = rows["channel"] if "channel" in rows.column_names else [None] * len(rows)
    return rows.with_columns({"channel": [channel if value is None else value for value in own]})


def recording(row: Mapping[str, Any]) -> dict[str, Any]:
    """What `read_audio` reads for a row of a data set: its recording, or the part or channel of it that the row is."""
    part = {name: row[name] for name in RECORDING[1:] if row.get(name) is not None}
    return {**row["audio"], **part} if part else row["audio"]


def recordings(dataset: Dataset) -> Iterator[dict[str, Any]]:
    """The same of every row."""
    for row in dataset.select_columns(recording_columns(dataset)):
        yield recording(row)


def recordings_of(batch: Mapping[str, list]) -> list[dict[str, Any]]:
    """The same of a batch of rows, as `Dataset.map` gives it."""
    columns = {name: batch[name] for name in RECORDING if name in batch}
    return [recording(dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)]


def recording_columns(dataset: Dataset) -> list[str]:
    """The columns that say what a row's recording is."""
    return [name for name in RECORDING if name in dataset.column_names]


def is_pointer(path: str | os.PathLike) -> bool:
    """Whether a file is what Git LFS leaves where it did not run."""
    if os.path.getsize(path) > LARGEST_POINTER:
        return False
    with open(path, "rb") as file:
        return file.read(len(LFS_POINTER)) == LFS_POINTER


def require_files(paths: Iterable[str | os.PathLike], corpus: str) -> None:
    """Raise `UserError` if any of these files is not there: names the first and counts them."""
    paths = list(paths)
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        raise UserError(
            f"{corpus}: no such recording: {missing[0]} ({len(missing)} of {len(paths)} are missing); "
            "complete the corpus or check its folder"
        )


def _absence(path: str) -> str | None:
    if not os.path.isfile(path):
        return "missing recording"
    if is_pointer(path):
        return "Git LFS pointer"
    return "macOS leftover" if os.path.basename(path).startswith("._") else None
