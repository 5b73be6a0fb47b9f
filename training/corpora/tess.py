"""TESS: two actresses, one old and one young, say 200 words in a carrier phrase, in seven emotions."""

from __future__ import annotations

import re
from pathlib import Path

from .files import existing_folder, find_recordings, match_name
from .rows import Rows, gather

LICENSE = "CC BY-NC-ND 4.0"
LANGUAGE = "en"
SPEECH = "acted"
CITATION = """@misc{pichorafuller2020tess,
  title = {Toronto emotional speech set ({TESS})},
  author = {Pichora-Fuller, M. Kathleen and Dupuis, Kate},
  publisher = {Scholars Portal Dataverse},
  year = {2020},
  doi = {10.5683/SP2/E8H2MF}
}"""
CODES = {
    "neutral": "neutral",
    "happy": "happy",
    "sad": "sad",
    "angry": "angry",
    "fear": "fearful",
    "disgust": "disgust",
    "ps": "surprised",  # the corpus's "pleasant surprise"
}
EMOTIONS = tuple(CODES.values())
AGES = {"OAF": 64, "YAF": 26}
LAYOUT = "OAF_angry/OAF_back_angry.wav ... YAF_sad/YAF_youth_sad.wav, or all recordings in one folder"

# speaker - word - emotion; one recording of the release, OA_bite_neutral, has lost a letter
NAME = re.compile(rf"(OA|YA)F?_([a-z]+)_({'|'.join(CODES)})", re.IGNORECASE)


def load(root: str | Path) -> Rows:
    """The recordings below `root`, with the metadata their names carry: the folders are spelled in several ways.

    A copy of the corpus inside its own folder, as some downloads have it, is ignored. Raises `UserError` for a file
    name that TESS does not have.
    """
    folder = existing_folder(root, "tess", LAYOUT)
    files = find_recordings(folder, "tess", LAYOUT)
    outermost = {file.name.lower(): file for file in sorted(files, key=lambda file: -len(file.parts))}
    return gather([describe(file) for file in sorted(outermost.values())])


def describe(file: Path) -> dict[str, object]:
    """The row of one recording, read from its name."""
    speaker, word, emotion = match_name(file, NAME, "tess", "OAF_back_angry.wav").groups()
    speaker = f"{speaker.upper()}F"
    return {
        "audio": file,
        "utterance_id": file.stem,
        "emotion": CODES[emotion.lower()],
        "speaker": speaker,
        "gender": "female",
        "transcript": f"Say the word {word.lower()}",
        "language": LANGUAGE,
        "age": AGES[speaker],
    }
