"""Predictions on the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

UNCERTAIN, SILENT = "uncertain", "silent"
SHARES = "People disagree about voices: a score is the share of listeners that the model expects to say so."
OF_A_ROW = ("utterance_id", "file", "speaker", "channel", "turn", "start", "end")  # what a result is of
# what else is no answer of the model's
BESIDE_TASKS = (
    *("segments", "speakers", "abstained", "abstained_because", "silent", "confidence", "familiar", "embeddings"),
)
TIMES = 19  # characters of a segment's times within an hour


def print_predictions(
    results: Sequence[Mapping[str, Any]], console: Console | None = None, are_shares: bool = False
) -> None:
    """Prints one row a recording: each task's best label with its score; segments stand below their recording.

    Args:
        results: the pipeline's, with `file` and perhaps `channel` in front, or with what a table says of the row.
        console: where to print (default: standard output).
        are_shares: whether the scores are the shares of people who say so, which is told below.
    """
    tasks = list(dict.fromkeys(name for result in results for name in result))
    of = {name for result in results for name in of_a_row(result)}
    shown = [name for name in tasks if name not in of and name not in BESIDE_TASKS]
    table = Table(box=SIMPLE_HEAD)
    for name in ("recording", *shown):
        table.add_column(Text(name), overflow="fold", min_width=TIMES if name == "recording" else None)
    for result in results:
        table.add_row(Text(result_name(result) + channel_words(result)), *_cells(result, shown))
        for segment in result.get("segments", ()):
            time = f"  {clock(segment['start'])} - {clock(segment['end'])}"
            table.add_row(Text(time + speaker_words(segment)), *_cells(segment, shown), style="dim")
    console = console or Console()
    console.print(table)
    if are_shares:
        console.print(SHARES)


def of_a_row(result: Mapping[str, Any]) -> dict[str, Any]:
    """What a result or a segment is of; a `speaker` that the model guesses is a task as any other."""
    return {name: result[name] for name in OF_A_ROW if name in result and not is_ranking(result[name])}


def answered_task(result: Mapping[str, Any]) -> str | None:
    """The task that a result may be abstained from: its first one with labels."""
    return next((name for name, value in result.items() if is_ranking(value)), None)


def leading_task(result: Mapping[str, Any]) -> str | None:
    """The task that a result's segments are of: that one, or None where it may have several labels at once."""
    ranked = answered_task(result)
    return None if ranked and "present" in result[ranked][0] else ranked


def segment_rows(result: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """A result's segments as `{"start", "end", "label", "score"}`; None where it was not cut into windows.

    The label is None where it is abstained from, and `because` then says why.
    """
    if "segments" not in result:
        return None
    rows = []
    for segment in result["segments"]:
        best = segment[leading_task(segment)][0]
        label = None if segment.get("abstained") else best["label"]
        row = {"start": segment["start"], "end": segment["end"], "label": label, "score": best["score"]}
        row |= {"because": why_not(segment)} if label is None else {}
        rows.append(row | {name: value for name, value in of_a_row(segment).items() if name == "speaker"})
    return rows


def why_not(result: Mapping[str, Any]) -> str:
    """In a word why a result that is abstained from has no answer."""
    return result.get("abstained_because", UNCERTAIN)


def is_ranking(value: Any) -> bool:
    """Whether it is a classification's `[{"label", "score"}, ...]`."""
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping) and "label" in value[0]


def result_name(result: Mapping[str, Any]) -> str:
    """What a recording is called: the utterance's id where it is a table's row, or else its file."""
    return result.get("utterance_id") or result["file"]


def channel_words(result: Mapping[str, Any]) -> str:
    """What is added to a recording's name where only one of its channels was heard."""
    return f", channel {result['channel']}" if result.get("channel") is not None else ""


def speaker_words(segment: Mapping[str, Any]) -> str:
    """What is added to a segment's times where it is known who speaks."""
    return f"  {speaker}" if (speaker := of_a_row(segment).get("speaker")) else ""


def clock(seconds: float) -> str:
    """A time in a recording, such as 1:02:03.5."""
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def _cells(result: Mapping[str, Any], shown: Sequence[str]) -> list[Text]:
    answer = answered_task(result)
    if result.get("silent"):
        return [Text(SILENT if name == (answer or shown[0]) else "") for name in shown]
    return [_cell(result.get(name), result.get("abstained") and name == answer) for name in shown]


def _cell(value: Any, abstained: bool | None) -> Text:
    if is_ranking(value) and "present" in value[0]:
        present = [f"{entry['label']} {entry['score']:.2f}" for entry in value if entry["present"]]
        return Text(", ".join([UNCERTAIN] * bool(abstained) + present))
    if is_ranking(value):
        label = f"{UNCERTAIN}, {value[0]['label']}" if abstained else value[0]["label"]
        return Text(f"{label} {value[0]['score']:.2f}")
    return Text(f"{value:.2f}" if isinstance(value, float) else value or "")
