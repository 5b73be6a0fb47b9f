"""What a page on a study holds, whichever way it is shown: sections of text, tables and pictures."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from ..configuration.protocol import Protocol
from ..configuration.report import Change, InCondition, Interval, Measures
from ..configuration.study_report import LeaderboardRow, Spread
from .wording import (
    NAMES,
    NOTHING,
    VALIDATION,
    compared_by,
    figure,
    no_interval,
    percent,
    signed_points,
    span,
    speakers_basis,
    words,
)

BACKGROUND = {
    "WA": "the overall accuracy",
    "UA": "the mean recall over the classes",
    "interval": "95 %, from 10,000 draws of the speakers with replacement, whole speakers at a time; none where they "
    "are fewer than 5",
}
SEVERAL = {
    "AP": "the average precision, the mean over the labels",
    "macro F1": "the mean over the labels, each told from its threshold on",
    "all right": "the share of utterances of which all labels are right",
}


@dataclass(frozen=True)
class Table:
    """Rows of text under a header; the first `names` columns are names, the others figures.

    `groups` has the heading above each column, such as its encoder; neighbours with the same one share it.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int = 1
    groups: Sequence[str] = ()

    @property
    def group_spans(self) -> list[tuple[str, int]]:
        """Each heading once, with how many columns it stands above."""
        return [(name, len(list(columns))) for name, columns in groupby(self.groups)]

    @property
    def flat_header(self) -> list[str]:
        """One line of headings, where there can be no second one."""
        groups = self.groups or [""] * len(self.header)
        return [f"{group} {name}".strip() for group, name in zip(groups, self.header, strict=True)]


@dataclass(frozen=True)
class Picture:
    """A picture `plots/<name>.png`: what draws it at a path, and in words what it shows."""

    name: str
    shows: str
    draw: Callable[[Path], Path]


@dataclass(frozen=True)
class Section:
    """One part of a page; a `brief` one is on the terminal too, and `code` is shown as it is."""

    title: str
    texts: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    code: str = ""
    brief: bool = False


@dataclass(frozen=True)
class Page:
    """A study's page.

    Attributes:
        title: in plain words.
        protocol: one line on what every figure below it was measured on and how.
        speakers: one line on whether its speakers were trained on.
        headline: name -> figure and what goes with it, e.g. its interval.
        sections: in order; those without content are left out.
    """

    title: str
    protocol: str
    speakers: str = ""
    headline: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    sections: Sequence[Section] = ()


def protocol_line(protocol: Protocol) -> str:
    """What stands beside every figure: corpus, folds, validation side, the rule that picked the epoch, seeds."""
    return "; ".join(f"{name}: {words(value)}" for name, value in protocol.facts().items())


def protocol_section(protocol: Protocol) -> Section:
    """The whole protocol as a table, its validation side explained."""
    facts = {name: words(value) for name, value in protocol.all_facts().items()}
    if facts.get("validation") in VALIDATION:
        facts["validation"] += f": {VALIDATION[facts['validation']]}"
    several = SEVERAL if protocol.votes == "several labels at once" else {}
    return Section("Protocol", tables=[Table(["", ""], list({**facts, **several, **BACKGROUND}.items()), names=2)])


def with_interval(measures: Measures, measure: str) -> str:
    """A measure with its interval, where it has one."""
    text = figure(measure, measures.get(measure))
    bounds = measures.get("interval", {}).get(measure)
    return f"{text} ({span(bounds)})" if bounds else text


def leaderboard_section(leaderboard: Sequence[LeaderboardRow]) -> Section:
    """EmoBox's leaderboard, where a study has its folds of a corpus."""
    names = {"ua": "UA", "wa": "WA", "macro_f1": "macro F1"}
    rows = [[row["encoder"], *(percent(row[measure]) for measure in names)] for row in leaderboard]
    if not rows:
        return Section("EmoBox's leaderboard")
    texts = ["Frozen encoders on the same folds, as arXiv 2406.07162 has them in its Table 4; the seeds are its own."]
    return Section("EmoBox's leaderboard", texts, [Table(["encoder", *names.values()], rows)], brief=True)


def conditions_section(clean: Measures, degraded: Mapping[str, InCondition]) -> Section:
    """What it costs that the judged recordings were made worse on purpose."""
    if not degraded:
        return Section("Conditions")
    compared = compared_by(clean)
    rows = [["as recorded", *(with_interval(clean, measure) for measure in compared), *[""] * 4]]
    for name, found in degraded.items():
        figures = [with_interval(found.metrics, measure) for measure in compared]
        rows.append([name, *figures, *compared_cells(vars(found))])
    header = ["condition", *(NAMES[measure] for measure in compared), *["difference", "95 % interval"] * 2]
    groups = ["", "", "", *compared_headings(clean)]
    texts = [
        "The same test utterances, made worse on purpose. Differences are percentage points against the recordings as "
        "they are, in pairs; their intervals come from drawing whole speakers for both at once."
    ]
    return Section("Conditions", texts, [Table(header, rows, groups=groups)], brief=True)


def change_cells(found: Change) -> list[str]:
    """A difference in percentage points, and its interval."""
    bounds = found.get("interval")
    between = f"{signed_points(bounds[0])} to {signed_points(bounds[1])}" if bounds else NOTHING
    return [signed_points(found["difference"]), between]


def compared_cells(found: Mapping[str, Any]) -> list[str]:
    """The differences in the two figures that are compared, each with its interval."""
    return [cell for measure in compared_by(found) for cell in change_cells(found[measure])]


def compared_headings(found: Mapping[str, Any]) -> list[str]:
    """What stands above `compared_cells`."""
    return [NAMES[measure] for measure in compared_by(found) for _ in range(2)]


def over_speakers(interval: Interval) -> str:
    """What the intervals of a table stand on, or why it has none; `interval` is that of one of its rows."""
    if len(interval) > 1:
        return f"in brackets the 95 % interval over {speakers_basis(interval.get('speakers'))}"
    return no_interval(interval["speakers"])


def mean_and_spread(summary: Mapping[str, Mapping[str, Spread]], task: str, measure: str) -> tuple[str, str]:
    """Mean and standard deviation over the folds, as text."""
    found = summary.get(task, {}).get(measure, {})
    return figure(measure, found.get("mean")), figure(measure, found.get("sd"))


def task_columns(metrics: Mapping[str, Measures], target: str) -> dict[str, tuple[str, str]]:
    """Column -> task and measure: all of the target's, and what tells most of each other task."""
    names = {"ua": "UA", "wa": "WA", "average_precision": "AP", "macro_f1": "macro F1", "ccc": "CCC", "rmse": "RMSE"}
    columns = {names[key]: (target, key) for key in names if key in metrics[target]}
    for task, measures in metrics.items():
        if task != target:
            shown = (key for key in ("wa", "average_precision", "cer", "wer", "ccc") if key in measures)
            columns |= {f"{task} {NAMES[key]}": (task, key) for key in shown}
    return columns


def share(part: int, whole: int) -> str:
    """A part in percent of the whole."""
    return percent(part / whole if whole else None)


def filled(sections: Iterable[Section]) -> list[Section]:
    """Those that have something to show."""
    return [each for each in sections if each.texts or each.tables or each.pictures or each.code]
