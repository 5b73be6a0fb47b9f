"""RAVDESS: 24 actors speak and sing two sentences in up to eight emotions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...configuration.errors import UserError
from .files import existing_folder
from .rows import Rows, gather

LICENSE = "CC BY-NC-SA 4.0"
LANGUAGE = "en"
SPEECH = "acted"
CITATION = """@article{livingstone2018ravdess,
  title = {The Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS): A dynamic, multimodal set of
           facial and vocal expressions in North American English},
  author = {Livingstone, Steven R. and Russo, Frank A.},
  journal = {PLoS ONE},
  volume = {13},
  number = {5},
  pages = {e0196391},
  year = {2018},
  doi = {10.1371/journal.pone.0196391}
}"""
EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
CHANNELS = ("speech", "song")
FOLDERS = {"speech": "Audio_Speech_Actors_01-24", "song": "Audio_Song_Actors_01-24"}
INTENSITIES = ("normal", "strong")
SENTENCES = ("Kids are talking by the door", "Dogs are sitting by the door")
LAYOUT = "Audio_Speech_Actors_01-24/Actor_01/*.wav (and Audio_Song_Actors_01-24), or the Actor_01 ... folders"

# modality 03 (audio only) - channel - emotion - intensity - sentence - repetition - actor
NAME = re.compile(r"03-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(0[1-9]|1\d|2[0-4])\.(wav|flac)", re.IGNORECASE)


def load(root: str | Path, channels: Sequence[str] = CHANNELS) -> Rows:
    """The recordings of `root` whose channel is among `channels`, with the metadata their names carry.

    Style is the channel, speakers are "01" to "24". One of the two official folders is enough, and so are the
    actors' folders alone. Raises `UserError` for a channel or a file name that RAVDESS does not have.
    """
    channels = (channels,) if isinstance(channels, str) else tuple(channels)
    for channel in channels:
        if channel not in CHANNELS:
            raise UserError(f"ravdess: unknown channel {channel!r}: choose among {', '.join(CHANNELS)}")
    folder = existing_folder(root, "ravdess", LAYOUT)
    rows = [row for file in find_recordings(folder, channels) if (row := describe(file))["style"] in channels]
    if not rows:
        raise UserError(f"ravdess: no recording of {' or '.join(channels)} in {folder}; expected {LAYOUT}")
    return gather(rows)


def find_recordings(folder: Path, channels: Sequence[str]) -> Iterator[Path]:
    """Every visible file of the actors' folders, in the order of channel, actor and name."""
    for parent in [*(folder / FOLDERS[channel] for channel in channels), folder]:
        for actor in sorted(parent.glob("Actor_*/")):
            yield from sorted(file for file in actor.iterdir() if not file.name.startswith("."))


def describe(file: Path) -> dict[str, object]:
    """The row of one recording, read from its name; `UserError` if the name is not one of RAVDESS."""
    fields = NAME.fullmatch(file.name)
    if fields is None:
        raise UserError(
            f"ravdess: {file} is not named like 03-01-05-01-02-01-16.wav (.flac); remove it or mend its name"
        )
    channel, emotion, intensity, sentence, _ = (int(field) - 1 for field in fields.groups()[:5])
    actor = fields[6]
    return {
        "audio": file,
        "utterance_id": file.stem,
        "emotion": EMOTIONS[emotion],
        "speaker": actor,
        "gender": "male" if int(actor) % 2 else "female",
        "style": CHANNELS[channel],
        "transcript": SENTENCES[sentence],
        "language": LANGUAGE,
        "intensity": INTENSITIES[intensity],
    }
