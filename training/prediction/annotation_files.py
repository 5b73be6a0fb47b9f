"""Predictions in the formats in which people mark segments: TextGrid, ELAN, RTTM, audformat."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...configuration.errors import UserError
from ...configuration.run_folder import make_folder, written
from ...hub_cards.page.predictions_table import is_ranking, leading_task, of_a_row, why_not
from ..corpora.annotations import AUDFORMAT, EXTRA
from .inputs import Inputs

NAME = "{}"  # stands for a recording's in a path
LIBRARIES = {".textgrid": ("praatio", "praatio"), ".eaf": ("pympi", "pympi-ling"), ".yaml": ("audformat", "audformat")}
MIME = "audio/x-wav"  # that ELAN takes for any sound

Interval = tuple[float, float, Mapping[str, Any]]
"""Start and end in seconds, and what was heard."""


def check_annotations(path: Path, recordings: int) -> None:
    """Raises `UserError` for a path of no such format, of one recording where there are several, or a missing library.

    Args:
        path: see `AnnotationFiles`.
        recordings: how many files are asked about.
    """
    kind = _kind(path)
    if kind not in WRITERS:
        raise UserError(f"--annotations {path}: give a name in .TextGrid, .eaf or .rttm, or FOLDER/{AUDFORMAT}")
    if kind in (".textgrid", ".eaf") and recordings > 1 and NAME not in path.name:
        named = path.with_name(f"{NAME}{path.suffix}")
        raise UserError(f"--annotations {path} is of one recording, not of {recordings}: give {named}")
    module, package = LIBRARIES.get(kind, (None, None))
    if module and find_spec(module) is None:
        raise UserError(f"--annotations {path} is written by {package}, which is missing: {EXTRA}")


class AnnotationFiles:
    """What was heard, as intervals of the recordings: an interval is a part of a table, or else a segment or turn.

    Tiers are the tasks with labels, `emotion` and so on, and the leading task's `score`; of a speaker or a channel
    they are called `emotion@anna`, `emotion@channel 0`. RTTM has the leading task's label as the subtype.

    Args:
        path: its ending says the format; `{}` in it stands for a recording's name, with its own sub-folders.
        inputs: the recordings.
    """

    def __init__(self, path: Path, inputs: Inputs):
        self.path, self.speaker_of, self.names = path, inputs.speaker_of, inputs.recordings
        self.files: dict[str, dict[tuple[str | None, int | None], list[Interval]]] = defaultdict(dict)
        self.lengths: dict[str, float] = {}

    def __enter__(self) -> "AnnotationFiles":
        return self

    def __exit__(self, *_: Any) -> None:
        """Writes the files, of what has been heard."""
        if self.files:
            with written(self.path):
                WRITERS[_kind(self.path)](self)

    def write(self, result: Mapping[str, Any], recording: Any) -> None:
        """Keeps one result."""
        file = result["file"] or result["utterance_id"]
        of = {"speaker": self.speaker_of(recording.name), **of_a_row(result)}
        intervals = list(_intervals(result, recording.seconds or 0.0))
        for interval in intervals:
            told = of | of_a_row(interval[2])  # of a conversation, each segment has its speaker
            self.files[file].setdefault((told["speaker"], told.get("channel")), []).append(interval)
        ends = [end for _, end, _ in intervals] + ([] if result.get("start") else [recording.seconds or 0.0])
        self.lengths[file] = max([self.lengths.get(file, 0.0), *ends])

    def path_of(self, file: str) -> Path:
        """Where one recording's annotations go."""
        path = annotation_path(self.path, self.names[file])
        make_folder(path.parent)
        return path

    def tiers(self, file: str) -> dict[str, list[tuple[float, float, str]]]:
        """A recording's tiers by name: each with its intervals, in order."""
        tiers: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
        for (speaker, channel), intervals in self.files[file].items():
            of = _whose(speaker, channel)
            for start, end, heard in sorted(intervals, key=lambda interval: interval[:2]):
                for name, label in _labels(heard).items():
                    tiers[f"{name}@{of}" if of else name].append((start, end, label))
        return tiers


def annotation_path(path: Path, recording: Path) -> Path:
    """What `path` is of one recording, see `AnnotationFiles`; `recording` as `Inputs.recordings` calls it."""
    if NAME not in path.name:
        return path
    return path.parent / recording.parent / path.name.replace(NAME, recording.name)


def _intervals(result: Mapping[str, Any], seconds: float) -> Iterator[Interval]:
    """What of a result is marked: of what is silent nothing."""
    start, end = result.get("start"), result.get("end")
    if start is None and end is None and "segments" in result:
        heard = [segment for segment in result["segments"] if not segment.get("silent")]
        yield from ((segment["start"], segment["end"], segment) for segment in heard)
    elif not result.get("silent"):
        start = start or 0.0
        yield start, start + seconds if end is None else end, result


def _labels(heard: Mapping[str, Any]) -> dict[str, str]:
    """By task its label, and the leading task's score."""
    labels = {name: value[0]["label"] for name, value in heard.items() if is_ranking(value)}
    leading = leading_task(heard)
    if heard.get("abstained"):
        labels[leading] = why_not(heard)
    return labels | {"score": f"{heard[leading][0]['score']:.4f}"}


def _whose(speaker: str | None, channel: int | None) -> str:
    return speaker or ("" if channel is None else f"channel {channel}")


def _write_textgrids(files: AnnotationFiles) -> None:
    textgrid = import_module("praatio.textgrid")
    for file in files.files:
        grid = textgrid.Textgrid(0, files.lengths[file])
        for name, intervals in files.tiers(file).items():
            grid.addTier(
                textgrid.IntervalTier(name, _apart(intervals), 0, files.lengths[file]), reportingMode="silence"
            )
        path = files.path_of(file)
        grid.save(str(path), format="long_textgrid", includeBlankSpaces=True, reportingMode="silence")


def _apart(intervals: Sequence[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
    """Intervals of one tier, which in a TextGrid do not overlap: each begins where the one before ends."""
    found: list[tuple[float, float, str]] = []
    for start, end, label in intervals:
        start = max(start, found[-1][1]) if found else start
        found += [(start, end, label)] if end > start else []
    return found


def _write_elan(files: AnnotationFiles) -> None:
    elan = import_module("pympi").Elan
    for file in files.files:
        document = elan.Eaf(author="ser-meta")
        document.remove_tier("default")
        document.add_linked_file(Path(file).absolute().as_uri(), relpath=f"./{Path(file).name}", mimetype=MIME)
        for name, intervals in files.tiers(file).items():
            document.add_tier(name, part=name.partition("@")[2] or None)
            for start, end, label in intervals:
                document.add_annotation(name, round(1000 * start), round(1000 * end), label)
        document.to_file(str(files.path_of(file)))


def _write_rttms(files: AnnotationFiles) -> None:
    lines = defaultdict(list)
    for file, places in files.files.items():
        name = "_".join(files.names[file].as_posix().split())
        for (speaker, channel), intervals in places.items():
            who = "_".join((_whose(speaker, channel) or "speaker").split())
            for start, end, heard in sorted(intervals, key=lambda interval: interval[:2]):
                labels = _labels(heard)
                emotion = "_".join(labels[leading_task(heard)].split())
                lines[files.path_of(file)].append(
                    f"SPEAKER {name} {(channel or 0) + 1} {start:.3f} {end - start:.3f} <NA> {emotion} {who} "
                    f"{labels['score']} <NA>"
                )
    for path, those in lines.items():
        path.write_text("\n".join(those) + "\n", encoding="utf-8")


def _write_audformat(files: AnnotationFiles) -> None:
    audformat = import_module("audformat")
    database = audformat.Database("ser-meta", description="Predictions of ser-meta.")
    for name, rows in _tables(files).items():
        database[name] = audformat.Table(
            audformat.segmented_index(
                [row["file"] for row in rows], *([f"{row[time]}s" for row in rows] for time in ("start", "end"))
            )
        )
        for column in dict.fromkeys(
            column for row in rows for column in row if column not in ("file", "start", "end")
        ):
            values = [row.get(column) for row in rows]
            kind = {"score": "float", "channel": "int"}.get(column, "str")
            database.schemes[column] = audformat.Scheme(kind)
            database[name][column] = audformat.Column(scheme_id=column)
            database[name][column].set([float(value) for value in values] if kind == "float" else values)
    database.save(str(files.path.parent), storage_format="csv")


def _tables(files: AnnotationFiles) -> dict[str, list[dict[str, Any]]]:
    """One table of all, unless two of a recording have the same times, which audformat does not have."""
    tables: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for file, places in files.files.items():
        for (speaker, channel), intervals in places.items():
            of = {"speaker": speaker, "channel": channel}
            of = {name: value for name, value in of.items() if value is not None}
            for start, end, heard in intervals:
                row = {"file": file, "start": start, "end": end, **of, **_labels(heard)}
                tables[_whose(speaker, channel) or "predictions"].append(row)
    rows = [row for those in tables.values() for row in those]
    times = {(row["file"], row["start"], row["end"]) for row in rows}
    return {"predictions": rows} if len(times) == len(rows) else dict(tables)


def _kind(path: Path) -> str:
    return path.suffix.lower() if path.suffix.lower() != ".yaml" or path.name == AUDFORMAT else ""


WRITERS: dict[str, Callable[[AnnotationFiles], None]] = {
    ".textgrid": _write_textgrids,
    ".eaf": _write_elan,
    ".rttm": _write_rttms,
    ".yaml": _write_audformat,
}
