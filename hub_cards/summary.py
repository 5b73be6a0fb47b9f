"""A report on the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .wording import MEASURES, NOTHING, figure, not_applicable, percent, protocol_facts, result_rows, span

INTERVAL = "95% of UA"
BAR = 20  # characters of a recall of 1
INDENT = {"target": "", "slice": "  ", "yardstick": "  ", "task": ""}
STYLE = {"target": "bold", "slice": "", "yardstick": "dim", "task": ""}


def print_report(report: Mapping[str, Any], console: Console | None = None, target: str = "emotion") -> None:
    """Prints the results of a `report.json`: each task, the yardstick, slices, the recall by class, the protocol.

    Args:
        report: with `metrics` and `protocol`; `sides`, `slices` and `yardstick` are shown where present.
        console: where to print (default: standard output).
        target: the task whose classes are listed.
    """
    console = console or Console()
    metrics = report["metrics"]
    console.print(_task_table(report, target))
    if "recall" in metrics[target]:
        console.print(_recall_table(metrics[target], target))
    for task, reason in not_applicable(report).items():
        console.print(Text(f"{task}: not applicable, {reason}"))
    console.print(Text(" · ".join(f"{name}: {value}" for name, value in protocol_facts(report).items())))


def _task_table(report: Mapping[str, Any], target: str) -> Table:
    rows = result_rows(report, target)
    shown = [name for name, key in MEASURES.items() if any(key in measures for _, _, measures in rows)]
    if any("interval" in measures for _, _, measures in rows):
        shown.insert(shown.index("UA") + 1, INTERVAL)
    table = Table("task", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in (*shown, "n"):
        table.add_column(name, justify="right", no_wrap=True)
    for kind, name, measures in rows:
        cells = [_cell(column, measures) for column in shown]
        table.add_row(Text(INDENT[kind] + name), *cells, str(measures.get("n", NOTHING)), style=STYLE[kind])
    return table


def _cell(column: str, measures: Mapping[str, Any]) -> str:
    if column == INTERVAL:
        return span(measures.get("interval", {}).get("ua"))
    return figure(MEASURES[column], measures.get(MEASURES[column]))


def _recall_table(measures: Mapping[str, Any], target: str) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column(Text(target))
    table.add_column("")
    table.add_column("recall", justify="right", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    for label, recall in measures["recall"].items():
        bar = "█" * round(BAR * (recall or 0))
        table.add_row(Text(label), bar, percent(recall), str(measures["support"][label]))
    return table
