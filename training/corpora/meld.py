"""MELD: dialogues of the television series Friends, cut into utterances of seven emotions.

The corpus gives no gender; ours is that of the six leading parts, who speak most of it. Its recordings are videos:
their sound has to be extracted once.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...configuration.errors import UserError
from .files import RECORDINGS, existing_folder, read_table, visible_files
from .rows import Rows, gather

LICENSE = "GPL-3.0 (annotation and code); the recordings are excerpts of a television series"
LANGUAGE = "en"
SPEECH = "acted"
CITATION = """@inproceedings{poria2019meld,
  title = {{MELD}: A Multimodal Multi-Party Dataset for Emotion Recognition in Conversations},
  author = {Poria, Soujanya and Hazarika, Devamanyu and Majumder, Navonil and Naik, Gautam and Cambria, Erik and
            Mihalcea, Rada},
  booktitle = {Proceedings of the 57th Annual Meeting of the Association for Computational Linguistics},
  pages = {527--536},
  year = {2019},
  doi = {10.18653/v1/P19-1050}
}"""
LABELS = {
    "neutral": "neutral",
    "joy": "happy",
    "sadness": "sad",
    "anger": "angry",
    "fear": "fearful",
    "disgust": "disgust",
    "surprise": "surprised",
}
EMOTIONS = tuple(LABELS.values())
GENDERS = {"Monica": "female", "Phoebe": "female", "Rachel": "female"} | dict.fromkeys(
    ("Chandler", "Joey", "Ross"), "male"
)
SPLITS = {"train": "train", "dev": "validation", "test": "test"}
COLUMNS = ("Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID")
BROKEN = (("train", "dia125_utt3"), ("dev", "dia110_utt7"))  # unreadable and absent in the release
LAYOUT = (
    "train_sent_emo.csv, dev_sent_emo.csv, test_sent_emo.csv and the folders train_splits, dev_splits_complete, "
    "output_repeated_splits_test with dia0_utt0.wav ..."
)
NAME = re.compile(r"dia\d+_utt\d+")
CONTROLS = {code: bytes([code]).decode("cp1252", errors="replace") for code in range(0x80, 0xA0)}

logger = logging.getLogger(__name__)


def load(root: str | Path) -> Rows:
    """The utterances of the three tables of which there is a recording, with `split` and the corpus's `sentiment`.

    `dialog` and `utterance` are the corpus's numbers, `dialog` with its side, on which they start anew. Recordings
    (WAV, FLAC) are in the official folders, or in others with `train`, `dev` or `test` as a word of their names.
    Utterances without a recording are left out, and more than the two known ones are told in the log.
    Raises `UserError` if a side has only videos, if there is no table or recording at all, or for an unknown emotion.
    """
    folder = existing_folder(root, "meld", LAYOUT)
    tables = {split: next(iter(sorted(folder.rglob(f"{split}_sent_emo.csv"))), None) for split in SPLITS}
    recordings = find_sides(folder, RECORDINGS)
    videos = find_sides(folder, (".mp4",))
    rows: list[dict[str, object]] = []
    for split, table in tables.items():
        if table is not None:
            require_sound(split, recordings, videos)
            rows += describe_side(split, table, recordings)
    if not rows:
        raise UserError(f"meld: no table with recordings in {folder}; expected {LAYOUT}")
    return gather(rows)


def find_sides(folder: Path, endings: Iterable[str]) -> dict[tuple[str, str], Path]:
    """Files by side and name: names such as dia0_utt0 occur on every side."""
    files = [file for file in visible_files(folder, endings) if NAME.fullmatch(file.stem)]
    return {(side, file.stem): file for file in files if (side := find_side(file.relative_to(folder)))}


def find_side(file: Path) -> str | None:
    """The side that the nearest folder names: `dev` for dev_splits_complete/dia0_utt0.wav."""
    for part in reversed(file.parent.parts):
        words = re.split(r"[^a-z]+", part.lower())
        if side := next((side for side in SPLITS if side in words), None):
            return side
    return None


def require_sound(split: str, recordings: dict[tuple[str, str], Path], videos: dict[tuple[str, str], Path]) -> None:
    """Raise `UserError`, with the command that extracts the sound, if a side has videos and no recording."""
    sides = {side for side, _ in recordings}
    video = next((file for (side, _), file in videos.items() if side == split), None)
    if split not in sides and video is not None:
        raise UserError(
            f"meld: {video.parent} has videos only; extract their sound: cd '{video.parent}' && "
            'for f in dia*.mp4; do ffmpeg -i "$f" -vn -ac 1 -ar 16000 "${f%.mp4}.wav"; done'
        )


def describe_side(split: str, table: Path, recordings: dict[tuple[str, str], Path]) -> Iterator[dict[str, object]]:
    """The rows of one side's table that have a recording."""
    missing = []
    for row in read_table(table, COLUMNS, "meld", "restore it"):
        key = (split, f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}")
        if key in recordings and key not in BROKEN:
            yield describe(row, split, recordings[key], table)
        elif key not in BROKEN:
            missing.append(key[1])
    if missing:
        logger.warning("meld: %d utterances of %s have no recording, the first is %s", len(missing), table, missing[0])


def describe(row: dict[str, str | None], split: str, file: Path, table: Path) -> dict[str, object]:
    """The row of one utterance; `UserError` for an emotion that MELD does not have."""
    if row["Emotion"] not in LABELS:
        raise UserError(f"meld: {table} has the emotion {row['Emotion']!r}: expected one of {', '.join(LABELS)}")
    return {
        "audio": file,
        "utterance_id": f"{split}_{file.stem}",
        "emotion": LABELS[row["Emotion"]],
        "speaker": row["Speaker"],
        "gender": GENDERS.get(row["Speaker"] or ""),
        # Windows-1252 that was once read as Latin-1 and saved as UTF-8
        "transcript": row["Utterance"] and row["Utterance"].translate(CONTROLS),
        "language": LANGUAGE,
        "split": SPLITS[split],
        "dialog": f"{split}_dia{row['Dialogue_ID']}",
        "utterance": row["Utterance_ID"],
        "sentiment": row["Sentiment"],
    }
