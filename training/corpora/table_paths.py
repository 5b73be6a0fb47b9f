"""From the paths that a table has to files: relative to one folder, and not out of it."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from ...configuration.errors import UserError
from ...configuration.printable import CONTROL

WINDOWS_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


def find_audio_root(root: str | Path, audio_root: str | Path | None) -> Path:
    """The folder that paths are relative to, links resolved: the one given, or else the table's."""
    table = Path(root).expanduser()
    folder = Path(str(audio_root)).expanduser() if audio_root else table if table.is_dir() else table.parent
    if not (audio_root or table.exists()):
        raise UserError(f"table: {root} names recordings by path: say with audio_root which folder holds them")
    if not folder.is_dir():
        raise UserError(f"table: no such folder: audio_root {folder}")
    return folder.resolve()


def resolve_paths(paths: Sequence[str | None], audio_root: Path, allow_outside: bool) -> list[str]:
    """The recordings' files, there or not.

    Raises `UserError` for a row without a path, and for one that is odd or leaves `audio_root`.
    """
    empty = [row for row, path in enumerate(paths) if not (path or "").strip()]
    if empty:
        raise UserError(f"table: row {empty[0]} names no recording ({len(empty)} such rows): fill or remove them")
    odd = [path for path in paths if CONTROL.search(path)]
    if odd:
        raise UserError(f"table: {odd[0]!a} holds control characters ({len(odd)} such paths): rename the files")
    with_drive = [path for path in paths if WINDOWS_DRIVE.match(path.strip())] if os.name != "nt" else []
    if with_drive:
        raise UserError(
            f"table: {with_drive[0]} is a path of another machine, with Windows ({len(with_drive)} such paths): "
            "write paths relative to a folder, and give that as audio_root"
        )
    files = [find_file(audio_root, path.strip()) for path in paths]
    outside = [path for path, file in zip(paths, files, strict=True) if not file.is_relative_to(audio_root)]
    if outside and not allow_outside:
        raise UserError(
            f"table: {outside[0]} leads out of {audio_root} ({len(outside)} such paths): "
            "set audio_root to the folder that holds all recordings, or allow_outside=true"
        )
    return [str(file) for file in files]


def find_file(folder: Path, path: str) -> Path:
    """The file that a table means: as it is written, with Windows's strokes, or with accents composed otherwise."""
    strokes = path.replace("\\", "/")
    for form in dict.fromkeys((path, strokes, *(unicodedata.normalize(form, strokes) for form in ("NFC", "NFD")))):
        file = (folder / form).resolve()
        if file.exists():
            return file
    return (folder / strokes).resolve()
