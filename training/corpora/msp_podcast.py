"""MSP-Podcast: spontaneous speech from podcasts, its emotions and dimensions judged by listeners (licensed by the
University of Texas at Dallas; obtain it there).
"""

from __future__ import annotations

import os.path
from pathlib import Path

from ...configuration.errors import UserError
from .files import existing_folder, read_lines, read_table
from .rows import Rows, gather
from .votes import vote_column

LICENSE = "licence of the University of Texas at Dallas, academic or commercial (on request)"
LANGUAGE = "en"
SPEECH = "spontaneous"
CITATION = """@article{lotfian2019msppodcast,
  title = {Building Naturalistic Emotionally Balanced Speech Corpus by Retrieving Emotional Speech from Existing
           Podcast Recordings},
  author = {Lotfian, Reza and Busso, Carlos},
  journal = {IEEE Transactions on Affective Computing},
  volume = {10},
  number = {4},
  pages = {471--483},
  year = {2019},
  doi = {10.1109/TAFFC.2017.2736999}
}"""
CODES = {
    "N": "neutral",
    "H": "happy",
    "S": "sad",
    "A": "angry",
    "F": "fearful",
    "D": "disgust",
    "U": "surprised",
    "C": "contempt",
    "O": "other",
}
EMOTIONS = tuple(CODES.values())
RATING_SCALE = (1.0, 7.0)
NO_AGREEMENT = "X"
SPLITS = {
    "Train": "train",
    "Development": "validation",
    "Validation": "validation",  # in earlier releases
    "Test1": "test",
    "Test2": "test2",
    "Test3": "test3",
}
COLUMNS = ("FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Gender", "Split_Set")
TABLES = ("labels_consensus.csv", "labels_concensus.csv")  # the second in earlier releases
DETAILED = "labels_detailed.csv"
DETAILED_COLUMNS = ("FileName", "WorkerID", "EmoClass_Major", "EmoClass_Second")
WORDS = {"fear": "fearful", "surprise": "surprised"}  # of the listeners' table, where they are not ours
LAYOUT = "Labels/labels_consensus.csv, Audios/ and, if wanted, Transcripts/"


def load(root: str | Path, votes: bool = False, secondary: bool = False) -> Rows:
    """The recordings of the consensus table; valence, arousal (the corpus's activation), dominance run from 1 to 7.

    `split` is the official one: train, validation, test (Test1), test2 and test3. Where the listeners did not agree
    emotion is null, and so are unknown speakers and genders. Transcripts are those of `Transcripts/`, as far as it is
    there. With `votes` there are columns of them, from `Labels/labels_detailed.csv`: a listener's primary emotion is a
    vote, and with `secondary` so is each further emotion that he names. The corpus has more words for these than
    classes, and words that are no class are left aside. Other, in words of a listener's own, is other.
    Raises `UserError` for a table of another kind, an unknown code or partition, a rating that is no number, or
    a missing recording.
    """
    folder = existing_folder(root, "msp_podcast", LAYOUT)
    tables = [folder / "Labels" / name for name in TABLES]
    table = next((path for path in tables if path.is_file()), tables[0])
    rows = [describe(row, folder) for row in read_table(table, COLUMNS, "msp_podcast", f"expected {LAYOUT}")]
    if votes:
        given = read_votes(folder / "Labels" / DETAILED, secondary)
        rows = [row | given.get(row["utterance_id"], {}) for row in rows]
    return gather(rows)


def read_votes(path: Path, secondary: bool) -> dict[str, dict[str, float]]:
    """By recording the votes of its listeners, in the columns for them; `UserError` for one who rates it twice."""
    remedy = "it has what each listener said, in the release's folder Labels; or leave out votes"
    found: dict[str, dict[str, float]] = {}
    listeners: set[tuple[str | None, str | None]] = set()
    for number, row in enumerate(read_table(path, DETAILED_COLUMNS, "msp_podcast", remedy), start=2):
        rating = row["FileName"], row["WorkerID"]
        if rating in listeners and rating[1] is not None:
            raise UserError(f"msp_podcast: {path}: {rating[1]} rates {rating[0]} again in line {number}; keep one")
        listeners.add(rating)
        votes = found.setdefault(
            Path(row["FileName"] or "").stem, {vote_column("emotion", emotion): 0.0 for emotion in EMOTIONS}
        )
        further = (row["EmoClass_Second"] or "").split(",") if secondary else ()
        for emotion in dict.fromkeys(map(named_emotion, [row["EmoClass_Major"] or "", *further])):
            if emotion is not None:
                votes[vote_column("emotion", emotion)] += 1
    return found


def named_emotion(word: str) -> str | None:
    """The class that a listener's word means, null for a word that is none: Happy, Fear, Other-tired."""
    word = word.strip().lower()
    emotion = "other" if word.startswith("other") else WORDS.get(word, word)
    return emotion if emotion in EMOTIONS else None


def describe(row: dict[str, str | None], folder: Path) -> dict[str, object]:
    """The row of one recording."""
    file = folder / "Audios" / (row["FileName"] or "")
    if row["EmoClass"] not in (*CODES, NO_AGREEMENT):
        raise UserError(
            f"msp_podcast: {file.name} has the class {row['EmoClass']!r}: expected one of {', '.join(CODES)}, X"
        )
    if row["Split_Set"] not in SPLITS:
        raise UserError(f"msp_podcast: {file.name} is in {row['Split_Set']!r}: expected one of {', '.join(SPLITS)}")
    return {
        "audio": file,
        "utterance_id": file.stem,
        "emotion": CODES.get(row["EmoClass"]),
        "speaker": known(row["SpkrID"]),
        "gender": (known(row["Gender"]) or "").lower() or None,
        "transcript": read_transcript(folder / "Transcripts" / f"{file.stem}.txt"),
        "language": LANGUAGE,
        "split": SPLITS[row["Split_Set"]],
        "valence": rating(row, "EmoVal"),
        "arousal": rating(row, "EmoAct"),
        "dominance": rating(row, "EmoDom"),
    }


def known(value: str | None) -> str | None:
    """A cell's value, null where the corpus says Unknown."""
    return None if value is None or value.lower() == "unknown" else value


def rating(row: dict[str, str | None], column: str) -> float | None:
    """A listeners' mean; `UserError` if it is no number."""
    try:
        return None if row[column] is None else float(row[column])
    except ValueError as error:
        raise UserError(f"msp_podcast: {row['FileName']} has {column} {row[column]!r}: expected a number") from error


def read_transcript(path: Path) -> str | None:
    """A recording's text on one line, null if there is none."""
    return " ".join(line.strip() for line in read_lines(path)).strip() or None if os.path.isfile(path) else None
