"""EmoDB, the Berlin database: ten actors speak ten German sentences in seven emotions (the first release, 535 files).

Its first author's release on Zenodo is CC BY 4.0; no licence is stated at http://emodb.bilderbar.info.
"""

from __future__ import annotations

import re
from pathlib import Path

from .files import existing_folder, find_recordings, match_name
from .rows import Rows, gather

LICENSE = "CC BY 4.0 as on https://doi.org/10.5281/zenodo.7447302 (http://emodb.bilderbar.info states none)"
LANGUAGE = "de"
SPEECH = "acted"
CITATION = """@inproceedings{burkhardt2005emodb,
  title = {A Database of German Emotional Speech},
  author = {Burkhardt, Felix and Paeschke, Astrid and Rolfes, Miriam and Sendlmeier, Walter F. and Weiss, Benjamin},
  booktitle = {Interspeech 2005},
  pages = {1517--1520},
  year = {2005},
  doi = {10.21437/Interspeech.2005-446}
}"""
CODES = {
    "N": "neutral",
    "F": "happy",
    "T": "sad",
    "W": "angry",
    "A": "fearful",
    "E": "disgust",
    "L": "bored",
}
EMOTIONS = tuple(CODES.values())
SPEAKERS = {
    "03": ("male", 31),
    "08": ("female", 34),
    "09": ("female", 21),
    "10": ("male", 32),
    "11": ("male", 26),
    "12": ("male", 30),
    "13": ("female", 32),
    "14": ("female", 35),
    "15": ("male", 25),
    "16": ("female", 31),
}
SENTENCES = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}
LAYOUT = "wav/03a01Fa.wav ..."

# speaker - sentence - emotion - take
NAME = re.compile(rf"({'|'.join(SPEAKERS)})({'|'.join(SENTENCES)})([{''.join(CODES)}])[a-z]")


def load(root: str | Path) -> Rows:
    """The recordings of `wav/`, or of `root` itself, with the metadata their names carry and the speakers' ages.

    Raises `UserError` for a file name that EmoDB does not have.
    """
    folder = existing_folder(root, "emodb", LAYOUT)
    folder = folder / "wav" if (folder / "wav").is_dir() else folder
    return gather([describe(file) for file in find_recordings(folder, "emodb", LAYOUT)])


def describe(file: Path) -> dict[str, object]:
    """The row of one recording, read from its name."""
    speaker, sentence, emotion = match_name(file, NAME, "emodb", "03a01Fa.wav").groups()
    gender, age = SPEAKERS[speaker]
    return {
        "audio": file,
        "utterance_id": file.stem,
        "emotion": CODES[emotion],
        "speaker": speaker,
        "gender": gender,
        "transcript": SENTENCES[sentence],
        "language": LANGUAGE,
        "age": age,
    }
