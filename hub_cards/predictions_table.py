"""Predictions on the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

UNCERTAIN = "uncertain"
TIMES = 19  # characters of a segment's times within an hour


def print_predictions(results: Sequence[Mapping[str, Any]], target: str, console: Console | None = None) -> None:
    """Prints one row a recording: each task's best label with its score; segments stand below their recording.

    Args:
        results: the pipeline's, with `file` in front.
        target: the task that segments are of.
        console: where to print (default: standard output).
    """
    tasks = list(dict.fromkeys(name for result in results for name in result))
    shown = [name for name in tasks if name not in ("file", "segments", "abstained")]
    table = Table(box=SIMPLE_HEAD)
    for name in ("recording", *shown):
        table.add_column(Text(name), overflow="fold", min_width=TIMES if name == "recording" else None)
    for result in results:
        cells = [_cell(result.get(name), result.get("abstained") and name == target) for name in shown]
        table.add_row(Text(result["file"]), *cells)
        for segment in result.get("segments", ()):
            time = f"  {clock(segment['start'])} - {clock(segment['end'])}"
            table.add_row(Text(time), _cell(segment[target], segment.get("abstained")), style="dim")
    (console or Console()).print(table)


def clock(seconds: float) -> str:
    """A time in a recording, such as 1:02:03.5."""
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def _cell(value: Any, abstained: bool | None) -> Text:
    if isinstance(value, list):
        label = f"{UNCERTAIN}, {value[0]['label']}" if abstained else value[0]["label"]
        return Text(f"{label} {value[0]['score']:.2f}")
    return Text(f"{value:.2f}" if isinstance(value, float) else value or "")
