"""EmoV-DB: two women and two men read sentences of CMU Arctic in up to five emotions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ...configuration.errors import UserError
from .files import existing_folder, find_recordings, read_lines
from .rows import Rows, gather

LICENSE = "EmoV-DB licence (non-commercial purposes)"
LANGUAGE = "en"
SPEECH = "acted"
CITATION = """@article{adigwe2018emovdb,
  title = {The Emotional Voices Database: Towards Controlling the Emotion Dimension in Voice Generation Systems},
  author = {Adigwe, Adaeze and Tits, No{\\'e} and El Haddad, Kevin and Ostadabbas, Sarah and Dutoit, Thierry},
  journal = {arXiv preprint arXiv:1806.09514},
  year = {2018}
}"""
EMOTIONS = ("neutral", "amused", "angry", "disgust", "sleepy")
SPELLINGS = {name: name for name in EMOTIONS} | {
    "amusement": "amused",
    "anger": "angry",
    "disgusted": "disgust",
    "sleepiness": "sleepy",
}
GENDERS = {"bea": "female", "jenie": "female", "josh": "male", "sam": "male"}
PROMPTS = "cmuarctic.data"
LAYOUT = f"bea_Amused/amused_1-15_0001.wav ... or bea/Amused/ ..., and, if wanted, {PROMPTS} for the transcripts"

PROMPT = re.compile(r'\(\s*arctic_a(\d{4})\s+"(.*)"\s*\)')
SENTENCE = re.compile(r".*_(\d{4})")


def load(root: str | Path) -> Rows:
    """The recordings below `root`; speaker and emotion are their folders' names, however spelled.

    The corpus has no text of its own: transcripts are those of CMU Arctic, part A, if `cmuarctic.data` is in `root`
    (from http://www.festvox.org/cmu_arctic). Raises `UserError` for a recording whose folders and name do not say
    who speaks, or how.
    """
    folder = existing_folder(root, "emov_db", LAYOUT)
    prompts = read_prompts(folder / PROMPTS)
    return gather([describe(file, prompts) for file in find_recordings(folder, "emov_db", LAYOUT)])


def read_prompts(path: Path) -> dict[str, str]:
    """Texts by the number of the sentence; empty if there is no such file."""
    lines = (PROMPT.search(line) for line in read_lines(path)) if path.is_file() else ()
    return {fields[1]: fields[2] for fields in lines if fields}


def describe(file: Path, prompts: Mapping[str, str]) -> dict[str, object]:
    """The row of one recording: the nearest folder that names a speaker or an emotion decides, then its own name."""
    names = (*reversed(file.parent.parts[-2:]), file.stem)
    words = [word for name in names for word in re.split(r"[^a-z]+", name.lower())]
    speaker = next((word for word in words if word in GENDERS), None)
    emotion = next((SPELLINGS[word] for word in words if word in SPELLINGS), None)
    if speaker is None or emotion is None:
        raise UserError(f"emov_db: the folders of {file} name no speaker or no emotion; expected {LAYOUT}")
    sentence = SENTENCE.fullmatch(file.stem)
    return {
        "audio": file,
        "utterance_id": f"{speaker}_{emotion}_{file.stem}",
        "emotion": emotion,
        "speaker": speaker,
        "gender": GENDERS[speaker],
        "transcript": prompts.get(sentence[1]) if sentence else None,
        "language": LANGUAGE,
    }
