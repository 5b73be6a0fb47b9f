"""Where predictions go: the screen, JSON lines, CSV tables, Parquet parts, subtitles, pictures."""

import csv
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelerate import PartialState

from ...configuration.errors import UserError
from ...configuration.printable import json_line
from ...configuration.run_folder import make_folder, written
from ...hub_cards.page.conversation import summary_rows
from ...hub_cards.page.predictions_table import (
    channel_words,
    of_a_row,
    print_predictions,
    result_name,
    segment_rows,
)
from ...modeling_ser_meta.audio_ser_meta import stream_audio
from ...modeling_ser_meta.segments_ser_meta import told_tasks
from ...modeling_ser_meta.windows_ser_meta import WINDOW_SECONDS
from .annotation_files import AnnotationFiles, annotation_path, check_annotations
from .inputs import Inputs
from .rows import flat_row, rounded

ENDINGS = {"--srt": ".srt", "--plot": ".png"}  # of a path that is one file, and no folder


@dataclass
class Outputs:
    """What a prediction is to leave behind; without any of it, a table is printed.

    Args:
        as_json: print one object a recording.
        csv: a table's file, a row a recording.
        segments: a table's file, a row a segment.
        parquet: folder of the processes' parts.
        srt: folder of subtitles, or a file of that ending for a single recording.
        plot: folder of pictures, or a file that ends in `.png` for a single recording.
        speakers: a table's file, a row a speaker of a conversation, and one for each part of it.
        annotations: see `annotation_files.AnnotationFiles`.
        embeddings: a Parquet file, a row a recording.
    """

    as_json: bool = False
    csv: Path | None = None
    segments: Path | None = None
    parquet: Path | None = None
    srt: Path | None = None
    plot: Path | None = None
    speakers: Path | None = None
    annotations: Path | None = None
    embeddings: Path | None = None

    def needed_options(self, options: dict[str, Any], inputs: Inputs) -> dict[str, Any]:
        """What shows segments needs a short recording cut into windows too, and marks a table's parts as they are.

        Embeddings are asked for.
        """
        asked = options.get("window_seconds") or options.get("hop_seconds")
        shown = self.of_segments.keys() - ({"--annotations"} if inputs.of_parts else set())
        windows = {"window_seconds": WINDOW_SECONDS} if shown and not asked else {}
        return windows | ({"return_embeddings": True} if self.embeddings else {})

    @property
    def of_one_process(self) -> bool:
        """Whether one of them is written by one process alone."""
        return bool(self.as_json or self.csv or self.segments or self.annotations or self.embeddings)

    @property
    def of_segments(self) -> dict[str, Path]:
        """The options that show segments."""
        given = {"--srt": self.srt, "--plot": self.plot, "--segments": self.segments}
        given |= {"--annotations": self.annotations}
        return {name: path for name, path in given.items() if path}

    @property
    def tables(self) -> dict[str, Path]:
        """The options that write one file of all recordings."""
        given = {"--csv": self.csv, "--segments": self.segments}
        given |= {"--speakers": self.speakers, "--embeddings": self.embeddings}
        return {name: path for name, path in given.items() if path}


@dataclass
class Writers:
    """All outputs of one call; `done` has the names and channels of recordings whose results are there already.

    Args:
        outputs: each with `write`, and the `path` of what it writes.
        done: see there.
        parts: the Parquet parts among the outputs, which several processes share, or None.
    """

    outputs: list[Any]
    done: set[tuple[str, int | None]] = field(default_factory=set)
    parts: Any = None

    def share(self, names: Sequence[str], missing: Sequence[str]) -> Sequence[str]:
        """The recordings that this process is to hear, of those that are `missing` among all `names`."""
        return self.parts.share(names, missing) if self.parts else missing

    def complete(self) -> None:
        """Tells that every recording has been tried; when all processes are done."""
        if self.parts:
            self.parts.complete()

    def write(self, result: dict[str, Any], recording: Any) -> None:
        """Writes one recording's result to every output.

        Args:
            result: with what it is of in front, and `channel` where one of several was heard.
            recording: what is known of it: its `source`, and its `seconds` or None.

        Raises:
            UserError: a file that cannot be written.
        """
        for output in self.outputs:
            with written(output.path):
                output.write(result, recording)


def check_files(outputs: Outputs, inputs: Inputs, turns: str | None = None) -> None:
    """Raises `UserError` where an output would take the place of another, or of what is read.

    Args:
        outputs: which.
        inputs: the recordings.
        turns: a file that is read beside them.
    """
    written = {}
    for option, path in _files(outputs, inputs):
        other = written.setdefault(os.path.realpath(path), option)
        if other != option:
            raise UserError(f"{other} and {option} are both {path}: give each a file of its own")
    endings = {os.path.splitext(path)[1].lower() for path in written}
    for path in (*inputs.files, *([turns] if turns else [])):
        if os.path.splitext(path)[1].lower() in endings and os.path.realpath(path) in written:
            option = written[os.path.realpath(path)]
            raise UserError(f"{option} would be written over {path}, which is read: give another name")


def _files(outputs: Outputs, inputs: Inputs) -> Iterator[tuple[str, Path]]:
    yield from outputs.tables.items()
    yield from ((option, path) for option, path in outputs.of_segments.items() if path.suffix == ENDINGS.get(option))
    if outputs.annotations:
        recordings = inputs.recordings.values()
        yield from (
            ("--annotations", path) for path in {annotation_path(outputs.annotations, it) for it in recordings}
        )


@contextmanager
def open_outputs(
    outputs: Outputs, inputs: Inputs, config: Any, settings: dict[str, Any], state: PartialState
) -> Iterator[Writers]:
    """Opens the outputs and completes them at the end.

    Args:
        outputs: which.
        inputs: the recordings.
        config: the model's.
        settings: what the predictions depend on: the options, and the `channels`.
        state: of the processes.

    Raises:
        UserError: outputs that do not fit the recordings, the options or the number of processes.
    """
    leading = _leading_task(config, settings.get("tasks"))
    if outputs.annotations:
        check_annotations(outputs.annotations, len(inputs.recordings))
    _check(outputs, inputs.names, state, leading, settings.get("channels", "mix"))
    with ExitStack() as stack:
        opened, done, parts = [], set(), None
        if outputs.parquet:
            from .parquet_parts import ParquetParts  # slow to import, and seldom needed

            parts = stack.enter_context(ParquetParts(outputs.parquet, state, settings))
            opened.append(parts)
            done = parts.done(inputs.describe(name) for name in inputs.names)
            _check_whole(outputs, len(done))
        if outputs.csv:
            opened.append(CsvTable(stack.enter_context(_created(outputs.csv))))
        if outputs.segments:
            opened.append(SegmentTable(stack.enter_context(_created(outputs.segments))))
        if outputs.annotations:
            opened.append(stack.enter_context(AnnotationFiles(outputs.annotations, inputs)))
        if outputs.srt:
            opened.append(Subtitles(outputs.srt, inputs.paths(outputs.srt, ".srt")))
        if outputs.plot:
            paths, labels = inputs.paths(outputs.plot, ".png"), config.tasks[leading]["labels"]
            opened.append(Timelines(outputs.plot, paths, labels))
        if outputs.speakers:
            table = stack.enter_context(_created(outputs.speakers))
            opened.append(SpeakerTable(table, config.tasks[leading]["labels"]))
        if outputs.embeddings:
            opened.append(stack.enter_context(EmbeddingsTable(outputs.embeddings)))
        tables = (outputs.parquet, outputs.csv, outputs.segments, outputs.speakers, outputs.annotations)
        if outputs.as_json:
            opened.append(JsonLines())
        elif not any((*tables, outputs.embeddings)):
            opened.append(stack.enter_context(ScreenTable(getattr(config, "scores_are_shares", False))))
        yield Writers(opened, done, parts)


class JsonLines:
    """One object a line, printed at once."""

    path = "standard output"

    def write(self, result: dict[str, Any], recording: Any) -> None:
        """Prints one result."""
        print(json_line(result), flush=True)


class CsvTable:
    """One row a recording; `file` is an open text file."""

    def __init__(self, file: Any):
        self.file, self.path, self.writer = file, file.name, None

    def write(self, result: dict[str, Any], recording: Any) -> None:
        """Writes one row."""
        self.write_row(flat_row(result, duration=recording.seconds))

    def write_row(self, row: dict[str, Any]) -> None:
        """Writes one row, the first time below the columns' names."""
        if self.writer is None:
            self.writer = csv.DictWriter(self.file, list(row))
            self.writer.writeheader()
        self.writer.writerow(rounded(row))
        self.file.flush()


class SegmentTable(CsvTable):
    """One row a segment, with the recording's name."""

    def write(self, result: dict[str, Any], recording: Any) -> None:
        """Writes the rows of one recording."""
        of = of_a_row(result)
        for segment in result["segments"]:
            self.write_row(flat_row({**of, **segment}))


class SpeakerTable(CsvTable):
    """One row a speaker of each conversation, and one for each part of it; `labels` have a column each."""

    def __init__(self, file: Any, labels: Sequence[str]):
        super().__init__(file)
        self.labels = labels

    def write(self, result: dict[str, Any], recording: Any) -> None:
        """Writes the rows of one conversation."""
        for row in summary_rows(result, self.labels):
            self.write_row({"file": result_name(result), **row})


class ScreenTable:
    """A table of the recordings, printed when all are there; segments stand below their recording."""

    path = "standard output"

    def __init__(self, are_shares: bool = False) -> None:
        self.are_shares = are_shares
        self.results: list[dict[str, Any]] = []

    def __enter__(self) -> "ScreenTable":
        return self

    def __exit__(self, *_: Any) -> None:
        if self.results:
            print_predictions(self.results, are_shares=self.are_shares)

    def write(self, result: dict[str, Any], recording: Any) -> None:
        """Keeps one result for the table."""
        self.results.append(result)


class EmbeddingsTable:
    """What the target's classifier sees of each recording, as Parquet: its name and `embeddings`, a list of floats."""

    def __init__(self, path: Path):
        self.path, self.writer = path, None

    def __enter__(self) -> "EmbeddingsTable":
        return self

    def __exit__(self, *_: Any) -> None:
        if self.writer is not None:
            with written(self.path):
                self.writer.close()

    def write(self, result: dict[str, Any], recording: Any) -> None:
        """Writes one row."""
        import pyarrow
        from pyarrow import parquet

        row = {**of_a_row(result), "embeddings": result["embeddings"]}
        types = {"embeddings": pyarrow.list_(pyarrow.float32()), "start": pyarrow.float64(), "end": pyarrow.float64()}
        types |= {"channel": pyarrow.int64(), "turn": pyarrow.int64()}
        schema = pyarrow.schema([(name, types.get(name, pyarrow.string())) for name in row])
        if self.writer is None:
            make_folder(self.path.parent)
            self.writer = parquet.ParquetWriter(self.path, schema)
        self.writer.write_table(pyarrow.Table.from_pylist([row], schema))


class Subtitles:
    """A recording's segments as SubRip subtitles: in a folder, or in one file, each at its path."""

    def __init__(self, path: Path, paths: dict[str, Path]):
        self.path, self.paths = path, paths

    def write(self, result: dict[str, Any], recording: Any) -> None:
        """Writes one recording's file."""
        path = path_of(result, self.paths)
        path.parent.mkdir(parents=True, exist_ok=True)
        cues = [
            f"{number}\n{_clock(row['start'])} --> {_clock(row['end'])}\n{_words(row)}\n"
            for number, row in enumerate(segment_rows(result), start=1)
        ]
        path.write_text("\n".join(cues), encoding="utf-8")


class Timelines:
    """A picture of each recording, as `Subtitles`: the waveform with its segments beneath, in lanes by label."""

    def __init__(self, path: Path, paths: dict[str, Path], labels: Sequence[str]):
        self.path, self.paths, self.labels = path, paths, labels

    def write(self, result: dict[str, Any], recording: Any) -> None:
        """Draws one recording's picture; reads it once more for the waveform."""
        from ...hub_cards.page.timeline import plot_timeline

        path, title = path_of(result, self.paths), Path(result_name(result)).name + channel_words(result)
        blocks, start = stream_audio(recording.source), result.get("start") or 0.0
        if "speakers" in result:
            from ...hub_cards.page.conversation_picture import plot_conversation

            plot_conversation(blocks, 16_000, segment_rows(result), result["speakers"], self.labels, path, title)
            return
        plot_timeline(blocks, 16_000, segment_rows(result), self.labels, path, title, start)


def path_of(result: dict[str, Any], paths: dict[str, Path]) -> Path:
    """The file of one result, with the number of its channel where it is of one."""
    path = paths[result_name(result)]
    return path.with_stem(f"{path.stem}-channel-{result['channel']}") if result.get("channel") is not None else path


def _leading_task(config: Any, tasks: Sequence[str] | None) -> str | None:
    return told_tasks({"tasks": config.tasks, "target_task": config.target_task}, tasks)[1]


def _check(outputs: Outputs, names: Sequence[str], state: PartialState, leading: str | None, channels: str) -> None:
    if state.num_processes > 1 and (outputs.parquet is None or outputs.of_one_process):
        raise UserError(f"{state.num_processes} processes cannot share one output: give --parquet FOLDER alone")
    shown = outputs.of_segments | ({"--speakers": outputs.speakers} if outputs.speakers else {})
    for option, path in shown.items():
        if leading is None:
            raise UserError(f"{option} {path} shows labels over time: name a --task that has one label at a time")
        if path.suffix != ENDINGS.get(option):
            continue
        if len(set(names)) > 1:
            raise UserError(f"{option} {path} is one file for {len(names)} recordings: give a folder")
        if channels == "separate":
            raise UserError(f"{option} {path} is one file for the channels of a recording: give a folder")


def _check_whole(outputs: Outputs, done: int) -> None:
    """What goes on in --parquet hears only what is missing there: another table would hold that alone."""
    others = outputs.tables | ({"--annotations": outputs.annotations} if outputs.annotations else {})
    if done and others:
        option, path = next(iter(others.items()))
        raise UserError(
            f"--parquet {outputs.parquet} has {done} of the recordings already, which {option} {path} would lack: "
            f"leave {option} out, or give a new folder"
        )


@contextmanager
def _created(path: Path) -> Iterator[Any]:
    """A new text file, which is closed in the end."""
    make_folder(path.parent)
    with written(path):
        file = path.open("w", newline="", encoding="utf-8")
    try:
        yield file
    finally:
        with written(path):
            file.close()


def _words(row: dict[str, Any]) -> str:
    label = row["because"] if row["label"] is None else f"{row['label']} {row['score']:.2f}"
    return f"{row['speaker']}: {label}" if "speaker" in row else label


def _clock(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02},{rest % 1000:03}"
