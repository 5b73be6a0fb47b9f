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
    columns: Mapping[str, str | None] | None = None,
    missing: Sequence[str] = table.MISSING,
    same_spelling: bool = False,
) -> Rows:
    """The recordings below `root`, each with its folder's name as emotion.

    Folders named train, validation, test and so on, above those of the classes, are the `split`. `speaker` is a
    regular expression that is searched in a recording's path; what its group, or all of it, matches is the speaker.
    With a metadata file in `root` the rows are those of that table, `file_name` the recordings, and `columns`,
    `missing` and `same_spelling` are the table's.
    Raises `UserError` for a recording in no folder of a class, and where `speaker` does not match.
    """
    folder = existing_folder(root, "folders", LAYOUT)
    listed = next((folder / name for name in METADATA if (folder / name).is_file()), None)
    if listed is not None:
        if speaker is not None:
            raise UserError(f"folders: {listed} lists the recordings: name its column, as columns={{speaker: mine}}")
        named = {"audio": "file_name", **(columns or {})}
        return table.load(listed, columns=named, missing=missing, same_spelling=same_spelling)
    from ...modeling_ser_meta.sound_files_ser_meta import OF_OTHER_DECODERS, SOUND_FILES

    pattern = _compiled(speaker)
    files = find_recordings(folder, "folders", LAYOUT, (*SOUND_FILES, *OF_OTHER_DECODERS))
    rows = gather([describe(file, folder, pattern) for file in files])
    return table.merge_spellings(rows) if same_spelling else rows


def describe(file: Path, folder: Path, speaker: re.Pattern[str] | None) -> dict[str, object]:
    """The row of one recording, read from its path."""
    path = file.relative_to(folder)
    *above, _ = path.parts
    split = above.pop(0) if above and above[0].lower() in SPLITS else None
    if not above:
        raise UserError(f"folders: {file} is in no folder of a class; expected {LAYOUT}")
    row: dict[str, object] = {"audio": file, "utterance_id": path.as_posix(), "emotion": above[0]}
    if split is not None:
        row["split"] = split
    if speaker is not None:
        found = speaker.search(path.as_posix())
        if found is None:
            raise UserError(f"folders: speaker={speaker.pattern} does not match {path}: mend the expression")
        row["speaker"] = found[1] if speaker.groups else found[0]
    return row


def _compiled(expression: str | None) -> re.Pattern[str] | None:
    try:
        return None if expression is None else re.compile(expression)
    except re.error as error:
        raise UserError(f"folders: speaker={expression} is no regular expression: {error}") from error
