"""nEMO: nine actors speak some ninety Polish sentences in six emotions."""

from __future__ import annotations

import csv
from pathlib import Path

from ...configuration.errors import UserError
from .files import existing_folder, read_table
from .rows import Rows, gather

LICENSE = "CC BY-NC-SA 4.0"
LANGUAGE = "pl"
SPEECH = "acted"
CITATION = """@inproceedings{christop2024nemo,
  title = {nEMO: Dataset of Emotional Speech in Polish},
  author = {Christop, Iwona},
  booktitle = {Proceedings of the 2024 Joint International Conference on Computational Linguistics, Language
               Resources and Evaluation (LREC-COLING 2024)},
  pages = {12111--12116},
  year = {2024}
}"""
EMOTIONS = ("anger", "fear", "happiness", "sadness", "surprised", "neutral")
COLUMNS = ("file_id", "emotion", "raw_text", "speaker_id", "gender", "age")
LAYOUT = "data.tsv and samples/"


def load(root: str | Path) -> Rows:
    """The recordings that `data.tsv` lists, with the raw text as transcript. The corpus has no speaking style.

    A file's ending may differ from the table's. Raises `UserError` for a table without the columns of nEMO, an
    age that is no number, or a missing recording.
    """
    folder = existing_folder(root, "nemo", LAYOUT)
    recordings = {file.stem: file for file in sorted((folder / "samples").glob("[!.]*"))}
    remedy = f"expected a folder that holds {LAYOUT}"
    table = read_table(folder / "data.tsv", COLUMNS, "nemo", remedy, delimiter="\t", quoting=csv.QUOTE_NONE)
    rows = [describe(row, recordings, folder / "samples") for row in table]
    return gather(rows)


def describe(row: dict[str, str | None], recordings: dict[str, Path], samples: Path) -> dict[str, object]:
    """One row of the corpus from one of the table."""
    name = Path(row["file_id"] or "")
    if row["age"] and not row["age"].isdecimal():
        raise UserError(f"nemo: {row['file_id']} has the age {row['age']!r} in data.tsv; expected whole years")
    return {
        "audio": recordings.get(name.stem, samples / name),
        "utterance_id": name.stem,
        "emotion": row["emotion"],
        "speaker": row["speaker_id"],
        "gender": row["gender"],
        "transcript": row["raw_text"],
        "language": LANGUAGE,
        "age": int(row["age"]) if row["age"] else None,
    }
