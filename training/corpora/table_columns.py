"""The columns of a table: which are ours, which are left out, and which say what a row is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from ...configuration.errors import UserError
from .rows import METADATA, RATINGS, SEGMENT, TYPES, VOTES
from .table_files import Table
from .table_raters import RATER, WEIGHT
from .table_votes import ANY_LABEL, read_numbers, read_several, spread, vote_columns
from .values import NAMES, TIME_UNITS, to_channel, to_number, to_seconds, to_text, without_marks

KNOWN = ("audio", *METADATA, *RATINGS, *SEGMENT, "channel", "split", RATER, WEIGHT)
ROW_WORDS = {
    *("start", "starts", "starttime", "begin", "begins", "begintime", "beginning", "onset", "offset", "tmin", "xmin"),
    *("end", "ends", "endtime", "stop", "stops", "stoptime", "duration", "durations", "dur", "tmax", "xmax"),
    *("t0", "t1", "channel", "channels", "chan", "ch"),
}
"""Words of a column's name that may say what part of a recording a row is; so may a name that is `from` or `to`."""
RECORDING_WORDS = {"path", "file", "filename", "filepath", "wav", "clip", "recording", "audio", "uri"}
WORD = re.compile(r"[A-Z]?[a-z]+\d*|[A-Z]+(?![a-z])|\d+")


def choose_columns(
    table: Table, columns: Mapping[str, str | None], root: str | Path
) -> tuple[dict[str, str], list[str]]:
    """Our names of the columns to read with the table's, and the table's names of those that are left out.

    Raises `UserError` with those it has if one is not there, and for one that says what a row is.
    """
    unread = {name for name, theirs in columns.items() if theirs is None}
    named = {ours: theirs for ours, theirs in columns.items() if theirs is not None}
    theirs = {ours: found for ours in KNOWN if (found := _find(ours, table.names)) and not {ours, found} & unread}
    tasks = ("emotion", *(ours.partition(VOTES)[0] for ours in named))
    voted = vote_columns(table.names, tasks)
    theirs |= {ours: name for ours, name in voted.items() if not {ours, name} & unread}
    theirs |= {ours: name.strip() for ours, name in named.items()}
    for ours, name in ({"audio": "audio"} | theirs).items():
        if name not in table.names:
            raise UserError(
                f"table: {root} has no column {name!r} for {ours!r}, only {', '.join(table.names)}; "
                f"name the right one in columns{_suggestion(ours, table.names)}"
            )
    unknown = [name for name in unread if name not in (*KNOWN, *table.names)]
    if unknown:
        raise UserError(f"table: {root} has no column {unknown[0]!r} to leave out, only {', '.join(table.names)}")
    left_out = [name for name in table.names if name not in theirs.values()]
    for name in left_out:
        if says_what_a_row_is(name) and name not in unread:
            raise UserError(
                f"table: {root} has a column {name!r}, which may say what part of a recording a row is: use it, as "
                f"columns={{start: {name}}} (or end, or duration), or leave it out, as columns={{{name}: null}}"
            )
    return theirs, [name or "(without a name)" for name in left_out if name not in unread]


def says_what_a_row_is(name: str) -> bool:
    """Whether a column's name has a word such as start, offset, duration or channel, in any case."""
    return name.lower() in ("from", "to") or any(word.lower() in ROW_WORDS for word in WORD.findall(name))


def read_metadata(
    table: Table, theirs: Mapping[str, str], marks: Sequence[str]
) -> tuple[dict[str, list], dict[str, dict[str, str]]]:
    """The columns' values in the types that ours have, and what is worth telling about them."""
    columns: dict[str, list] = {}
    remarks: dict[str, dict[str, str]] = {}
    for ours, name in theirs.items():
        if ours in ("audio", *SEGMENT, "duration", "channel"):
            continue
        if votes := _read_votes(table, ours, name, marks):
            columns |= votes
            if ours not in votes:
                task, cells = ours.partition(VOTES)[0], sum(to_text(value) is not None for value in table[name])
                labels = ", ".join(column.partition(VOTES)[2] for column in votes)
                remarks.setdefault("votes", {})[task] = f"for {labels} in {cells:,} of {len(table):,} rows"
            continue
        values = [to_text(value) for value in table[name]]
        if ours not in NAMES:
            values, met = without_marks(values, marks)
            if met:
                told = ", ".join(f"{mark!r} ({count:,})" for mark, count in met.most_common())
                remarks.setdefault("marks of missing values", {})[ours] = told
        kind = TYPES.get(ours, "string")
        if kind != "string":
            try:
                values = [
                    None if value is None else to_number(value, kind == "int64", table.decimal_comma)
                    for value in values
                ]
            except ValueError as error:
                remarks.setdefault("numbers that are none", {})[ours] = _first_line(error)
        columns[ours] = values
    return columns, remarks


def _read_votes(table: Table, ours: str, name: str, marks: Sequence[str]) -> dict[str, list[float | None]]:
    """The columns of votes that a column of the table is; none where it holds one label a row, or something else."""
    task, colon, label = ours.partition(VOTES)
    if colon and label != ANY_LABEL:
        return {ours: read_numbers(name, table[name], marks, table.decimal_comma)}
    if not colon and ours != "emotion":
        return {}
    several = read_several(name, table[name], marks)
    if colon and several is None:
        labels, _ = without_marks([to_text(value) for value in table[name]], marks)
        several = [None if label is None else {label: 1} for label in labels]
    return spread(task, several or [])


def read_segments(table: Table, theirs: Mapping[str, str], unit: str) -> dict[str, list[float | None]]:
    """`start` and `end` in seconds, if the table has one of them.

    Raises `UserError` for a time that is none in this unit, and for a segment that ends before it begins.
    """
    if unit not in TIME_UNITS:
        raise UserError(f"table: time_unit={unit} must be one of {', '.join(TIME_UNITS)}")
    times = {ours: _read_times(table, theirs[ours], unit) for ours in (*SEGMENT, "duration") if ours in theirs}
    if not times:
        return {}
    nothing = [None] * len(table)
    starts, ends = times.get("start", nothing), times.get("end", nothing)
    if "duration" in times:
        if "end" in times:
            raise UserError("table: columns names both an end and a duration: leave one of them out, as null")
        ends = [
            None if seconds is None else (start or 0.0) + seconds
            for start, seconds in zip(starts, times["duration"], strict=True)
        ]
    for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
        if end is not None and end <= (start or 0.0):
            raise UserError(f"table: row {row} starts at {start or 0:g} s and ends at {end:g} s: mend its times")
    return {"start": starts, "end": ends}


def read_channels(table: Table, theirs: Mapping[str, str]) -> dict[str, list[str | None]]:
    """`channel`, if the table has it: `left`, `right`, or a number from 0; null where all are mixed.

    Raises `UserError` for a cell that is no channel.
    """
    if "channel" not in theirs:
        return {}
    name, channels = theirs["channel"], []
    for row, value in enumerate(table[name]):
        try:
            channels.append(to_channel(to_text(value)))
        except ValueError as error:
            raise UserError(
                f"table: column {name!r} holds {error} in row {row}, which is none of mix, left, right, 0, 1, ...: "
                f"mend it, or leave the column out, as columns={{channel: null}}"
            ) from error
    return {"channel": channels}


def name_parts(ids: Sequence[str | None], parts: Mapping[str, Sequence]) -> list[str | None]:
    """Ids of rows from those of their recordings: with the times, in seconds, and the channel, where a row is a part.

    Args:
        ids: of the recordings.
        parts: the columns `start` and `end`, and `channel`, as far as there are such.
    """
    nothing = [None] * len(ids)
    columns = (parts.get(name, nothing) for name in ("start", "end", "channel"))
    return [
        f"{name}{_part(*part)}" if any(value is not None for value in part) else name
        for name, *part in zip(ids, *columns, strict=True)
    ]


def _read_times(table: Table, name: str, unit: str) -> list[float | None]:
    times = []
    for row, value in enumerate(table[name]):
        if isinstance(value, timedelta):
            times.append(value.total_seconds())
            continue
        text = to_text(value)
        try:
            times.append(None if text is None else to_seconds(text, unit, table.decimal_comma))
        except ValueError as error:
            raise UserError(
                f"table: column {name!r} holds {text!r} in row {row}, which is no time in {unit}: mend it, or say "
                f"with time_unit which it is: {', '.join(TIME_UNITS)}"
            ) from error
    return times


def _find(ours: str, names: Sequence[str]) -> str | None:
    """The table's column of one of our names: written the same, or else the only one that is so but for case."""
    if ours in names:
        return ours
    alike = [name for name in names if name.lower() == ours]
    return alike[0] if len(alike) == 1 else None


def _suggestion(ours: str, names: Sequence[str]) -> str:
    if ours != "audio":
        return ""
    likely = [name for name in names if {word.lower() for word in WORD.findall(name)} & RECORDING_WORDS]
    return f", as columns={{audio: {likely[0]}}}" if likely else ""


def _part(start: float | None, end: float | None, channel: str | int | None) -> str:
    times = f"{_time(start)}-{_time(end)}" if (start, end) != (None, None) else ""
    of_channel = f"channel {channel}" if str(channel).isdecimal() else channel or ""
    return f"[{' '.join(filter(None, (times, of_channel)))}]"


def _time(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.3f}".rstrip("0").rstrip(".")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
