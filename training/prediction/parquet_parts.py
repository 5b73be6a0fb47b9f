"""Predictions over many recordings as Parquet parts, each whole on disk or not there, with a manifest."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import pyarrow
from accelerate import PartialState
from pyarrow import dataset, parquet

from ...configuration.errors import UserError
from ...configuration.run_folder import write_json
from ...hub_cards.page.predictions_table import OF_A_ROW, result_name, segment_rows
from ..machine.sharing import require_shared
from .rows import column_types, flat_row

MOST = 1_000  # recordings of a part
MANIFEST = "_manifest.json"  # a reader of the folder passes over names that begin so
SETTINGS = b"ser_meta"  # the schema's metadata that says how the predictions came about
SEGMENTS = pyarrow.list_(
    pyarrow.struct([("start", pyarrow.float64()), ("end", pyarrow.float64()), ("label", pyarrow.string()),
                    ("score", pyarrow.float64())])
)  # fmt: skip


class ParquetParts:
    """A folder of parts, whose files and rows are in the order of the recordings; a repeated call completes it.

    Columns: those of `flat_row`, and `segments`, null where a recording was not cut into windows. A recording that
    could not be used has no row, so that a repeated call tries it again. Each part is of so many recordings that
    follow each other, is computed by one process, and is written when they are done. A call with other recordings than
    the first one's adds its own behind the last part.

    `_manifest.json` says what the folder holds: the number of recordings that were asked for, the rows of each part,
    and whether every recording has been tried.

    Args:
        folder: made where it is not there.
        state: of the processes that share the folder.
        settings: what the predictions depend on; all parts of a folder share them.

    Raises:
        UserError: the folder holds predictions that were made with other settings, or cannot be written.
    """

    def __init__(self, folder: Path, state: PartialState, settings: dict[str, Any]):
        self.path, self.state, self.types = folder, state, {}
        self.settings = json.dumps(settings, sort_keys=True)
        self.places: dict[str, int] = {}
        self.numbers: dict[str, int] = {}
        self.number, self.rows = -1, []
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--parquet {folder} is no folder that can be written: {error.strerror}") from error
        for part in self._files()[:1]:
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
        files = self._files()
        if not files:
            return set()
        parts = dataset.dataset(files, format="parquet")
        rows = parts.to_table(columns=[name for name in OF_A_ROW if name in parts.schema.names]).to_pylist()
        asked = {result_name(facts): facts for facts in described}
        for row in rows:
            facts = asked.get(result_name(row), {})
            if any(row.get(name) != value for name, value in facts.items()):
                raise UserError(
                    f"{self.path} holds {result_name(row)} as another recording, or as another part of it: choose "
                    "another --parquet folder"
                )
        return {(result_name(row), row.get("channel")) for row in rows}

    def share(self, names: Sequence[str], missing: Sequence[str]) -> list[str]:
        """Those of the missing recordings that this process is to hear, in their order: whole parts of them.

        All processes call it, before any of them writes.

        Args:
            names: all that are asked about.
            missing: those without a row.
        """
        digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
        before = self._manifest()
        same = before.get("digest", digest) == digest
        numbered, offset = (names, 0) if same else (missing, before["planned"])
        size = before.get("recordings_a_part") or self._size(len(names))
        number_of = {name: offset + place // size for place, name in enumerate(numbered)}
        self.places = {name: place for place, name in enumerate(numbered)}
        mine = sorted({number_of[name] for name in missing})[self.state.process_index :: self.state.num_processes]
        self.numbers = {name: number_of[name] for name in missing if number_of[name] in set(mine)}
        self.state.wait_for_everyone()  # until then nobody writes what another one still reads
        planned = max(number_of.values(), default=-1) + 1
        self.plan = {
            "settings": json.loads(self.settings),
            "recordings": len(names),
            "recordings_a_part": size,
            "digest": before.get("digest", digest),
            "planned": max(before.get("planned", 0), planned),
        }
        self._write_manifest(complete=False)
        self.state.wait_for_everyone()
        require_shared(self.path / MANIFEST, "--parquet")
        return list(self.numbers)

    def _size(self, recordings: int) -> int:
        """Recordings of a part, so that each process has as many parts."""
        processes = self.state.num_processes
        rounds = ceil(recordings / (MOST * processes))
        return max(1, ceil(recordings / max(1, rounds * processes)))

    def complete(self) -> None:
        """Says in the manifest that every recording has been tried; when all processes are done."""
        self._write_manifest(complete=True)

    def write(self, result: dict[str, Any], recording: Any) -> None:
        """Adds one row; those of the part before are written."""
        number = self.numbers[result_name(result)]
        if number != self.number:
            self._flush()
            self.number = number
        self.types = column_types(result)
        self.rows.append({**flat_row(result, duration=recording.seconds), "segments": segment_rows(result)})

    def _flush(self) -> None:
        if not self.rows:
            return
        path = self.path / f"part-{self.number:06}.parquet"
        there = parquet.read_table(path).to_pylist() if path.exists() else []
        rows = sorted([*there, *self.rows], key=self._order)
        unfinished = path.with_name(f".{path.name}")  # a reader of the folder passes over hidden files
        parquet.write_table(pyarrow.Table.from_pylist(rows, self._schema()), unfinished)
        unfinished.replace(path)
        self.rows = []

    def _order(self, row: Mapping[str, Any]) -> tuple[int, int]:
        return self.places.get(result_name(row), -1), row.get("channel") or 0

    def _files(self) -> list[Path]:
        return sorted(self.path.glob("part-*.parquet"))

    def _manifest(self) -> dict[str, Any]:
        path = self.path / MANIFEST
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def _write_manifest(self, complete: bool) -> None:
        if not self.state.is_main_process:
            return
        rows = {path.name: parquet.read_metadata(path).num_rows for path in self._files()}
        write_json(
            self.path / MANIFEST, {**self.plan, "complete": complete, "rows": sum(rows.values()), "parts": rows}
        )

    def _schema(self) -> pyarrow.Schema:
        kinds = {str: pyarrow.string(), float: pyarrow.float64(), int: pyarrow.int64(), bool: pyarrow.bool_()}
        columns = [(name, kinds[kind]) for name, kind in self.types.items()]
        return pyarrow.schema([*columns, ("segments", SEGMENTS)], metadata={SETTINGS: self.settings.encode()})
