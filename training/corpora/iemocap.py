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
from .votes import vote_column

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
NO_AGREEMENT = "xxx"
CODES = (*FOUR_CLASSES, "fru", "fea", "sur", "dis", "oth", NO_AGREEMENT)
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
EVALUATOR = re.compile(r"C-E\d+:\s*([^(]*)")  # C-F1 and C-M1 are the actors on themselves, A-E3 rates, not names
TRANSCRIPTION = re.compile(r"(Ses\w+)\s*\[[^\]]*\]\s*:(.*)")
UTTERANCE = re.compile(r"(Ses0([1-5]))[FM]_(?:(impro)\d\d[ab]?|script0\d_\d[b]?)_([FM])\d{3}")


class Turn(NamedTuple):
    """One evaluated turn: valence, arousal (the corpus's activation) and dominance run from 1 to 5.

    `evaluators` has what each of them named, such as `Frustration; Neutral;`.
    """

    folder: Path
    dialog: str
    utterance: str
    code: str
    valence: float
    arousal: float
    dominance: float
    evaluators: list[str]


def load(root: str | Path, labels: Mapping[str, str] | None = None, votes: bool = False) -> Rows:
    """The utterances whose emotion has a label, with raw transcripts (tags such as `[LAUGHTER]` and all).

    `labels` maps the corpus's codes to ours; by default the four classes with excited merged into happy. With `votes`
    there are columns of votes for these: each emotion that an evaluator names is one (our reading: some name two), and
    what the actors say of themselves is none. Utterances on which the evaluators do not agree (`xxx`) are then among
    the rows, without an emotion, as far as one of the votes is for such a label.
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
    given = {turn.utterance: read_votes(turn) for turn in turns} if votes else {}
    undecided = {turn.utterance for turn in turns if votes and turn.code == NO_AGREEMENT and turn.code not in labels}
    without = {utterance for utterance in undecided if not given[utterance].keys() & labels.keys()}
    decidable = undecided - without
    rows = [
        describe(turn, labels, transcripts) | (count_votes(given[turn.utterance], labels) if votes else {})
        for turn in turns
        if turn.code in labels or turn.utterance in decidable
    ]
    if not rows:
        raise UserError(f"iemocap: no utterance of {', '.join(labels)} in {sessions[0].parent}; expected {LAYOUT}")
    found = gather(rows)
    if without:
        told = f"{len(without)} of the {len(undecided)} utterances"
        found.remarks["left out"] = {"iemocap: no consensus, and no vote for one of the labels": told}
    return found


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
    """The evaluated turns of a session; the folders below are left aside."""
    for path in sorted((session / "dialog" / "EmoEvaluation").glob("Ses*.txt")):
        turn = None
        for line in read_lines(path):
            if re.match(r"\[\d", line):
                if turn is not None:
                    yield turn
                turn = read_turn(session, path, line)
            elif turn is not None and (named := EVALUATOR.match(line)):
                turn.evaluators.append(named[1])
        if turn is not None:
            yield turn


def read_turn(session: Path, path: Path, line: str) -> Turn:
    """A turn by its first line, whose evaluators follow; `UserError` for a line that is not written so."""
    fields = EVALUATION.match(line)
    if fields is None:
        raise UserError(f"iemocap: {path} has an evaluation that cannot be read: {line!r}")
    return Turn(session, path.stem, fields[1], fields[2], *map(float, fields.groups()[2:]), [])


def read_votes(turn: Turn) -> Counter[str]:
    """How many evaluators name each emotion, by its code; `UserError` for a word that is none of the corpus."""
    votes: Counter[str] = Counter()
    for named in turn.evaluators:
        words = {word.strip()[:3].lower(): word.strip() for word in named.split(";") if word.strip()}
        if unknown := [word for code, word in words.items() if code not in CODES]:
            raise UserError(
                f"iemocap: an evaluator of {turn.utterance} names {unknown[0]!r}, none of {', '.join(CODES)}: mend "
                "the evaluation file, or leave out votes"
            )
        votes.update(words.keys())
    return votes


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
        "emotion": labels.get(turn.code),
        **parse_utterance(turn.utterance),
        "transcript": transcripts.get(turn.utterance),
        "language": LANGUAGE,
        "valence": turn.valence,
        "arousal": turn.arousal,
        "dominance": turn.dominance,
    }


def count_votes(given: Mapping[str, int], labels: Mapping[str, str]) -> dict[str, float]:
    """A turn's votes for each of our labels, in the columns for them."""
    votes = {vote_column("emotion", label): 0.0 for code, label in labels.items() if code != NO_AGREEMENT}
    for code in given.keys() & labels.keys():
        votes[vote_column("emotion", labels[code])] += given[code]
    return votes


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
