"""The rows of a table as recordings to recognise: whole ones, or segments by their start and end."""

import hashlib
import logging
import os
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ...configuration.errors import UserError
from ...modeling_ser_meta.audio_ser_meta import channel_number
from ..corpora.recordings import ABSENT, find_absent, find_outside, recording, recording_columns, require_segments
from ..corpora.rows import SEGMENT, Rows
from ..planning.beforehand import read_corpus
from .inputs import names_below

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

LONGEST_NAME = 200  # bytes: file systems have 255, of which a channel's number, an ending and the digest take some
UNFIT = re.compile(r"[^\w .,+=@()\[\]-]")  # for a file's name


class TableRows:
    """The recordings of a table, by their utterance ids; see `inputs.Inputs`. Labels are neither needed nor looked at.

    Rows whose recording is not there are left out and told at once. Whatever else is wrong with one is told when it is
    heard, and does not stop the others.

    Args:
        table: as `corpora.table.load` takes it.
        settings: its options, as `key=value`.

    Raises:
        UserError: the table cannot be read, or not one of its recordings, or segments of them, is there.
    """

    read_once = False
    settings: Mapping[str, Any] = {"table": True}

    def __init__(self, table: str, settings: Sequence[str]):
        rows = read_corpus("table", table, settings)
        self._table, self._rows = table, _present(rows, table)
        self.left_out = len(rows) - len(self._rows)
        self.names: list[str] = self._rows["utterance_id"]
        self.of_parts = any(rows[time].count(None) < len(rows) for time in SEGMENT if time in rows.column_names)
        self._row_of = {name: row for row, name in enumerate(self.names)}
        if len(list(find_outside(self._rows))) == len(self.names):
            require_segments(self._rows, table)

    @property
    def files(self) -> list[str]:
        """The table, or what is in its folder, and the recordings."""
        within = [os.path.join(folder, name) for folder, _, names in os.walk(self._table) for name in names]
        return [self._table, *within, *(path for path in self._rows["audio"] if isinstance(path, str))]

    def open(self, name: str) -> dict[str, Any]:
        """What `read_audio` reads of the row."""
        return recording(self._dataset[self._row_of[name]])

    def describe(self, name: str) -> dict[str, Any]:
        """The row's id, file, start and end, None where it has none; and its channel, if the table has channels."""
        row, names = self._row_of[name], self._rows.column_names
        told = {part: self._rows[part][row] if part in names else None for part in ("start", "end")}
        if "channel" in names:
            told |= {"channel": channel_number({"channel": self._rows["channel"][row]})}
        path = self._rows["audio"][row]
        return {"utterance_id": name, "file": path if isinstance(path, str) else None, **told}

    def speaker_of(self, name: str) -> str | None:
        """As the table says."""
        return self._rows["speaker"][self._row_of[name]]

    def paths(self, folder: Path, ending: str) -> dict[str, Path]:
        """Files named after the ids, see `_file_name`."""
        if folder.suffix == ending:
            return {self.names[0]: folder}
        return {name: folder / f"{_file_name(name)}{ending}" for name in self.names}

    @cached_property
    def recordings(self) -> dict[str, Path]:
        """The files as `names_below` calls them; what is in no file as its row."""
        paths = [path for path in self._rows["audio"] if isinstance(path, str)]
        alone = zip(self.names, self._rows["audio"], strict=True)
        return {
            **names_below(list(dict.fromkeys(paths))),
            **{name: Path(_file_name(name)) for name, path in alone if not isinstance(path, str)},
        }

    @cached_property
    def _dataset(self) -> "Dataset":
        dataset = self._rows.dataset()
        return dataset.select_columns(recording_columns(dataset))


def _file_name(utterance_id: str) -> str:
    """A file's name, in which `%2F` stands for a stroke and so on, as in an address; a long one ends in a digest."""
    name = UNFIT.sub(lambda found: quote(found[0], safe=""), utterance_id)
    if len(name.encode()) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(utterance_id.encode()).hexdigest()[:16]
    return f"{name.encode()[:LONGEST_NAME].decode(errors='ignore')}-{digest}"


def _present(rows: Rows, table: str) -> Rows:
    """The rows that have a recording; the others are told."""
    found = find_absent(rows)
    absent = {row: path for these in found.values() for row, path in these.items()}
    if len(absent) == len(rows):
        raise UserError(
            f"--table {table}: not one of {len(rows)} recordings is there, such as {absent[0]}: say with "
            "audio_root=FOLDER what its paths are relative to"
        )
    for finding, these in found.items() if os.environ.get("RANK", "0") == "0" else ():
        row, path = next(iter(these.items()))
        logger.warning(
            "%s: left out: %s: %d of %d rows, such as %s: %s (%s)",
            *(table, finding, len(these), len(rows), rows["utterance_id"][row], path, ABSENT[finding]),
        )
    return rows.select(row for row in range(len(rows)) if row not in absent)
