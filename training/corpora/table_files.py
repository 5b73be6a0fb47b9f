"""Files of tables as columns of plain values: text in any usual form, JSON, and Parquet with what datasets adds."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...configuration.errors import UserError
from .recordings import is_pointer

if TYPE_CHECKING:
    import pyarrow
    from datasets import Dataset

DELIMITERS = ",;\t|"
SHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")
BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


class Table:
    """Columns of plain values, by the names that the file has.

    Args:
        columns: by name the values, or what reads them; of audio files the paths beside their bytes.
        rows: how many.
        kinds: of the columns of audio files; see `_recordings_in`.
        stored: gives the recordings of a column as a data set with the one column `audio`.
        decimal_comma: whether 1,5 is a number and a half, as where semicolons part the cells.
    """

    def __init__(
        self,
        columns: dict[str, Sequence | Callable[[], Sequence]],
        rows: int,
        kinds: dict[str, str] | None = None,
        stored: Callable[[str], Dataset] | None = None,
        decimal_comma: bool = False,
    ):
        self.columns, self.rows, self.kinds, self.stored = columns, rows, kinds or {}, stored
        self.decimal_comma = decimal_comma

    @property
    def names(self) -> list[str]:
        """Of the columns, in order."""
        return list(self.columns)

    def __len__(self) -> int:
        return self.rows

    def recordings(self, name: str) -> Callable[[], Dataset]:
        """What gives a column of audio files as a data set with the one column `audio`."""
        return partial(self.stored, name)

    def __getitem__(self, name: str) -> list:
        values = self.columns[name]
        return list(values() if callable(values) else values)


def read_file(path: Path, encoding: str | None) -> Table:
    """The table in a file.

    Raises `UserError` with the remedy for what is no table, `OSError` for a file that is not there.
    """
    kind = path.suffix.lower()
    if kind in SHEETS:
        raise UserError("a spreadsheet is not read: save it as CSV (UTF-8), and give that")
    if kind not in READERS:
        raise UserError(f"expected a name in {', '.join(READERS)}, a saved data set's folder, or owner/name")
    if is_pointer(path):
        raise UserError("it is a Git LFS pointer, and the table is still to be fetched: git lfs pull")
    return READERS[kind](path, encoding)


def read_delimited(path: Path, encoding: str | None) -> Table:
    """A text with a cell for every column, parted by commas, semicolons, tabs or bars: the one the header has most."""
    text = decode(path.read_bytes(), encoding)
    first, _, rest = text.partition("\n")
    if first.strip().lower().startswith("sep="):  # Excel's
        delimiter, text = first.strip()[4:5], rest
    else:
        delimiter = "\t" if path.suffix.lower() == ".tsv" else max(DELIMITERS, key=first.count)
    lines = list(_cells(text, delimiter))
    if not lines:
        raise UserError("it is empty")
    header = [name.strip() for name in lines[0][1]]
    twice = next((name for name in header if name and header.count(name) > 1), None)
    if twice:
        raise UserError(f"two columns are called {twice!r}: rename one of them")
    for number, cells in lines[1:]:
        if len(cells) > len(header):
            raise UserError(f"line {number} has {len(cells)} cells for {len(header)} columns: quote what it holds")
        cells += [""] * (len(header) - len(cells))
    columns = zip(*(cells for _, cells in lines[1:]), strict=True) if len(lines) > 1 else [()] * len(header)
    return Table(dict(zip(header, columns, strict=True)), len(lines) - 1, decimal_comma=delimiter == ";")


def decode(content: bytes, encoding: str | None) -> str:
    """A text in its encoding: UTF-8, UTF-16 where it shows, or the one given; `UserError` for another."""
    mark = next((known for known in BYTE_ORDER_MARKS if content.startswith(known)), None)
    if mark is not None:
        found = BYTE_ORDER_MARKS[mark]
    elif b"\0" in content[:1000]:
        found = "utf-16-be" if content[:1] == b"\0" else "utf-16-le"
    else:
        found = encoding or "utf-8"
    try:
        return content.decode(found).replace("\r\n", "\n").replace("\r", "\n")
    except LookupError as error:
        raise UserError(f"no encoding is called {encoding!r}: try cp1252, cp1250, cp1251 or gb18030") from error
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(
            f"line {line} is not {found}: save it as UTF-8, or give its encoding, such as encoding=cp1252 (of Western "
            "Windows), cp1250 (Central European) or cp1251 (Cyrillic)"
        ) from error


def _cells(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, each with the number of its last line."""
    if delimiter == "\t":
        yield from _tabbed(text)
        return
    try:
        yield from _parsed(text, delimiter, csv.QUOTE_MINIMAL)
    except csv.Error as error:
        raise UserError(f"{error}: close and double the quotation marks") from error


def _tabbed(text: str) -> list[tuple[int, list[str]]]:
    """The rows of a text with tabs, among which a quotation mark is often a sign like any other.

    It is one where the quotations cannot be read, and where one would go over several lines that are whole rows.
    """
    as_signs = list(_parsed(text, "\t", csv.QUOTE_NONE))
    try:
        quoted = list(_parsed(text, "\t", csv.QUOTE_MINIMAL))
    except csv.Error:
        return as_signs
    over_lines = any("\n" in cell for _, cells in quoted for cell in cells)
    return as_signs if over_lines and len({len(cells) for _, cells in as_signs}) == 1 else quoted


def _parsed(text: str, delimiter: str, quoting: Any) -> Iterator[tuple[int, list[str]]]:
    form = {"delimiter": delimiter, "quoting": quoting, "skipinitialspace": delimiter != "\t"}
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, **form)
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield reader.line_num, cells


def read_lines_of_json(path: Path, encoding: str | None) -> Table:
    """A JSON object a line."""
    lines = decode(path.read_bytes(), encoding).split("\n")
    return _records([_parse(line, f"line {number}") for number, line in enumerate(lines, start=1) if line.strip()])


def read_json(path: Path, encoding: str | None) -> Table:
    """A list of JSON objects."""
    records = _parse(decode(path.read_bytes(), encoding), "it")
    if not isinstance(records, list):
        raise UserError("expected a list of objects, one an utterance")
    return _records(records)


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (RecursionError, ValueError) as error:
        raise UserError(f"{where} is no JSON: {error}") from error


def _records(records: list[Any]) -> Table:
    other = next((record for record in records if not isinstance(record, dict)), None)
    if other is not None:
        raise UserError(f"expected an object for each utterance, not {str(other)[:40]!r}")
    names = dict.fromkeys(name for record in records for name in record)
    return Table({name: [record.get(name) for record in records] for name in names}, len(records))


def read_parquet(path: Path, encoding: str | None) -> Table:
    """A Parquet file, also one of datasets with class labels and recordings in it."""
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, ValueError) as error:
        raise UserError(str(error).splitlines()[0]) from error
    return arrow_table(table, lambda: _as_dataset(table))


def arrow_table(table: pyarrow.Table, dataset: Callable[[], Dataset]) -> Table:
    """An Arrow table's columns; `dataset` gives the same as a data set, where recordings are asked for."""
    features = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    kinds = {name: kind for name in table.column_names if (kind := _recordings_in(table, name))}
    columns = {
        name: _path_reader(table, name) if name in kinds else _reader(table, name, features.get(name))
        for name in table.column_names
    }
    return Table(columns, table.num_rows, kinds, cache(lambda name: _stored(dataset(), name)))


def _reader(table: pyarrow.Table, name: str, feature: Any) -> Callable[[], list]:
    labels = _class_names(feature)

    def named(value: Any) -> Any:
        if isinstance(value, list):
            return [named(each) for each in value]
        return None if value is None or value < 0 else labels[value]

    def read() -> list:
        values = table.column(name).to_pylist()
        return values if labels is None else [named(value) for value in values]

    return read


def _class_names(feature: Any) -> list[str] | None:
    """The names of a column's class labels, or of those in its lists; None where it has none."""
    while True:
        if isinstance(feature, list) and len(feature) == 1:
            (feature,) = feature
        elif isinstance(feature, dict) and isinstance(feature.get("feature"), dict):
            feature = feature["feature"]
        else:
            return feature.get("names") if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" else None


def _path_reader(table: pyarrow.Table, name: str) -> Callable[[], list]:
    import pyarrow.compute

    return lambda: pyarrow.compute.struct_field(table.column(name), "path").to_pylist()


def _recordings_in(table: pyarrow.Table, name: str) -> str | None:
    """What a column's structs hold: `bytes` if all have them, `paths` if none has, `mixed (N)` if N have none."""
    import pyarrow.compute as compute
    import pyarrow.types

    kind = table.schema.field(name).type
    if not pyarrow.types.is_struct(kind) or {field.name for field in kind} != {"bytes", "path"}:
        return None
    # no bytes at all are a reader's sign to take the path beside them
    lengths = compute.fill_null(compute.binary_length(compute.struct_field(table.column(name), "bytes")), 0)
    empty = compute.sum(compute.equal(lengths, 0)).as_py() or 0
    return "bytes" if not empty else "paths" if empty == table.num_rows else f"mixed ({empty})"


def _as_dataset(table: pyarrow.Table) -> Dataset:
    from datasets import Dataset

    return Dataset(table)


def _stored(dataset: Dataset, name: str) -> Dataset:
    from datasets import Audio

    return dataset.select_columns(name).rename_columns({name: "audio"}).cast_column("audio", Audio(decode=False))


READERS = {
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".txt": read_delimited,
    ".jsonl": read_lines_of_json,
    ".json": read_json,
    ".parquet": read_parquet,
}
