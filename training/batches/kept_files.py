"""What a network gives for all recordings of a data set, computed once and kept on disk."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
from datasets import Dataset, Features
from datasets.table import Table
from filelock import FileLock

from ...configuration.errors import UserError
from ..machine.processes import say

COMPUTED_AT_ONCE = 16  # utterances of alike lengths
WRITTEN_AT_ONCE = 64


def kept_file(folder: Path, origin: str, key: Any) -> Path:
    """Where what was computed of all recordings is kept; the key says at which speed, and in which condition."""
    name = hashlib.sha256(f"{origin} {key}".encode()).hexdigest()[:24]
    return folder / f"{name}.arrow"


def read_or_compute(
    path: Path, dataset: Dataset, compute: Callable[[dict[str, list]], dict[str, list]], features: Features, words: str
) -> Table:
    """What a file keeps of a data set, a row an utterance; computed where it is not there, or is damaged.

    Of trainings at the same time one computes, the others wait and read. A file has its name when it is whole.

    Args:
        path: see `kept_file`.
        dataset: of the recordings.
        compute: gives for the columns of a few rows what is kept of them.
        features: of that.
        words: what is computed, beside the progress bar.

    Raises:
        UserError: the folder cannot be written to, and does not hold the file.
    """
    try:
        held = FileLock(path.with_suffix(".lock")).acquire()
    except OSError as error:  # of a disk that is only read nobody need be waited for
        if (table := _read_whole(path, len(dataset))) is not None:
            return table
        raise UserError(
            f"{path.parent} cannot be written to ({error.strerror}), and does not hold {path.name}: choose another "
            "folder"
        ) from error
    with held:
        if (table := _read_whole(path, len(dataset))) is not None:
            return table
        if path.exists():
            say(f"{path} is damaged, and is computed anew")
        return dataset.map(
            compute,
            batched=True,
            batch_size=COMPUTED_AT_ONCE,
            writer_batch_size=WRITTEN_AT_ONCE,
            remove_columns=dataset.column_names,
            features=features,
            cache_file_name=str(path),
            load_from_cache_file=False,
            new_fingerprint=path.stem,
            desc=words,
        ).data


def _read_whole(path: Path, rows: int) -> Table | None:
    """The memory-mapped table of a file; None where it is not there, or not whole."""
    try:
        table = Dataset.from_file(str(path)).data
    except (OSError, pyarrow.ArrowException):
        return None
    return table if table.num_rows == rows else None
