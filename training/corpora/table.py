"""Anybody's own table as a corpus: CSV, JSON lines, Parquet, or a data set saved to disk or kept on the Hub."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pyarrow.compute
import pyarrow.parquet
from datasets import Audio, ClassLabel, Dataset, DatasetDict, Value, load_dataset, load_from_disk

from ...configuration.errors import UserError
from ...configuration.printable import CONTROL, one_line
from .rows import METADATA, RATINGS, join_metadata, require_files

READERS = {
    ".csv": lambda path: Dataset.from_pandas(pd.read_csv(path, dtype=str, keep_default_na=False)),
    ".jsonl": lambda path: Dataset.from_pandas(pd.read_json(path, lines=True, dtype=False)),
    ".parquet": lambda path: Dataset(pyarrow.parquet.read_table(path)),
}
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def load(
    root: str | Path,
    columns: Mapping[str, str] | None = None,
    audio_root: str | Path | None = None,
    allow_outside: bool = False,
    split: str | None = None,
    subset: str | None = None,
) -> Dataset:
    """The rows of a table. Empty cells and NaN are null.

    `columns` maps our names to the table's; a column that already has one of our names needs no entry, any other is
    left out. A column mapped to a name of the user's own (a task of his) is kept as text.
    Recordings are paths, taken as relative to `audio_root` (by default the table's folder), or bytes inside the table.
    Paths that lead out of `audio_root`, also through a link, are refused unless `allow_outside`.
    `split` (by default "train") chooses within a saved or Hub data set of several splits; `subset` names a Hub data
    set's configuration. Without an `utterance_id`, the path as the table has it, or else the row's number, is one.
    Raises `UserError` for a table that cannot be read, a column that is not there, and a missing recording.
    """
    table = read_table(root, split, subset)
    theirs = choose_columns(table, columns or {}, root)
    metadata = {ours: read_column(table, ours, name) for ours, name in theirs.items() if ours != "audio"}
    audio, paths = read_recordings(table, theirs["audio"])
    if audio is None:
        files = resolve_paths(paths, find_audio_root(root, audio_root), allow_outside)
        return join_metadata(Dataset.from_dict({"audio": files}), {"utterance_id": paths} | metadata)
    return join_metadata(audio, {"utterance_id": name_rows(paths)} | metadata)


def read_table(root: str | Path, split: str | None, subset: str | None) -> Dataset:
    """The table at a path, or else of that name on the Hub; `UserError` in one line if there is none to read."""
    path = Path(root).expanduser()
    try:
        if path.is_dir():
            table = choose_split(load_from_disk(path), split)
        elif path.suffix in READERS:
            table = choose_split(READERS[path.suffix](path), split)
        elif HUB_NAME.fullmatch(str(root)) and not path.exists():
            table = load_dataset(str(root), subset, split=split or "train")
        else:
            raise ValueError(f"expected a name in {', '.join(READERS)}, a saved data set's folder, or owner/name")
    except (OSError, TypeError, ValueError) as error:
        reason = str(error) or type(error).__name__
        raise UserError(f"table: {root} cannot be read: {reason.splitlines()[0]}") from error
    if not len(table):
        raise UserError(f"table: {root} has no rows")
    return table


def choose_split(saved: Dataset | DatasetDict, split: str | None) -> Dataset:
    """A table's rows; of several splits the chosen one. `UserError` for a split that is not there."""
    if isinstance(saved, Dataset):
        if split is not None:
            raise UserError(f"it has no splits: leave out split={split}")
        return saved
    if (split or "train") not in saved:
        raise UserError(f"no split {split or 'train'!r}: choose one of {', '.join(saved)} as split=")
    return saved[split or "train"]


def choose_columns(table: Dataset, columns: Mapping[str, str], root: str | Path) -> dict[str, str]:
    """Our names of the columns to read, and the table's; `UserError` with those it has if one is not there."""
    known = ("audio", *METADATA, *RATINGS)
    theirs = {name: name for name in known if name in table.column_names} | dict(columns)
    for ours, name in ({"audio": "audio"} | theirs).items():
        if name not in table.column_names:
            raise UserError(
                f"table: {root} has no column {name!r} for {ours!r}, only {', '.join(table.column_names)}; "
                "name the right one in columns"
            )
    return theirs


def read_column(table: Dataset, ours: str, theirs: str) -> list[str | int | float | None]:
    """A column's values in the type that ours has; class labels by their names."""
    values, feature = list(table[theirs]), table.features[theirs]
    if isinstance(feature, ClassLabel):
        values = [None if value is None or value < 0 else feature.int2str(value) for value in values]
    convert = CONVERSIONS[(METADATA | RATINGS).get(ours, "string")]
    try:
        return [None if (text := to_text(value)) is None else convert(text) for value in values]
    except ValueError as error:
        raise UserError(f"table: column {theirs!r} ({ours}) holds something that is no number: {error}") from error


def to_text(value: object) -> str | None:
    """A cell as text on one line; null for an empty one. Whole numbers in a column with NaN lose their ".0"."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = "" if value is None else one_line(str(value)).strip()
    return None if text in ("", "nan", "NaN") else text


def to_whole_number(text: str) -> int:
    """A whole number, also where it is written as "23.0"; `ValueError` for any other."""
    number = float(text)
    if not number.is_integer():
        raise ValueError(f"{text} is not whole")
    return int(number)


CONVERSIONS = {"string": str, "int64": to_whole_number, "float64": float}


def read_recordings(table: Dataset, name: str) -> tuple[Dataset | None, list[str | None]]:
    """The recordings in a column as `audio`, None where it only has paths, and those paths."""
    feature = table.features[name]
    if isinstance(feature, Value) and feature.dtype in ("string", "large_string"):
        return None, list(table[name])
    if not isinstance(feature, Audio) and set(feature if isinstance(feature, dict) else ()) != {"bytes", "path"}:
        raise UserError(
            f"table: column {name!r} holds neither paths nor audio files but {feature}; "
            "name the right one as audio in columns"
        )
    audio = table.select_columns(name).rename_columns({name: "audio"}).cast_column("audio", Audio(decode=False))
    parts = audio.flatten()
    paths, without_bytes = list(parts["audio.path"]), count_empty(parts.data.column("audio.bytes"))
    if 0 < without_bytes < len(audio):
        raise UserError(f"table: column {name!r} holds audio in some rows and none in {without_bytes}: fill those")
    return None if without_bytes else audio, paths


def count_empty(files: pyarrow.ChunkedArray) -> int:
    """How many have no bytes: null, or none at all, which a reader would pass over for the path beside them."""
    lengths = pyarrow.compute.fill_null(pyarrow.compute.binary_length(files), 0)
    return pyarrow.compute.sum(pyarrow.compute.equal(lengths, 0)).as_py() or 0


def find_audio_root(root: str | Path, audio_root: str | Path | None) -> Path:
    """The folder that paths are relative to, links resolved: the one given, or else the table's."""
    table = Path(root).expanduser()
    folder = Path(audio_root).expanduser() if audio_root else table if table.is_dir() else table.parent
    if not (audio_root or table.exists()):
        raise UserError(f"table: {root} names recordings by path: say with audio_root which folder holds them")
    if not folder.is_dir():
        raise UserError(f"table: no such folder: audio_root {folder}")
    return folder.resolve()


def resolve_paths(paths: Sequence[str | None], audio_root: Path, allow_outside: bool) -> list[str]:
    """The recordings' files; `UserError` for a row without a path, and for one that is odd or leaves `audio_root`."""
    empty = [row for row, path in enumerate(paths) if not (path or "").strip()]
    if empty:
        raise UserError(f"table: row {empty[0]} names no recording ({len(empty)} such rows): fill or remove them")
    odd = [path for path in paths if CONTROL.search(path)]
    if odd:
        raise UserError(f"table: {odd[0]!a} holds control characters ({len(odd)} such paths): rename the files")
    files = [(audio_root / path).resolve() for path in paths]
    outside = [path for path, file in zip(paths, files, strict=True) if not file.is_relative_to(audio_root)]
    if outside and not allow_outside:
        raise UserError(
            f"table: {outside[0]} leads out of {audio_root} ({len(outside)} such paths): "
            "set audio_root to the folder that holds all recordings, or allow_outside=true"
        )
    require_files(files, "table")
    return [str(file) for file in files]


def name_rows(paths: Sequence[str | None]) -> list[str]:
    """Ids for rows that hold their recordings: the names these had as files, or else the rows' numbers."""
    if None in paths or len(set(paths)) < len(paths):
        return [str(row) for row in range(len(paths))]
    return list(paths)
