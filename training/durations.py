"""How long recordings are, from their headers."""

import io

import soundfile
from datasets import Dataset

from ..configuration.errors import UserError


def recording_durations(dataset: Dataset) -> list[float]:
    """Seconds of every recording, from the files' headers; `UserError` for one that is no audio."""
    return [_duration(audio) for audio in dataset["audio"]]


def check_durations(dataset: Dataset, durations: list[float], shortest: int, sampling_rate: int) -> None:
    """Raises `UserError` for a recording of fewer than `shortest` samples at the encoder's sampling rate, in Hz."""
    for audio, seconds in zip(dataset["audio"], durations, strict=True):
        if round(seconds * sampling_rate) < max(1, shortest):
            raise UserError(
                f"{_name(audio)} lasts {seconds:.4f} s, shorter than the {shortest / sampling_rate:.4f} s that the "
                "encoder needs: leave it out"
            )


def _duration(audio: dict) -> float:
    try:
        return soundfile.info(io.BytesIO(audio["bytes"]) if audio["bytes"] else audio["path"]).duration
    except soundfile.LibsndfileError as error:
        raise UserError(f"{_name(audio)} cannot be read as audio ({error}): repair it, or leave it out") from error


def _name(audio: dict) -> str:
    return audio["path"] or "a recording without a name"
