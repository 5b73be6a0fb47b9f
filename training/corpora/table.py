"""Anybody's own table as a corpus: a file in any usual form, or a data set saved to disk or kept on the Hub."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...configuration.errors import UserError
from .annotations import READERS as ANNOTATIONS
from .annotations import find_annotations, read_annotations
from .mapping import merge_voted_spellings
from .rows import Rows, Stored
from .table_columns import KNOWN, choose_columns, name_parts, read_channels, read_metadata, read_segments
from .table_files import READERS, SHEETS, Table, arrow_table, read_file
from .table_paths import find_audio_root, resolve_paths
from .table_raters import RATER, merge_raters
from .table_votes import check_votes, without_percentages
from .values import MISSING, merge_spellings, to_text

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def load(
    root: str | Path,
    columns: Mapping[str, object] | None = None,
    audio_root: str | Path | None = None,
    allow_outside: bool = False,
    split: str | None = None,
    subset: str | None = None,
    encoding: str | None = None,
    missing: object = MISSING,
    time_unit: str = "s",
    same_spelling: bool = False,
) -> Rows:
    """The rows of a table.

    A table is CSV (parted by commas, semicolons, tabs or bars), JSON or JSON lines, or Parquet; a TextGrid, RTTM, a
    file of ELAN, or a folder of such; or a database of audformat, of which `subset` names the table. Text is UTF-8,
    UTF-16 where it shows, or else in `encoding`.

    `columns` maps our names to the table's; a column that already has one of our names, in any case, needs no entry.
    Null leaves a column out. A column mapped to a name of the user's own (a task of his) is kept as text, any other is
    left out. A number's column that holds something else is text.
    `start` and `end` say where in its recording a row lies, in `time_unit`: `s`, `ms` or `h:m:s`. `duration` takes the
    place of `end` where `columns` maps it. `channel` says which one it is: `left`, `right`, or a number from 0.
    Empty cells are null. So are the marks in `missing`, one or a list, in any case, but in names and transcripts.
    Several people may have rated a row. Their votes are in columns such as `emotion:angry`; or the column of emotions
    holds lists ("angry;sad;angry", or JSON) or JSON objects ({"angry": 2, "sad": 1}); or each of them has a row, with
    his name in the column `rater` and perhaps his weight in `rater_weight`. `columns={"mood:*": mood}` reads lists or
    objects as votes for a further task, or for one that has a column of labels besides.
    `same_spelling` gives labels that differ in case, spaces or accents alone the spelling that most of them have.
    Recordings are paths, taken as relative to `audio_root` (by default the table's folder), or bytes inside the table.
    Paths that lead out of `audio_root`, also through a link, are refused unless `allow_outside`.
    Of a saved or Hub data set with several splits these are its own sides, in the column `split`; the option `split`
    chooses one. `subset` names a Hub data set's configuration.
    Without an `utterance_id`, the path as the table has it, with the part's times, is one, or else the row's
    number.
    Raises `UserError` for a table that cannot be read, a column that is not there, and one that says what a row is
    but is not understood.
    """
    named, marks = _names(columns), _marks(missing)
    annotations = find_annotations(Path(root).expanduser())
    if annotations:
        folder, rows_of = find_audio_root(root, audio_root), named.get("emotion") or "emotion"
        table = read_annotations(annotations, folder, rows_of, subset, encoding)
        require_rows(table, root)
    else:
        table = read_table(root, split, subset, encoding)
    theirs, left_out = choose_columns(table, named, root)
    metadata, remarks = read_metadata(table, theirs, marks)
    parts = read_segments(table, theirs, time_unit) | read_channels(table, theirs)
    if left_out:
        remarks["columns left out"] = {Path(root).name: ", ".join(left_out)}
    recordings, paths = read_recordings(table, theirs["audio"])
    if recordings is None:
        recordings = resolve_paths(paths, find_audio_root(root, audio_root), allow_outside)
        ids = name_parts(paths, parts)
    else:
        ids = name_parts(name_rows(paths), parts)
    columns = {"utterance_id": ids} | metadata | parts
    if RATER in columns:
        if "utterance_id" not in metadata and isinstance(recordings[0], Stored):
            raise UserError(f"table: {root} has raters of recordings inside it: say whose by an utterance_id")
        tasks = [name for name in columns if name == "emotion" or name not in KNOWN]
        first_rows, columns = merge_raters(columns["utterance_id"], columns, tasks)
        recordings = [recordings[row] for row in first_rows]
    if shares := without_percentages(columns):
        columns |= shares
        remarks.setdefault("votes", {})[f"{Path(root).name}: percentages"] = "read as shares"
    check_votes(columns, columns["utterance_id"])
    rows = Rows(recordings, columns, remarks)
    return merge_voted_spellings(merge_spellings(rows)) if same_spelling else rows


def _names(columns: object) -> dict[str, str | None]:
    """By our names the table's, which a recipe may have as numbers."""
    if not isinstance(columns, Mapping | None):
        raise UserError(
            f"columns={columns} is no mapping: give our names with the table's, as columns={{emotion: mood}}"
        )
    return {str(ours): None if theirs is None else str(theirs) for ours, theirs in (columns or {}).items()}


def _marks(missing: object) -> list[str]:
    """The marks of missing values, one or a list; `UserError` for one that YAML does not read as it stands."""
    marks = list(missing) if isinstance(missing, list | tuple) else [missing]
    for mark in marks:
        if mark is None or isinstance(mark, bool):
            raise UserError(f"missing={missing}: quote a word that YAML takes for something else, as missing=['no']")
    # a number stands for itself in columns of numbers and of text, where it keeps its places
    return [text for mark in marks for text in dict.fromkeys([to_text(mark), str(mark).strip()]) if text]


def read_table(root: str | Path, split: str | None, subset: str | None, encoding: str | None) -> Table:
    """The table at a path, or else of that name on the Hub; `UserError` in one line if there is none to read."""
    path = Path(root).expanduser()
    try:
        if path.is_dir():
            table = read_saved(path, split)
        elif is_on_the_hub(root):
            table = read_hub(str(root), split, subset)
        elif split is not None:
            raise UserError(f"it has no splits: leave out split={split}")
        else:
            table = read_file(path, encoding)
    except (OSError, TypeError, UserError, ValueError) as error:
        reason = str(error) or type(error).__name__
        raise UserError(f"table: {root} cannot be read: {reason.splitlines()[0]}") from error
    require_rows(table, root)
    return table


def require_rows(table: Table, root: str | Path) -> None:
    """Raise `UserError` for a table without rows."""
    if not len(table):
        raise UserError(f"table: {root} has no rows")


def is_on_the_hub(root: str | Path | None) -> bool:
    """Whether a table's root names a data set of the Hub, and nothing that lies here or has the name of a file."""
    path = Path(str(root)).expanduser()
    of_a_file = path.suffix.lower() in (*READERS, *SHEETS, *ANNOTATIONS)
    return bool(HUB_NAME.fullmatch(str(root))) and not of_a_file and not path.exists()


def read_saved(path: Path, split: str | None) -> Table:
    """A data set that `save_to_disk` wrote."""
    if not any((path / name).is_file() for name in ("dataset_info.json", "dataset_dict.json", "state.json")):
        raise UserError(f"{path} is a folder, but no saved data set: give the table itself, or corpus=folders")
    from datasets import load_from_disk

    return _of_dataset(choose_split(load_from_disk(path), split))


def read_hub(name: str, split: str | None, subset: str | None) -> Table:
    """A data set of the Hub."""
    from datasets import load_dataset

    return _of_dataset(choose_split(load_dataset(name, subset, split=split), None))


def choose_split(saved: Dataset | DatasetDict, split: str | None) -> Dataset | DatasetDict:
    """What was saved, or the chosen one of its splits; `UserError` for one that is not there."""
    if not isinstance(saved, dict):
        if split is not None:
            raise UserError(f"it has no splits: leave out split={split}")
        return saved
    if split is not None:
        if split not in saved:
            raise UserError(f"no split {split!r}: choose one of {', '.join(saved)} as split=")
        return saved[split]
    return saved


def read_recordings(table: Table, name: str) -> tuple[list[Stored] | None, list[str | None]]:
    """The recordings in a column, None where it only has paths, and those paths."""
    kind, paths = table.kinds.get(name), table[name]
    if kind is None:
        other = next((value for value in paths if not isinstance(value, str | None)), None)
        if other is not None:
            raise UserError(
                f"table: column {name!r} holds neither paths nor audio files but {str(other)[:40]}; "
                "name the right one as audio in columns"
            )
        return None, paths
    if kind.startswith("mixed"):
        raise UserError(f"table: column {name!r} holds audio in some rows and none in {kind[7:-1]}: fill those")
    if kind == "paths":
        return None, paths
    recordings = table.recordings(name)
    return [Stored(recordings, row) for row in range(len(table))], paths


def name_rows(paths: Sequence[str | None]) -> list[str]:
    """Ids for rows that hold their recordings: the names these had as files, or else the rows' numbers."""
    if None in paths or len(set(paths)) < len(paths):
        return [str(row) for row in range(len(paths))]
    return list(paths)


def _of_dataset(saved: Dataset | DatasetDict) -> Table:
    """The rows of a data set; of several splits all, each row with its split's name as `split`."""
    parts = list(saved.values()) if isinstance(saved, dict) else [saved]
    if len(parts) > 1:
        from datasets import concatenate_datasets

        dataset = concatenate_datasets(parts)
    else:
        (dataset,) = parts
    table = arrow_table(dataset.with_format("arrow")[:], lambda: dataset)
    if len(parts) > 1 and "split" not in table.columns:
        table.columns["split"] = [name for name, part in saved.items() for _ in range(len(part))]
    return table
