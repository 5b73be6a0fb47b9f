"""Who speaks when in a recording: read from a file, or asked of a diarisation."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...configuration.errors import UserError
from ...modeling_ser_meta.audio_ser_meta import AudioError, channel_number, read_audio

FOUND = "found"
WHERE_FILES_ARE_NAMED = ("file", "recording", "audio", "path")


class Turn(NamedTuple):
    """What one person says without a break.

    Args:
        recording: its path, or the end of it, with or without the ending; None where there is only one.
        start: in seconds.
        end: in seconds.
        speaker: as the file calls them; None where nobody knows.
        channel: counted from 0; None for all of them mixed.
    """

    recording: str | None
    start: float
    end: float
    speaker: str | None = None
    channel: int | None = None


def read_turns(path: Path) -> list[Turn]:
    """The turns of a file, in its order.

    Args:
        path: RTTM, TextGrid or ELAN; or a table with the columns `start` and `end` in seconds, and perhaps `file`,
            `speaker` and `channel` (`left`, `right`, or counted from 0).

    Raises:
        UserError: no such file, another kind, or a line that is no turn.
    """
    if not path.is_file():
        raise UserError(f"--turns {path}: no such file; give RTTM, TextGrid, ELAN, a table, or {FOUND}")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"--turns {path}: turns are read from {', '.join(READERS)}: convert it to one of these")
    turns = list(dict.fromkeys(reader(path)))  # several tiers may be of one speaker
    if not turns:
        raise UserError(f"--turns {path} has no turns: nobody speaks in it")
    return turns


def turns_by_recording(turns: Sequence[Turn], recordings: Sequence[str]) -> dict[str, list[Turn]]:
    """The turns of each recording, by its path as it is given; those without a recording's name are of the only one.

    Raises:
        UserError: turns that could be of either of two.
    """
    paths = {recording: Path(os.path.abspath(recording)) for recording in recordings}
    named: dict[str, set[Path]] = defaultdict(set)
    for path in paths.values():
        named[path.name].add(path)
        named[path.stem].add(path)
    only = next(iter(paths.values())) if len(set(paths.values())) == 1 else None
    called = dict.fromkeys(turn.recording for turn in turns)
    meant = {name: _meant(name, named) if name else only for name in called}
    found: dict[Path | None, list[Turn]] = defaultdict(list)
    for turn in turns:
        found[meant[turn.recording]].append(turn)
    return {recording: found[path] for recording, path in paths.items() if path in found}


def _meant(called: str, named: Mapping[str, set[Path]]) -> Path | None:
    """Which recording is called so: that of the path, or else the one whose path ends so."""
    ending = Path(os.path.normpath(called))
    parts = ending.parts
    fit = sorted(
        path
        for path in named.get(ending.name, ())
        if parts in (path.parts[-len(parts) :], path.with_suffix("").parts[-len(parts) :])
    )
    whole = Path(os.path.abspath(called))
    exact = [path for path in fit if whole in (path, path.with_suffix(""))]
    if len(exact) != 1 and len(fit) > 1:
        raise UserError(f"the turns of {called} could be of {fit[0]} or of {fit[1]}: name the file with its folders")
    return next(iter(exact or fit), None)


def diarized(name: str, device: Any) -> Callable[[Any], list[Turn]]:
    """A diarisation of pyannote.audio, which says who speaks when in a recording that `read_audio` takes.

    Args:
        name: what `pyannote.audio.Pipeline.from_pretrained` takes: a repository on the Hub, or a local file or folder.
            What is not there yet is downloaded; nothing is where no name is given.
        device: of torch, to run it on.

    Raises:
        UserError: the library is missing, or it has no such pipeline or no access to it.
    """
    try:
        from pyannote.audio import Pipeline
    except ImportError as error:
        raise UserError(
            f'--diarization {name} needs the library pyannote.audio ({error}): pip install "ser-meta[diarization]"'
        ) from error
    import torch

    try:
        pipeline = Pipeline.from_pretrained(name)
    except Exception as error:  # of the Hub's, of YAML's and of the library's own kinds
        raise UserError(f"--diarization {name} cannot be loaded: {error}") from error
    if pipeline is None:  # what older versions give where the terms of a model have not been accepted
        raise UserError(
            f"--diarization {name} cannot be loaded: accept its terms on the Hub, and log in: hf auth login"
        )
    pipeline.to(torch.device(device))

    def hear(recording: Any) -> list[Turn]:
        waveform = torch.from_numpy(read_audio(recording))[None]
        output = pipeline({"waveform": waveform, "sample_rate": 16_000})
        annotation = getattr(output, "speaker_diarization", output)  # since version 4 there is more beside it
        tracks = annotation.itertracks(yield_label=True)
        return [Turn(None, segment.start, segment.end, str(speaker)) for segment, _, speaker in tracks]

    return hear


def _of_annotations(path: Path) -> Iterator[Turn]:
    """The intervals of all tiers: a tier is a speaker, unless it says of whom it is."""
    from ..corpora.annotations import READERS as ANNOTATIONS

    for annotated in ANNOTATIONS[path.suffix.lower()](path, None):
        stem, folder = annotated.stem, path.parent
        name = str(stem.relative_to(folder) if stem.is_relative_to(folder) else stem)  # of an RTTM with its folders
        for tier in annotated.tiers:
            speaker = tier.speaker or tier.name
            for start, end, _ in tier.intervals:
                yield _turn(name, start, end, speaker, tier.channel, f"--turns {path}")


def _of_table(path: Path) -> Iterator[Turn]:
    from ..corpora.table_files import read_file

    table = read_file(path, None)
    for column in ("start", "end"):
        if column not in table.names:
            raise UserError(f"--turns {path} has no column {column}: its columns are {', '.join(table.names)}")
    column = next((name for name in WHERE_FILES_ARE_NAMED if name in table.names), None)
    nothing = [None] * len(table)
    files, speakers, channels = (
        table[name] if name in table.names else nothing for name in (column, "speaker", "channel")
    )
    rows = zip(files, table["start"], table["end"], speakers, channels, strict=True)
    for number, (file, start, end, speaker, channel) in enumerate(rows, start=1):
        where = f"--turns {path}, row {number}"
        name = None if file in (None, "") else str(file)
        heard = _channel(channel, where)
        yield _turn(name, _seconds(start, where), _seconds(end, where), speaker or None, heard, where)


def _turn(recording: str | None, start: float, end: float, speaker: Any, channel: int | None, where: str) -> Turn:
    if not 0 <= start < end < float("inf"):
        raise UserError(f"{where}: from {start:g} s to {end:g} s is no turn: the end must be after the start")
    return Turn(recording, start, end, None if speaker is None else str(speaker), channel)


def _seconds(value: Any, where: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {value!r} is no time in seconds") from error


def _channel(value: Any, where: str) -> int | None:
    if value in (None, ""):
        return None
    try:
        return channel_number({"channel": str(value).removesuffix(".0")})
    except AudioError as error:
        raise UserError(f"{where}: {error}") from error


READERS: dict[str, Callable[[Path], Iterator[Turn]]] = {
    **dict.fromkeys((".rttm", ".textgrid", ".eaf"), _of_annotations),
    **dict.fromkeys((".csv", ".tsv", ".txt", ".jsonl", ".json", ".parquet"), _of_table),
}
"""By ending, what reads the turns of a file."""
