"""What every corpus shares: the columns of its rows, and the checks on folders and recordings."""

from __future__ import annotations

import os.path
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from datasets import Audio, Dataset, Features, Value, concatenate_datasets

from ...configuration.errors import UserError

METADATA = {
    "utterance_id": "string",
    "emotion": "string",
    "speaker": "string",
    "gender": "string",
    "style": "string",
    "transcript": "string",
    "session": "string",
    "language": "string",
    "intensity": "string",
    "age": "int64",
}
"""The columns that every corpus has beside `audio`, with their types; what a corpus does not know is null."""

RATINGS = {"valence": "float64", "arousal": "float64", "dominance": "float64"}
"""Columns that are numbers where a corpus has them, on its module's `RATING_SCALE`. Any further column is text."""


def rows_to_dataset(rows: Sequence[Mapping[str, object]]) -> Dataset:
    """A data set of rows that hold the path of a recording as `audio` and any metadata; what is absent is null.

    Raises `UserError` where there is no row.
    """
    if not rows:
        raise UserError("the corpus has no utterance: restore its table or its recordings")
    audio = Dataset.from_dict({"audio": [str(row["audio"]) for row in rows]})
    names = dict.fromkeys(name for row in rows for name in row if name != "audio")
    return join_metadata(audio, {name: [row.get(name) for row in rows] for name in names})


def join_metadata(audio: Dataset, metadata: Mapping[str, list]) -> Dataset:
    """A data set of one column `audio` (paths, or bytes and path) widened by columns of metadata, all typed.

    Raises `UserError` where an utterance's id is missing or not unique.
    """
    check_ids(metadata.get("utterance_id", [None]))
    types = METADATA | {name: RATINGS.get(name, "string") for name in metadata if name not in METADATA}
    columns = {name: metadata.get(name, [None] * len(audio)) for name in types}
    features = Features({name: Value(kind) for name, kind in types.items()})
    try:
        typed = Dataset.from_dict(columns, features=features)
    except (OverflowError, TypeError, ValueError) as error:  # an age of thirty digits, half of a character
        raise UserError(f"a cell of the corpus does not fit its column ({error}): mend its table") from error
    joined = concatenate_datasets([audio, typed], axis=1)
    return joined.cast_column("audio", Audio(decode=False))


def check_ids(ids: Sequence[str | None]) -> None:
    """Raise `UserError` for utterances without an id, and for two that share one."""
    if None in ids:
        raise UserError(f"row {ids.index(None)} has no utterance_id: give it one, or leave that column out")
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice:
        raise UserError(
            f"utterance_id {twice[0]!r} occurs twice ({len(twice)} such ids): every utterance needs its own"
        )


def existing_folder(root: str | Path, corpus: str, layout: str) -> Path:
    """The corpus's folder as a `Path`; `UserError` with the expected layout if there is none."""
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise UserError(f"{corpus}: no such folder: {folder}; expected one that holds {layout}")
    return folder


def require_files(paths: Iterable[str | Path], corpus: str) -> None:
    """Raise `UserError` if any recording is not there: names the first and counts them."""
    paths = list(paths)
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        raise UserError(
            f"{corpus}: no such recording: {missing[0]} ({len(missing)} of {len(paths)} are missing); "
            "complete the corpus or check its folder"
        )
