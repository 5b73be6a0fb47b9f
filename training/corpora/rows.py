"""Utterances before they are a data set: plain columns and where each recording is, without datasets or torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from ...configuration.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset

METADATA = {
    "utterance_id": "string",
    "emotion": "string",
    "speaker": "string",
    "gender": "string",
    "style": "string",
    "transcript": "string",
    "session": "string",
    "language": "string",
    "intensity": "string",
    "age": "int64",
}
"""The columns that every corpus has beside `audio`, with their types; what a corpus does not know is null."""

RATINGS = {"valence": "float64", "arousal": "float64", "dominance": "float64"}
"""Columns that are numbers where a corpus has them, on its module's `RATING_SCALE`. Any further column is text."""

SEGMENT = {"start": "float64", "end": "float64"}
"""Where an utterance lies in its recording, in seconds, in corpora that cut; null is the recording's own end."""

TYPES = METADATA | RATINGS | SEGMENT
VOTES = ":"  # between task and label in the name of a column of votes, which are numbers; see `votes`
LARGEST = 2**63  # of an int64


class Stored(NamedTuple):
    """A recording whose bytes lie inside a table.

    Args:
        table: gives the recordings of that table, a data set with the one column `audio`.
        row: in that data set.
    """

    table: Callable[[], Dataset]
    row: int


class Rows:
    """The utterances of a corpus, one a row: what `datasets.Dataset` is to them, but at hand at once.

    Args:
        audio: of each utterance its file's path, or where it is stored.
        columns: by name the values of each utterance; of `METADATA` what is absent is null.
        remarks: what is worth telling about the corpus as it was read: by finding, the details by column.

    Raises:
        UserError: an id is missing or not unique, or a value does not fit its column.
    """

    def __init__(
        self,
        audio: Sequence[str | Stored],
        columns: Mapping[str, Sequence],
        remarks: Mapping[str, Mapping[str, str]] | None = None,
    ):
        self.remarks = {finding: dict(details) for finding, details in (remarks or {}).items()}
        self._audio = list(audio)
        names = dict.fromkeys([*METADATA, *columns])
        self._columns = {name: list(columns.get(name, [None] * len(self))) for name in names}
        check_ids(self._columns["utterance_id"])
        self.types = {name: _require_fit(name, values) for name, values in self._columns.items()}

    @property
    def column_names(self) -> list[str]:
        """`audio` and the names of the columns."""
        return ["audio", *self._columns]

    def __len__(self) -> int:
        return len(self._audio)

    def __getitem__(self, name: str) -> list:
        """The values of a column; of `audio` the paths, or where recordings are stored."""
        return self._audio if name == "audio" else self._columns[name]

    def select(self, indices: Iterable[int]) -> Rows:
        """Some of the rows, in this order."""
        indices = list(indices)
        columns = {name: [values[row] for row in indices] for name, values in self._columns.items()}
        return Rows([self._audio[row] for row in indices], columns, self.remarks)

    def with_columns(self, columns: Mapping[str, Sequence]) -> Rows:
        """The same rows with some columns new or changed."""
        return Rows(self._audio, self._columns | dict(columns), self.remarks)

    def without_columns(self, names: Iterable[str]) -> Rows:
        """The same rows without some columns."""
        names = set(names)
        kept = {name: values for name, values in self._columns.items() if name not in names}
        return Rows(self._audio, kept, self.remarks)

    def dataset(self) -> Dataset:
        """The rows as a data set: `audio` not decoded, every other column of its type."""
        from datasets import Audio, Dataset, Features, Value, concatenate_datasets

        features = Features({name: Value(kind) for name, kind in self.types.items()})
        parts = [_audio_part(table, list(part)) for table, part in groupby(self._audio, _table)]
        audio = concatenate_datasets([part.cast_column("audio", Audio(decode=False)) for part in parts])
        return concatenate_datasets([audio, Dataset.from_dict(self._columns, features=features)], axis=1)


def gather(records: Sequence[Mapping[str, object]]) -> Rows:
    """Rows of records that hold the path of a recording as `audio` and any metadata; what is absent is null.

    Raises `UserError` where there is no record.
    """
    if not records:
        raise UserError("the corpus has no utterance: restore its table or its recordings")
    names = dict.fromkeys(name for record in records for name in record if name != "audio")
    columns = {name: [record.get(name) for record in records] for name in names}
    return Rows([str(record["audio"]) for record in records], columns)


def join_rows(parts: Sequence[Rows]) -> Rows:
    """The rows of several corpora; a column that only some have is null elsewhere, and text if one has it as text."""
    names = dict.fromkeys(name for part in parts for name in part.column_names if name != "audio")
    columns = {name: _join_column(name, parts) for name in names}
    remarks: dict[str, dict[str, str]] = {}
    for part in parts:
        for finding, details in part.remarks.items():
            remarks.setdefault(finding, {}).update(details)
    return Rows([recording for part in parts for recording in part["audio"]], columns, remarks)


def check_ids(ids: Sequence[str | None]) -> None:
    """Raise `UserError` for utterances without an id, and for two that share one."""
    if None in ids:
        raise UserError(f"row {ids.index(None)} has no utterance_id: give it one, or leave that column out")
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice:
        raise UserError(
            f"utterance_id {twice[0]!r} occurs twice ({len(twice)} such ids): every utterance needs its own"
        )


def _require_fit(name: str, values: Sequence) -> str:
    """The type of a column: a number's that holds texts is text; `UserError` for a value that fits neither."""
    kind = TYPES.get(name, "float64" if VOTES in name else "string")
    known = [value for value in values if value is not None]
    if kind != "string" and any(isinstance(value, str) for value in known):
        kind = "string"
    try:
        if kind == "string":
            "".join(known).encode()  # half of a character cannot be written
        elif kind == "int64" and any(not -LARGEST <= value < LARGEST for value in known):
            raise OverflowError(f"{next(value for value in known if not -LARGEST <= value < LARGEST)} is too large")
    except (OverflowError, TypeError, ValueError) as error:
        raise UserError(f"a cell of the corpus does not fit its column ({error}): mend {name} in its table") from error
    return kind


def _join_column(name: str, parts: Sequence[Rows]) -> list:
    as_text = any(part.types.get(name) == "string" for part in parts if name in part.column_names)
    values = [value for part in parts for value in (part[name] if name in part.column_names else [None] * len(part))]
    return [None if value is None else str(value) for value in values] if as_text else values


def _table(recording: str | Stored) -> Callable[[], Dataset] | None:
    return recording.table if isinstance(recording, Stored) else None


def _audio_part(table: Callable[[], Dataset] | None, recordings: Sequence[str | Stored]) -> Dataset:
    """A data set with the one column `audio`, of recordings of one table, or of paths."""
    from datasets import Dataset

    if table is None:
        return Dataset.from_dict({"audio": recordings})
    stored, rows = table(), [recording.row for recording in recordings]
    return stored if rows == list(range(len(stored))) else stored.select(rows)
