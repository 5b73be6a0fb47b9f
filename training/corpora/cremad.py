"""CREMA-D: 91 actors of many ages and origins speak twelve sentences in six emotions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ...configuration.errors import UserError
from .files import existing_folder, find_recordings, match_name, read_table
from .rows import Rows, gather
from .votes import vote_column

LICENSE = "Open Database License 1.0, contents under the Database Contents License 1.0"
LANGUAGE = "en"
SPEECH = "acted"
CITATION = """@article{cao2014cremad,
  title = {{CREMA-D}: Crowd-Sourced Emotional Multimodal Actors Dataset},
  author = {Cao, Houwei and Cooper, David G. and Keutmann, Michael K. and Gur, Ruben C. and Nenkova, Ani and
            Verma, Ragini},
  journal = {IEEE Transactions on Affective Computing},
  volume = {5},
  number = {4},
  pages = {377--390},
  year = {2014},
  doi = {10.1109/TAFFC.2014.2336244}
}"""
CODES = {
    "NEU": "neutral",
    "HAP": "happy",
    "SAD": "sad",
    "ANG": "angry",
    "FEA": "fearful",
    "DIS": "disgust",
}
EMOTIONS = tuple(CODES.values())
INTENSITIES = {"LO": "low", "MD": "medium", "HI": "high", "XX": None, "X": None}
SENTENCES = {
    "IEO": "It's eleven o'clock",
    "TIE": "That is exactly what happened",
    "IOM": "I'm on my way to the meeting",
    "IWW": "I wonder what this is about",
    "TAI": "The airplane is almost full",
    "MTI": "Maybe tomorrow it will be cold",
    "IWL": "I would like a new alarm clock",
    "ITH": "I think I have a doctor's appointment",
    "DFA": "Don't forget a jacket",
    "ITS": "I think I've seen this before",
    "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}
LABELS = ("acted", "perceived")
RATINGS_OF = {
    "voice": 1,
    "face": 2,
    "audiovisual": 3,
}  # what raters were given: the first figure of a row
VOTES = {code[0]: emotion for code, emotion in CODES.items()}  # by the columns of the tabulated votes
COLUMNS = ("ActorID", "Age", "Sex", "Race")
LAYOUT = "AudioWAV/*.wav and VideoDemographics.csv"
WHERE = "https://github.com/CheyneyComputerScience/CREMA-D"
SILENT = ("1076_MTI_SAD_XX",)  # a file without a sound

# actor - sentence - emotion - intensity; one recording of the release, 1040_ITH_SAD_X, has lost a letter
NAME = re.compile(rf"(1\d{{3}})_({'|'.join(SENTENCES)})_({'|'.join(CODES)})_({'|'.join(INTENSITIES)})")


def load(root: str | Path, votes: bool = False, ratings: str = "voice", label: str = "acted") -> Rows:
    """The recordings of `AudioWAV`, with the emotion that was acted, and each actor's age, gender and `race`.

    Only one sentence was acted in three intensities; elsewhere intensity is null. The one file without a sound is
    left out. With `votes` there are columns of them, from `processedResults/tabulatedVotes.csv`: those of raters who
    were given the `voice` alone, the `face`, or both (`audiovisual`). With `label: perceived` what most of them heard
    takes the place of what was acted.
    Raises `UserError` for a file name that CREMA-D does not have, or if a table is missing.
    """
    if ratings not in RATINGS_OF:
        raise UserError(f"cremad: ratings={ratings} must be one of {', '.join(RATINGS_OF)}")
    if label not in LABELS:
        raise UserError(f"cremad: label={label} must be one of {', '.join(LABELS)}")
    folder = existing_folder(root, "cremad", LAYOUT)
    files = find_recordings(folder / "AudioWAV", "cremad", LAYOUT)
    remedy = f"fetch it from {WHERE}: it has each actor's age and sex"
    actors = {row["ActorID"]: row for row in read_table(folder / "VideoDemographics.csv", COLUMNS, "cremad", remedy)}
    rows = [describe(file, actors) for file in files if file.stem not in SILENT]
    if votes or label == "perceived":
        counts = read_votes(folder, ratings)
        rows = [row | counts.get(row["utterance_id"], {}) for row in rows]
    if label == "perceived":
        rows = [row | {"emotion": None} for row in rows]
    return gather(rows)


def read_votes(folder: Path, ratings: str) -> dict[str, dict[str, float]]:
    """By recording the votes of raters who were given this of it, in the columns for them."""
    path = folder / "processedResults" / "tabulatedVotes.csv"
    table = read_table(path, ("", "fileName", *VOTES), "cremad", f"fetch it from {WHERE}: it has the raters' votes")
    found: dict[str, dict[str, float]] = {}
    for number, row in enumerate(table, start=2):
        if not (row[""] or "").isdecimal() or not all((row[code] or "").isdecimal() for code in VOTES):
            raise UserError(f"cremad: {path} has no number of a row or of votes in line {number}; restore it")
        if int(row[""]) // 100_000 == RATINGS_OF[ratings]:
            found[row["fileName"] or ""] = {
                vote_column("emotion", emotion): float(row[code]) for code, emotion in VOTES.items()
            }
    return found


def describe(file: Path, actors: Mapping[str | None, Mapping[str, str | None]]) -> dict[str, object]:
    """The row of one recording: what its name says, and what the table says about the actor."""
    speaker, sentence, emotion, intensity = match_name(file, NAME, "cremad", "1001_DFA_ANG_XX.wav").groups()
    actor = actors.get(speaker, dict.fromkeys(COLUMNS))
    return {
        "audio": file,
        "utterance_id": file.stem,
        "emotion": CODES[emotion],
        "speaker": speaker,
        "gender": actor["Sex"] and actor["Sex"].lower(),
        "transcript": SENTENCES[sentence],
        "language": LANGUAGE,
        "intensity": INTENSITIES[intensity],
        "age": int(actor["Age"]) if (actor["Age"] or "").isdecimal() else None,
        "race": None if actor["Race"] == "Unknown" else actor["Race"],
    }
