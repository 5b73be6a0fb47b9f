"""ESD: ten Mandarin and ten English speakers say 350 sentences each in five emotions (licensed for research)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ...configuration.errors import UserError
from .files import existing_folder, find_recordings, match_name, read_lines
from .rows import Rows, gather

LICENSE = "ESD licence, to be signed (research only)"
LANGUAGES = ("zh", "en")  # no LANGUAGE: both are loaded unless one is chosen
SPEECH = "acted"
CITATION = """@article{zhou2022esd,
  title = {Emotional voice conversion: Theory, databases and {ESD}},
  author = {Zhou, Kun and Sisman, Berrak and Liu, Rui and Li, Haizhou},
  journal = {Speech Communication},
  volume = {137},
  pages = {1--18},
  year = {2022},
  doi = {10.1016/j.specom.2021.11.006}
}"""
FOLDERS = {
    "neutral": "neutral",
    "happy": "happy",
    "sad": "sad",
    "angry": "angry",
    "surprise": "surprised",
}
EMOTIONS = tuple(FOLDERS.values())
SPLITS = {"train": "train", "evaluation": "validation", "test": "test"}
FEMALE = ("0001", "0002", "0003", "0007", "0009", "0015", "0016", "0017", "0018", "0019")
FIRST_ENGLISH = "0011"
LAYOUT = "0001/Angry/*.wav (or Angry/train, evaluation and test) and 0001/0001.txt, up to 0020"

NAME = re.compile(r"(00(?:0[1-9]|1\d|20))_\d{6}")
# utterance - text - emotion in the speaker's language; some lines lack a tab, or the emotion
LINE = re.compile(
    r"(00\d\d_\d{6})\s+(.*?)\s*(?:\t\s*\S+|\s(?:Neutral|Happy|Sad|Angry|Surprise|中立|快乐|伤心|生气|惊喜))?\s*"
)


def load(root: str | Path, languages: Sequence[str] = LANGUAGES) -> Rows:
    """The recordings of speakers of these languages, with the texts of `0001.txt` and so on, in any encoding.

    Emotion is the folder's. `split` is train, validation (the corpus's "evaluation") or test in the release that has
    such folders: its speakers and sentences are on all three sides. Some speakers are enough.
    Raises `UserError` for another language, or a file name or folder that ESD does not have.
    """
    languages = (languages,) if isinstance(languages, str) else tuple(languages)
    for language in languages:
        if language not in LANGUAGES:
            raise UserError(f"esd: unknown language {language!r}: choose among {', '.join(LANGUAGES)}")
    folder = existing_folder(root, "esd", LAYOUT)
    transcripts = dict(read_transcripts(folder))
    rows = [describe(file, transcripts) for file in find_recordings(folder, "esd", LAYOUT)]
    chosen = [row for row in rows if row["language"] in languages]
    if not chosen:
        raise UserError(f"esd: no recording in {' or '.join(languages)} in {folder}; expected {LAYOUT}")
    return gather(chosen)


def read_transcripts(folder: Path) -> Iterator[tuple[str, str]]:
    """Pairs of utterance and text; the speakers' files are in UTF-8, UTF-16, GBK or Windows-1252."""
    for path in sorted(folder.rglob("00[0-2][0-9].txt")):
        for line in read_lines(path, "cp1252" if path.stem >= FIRST_ENGLISH else "gb18030"):
            if fields := LINE.fullmatch(line.strip()):
                yield fields[1], fields[2].strip()


def describe(file: Path, transcripts: Mapping[str, str]) -> dict[str, object]:
    """The row of one recording, read from its name, its folders and its speaker's text."""
    speaker = match_name(file, NAME, "esd", "0011_000001.wav")[1]
    folders = [part.lower() for part in file.parent.parts[-2:]]
    emotion = next((FOLDERS[name] for name in folders if name in FOLDERS), None)
    if emotion is None:
        raise UserError(f"esd: {file} is in no emotion's folder: expected {LAYOUT}")
    return {
        "audio": file,
        "utterance_id": file.stem,
        "emotion": emotion,
        "speaker": speaker,
        "gender": "female" if speaker in FEMALE else "male",
        "transcript": transcripts.get(file.stem) or None,
        "language": "en" if speaker >= FIRST_ENGLISH else "zh",
        "split": SPLITS.get(folders[-1]),
    }
