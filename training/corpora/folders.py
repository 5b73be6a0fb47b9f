"""Recordings in one folder a class, or with a metadata file beside them, as `audiofolder` of datasets has them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...configuration.errors import UserError
from . import table
from .files import existing_folder, find_recordings
from .rows import Rows, gather

METADATA = ("metadata.csv", "metadata.tsv", "metadata.jsonl", "metadata.parquet")
SPLITS = {"train", "training", "dev", "val", "valid", "validation", "test", "eval", "evaluation"}
LAYOUT = "happy/*.wav, sad/*.wav ... (or train/happy/*.wav ...), or metadata.csv with a column file_name"


def load(
    root: str | Path,
    speaker: str | None = None,
    emotion: str | None = None,
    columns: Mapping[str, str | None] | None = None,
    missing: Sequence[str] = table.MISSING,
    same_spelling: bool = False,
) -> Rows:
    """The recordings below `root`, each with its folder's name as emotion.

    Folders named train, validation, test and so on, above those of the classes, are the `split`. `speaker` is a
    regular expression that is searched in a recording's path; what its group, or all of it, matches is the speaker. So
    is `emotion`, where classes are not the uppermost folders.
    With a metadata file in `root` the rows are those of that table, `file_name` the recordings, and `columns`,
    `missing` and `same_spelling` are the table's.
    Raises `UserError` for a recording in no folder of a class, where an expression does not match, and for a metadata
    file in a side's folder.
    """
    folder = existing_folder(root, "folders", LAYOUT)
    listed = next((folder / name for name in METADATA if (folder / name).is_file()), None)
    if listed is not None:
        if speaker is not None or emotion is not None:
            raise UserError(f"folders: {listed} lists the recordings: name its column, as columns={{speaker: mine}}")
        named = {"audio": "file_name", **(columns or {})}
        return table.load(listed, columns=named, missing=missing, same_spelling=same_spelling)
    from ...modeling_ser_meta.sound_files_ser_meta import OF_OTHER_DECODERS, SOUND_FILES

    patterns = {name: _compiled(name, given) for name, given in (("speaker", speaker), ("emotion", emotion)) if given}
    files = find_recordings(folder, "folders", LAYOUT, (*SOUND_FILES, *OF_OTHER_DECODERS))
    _refuse_tables_of_sides(folder)
    rows = gather([describe(file, folder, patterns) for file in files])
    if emotion is None and (deeper := _folders_of_classes(rows)):
        rows.remarks["folders in those of classes"] = deeper
    return table.merge_spellings(rows) if same_spelling else rows


def describe(file: Path, folder: Path, patterns: Mapping[str, re.Pattern[str]]) -> dict[str, object]:
    """The row of one recording, read from its path."""
    path = file.relative_to(folder)
    *above, _ = path.parts
    split = above.pop(0) if above and above[0].lower() in SPLITS else None
    if not above and "emotion" not in patterns:
        raise UserError(f"folders: {file} is in no folder of a class; expected {LAYOUT}")
    row: dict[str, object] = {"audio": file, "utterance_id": path.as_posix(), "emotion": above[0] if above else None}
    if split is not None:
        row["split"] = split
    for name, pattern in patterns.items():
        found = pattern.search(path.as_posix())
        if found is None:
            raise UserError(f"folders: {name}={pattern.pattern} does not match {path}: mend the expression")
        row[name] = found[1] if pattern.groups else found[0]
    return row


def _refuse_tables_of_sides(folder: Path) -> None:
    """Raises `UserError` for a metadata file that lists the recordings of one side alone."""
    sides = [side for side in sorted(folder.iterdir()) if side.name.lower() in SPLITS]
    deeper = next((side / name for side in sides for name in METADATA if (side / name).is_file()), None)
    if deeper is not None:
        raise UserError(
            f"folders: {deeper} lists the recordings of one side: make one of all in {folder}, with a column split"
        )


def _folders_of_classes(rows: Rows) -> dict[str, str]:
    """By class that has recordings deeper than in its own folder, the first folder in it."""
    found: dict[str, str] = {}
    for name, emotion in zip(rows["utterance_id"], rows["emotion"], strict=True):
        _, _, below = f"/{name}".partition(f"/{emotion}/")
        if "/" in below:
            found.setdefault(emotion, below.partition("/")[0])
    return found


def _compiled(name: str, expression: str) -> re.Pattern[str]:
    try:
        return re.compile(expression)
    except re.error as error:
        raise UserError(f"folders: {name}={expression} is no regular expression: {error}") from error
