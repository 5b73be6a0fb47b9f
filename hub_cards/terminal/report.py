"""A report on the terminal."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...configuration.report import Measures, Report
from ..document import Table as Rows
from ..document import conditions_section
from ..wording import (
    MEASURES,
    NAMES,
    NEARER,
    NOTHING,
    VOTES_HEADER,
    compared_by,
    figure,
    interval_words,
    not_applicable,
    not_judged_itself,
    percent,
    protocol_facts,
    remarks,
    result_rows,
    speakers_line,
    taught_by,
    votes_rows,
    votes_words,
)
from .tables import print_table

BAR = 20  # characters of a recall of 1
INDENT = {"target": "", "slice": "  ", "yardstick": "  ", "task": ""}
STYLE = {"target": "bold", "slice": "", "yardstick": "dim", "task": ""}


def print_report(report: Report, console: Console | None = None) -> None:
    """Prints a report.

    First comes whether its speakers were trained on, then each task, slices and the yardstick, the recall by class,
    the protocol.

    Args:
        report: what it has is shown, and what it lacks is not.
        console: where to print (default: standard output).
    """
    console = console or Console()
    for sentence in not_judged_itself(report.judged_by):
        console.print(Text(sentence, style="bold"))
    if report.metrics:
        _print_results(report, console)
    for sentence in taught_by(report.teacher):
        console.print(Text(sentence))
    console.print(Text(" · ".join(f"{name}: {value}" for name, value in protocol_facts(report, brief=True).items())))


def _print_results(report: Report, console: Console) -> None:
    target, metrics = report.target, report.metrics
    if line := speakers_line(report.speakers):
        console.print(Text(line, style="bold"))
    console.print(_task_table(report))
    if "interval" in metrics[target]:
        main, _ = compared_by(metrics[target])
        console.print(Text(f"{target} {NAMES[main]}: {interval_words(metrics[target]['interval'], main)}"))
    if "recall" in metrics[target]:
        console.print(_recall_table(metrics[target], target))
    if "votes" in metrics[target]:
        for sentence in votes_words(metrics[target], target):
            console.print(Text(sentence))
        print_table(Rows(VOTES_HEADER, votes_rows(metrics[target]["votes"])), console)
        console.print(Text(NEARER))
    for table in conditions_section(metrics[target], report.degraded).tables:
        print_table(table, console)
    for task, reason in not_applicable(metrics).items():
        console.print(Text(f"{task}: not applicable, {reason}"))
    for remark in remarks(metrics):
        console.print(Text(remark))


def _task_table(report: Report) -> Table:
    rows = result_rows(report)
    shown = [name for name, key in MEASURES.items() if any(key in measures for _, _, measures in rows)]
    table = Table("task", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in (*shown, "n"):
        table.add_column(name, justify="right", no_wrap=True)
    for kind, title, measures in rows:
        cells = [figure(MEASURES[name], measures.get(MEASURES[name])) for name in shown]
        table.add_row(Text(INDENT[kind] + title), *cells, str(measures.get("n", NOTHING)), style=STYLE[kind])
    return table


def _recall_table(measures: Measures, target: str) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column(Text(target))
    table.add_column("")
    shown = [name for name in ("recall", "precision") if name in measures]
    for name in (*shown, "n"):
        table.add_column(name, justify="right", no_wrap=True)
    for label, recall in measures["recall"].items():
        bar = "█" * round(BAR * (recall or 0))
        cells = [percent(measures[name][label]) for name in shown]
        table.add_row(Text(label), bar, *cells, str(measures["support"][label]))
    return table
