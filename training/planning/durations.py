"""How long recordings are, from their headers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...configuration.errors import UserError
from ...modeling_ser_meta.audio_ser_meta import (
    AudioError,
    channel_number,
    channels_differ,
    file_header,
    part_seconds,
    recording_name,
    require_channel,
)
from ...modeling_ser_meta.settings_ser_meta import WHISPER_ENCODERS
from ..corpora.recordings import recording, recordings
from ..corpora.remarks import tell

LISTENED_TO = 20  # recordings of several channels, among all

if TYPE_CHECKING:
    from datasets import Dataset

    from ...modeling_ser_meta.modeling_ser_meta import SerMetaModel
    from ...modeling_ser_meta.processing_ser_meta import SerMetaProcessor


def recording_durations(dataset: Dataset) -> list[float]:
    """Seconds of every recording, from the files' headers; `UserError` for one that is no audio.

    Tells if there are recordings whose channels differ and are mixed.
    """
    durations, mixed = [], []
    for source in recordings(dataset):
        seconds, channels = _measured(source)
        durations.append(seconds)
        if channels > 1 and channel_number(source) is None:
            mixed.append(source)
    _tell_of_channels(mixed)
    return durations


def duration(audio: dict) -> float:
    """Seconds of one recording, as `recording_durations`."""
    return _measured(audio)[0]


def _measured(audio: dict) -> tuple[float, int]:
    """Seconds of a recording, and its file's channels."""
    try:
        header = file_header(audio)
        require_channel(audio, header.channels)
        return part_seconds(audio, header), header.channels
    except AudioError as error:
        raise UserError(f"{error}; or leave it out") from error


def _tell_of_channels(mixed: list[dict]) -> None:
    """Listens to some of the recordings whose channels are mixed."""
    some = mixed[:: max(1, len(mixed) // LISTENED_TO)][:LISTENED_TO]
    differing = [_name(source) for source in some if channels_differ(source)]
    if differing:
        told = f"{len(differing)} of {len(some)} that were listened to, of {len(mixed):,} of several channels"
        tell({"channels differ": {differing[0]: told}})


def check_durations(dataset: Dataset, durations: list[float], shortest: int, sampling_rate: int) -> None:
    """Raises `UserError` for a recording of fewer than `shortest` samples at the encoder's sampling rate, in Hz."""
    for audio, seconds in zip(recordings(dataset), durations, strict=True):
        if round(seconds * sampling_rate) < max(1, shortest):
            raise UserError(
                f"{_name(audio)} lasts {seconds:.4f} s, shorter than the {shortest / sampling_rate:.4f} s that the "
                "encoder needs: leave it out"
            )


def check_longest(dataset: Dataset, durations: list[float], train: list[int], seconds: float, slowest: float) -> None:
    """Refuses recordings of the training side that an encoder with positions for so many `seconds` cannot take.

    Longer ones of other sides are heard in pieces.

    Args:
        dataset: the corpus.
        durations: of its recordings, in seconds.
        train: row numbers of the training side, which is played at speed factors down to `slowest`.

    Raises:
        UserError: the longest one is too long.
    """
    longest = seconds * min(1.0, slowest)
    row = max(train, key=durations.__getitem__)
    if durations[row] > longest:
        at_speed = f" where data.speed_factors go down to {slowest:g}" if slowest < 1 else ""
        raise UserError(
            f"{_name(recording(dataset[row]))}, on the train side, lasts {durations[row]:.1f} s, and the encoder "
            f"takes {longest:g} s at most{at_speed}: set data.longest={longest:g}"
        )


def longest_input(model: SerMetaModel, processor: SerMetaProcessor) -> float | None:
    """The seconds for which an encoder has positions; None for one that takes any."""
    config = model.config.speech_config
    if config.model_type not in WHISPER_ENCODERS:
        return None
    return config.max_source_positions * 2 * processor.feature_extractor.hop_length / processor.sampling_rate


def _name(audio: dict) -> str:
    return recording_name(audio) if audio["path"] else "a recording without a name"
