"""Annotations that people have as tables: Praat's TextGrid, ELAN, RTTM, and audformat's segments."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

from ...configuration.errors import UserError
from .files import visible_files
from .table_columns import name_parts
from .table_files import Table, decode

AUDFORMAT = "db.yaml"  # what a database of audformat is known by
EXTRA = 'pip install "ser-meta[annotations]"'
NOTHING = "<NA>"  # RTTM's


@dataclass
class Tier:
    """One line of labels over time.

    Args:
        name: what its labels are, such as emotion.
        speaker: of whom; None where nobody is named.
        intervals: start and end in seconds, and the label.
        channel: of the recording, counted from 0; None where it does not matter.
    """

    name: str
    speaker: str | None
    intervals: list[tuple[float, float, str | None]]
    channel: int | None = None


@dataclass
class Annotated:
    """One recording's annotation.

    Args:
        stem: its file's name without the ending, or that of what was annotated.
        tiers: in order.
        media: names of files that it says it is of.
    """

    stem: Path
    tiers: list[Tier]
    media: list[str] = field(default_factory=list)


def find_annotations(root: Path) -> list[Path]:
    """The annotation files that a table's root is, or holds; none where it is another table."""
    if root.is_dir():
        if (root / AUDFORMAT).is_file():
            return [root / AUDFORMAT]
        return visible_files(root, READERS)
    return [root] if root.name == AUDFORMAT or root.suffix.lower() in READERS else []


def read_annotations(
    files: Sequence[Path], audio_root: Path, rows_of: str, subset: str | None, encoding: str | None
) -> Table:
    """Annotations as a table: `audio`, `utterance_id`, `start`, `end`, and what there is beside.

    A row is an interval of the tier `rows_of`; the other tiers are columns, each with the label that shares most of
    the time. A tier `emotion@anna`, or one of ELAN's with a participant, is a speaker's. Where there is no such tier,
    every interval is a row, its tier the `speaker`, and its text the `label`. So it is with RTTM, whose label is the
    subtype, and whose channels count where there is more than one. A database of audformat is read as the table
    `subset` in it; what it tells about labels, such as the gender of speakers, are columns too.

    Args:
        files: of one kind, see `find_annotations`.
        audio_root: the folder of the recordings, or of those above them.
        rows_of: the name of a tier.
        subset: an audformat table's name; None for the only one.
        encoding: of a text that is not UTF-8.

    Raises:
        UserError: a library is missing, or what is no such file.
    """
    if files[0].name == AUDFORMAT:
        return _read_audformat(files[0].parent, subset)
    found = _recordings_below(audio_root)
    records: list[dict[str, Any]] = []
    for file in files:
        for annotated in READERS[file.suffix.lower()](file, encoding):
            audio = _recording_of(annotated, audio_root, found)
            records += [{"audio": audio, **row} for row in _rows(annotated.tiers, rows_of)]
    return _as_table(records)


def _read_textgrid(path: Path, encoding: str | None) -> list[Annotated]:
    textgrid = _library("praatio.textgrid", "praatio", path)
    try:
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False, duplicateNamesMode="rename")
    except Exception as error:  # whatever its parser meets
        raise UserError(f"{path} is no TextGrid that praatio reads ({error}): save it anew in Praat") from error
    tiers = [(name, grid.getTier(name)) for name in grid.tierNames]
    whole = [_tier(name, None, tier.entries) for name, tier in tiers if isinstance(tier, textgrid.IntervalTier)]
    return [Annotated(path.with_suffix(""), whole)]


def _read_elan(path: Path, encoding: str | None) -> list[Annotated]:
    pympi = _library("pympi", "pympi-ling", path)
    try:
        document = pympi.Elan.Eaf(str(path), suppress_version_warning=True)
    except Exception as error:  # it has no other
        raise UserError(f"{path} is no annotation of ELAN that pympi reads ({error}): save it anew in ELAN") from error
    tiers = []
    for name in document.get_tier_names():
        entries = document.get_annotation_data_for_tier(name)  # milliseconds
        entries = [(entry[0] / 1000, entry[1] / 1000, entry[2]) for entry in entries]
        tiers.append(_tier(name, document.get_parameters_for_tier(name).get("PARTICIPANT"), sorted(entries)))
    media = [Path(linked.get("MEDIA_URL") or "").name for linked in document.get_linked_files()]
    return [Annotated(path.with_suffix(""), tiers, media)]


def _read_rttm(path: Path, encoding: str | None) -> list[Annotated]:
    """Its speakers' lines: type, file, channel, start, duration, text, subtype, speaker, confidence, lookahead."""
    found: dict[str, dict[tuple[str, str], Tier]] = {}
    channels = set()
    for number, line in enumerate(decode(path.read_bytes(), encoding).split("\n"), start=1):
        cells = line.split()
        if not cells or cells[0] != "SPEAKER":
            continue
        try:
            _, name, channel, start, duration, _, kind, speaker, *_ = cells
            begin, seconds = float(start), float(duration)
        except ValueError as error:
            raise UserError(
                f"{path}: line {number} is not SPEAKER file channel start duration <NA> <NA> speaker ...: mend it"
            ) from error
        number = int(channel) - 1 if channel.isdecimal() and int(channel) else None
        channels.add(number)
        tier = found.setdefault(name, {}).setdefault((speaker, channel), Tier(speaker, speaker, [], number))
        tier.intervals.append((begin, round(begin + seconds, 6), None if kind == NOTHING else kind))
    if len(channels) == 1:  # programs that do not listen to channels write 1
        for tier in (tier for tiers in found.values() for tier in tiers.values()):
            tier.channel = None
    return [Annotated(path.parent / name, list(tiers.values())) for name, tiers in found.items()]


def _read_audformat(folder: Path, subset: str | None) -> Table:
    audformat = _library("audformat", "audformat", folder)
    try:
        database = audformat.Database.load(str(folder))
    except Exception as error:  # whatever its parsers meet
        raise UserError(f"{folder} is no database that audformat reads ({error})") from error
    if subset is None and len(database.tables) > 1:
        raise UserError(f"{folder} has several tables: choose one of {', '.join(database.tables)} as subset=")
    name = subset or next(iter(database.tables), None)
    if name not in database.tables:
        raise UserError(f"{folder} has no table {name!r}: choose one of {', '.join(database.tables)} as subset=")
    table = database[name]
    if not table.is_segmented and not table.is_filewise:
        raise UserError(f"{folder} has the table {name!r} of no recordings: choose another one as subset=")
    told = {column: _told_of(database, table[column]) for column in table.columns}
    frame = table.get(map={column: [column, *more] for column, more in told.items() if more}).reset_index()
    columns = {"audio" if column == "file" else column: _plain(frame[column]) for column in frame}
    return Table(columns, len(frame))


def _told_of(database: Any, column: Any) -> list[str]:
    """What a database tells about a column's labels, such as the gender of speakers."""
    labels = database.schemes[column.scheme_id].labels if column.scheme_id else None
    if isinstance(labels, str):  # a table of them
        return list(database.misc_tables[labels].columns)
    told = list(labels.values()) if isinstance(labels, dict) else []
    return list(dict.fromkeys(name for one in told if isinstance(one, dict) for name in one))


def _plain(values: Any) -> list[Any]:
    """A column's values, times as seconds, and None for what is missing."""
    if hasattr(values, "dt") and hasattr(values.dt, "total_seconds"):
        values = values.dt.total_seconds()
    return values.astype(object).where(values.notna(), None).tolist()


def _tier(name: str, participant: str | None, entries: Iterable[Sequence[Any]]) -> Tier:
    label, _, speaker = name.partition("@")
    intervals = [(entry[0], entry[1], entry[2].strip()) for entry in entries if entry[2].strip()]
    return Tier(label, speaker or participant or None, intervals)


def _rows(tiers: Sequence[Tier], rows_of: str) -> list[dict[str, Any]]:
    leading = [tier for tier in tiers if tier.name.lower() == rows_of.lower()]
    if leading:
        return [row for tier in leading for row in _rows_of_tier(tier, tiers)]
    return [row for tier in tiers for row in _rows_of_speaker(tier)]


def _rows_of_tier(leading: Tier, tiers: Sequence[Tier]) -> list[dict[str, Any]]:
    """A tier's intervals, with the labels of the speaker's other tiers, and of those that are nobody's."""
    others = [tier for tier in tiers if tier is not leading and tier.speaker in (leading.speaker, None)]
    others = [tier for tier in others if tier.name.lower() != leading.name.lower()]
    rows = []
    for start, end, label in leading.intervals:
        beside = {tier.name: _label_within(tier, start, end) for tier in others}
        of = {} if leading.speaker is None else {"speaker": leading.speaker}
        rows.append({"start": start, "end": end, **beside, **of, leading.name: label})
    return rows


def _rows_of_speaker(tier: Tier) -> list[dict[str, Any]]:
    of = {"speaker": tier.speaker or tier.name} | ({} if tier.channel is None else {"channel": tier.channel})
    return [{"start": start, "end": end, **of, "label": text} for start, end, text in tier.intervals]


def _label_within(tier: Tier, start: float, end: float) -> str | None:
    """The label that shares most of a time; None where none shares any."""
    shared = [(min(end, stop) - max(start, begin), label) for begin, stop, label in tier.intervals]
    most = max(shared, default=(0.0, None), key=lambda one: one[0])
    return most[1] if most[0] > 0 else None


def _recordings_below(folder: Path) -> dict[str, list[Path]]:
    """Sound files by their names without ending, those of the first kinds first."""
    from ...modeling_ser_meta.sound_files_ser_meta import OF_OTHER_DECODERS, SOUND_FILES

    endings, found = (*SOUND_FILES, *OF_OTHER_DECODERS), defaultdict(list)
    for file in sorted(visible_files(folder, endings), key=lambda file: endings.index(file.suffix.lower())):
        found[file.stem].append(file)
    return found


def _recording_of(annotated: Annotated, folder: Path, found: Mapping[str, Sequence[Path]]) -> str:
    """The path, within the folder, of what was annotated: the file that it names, or the one of the same name."""
    linked = (annotated.stem.parent / name for name in annotated.media)
    stems = [annotated.stem, *(annotated.stem.with_name(Path(name).stem) for name in annotated.media)]
    named = (_nearest(stem, found.get(stem.name, ())) for stem in stems)
    there = chain((file for file in linked if file.is_file()), (file for file in named if file is not None))
    path = next(there, annotated.stem.with_suffix(".wav"))
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else path.name


def _nearest(stem: Path, files: Sequence[Path]) -> Path | None:
    """Of files of one name that in folders of the same names, such as `labels/s1/01` and `sound/s1/01`.

    Raises `UserError` where several are as near.
    """
    near = [_shared_end(stem, file.with_suffix("")) for file in files]
    nearest = [file for file, parts in zip(files, near, strict=True) if parts == max(near)]
    if len({file.parent for file in nearest}) > 1:
        raise UserError(
            f"{stem} may be of {nearest[0]} or of {nearest[1]}: give each recording a name of its own, or give the "
            "folders of both the same names"
        )
    return nearest[0] if nearest else None


def _shared_end(one: Path, other: Path) -> int:
    """How many parts of two paths are the same from their end on."""
    same = [mine == theirs for mine, theirs in zip(reversed(one.parts), reversed(other.parts), strict=False)]
    return [*same, False].index(False)


def _as_table(records: Sequence[Mapping[str, Any]]) -> Table:
    names = dict.fromkeys(name for record in records for name in record)
    columns = {name: [record.get(name) for record in records] for name in names}
    if records:
        ids = name_parts(columns["audio"], columns)
        if len(set(ids)) < len(ids) and "speaker" in columns:  # two who speak at once
            ids = [f"{name} {speaker}" for name, speaker in zip(ids, columns["speaker"], strict=True)]
        columns["utterance_id"] = ids
    return Table(columns, len(records))


def _library(module: str, package: str, path: Path) -> ModuleType:
    try:
        return import_module(module)
    except ImportError as error:
        raise UserError(f"{path} is read by {package}, which is missing: {EXTRA}") from error


READERS: dict[str, Callable[[Path, str | None], list[Annotated]]] = {
    ".textgrid": _read_textgrid,
    ".eaf": _read_elan,
    ".rttm": _read_rttm,
}
