"""What reading a corpus's folder takes: its recordings, their names, and its texts in whatever encoding they are."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...configuration.errors import UserError

RECORDINGS = (".wav", ".flac", ".ogg", ".mp3")


def existing_folder(root: str | Path, corpus: str, layout: str) -> Path:
    """The corpus's folder as a `Path`; `UserError` with the expected layout if there is none."""
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise UserError(f"{corpus}: no such folder: {folder}; expected one that holds {layout}")
    return folder


def visible_files(folder: Path, endings: Iterable[str]) -> list[Path]:
    """Every file below `folder` with one of these endings, in any case, sorted; see `files_below`.

    `UserError` for a folder that cannot be opened.
    """
    from ...modeling_ser_meta.audio_ser_meta import cannot_be_read, files_below

    files, closed = files_below(folder)
    if closed:
        raise UserError(cannot_be_read(closed))
    return [file for file in files if file.suffix.lower() in endings]


def find_recordings(folder: Path, corpus: str, layout: str, endings: Iterable[str] = RECORDINGS) -> list[Path]:
    """Every recording below `folder`, sorted; `UserError` with the expected layout if there is none."""
    files = visible_files(folder, endings)
    if not files:
        raise UserError(f"{corpus}: no recording in {folder}; expected {layout}")
    return files


def match_name(file: Path, pattern: re.Pattern[str], corpus: str, example: str) -> re.Match[str]:
    """The parts of a recording's name without its ending; `UserError` if it is not one of the corpus."""
    fields = pattern.fullmatch(file.stem)
    if fields is None:
        raise UserError(f"{corpus}: {file} is not named like {example}; remove it or mend its name")
    return fields


def read_lines(path: Path, encoding: str = "cp1252") -> Iterator[str]:
    """A text's lines in UTF-8, those that are not in `encoding`; the whole text in UTF-16 if it holds zero bytes."""
    content = path.read_bytes()
    if b"\0" in content:
        yield from content.decode("utf-16", errors="replace").splitlines()
        return
    for line in content.removeprefix(b"\xef\xbb\xbf").splitlines():
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError:
            yield line.decode(encoding, errors="replace")


def read_table(
    path: Path, columns: Iterable[str], corpus: str, remedy: str, **form: str | int
) -> list[dict[str, str | None]]:
    """The rows of a corpus's CSV without stray spaces, empty cells as null; `form` is as in `csv.reader`.

    Raises `UserError` with the remedy if the table is absent, one that lists its columns if it lacks any of ours, and
    one for what is no table.
    """
    if not path.is_file():
        raise UserError(f"{corpus}: no such file: {path}; {remedy}")
    table = csv.DictReader(read_lines(path), **form)
    try:
        return list(_rows(table, path, columns, corpus))
    except csv.Error as error:
        raise UserError(f"{corpus}: {path} is no table ({error}); restore it") from error


def _rows(table: csv.DictReader, path: Path, columns: Iterable[str], corpus: str) -> Iterator[dict[str, str | None]]:
    names = [name.strip() for name in table.fieldnames or []]
    absent = [name for name in columns if name not in names]
    if absent:
        raise UserError(f"{corpus}: {path} has no column {absent[0]!r}, only {', '.join(names)}; restore the table")
    table.fieldnames = names
    yield from ({name: (row[name] or "").strip() or None for name in columns} for row in table)
