"""IEMOCAP: five sessions of two actors each, improvised and scripted (licensed by the University of Southern
California; obtain it there).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from ...configuration.errors import UserError
from .files import existing_folder, read_lines
from .rows import Rows, gather

LICENSE = "IEMOCAP release licence of the University of Southern California (on request, not to be passed on)"
LANGUAGE = "en"
SPEECH = "acted"
CITATION = """@article{busso2008iemocap,
  title = {IEMOCAP: Interactive emotional dyadic motion capture database},
  author = {Busso, Carlos and Bulut, Murtaza and Lee, Chi-Chun and Kazemzadeh, Abe and Mower, Emily and Kim, Samuel
            and Chang, Jeannette N. and Lee, Sungbok and Narayanan, Shrikanth S.},
  journal = {Language Resources and Evaluation},
  volume = {42},
  number = {4},
  pages = {335--359},
  year = {2008}
}"""
EMOTIONS = ("neutral", "happy", "angry", "sad")
RATING_SCALE = (1.0, 5.0)
FOUR_CLASSES = {"neu": "neutral", "hap": "happy", "exc": "happy", "ang": "angry", "sad": "sad"}
CODES = (*FOUR_CLASSES, "fru", "fea", "sur", "dis", "oth", "xxx")
LAYOUT = "IEMOCAP_full_release/Session1 ... Session5, each with dialog/ and sentences/"

# Our reading of the paper's data: the counts that public code for the four classes agrees on.
CLASS_COUNTS = {
    "Session1": (384, 278, 229, 194),
    "Session2": (362, 327, 137, 197),
    "Session3": (320, 286, 240, 305),
    "Session4": (258, 303, 327, 143),
    "Session5": (384, 442, 170, 245),
}
GENDER_COUNTS = {
    "Session1": (528, 557),
    "Session2": (481, 542),
    "Session3": (522, 629),
    "Session4": (528, 503),
    "Session5": (590, 651),
}
STYLE_COUNTS = {"neutral": (1099, 609), "happy": (947, 689), "angry": (289, 814), "sad": (608, 476)}
FULL_RELEASE_TURNS = 10_039

EVALUATION = re.compile(r"\[[\d.]+\s*-\s*[\d.]+\]\s+(\S+)\s+(\w+)\s+\[(\d+\.?\d*),\s*(\d+\.?\d*),\s*(\d+\.?\d*)\]")
TRANSCRIPTION = re.compile(r"(Ses\w+)\s*\[[^\]]*\]\s*:(.*)")
UTTERANCE = re.compile(r"(Ses0([1-5]))[FM]_(?:(impro)\d\d[ab]?|script0\d_\d[b]?)_([FM])\d{3}")


class Turn(NamedTuple):
    """One evaluated turn: valence, arousal (the corpus's activation) and dominance run from 1 to 5."""

    folder: Path
    dialog: str
    utterance: str
    code: str
    valence: float
    arousal: float
    dominance: float


def load(root: str | Path, labels: Mapping[str, str] | None = None) -> Rows:
    """The utterances whose emotion has a label, with raw transcripts (tags such as `[LAUGHTER]` and all).

    `labels` maps the corpus's codes to ours; by default the four classes with excited merged into happy.
    `root` is the release's folder or its parent; some of the five sessions are enough. Where the release is whole,
    its counts by session, class, gender and style are checked. Raises `UserError` for counts that differ, an unknown
    code, a missing recording, or a line or utterance that is not written as IEMOCAP writes it.
    """
    labels = FOUR_CLASSES if labels is None else labels
    for code in labels:
        if code not in CODES:
            raise UserError(f"iemocap: unknown emotion code {code!r} in labels: choose among {', '.join(CODES)}")
    sessions = find_sessions(root)
    turns = [turn for session in sessions for turn in read_turns(session)]
    if len(sessions) == len(CLASS_COUNTS) and len(turns) >= FULL_RELEASE_TURNS / 2:
        check_counts(turns, sessions[0].parent)
    transcripts = dict(line for session in sessions for line in read_transcripts(session))
    rows = [describe(turn, labels, transcripts) for turn in turns if turn.code in labels]
    if not rows:
        raise UserError(f"iemocap: no utterance of {', '.join(labels)} in {sessions[0].parent}; expected {LAYOUT}")
    return gather(rows)


def find_sessions(root: str | Path) -> list[Path]:
    """The sessions' folders in order; `UserError` if there is not one."""
    folder = existing_folder(root, "iemocap", LAYOUT)
    if (folder / "IEMOCAP_full_release").is_dir():
        folder = folder / "IEMOCAP_full_release"
    sessions = [folder / name for name in CLASS_COUNTS if (folder / name).is_dir()]
    if not sessions:
        raise UserError(f"iemocap: no session in {folder}; expected {LAYOUT}")
    return sessions


def read_turns(session: Path) -> Iterator[Turn]:
    """The evaluated turns of a session; the annotators' own lines and the folders below are left aside."""
    for path in sorted((session / "dialog" / "EmoEvaluation").glob("Ses*.txt")):
        for line in read_lines(path):
            if not re.match(r"\[\d", line):
                continue
            fields = EVALUATION.match(line)
            if fields is None:
                raise UserError(f"iemocap: {path} has an evaluation that cannot be read: {line!r}")
            yield Turn(session, path.stem, fields[1], fields[2], *map(float, fields.groups()[2:]))


def read_transcripts(session: Path) -> Iterator[tuple[str, str]]:
    """Pairs of utterance and text; remarks without an utterance (`M: ...`) are left aside."""
    for path in sorted((session / "dialog" / "transcriptions").glob("Ses*.txt")):
        for line in read_lines(path):
            if fields := TRANSCRIPTION.match(line):
                yield fields[1], fields[2].strip()


def parse_utterance(utterance: str) -> dict[str, str]:
    """Speaker, gender, style and session, read from an utterance's name.

    The last field's letter is the speaker's: the one after the session's number says who wore the motion capture
    markers.
    """
    fields = UTTERANCE.fullmatch(utterance)
    if fields is None:
        raise UserError(f"iemocap: {utterance!r} is not named like Ses01F_impro01_F000; mend its evaluation file")
    return {
        "speaker": fields[1] + fields[4],
        "gender": {"F": "female", "M": "male"}[fields[4]],
        "style": "improvised" if fields[3] else "scripted",
        "session": f"Session{fields[2]}",
    }


def describe(turn: Turn, labels: Mapping[str, str], transcripts: Mapping[str, str]) -> dict[str, object]:
    """The row of one turn."""
    return {
        "audio": turn.folder / "sentences" / "wav" / turn.dialog / f"{turn.utterance}.wav",
        "utterance_id": turn.utterance,
        "emotion": labels[turn.code],
        **parse_utterance(turn.utterance),
        "transcript": transcripts.get(turn.utterance),
        "language": LANGUAGE,
        "valence": turn.valence,
        "arousal": turn.arousal,
        "dominance": turn.dominance,
    }


def check_counts(turns: Iterable[Turn], folder: Path) -> None:
    """Raise `UserError`, with what was expected and found, if a whole release is not the one that others use."""
    expected = expected_counts()
    found = count_four_classes(turns)
    wrong = [
        f"{' '.join(cell)} {found[cell]} instead of {count}"
        for cell, count in expected.items()
        if found[cell] != count
    ]
    if wrong:
        raise UserError(f"iemocap: {folder} is not the known release: {'; '.join(wrong)}; unpack it afresh")


def expected_counts() -> dict[tuple[str, str], int]:
    """The counts of the whole release by session and class, session and gender, class and style."""
    tables = (
        (CLASS_COUNTS, EMOTIONS),
        (GENDER_COUNTS, ("female", "male")),
        (STYLE_COUNTS, ("improvised", "scripted")),
    )
    return {
        (row, column): count
        for table, columns in tables
        for row, counts in table.items()
        for column, count in zip(columns, counts, strict=True)
    }


def count_four_classes(turns: Iterable[Turn]) -> Counter[tuple[str, str]]:
    """The same counts of these turns."""
    found: Counter[tuple[str, str]] = Counter()
    for turn in turns:
        if emotion := FOUR_CLASSES.get(turn.code):
            facts = parse_utterance(turn.utterance)
            found[facts["session"], emotion] += 1
            found[facts["session"], facts["gender"]] += 1
            found[emotion, facts["style"]] += 1
    return found
