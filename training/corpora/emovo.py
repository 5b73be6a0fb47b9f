"""EMOVO: six actors speak fourteen Italian sentences in seven emotions.

Its authors, who recorded it at the Fondazione Ugo Bordoni, state no licence. The actors' ages are those that another
user of the corpus gives, not read from the release itself.
"""

from __future__ import annotations

import re
from pathlib import Path

from .files import existing_folder, find_recordings, match_name
from .rows import Rows, gather

LICENSE = "none stated by its authors (offered for research)"
LANGUAGE = "it"
SPEECH = "acted"
CITATION = """@inproceedings{costantini2014emovo,
  title = {{EMOVO} Corpus: an {I}talian Emotional Speech Database},
  author = {Costantini, Giovanni and Iaderola, Iacopo and Paoloni, Andrea and Todisco, Massimiliano},
  booktitle = {Proceedings of the Ninth International Conference on Language Resources and Evaluation (LREC'14)},
  pages = {3501--3504},
  year = {2014}
}"""
CODES = {
    "neu": "neutral",
    "gio": "happy",
    "tri": "sad",
    "rab": "angry",
    "pau": "fearful",
    "dis": "disgust",
    "sor": "surprised",
}
EMOTIONS = tuple(CODES.values())
AGES = {"f1": 28, "f2": 23, "f3": 25, "m1": 30, "m2": 27, "m3": 30}
SENTENCES = {  # b short, l long, n without a meaning, d questions
    "b1": "Gli operai si alzano presto.",
    "b2": "I vigili sono muniti di pistola.",
    "b3": "La cascata fa molto rumore.",
    "l1": "L'autunno prossimo Tony partirà per la Spagna nella prima metà di ottobre.",
    "l2": "Ora prendo la felpa di là ed esco per fare una passeggiata.",
    "l3": "Un attimo dopo s'è incamminato ... ed è inciampato.",
    "l4": "Vorrei il numero telefonico del Signor Piatti.",
    "n1": "La casa forte vuole col pane.",
    "n2": "La forza trova il passo e l'aglio rosso.",
    "n3": "Il gatto sta scorrendo nella pera.",
    "n4": "Insalata pastasciutta coscia d'agnello limoncello.",
    "n5": "Uno quarantatré dieci mille cinquantasette venti.",
    "d1": "Sabato sera cosa farà?",
    "d2": "Porti con te quella cosa?",
}
LAYOUT = "EMOVO/f1/gio-f1-b1.wav ... EMOVO/m3"

# emotion - speaker - sentence
NAME = re.compile(rf"({'|'.join(CODES)})-({'|'.join(AGES)})-({'|'.join(SENTENCES)})")


def load(root: str | Path) -> Rows:
    """The recordings below `root`, with the metadata their names carry.

    Raises `UserError` for a file name that EMOVO does not have.
    """
    folder = existing_folder(root, "emovo", LAYOUT)
    return gather([describe(file) for file in find_recordings(folder, "emovo", LAYOUT)])


def describe(file: Path) -> dict[str, object]:
    """The row of one recording, read from its name."""
    emotion, speaker, sentence = match_name(file, NAME, "emovo", "gio-f1-b1.wav").groups()
    return {
        "audio": file,
        "utterance_id": file.stem,
        "emotion": CODES[emotion],
        "speaker": speaker,
        "gender": {"f": "female", "m": "male"}[speaker[0]],
        "transcript": SENTENCES[sentence],
        "language": LANGUAGE,
        "age": AGES[speaker],
    }
