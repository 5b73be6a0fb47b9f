"""Predictions over many recordings as Parquet parts, each whole on disk or not there."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import dataset, parquet

from ...configuration.errors import UserError
from ...hub_cards.page.predictions_table import OF_A_ROW, result_name, segment_rows
from .rows import column_types, flat_row

ROWS = 1_000  # of a part
SETTINGS = b"ser_meta"  # the schema's metadata that says how the predictions came about
SEGMENTS = pyarrow.list_(
    pyarrow.struct([("start", pyarrow.float64()), ("end", pyarrow.float64()), ("label", pyarrow.string()),
                    ("score", pyarrow.float64())])
)  # fmt: skip


class ParquetParts:
    """A folder of parts to which several processes write, each its own files; a repeated call goes on there.

    Columns: those of `flat_row`, and `segments`, null where a recording was not cut into windows. A recording that
    could not be used has no row, so that a repeated call tries it again.

    Args:
        folder: made where it is not there.
        process: number of this process.
        settings: what the predictions depend on; all parts of a folder share them.

    Raises:
        UserError: the folder holds predictions that were made with other settings, or cannot be written.
    """

    def __init__(self, folder: Path, process: int, settings: dict[str, Any]):
        self.folder, self.process, self.types = folder, process, {}
        self.settings = json.dumps(settings, sort_keys=True)
        self.rows: list[dict[str, Any]] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--parquet {folder} is no folder that can be written: {error.strerror}") from error
        for part in list(folder.glob("part-*.parquet"))[:1]:
            if (parquet.read_schema(part).metadata or {}).get(SETTINGS, b"").decode() != self.settings:
                raise UserError(
                    f"{folder} holds predictions of another model or other options: choose another --parquet folder"
                )

    def __enter__(self) -> "ParquetParts":
        return self

    def __exit__(self, *_: Any) -> None:
        # also after an interruption: what is computed is not lost
        self._flush()

    def done(self, described: Iterable[Mapping[str, Any]]) -> set[tuple[str, int | None]]:
        """Names of the recordings that have a row, each with its channel; None for all channels mixed.

        Args:
            described: what the results of the recordings that are asked about begin with.

        Raises:
            UserError: the row of an utterance is of another recording, or of another part of it.
        """
        parts = dataset.dataset(self.folder, format="parquet")
        if not parts.files:
            return set()
        rows = parts.to_table(columns=[name for name in OF_A_ROW if name in parts.schema.names]).to_pylist()
        asked = {result_name(facts): facts for facts in described}
        for row in rows:
            facts = asked.get(result_name(row), {})
            if any(row.get(name) != value for name, value in facts.items()):
                raise UserError(
                    f"{self.folder} holds {result_name(row)} as another recording, or as another part of it: choose "
                    "another --parquet folder"
                )
        return {(result_name(row), row.get("channel")) for row in rows}

    def write(self, result: dict[str, Any], recording: Any) -> None:
        """Adds one row, and writes a part when it is full."""
        self.types = column_types(result)
        self.rows.append({**flat_row(result, duration=recording.seconds), "segments": segment_rows(result)})
        if len(self.rows) >= ROWS:
            self._flush()

    def _flush(self) -> None:
        if not self.rows:
            return
        number = len(list(self.folder.glob(f"part-{self.process:04}-*.parquet")))
        path = self.folder / f"part-{self.process:04}-{number:06}.parquet"
        unfinished = path.with_name(f".{path.name}")  # a reader of the folder passes over hidden files
        parquet.write_table(pyarrow.Table.from_pylist(self.rows, self._schema()), unfinished)
        unfinished.replace(path)
        self.rows = []

    def _schema(self) -> pyarrow.Schema:
        kinds = {str: pyarrow.string(), float: pyarrow.float64(), int: pyarrow.int64(), bool: pyarrow.bool_()}
        columns = [(name, kinds[kind]) for name, kind in self.types.items()]
        return pyarrow.schema([*columns, ("segments", SEGMENTS)], metadata={SETTINGS: self.settings.encode()})
