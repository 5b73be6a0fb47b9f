"""The report of `ser-meta check` on the terminal."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as TerminalTable
from rich.text import Text

from ..document import Table
from ..wording import NOTHING
from .tables import print_table

MOST_FOLDS = 30  # rows of a table that is still read
EXAMPLES = 3
HARMS = {
    "spoils": ("SPOILS A RESULT", "bold white on red"),
    "left_out": ("leave out", "bold red"),
    "remark": ("remark", ""),
}
"""What a finding does, in words, and the style in which it is printed."""


def print_check(report: Mapping[str, Any], console: Console | None = None) -> None:
    """Prints what a check has found: the counts, and a line for each finding with examples.

    Args:
        report: of `training.check.check_corpus`.
        console: where to print (default: standard output).
    """
    console = console or Console()
    console.print(Text(_headline(report)))
    console.print()
    print_table(_count_table(report), console)
    console.print()
    if report["findings"]:
        console.print(_finding_table(report["findings"]))
    else:
        console.print(Text("Nothing was found that a training should mind."))
    if report["leave_out"]:
        console.print(
            Text(
                f"A training should leave out {len(report['leave_out']):,} of {report['utterances']:,} utterances: "
                "--quarantine FILE writes them, and data.quarantine=FILE leaves them out."
            )
        )


def _headline(report: Mapping[str, Any]) -> str:
    seconds = report["durations"]
    rates = ", ".join(f"{int(rate):,} Hz ({n:,})" for rate, n in report["rates"].items()) or NOTHING
    name = f"{report['recipe']}, {report['corpus']}" if "recipe" in report else report["corpus"]
    return (
        f"{name}: {report['utterances']:,} utterances, {report['speakers']:,} speakers, "
        f"{seconds['total'] / 3600:.2f} h; {seconds['shortest']:.2f} to {seconds['longest']:.2f} s, "
        f"median {seconds['median']:.2f} s; {rates}"
    )


def _count_table(report: Mapping[str, Any]) -> Table:
    counts, by = report["counts"], report["folds_by"]
    if len(counts) > MOST_FOLDS:
        counts = _by_gender(counts, by)
    labels = list(counts[0]["emotions"])
    total = {"fold": "all", "gender": "", "emotions": _sum(counts)}
    rows = [
        [
            *(NOTHING if name is None else str(name) for name in (row["fold"], row["gender"])),
            *(str(row["emotions"][label] or NOTHING) for label in labels),
            str(sum(row["emotions"].values())),
        ]
        for row in [*counts, total]
    ]
    return Table([by, "gender", *labels, "all"], rows, names=2)


def _by_gender(counts: Sequence[Mapping[str, Any]], by: str) -> list[dict[str, Any]]:
    groups = defaultdict(list)
    for row in counts:
        groups[row["gender"]].append(row)
    return [
        {"fold": f"{len(rows):,} {by}s", "gender": gender, "emotions": _sum(rows)} for gender, rows in groups.items()
    ]


def _sum(counts: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    total = Counter()
    for row in counts:
        total.update(row["emotions"])
    return dict(total)


def _finding_table(findings: Sequence[Mapping[str, Any]]) -> TerminalTable:
    table = TerminalTable(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    table.add_column("finding", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("meaning, and examples", overflow="fold")
    for finding in findings:
        text = Text(finding["meaning"]).append(f"\n{_examples(finding['details'])}", style="dim")
        what, style = HARMS[finding["harm"]]
        table.add_row(Text(finding["finding"], style), f"{len(finding['details']):,}", Text(what, style), text)
    return table


def _examples(details: Mapping[str, str]) -> str:
    shown = [f"{name}: {detail}" for name, detail in list(details.items())[:EXAMPLES]]
    return "; ".join([*shown, "..."] if len(details) > EXAMPLES else shown)
