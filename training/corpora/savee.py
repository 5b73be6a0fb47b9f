"""SAVEE: four English men speak 120 TIMIT sentences each in seven emotions (free for research, on registration).

The men's ages are given as 27 to 31 but not whose is which, and the files' names carry no text: both are null.
"""

from __future__ import annotations

import re
from pathlib import Path

from ...configuration.errors import UserError
from .files import existing_folder, find_recordings, match_name
from .rows import Rows, gather

LICENSE = "free of charge for research only (on registration with the University of Surrey)"
LANGUAGE = "en"
SPEECH = "acted"
CITATION = """@incollection{haq2010savee,
  title = {Multimodal Emotion Recognition},
  author = {Haq, Sanaul and Jackson, Philip J. B.},
  booktitle = {Machine Audition: Principles, Algorithms and Systems},
  editor = {Wang, Wenwu},
  publisher = {IGI Global},
  pages = {398--423},
  year = {2010}
}"""
CODES = {
    "n": "neutral",
    "h": "happy",
    "sa": "sad",
    "a": "angry",
    "f": "fearful",
    "d": "disgust",
    "su": "surprised",
}
EMOTIONS = tuple(CODES.values())
SPEAKERS = ("DC", "JE", "JK", "KL")
LAYOUT = "AudioData/DC/a01.wav ... AudioData/KL/su15.wav, or DC_a01.wav ... in one folder"

# speaker, where the file is not in a folder of his - emotion - sentence
NAME = re.compile(rf"(?:({'|'.join(SPEAKERS)})_)?({'|'.join(CODES)})\d\d")


def load(root: str | Path) -> Rows:
    """The recordings of `AudioData/`, or below `root`, with the metadata their names and folders carry.

    Raises `UserError` for a file name, or a speaker's folder, that SAVEE does not have.
    """
    folder = existing_folder(root, "savee", LAYOUT)
    folder = folder / "AudioData" if (folder / "AudioData").is_dir() else folder
    return gather([describe(file) for file in find_recordings(folder, "savee", LAYOUT)])


def describe(file: Path) -> dict[str, object]:
    """The row of one recording, read from its name and, if that lacks the speaker, its folder's."""
    speaker, emotion = match_name(file, NAME, "savee", "DC/a01.wav or DC_a01.wav").groups()
    speaker = speaker or file.parent.name
    if speaker not in SPEAKERS:
        raise UserError(f"savee: {file} is in no speaker's folder: expected one of {', '.join(SPEAKERS)}")
    return {
        "audio": file,
        "utterance_id": f"{speaker}_{file.stem.removeprefix(f'{speaker}_')}",
        "emotion": CODES[emotion],
        "speaker": speaker,
        "gender": "male",
        "language": LANGUAGE,
    }
