"""Where predictions go: the screen, JSON lines, CSV, Parquet parts, subtitles, pictures."""

import csv
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelerate import PartialState

from ...configuration.errors import UserError
from ...modeling_ser_meta.audio_ser_meta import stream_audio
from ...modeling_ser_meta.windows_ser_meta import WINDOW_SECONDS
from .inputs import STANDARD_INPUT
from .rows import flat_row, segment_rows


@dataclass
class Outputs:
    """What a prediction is to leave behind; without any of it, a table is printed.

    Args:
        as_json: print one object a recording.
        csv: a table's file.
        parquet: folder of the processes' parts.
        srt: folder of subtitles, or a file of that ending for a single recording.
        plot: folder of pictures.
    """

    as_json: bool = False
    csv: Path | None = None
    parquet: Path | None = None
    srt: Path | None = None
    plot: Path | None = None

    def needed_options(self, options: dict[str, Any]) -> dict[str, Any]:
        """Subtitles and pictures show segments, so also a short recording is cut into windows for them."""
        asked = options.get("window_seconds") or options.get("hop_seconds")
        return {"window_seconds": WINDOW_SECONDS} if (self.srt or self.plot) and not asked else {}


@dataclass
class Writers:
    """All outputs of one call; `done` names the recordings whose results are there already."""

    outputs: list[Any]
    done: set[str] = field(default_factory=set)

    def write(self, result: dict[str, Any], recording: Any) -> None:
        """Writes one recording's result to every output."""
        for output in self.outputs:
            output.write(result, recording)


@contextmanager
def open_outputs(
    outputs: Outputs, names: Sequence[str], config: Any, settings: dict[str, Any], state: PartialState
) -> Iterator[Writers]:
    """Opens the outputs and completes them at the end.

    Raises:
        UserError: outputs that do not fit the recordings or the number of processes.
    """
    _check(outputs, names, state)
    with ExitStack() as stack:
        opened, done = [], set()
        if outputs.parquet:
            from .parquet_parts import ParquetParts  # slow to import, and seldom needed

            parts = stack.enter_context(
                ParquetParts(outputs.parquet, state.process_index, config.target_task, settings)
            )
            opened.append(parts)
            done = parts.done()
        if outputs.csv:
            opened.append(CsvTable(stack.enter_context(_create(outputs.csv))))
        if outputs.srt:
            opened.append(Subtitles(outputs.srt, names, config.target_task))
        if outputs.plot:
            opened.append(Timelines(outputs.plot, names, config))
        if outputs.as_json:
            opened.append(JsonLines())
        elif not (outputs.parquet or outputs.csv):
            opened.append(stack.enter_context(ScreenTable(config.target_task)))
        yield Writers(opened, done)


class JsonLines:
    """One object a line, printed at once."""

    def write(self, result: dict[str, Any], recording: Any) -> None:
        """Prints one result."""
        print(json.dumps(result, ensure_ascii=False), flush=True)


class CsvTable:
    """One row a recording; `file` is an open text file."""

    def __init__(self, file: Any):
        self.file, self.writer = file, None

    def write(self, result: dict[str, Any], recording: Any) -> None:
        """Writes one row, the first time below the columns' names."""
        row = flat_row(result)
        if self.writer is None:
            self.writer = csv.DictWriter(self.file, list(row))
            self.writer.writeheader()
        self.writer.writerow(row)
        self.file.flush()


class ScreenTable:
    """A table of the recordings, printed when all are there; segments stand below their recording."""

    def __init__(self, target: str):
        self.results, self.target = [], target

    def __enter__(self) -> "ScreenTable":
        return self

    def __exit__(self, *_: Any) -> None:
        if self.results:
            from ...hub_cards.predictions_table import print_predictions

            print_predictions(self.results, self.target)

    def write(self, result: dict[str, Any], recording: Any) -> None:
        """Keeps one result for the table."""
        self.results.append(result)


class Subtitles:
    """A recording's segments as SubRip subtitles."""

    def __init__(self, path: Path, names: Sequence[str], target: str):
        self.path_of, self.target = output_paths(path, names, ".srt"), target

    def write(self, result: dict[str, Any], recording: Any) -> None:
        """Writes one recording's file."""
        path = self.path_of[result["file"]]
        path.parent.mkdir(parents=True, exist_ok=True)
        cues = [
            f"{number}\n{_clock(row['start'])} --> {_clock(row['end'])}\n{row['label']} {row['score']:.2f}\n"
            for number, row in enumerate(segment_rows(result, self.target), start=1)
        ]
        path.write_text("\n".join(cues), encoding="utf-8")


class Timelines:
    """A picture of each recording: the waveform with its segments beneath."""

    def __init__(self, folder: Path, names: Sequence[str], config: Any):
        self.path_of, self.target = output_paths(folder, names, ".png"), config.target_task
        self.labels = config.tasks[config.target_task]["labels"]

    def write(self, result: dict[str, Any], recording: Any) -> None:
        """Draws one recording's picture; reads it once more for the waveform."""
        from ...hub_cards.timeline import plot_timeline

        path, title = self.path_of[result["file"]], Path(result["file"]).name
        plot_timeline(stream_audio(recording), 16_000, segment_rows(result, self.target), self.labels, path, title)


def output_paths(folder: Path, names: Sequence[str], ending: str) -> dict[str, Path]:
    """A file for each recording, in a folder with the recordings' own sub-folders; a path of that ending is a file."""
    if folder.suffix == ending:
        return {names[0]: folder}
    files = [name for name in names if name != STANDARD_INPUT]
    root = os.path.commonpath([Path(name).absolute().parent for name in files]) if files else ""
    below = {name: Path(name).absolute().relative_to(root) for name in files}
    return {name: folder / f"{below.get(name, 'standard-input')}{ending}" for name in names}


def _check(outputs: Outputs, names: Sequence[str], state: PartialState) -> None:
    if state.num_processes > 1 and (outputs.parquet is None or outputs.as_json or outputs.csv):
        raise UserError(f"{state.num_processes} processes cannot share one output: give --parquet FOLDER alone")
    if outputs.srt and outputs.srt.suffix == ".srt" and len(names) > 1:
        raise UserError(f"--srt {outputs.srt} is one file for {len(names)} recordings: give a folder")


def _create(path: Path) -> Any:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("w", newline="", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error


def _clock(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02},{rest % 1000:03}"
