"""JL-Corpus: four New Zealanders speak in five primary and five secondary emotions."""

from __future__ import annotations

import re
from pathlib import Path

from .files import existing_folder, find_recordings, match_name, read_lines
from .rows import Rows, gather

LICENSE = "CC0-1.0"
LANGUAGE = "en"
SPEECH = "acted"
CITATION = """@inproceedings{james2018jlcorpus,
  title = {An Open Source Emotional Speech Corpus for Human Robot Interaction Applications},
  author = {James, Jesin and Tian, Li and Watson, Catherine Inez},
  booktitle = {Interspeech 2018},
  pages = {2768--2772},
  year = {2018},
  doi = {10.21437/Interspeech.2018-1349}
}"""
PRIMARY = ("neutral", "happy", "sad", "angry", "excited")
SECONDARY = ("anxious", "apologetic", "assertive", "concerned", "encouraging")
EMOTIONS = (*PRIMARY, *SECONDARY)
RECORDINGS_FOLDER = "JL(wav+txt)"
LAYOUT = f"{RECORDINGS_FOLDER}/female1_angry_10a_1.wav and .txt"

# speaker - emotion - sentence and session - repetition
NAME = re.compile(rf"((female|male)[12])_({'|'.join(EMOTIONS)})_\d+([ab])_\d")


def load(root: str | Path) -> Rows:
    """The recordings of the folder `JL(wav+txt)`, or else below `root`, with the text beside each.

    Sessions are "a" and "b"; every speaker has both. The release also holds a part of that folder again: the fuller
    one is read. Raises `UserError` for a file name that the corpus does not have.
    """
    folder = existing_folder(root, "jl_corpus", LAYOUT)
    copies = list(folder.rglob(RECORDINGS_FOLDER))
    fullest = max(copies, key=lambda copy: len(list(copy.iterdir())), default=folder)
    files = find_recordings(fullest, "jl_corpus", LAYOUT)
    return gather([describe(file) for file in files])


def describe(file: Path) -> dict[str, object]:
    """The row of one recording, read from its name and the text beside it."""
    speaker, gender, emotion, session = match_name(file, NAME, "jl_corpus", "female1_angry_10a_1.wav").groups()
    text = file.with_suffix(".txt")
    return {
        "audio": file,
        "utterance_id": file.stem,
        "emotion": emotion,
        "speaker": speaker,
        "gender": gender,
        "transcript": " ".join(read_lines(text)).strip() or None if text.is_file() else None,
        "session": session,
        "language": LANGUAGE,
    }
