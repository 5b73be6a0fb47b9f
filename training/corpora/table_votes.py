"""Tables in which several people rated a recording: columns of votes, and cells with several labels."""

from __future__ import annotations

import ast
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ...configuration.errors import UserError
from .rows import VOTES
from .values import plain, to_number, to_text
from .votes import leads, vote_column

PARTS = (";", "|")  # between the labels of a cell
SIDE_BY_SIDE = re.compile(r"(?<=['\"])\s+(?=['\"])")  # NumPy writes ['angry' 'sad']
WRAPPED = re.compile(r"(?:Counter|array)\(([\[{].*[\]}])(?:,\s*dtype=\w+)?\)", re.DOTALL)
CHECKED = {"true": 1.0, "false": 0.0}  # a box for each label
WHOLE = 0.02  # how far rounded shares may miss 1, or percentages 100 times as much 100 (ours)
ANY_LABEL = "*"  # as the label of a column whose cells name the labels themselves

Votes = dict[str, list[float | None]]
"""By column of votes its values."""


def vote_columns(names: Iterable[str], tasks: Iterable[str]) -> dict[str, str]:
    """By our name, those of a table's columns that are votes of these tasks, such as `Emotion:angry`."""
    known, found = {task.casefold(): task for task in tasks}, {}
    for name in names:
        task, colon, label = name.partition(VOTES)
        if colon and label.strip() and (ours := known.get(task.strip().casefold())):
            found[vote_column(ours, label.strip())] = name
    return found


def read_numbers(name: str, values: Sequence[Any], marks: Iterable[str], decimal_comma: bool) -> list[float | None]:
    """A column of votes; `UserError` for a cell that is no number of them, naming the row."""
    known, votes = {mark.casefold() for mark in marks}, []
    for row, value in enumerate(values):
        text = to_text(value)
        try:
            missing = text is None or text.casefold() in known
            votes.append(None if missing else _vote(_number(text, decimal_comma)))
        except ValueError as error:
            raise UserError(
                f"table: column {name!r} holds {text!r} in row {row}, which is no number of votes: mend it, or leave "
                "it empty where nobody rated"
            ) from error
    return votes


def read_several(name: str, values: Sequence[Any], marks: Iterable[str]) -> list[Counter[str] | None] | None:
    """By row the votes of cells that hold several labels, of which null means nobody; None where no cell does.

    Such cells are lists parted by `;` or `|`, JSON lists, or JSON objects with the votes by label.

    Raises:
        UserError: among them a cell in brackets that is neither, or a number that is none of votes, naming the row.
    """
    cells = [_parsed(value) for value in values]
    if not any(isinstance(cell, list | dict) for cell in cells):
        return None
    known = {mark.casefold() for mark in marks}
    return [None if cell is None else _counted(name, row, cell, known) for row, cell in enumerate(cells)]


def spread(task: str, votes: Sequence[Mapping[str, float] | None]) -> Votes:
    """Columns of votes, one a label by alphabet; null in all of them where nobody rated."""
    labels = sorted({label for row in votes if row for label in row})
    return {
        vote_column(task, label): [None if row is None else float(row.get(label, 0)) for row in votes]
        for label in labels
    }


def without_percentages(columns: Mapping[str, Sequence]) -> Votes:
    """The columns of votes that are percentages, as shares: they sum to 100 in every row of a task that is rated."""
    shares: Votes = {}
    for task in dict.fromkeys(name.partition(VOTES)[0] for name in columns if VOTES in name):
        voted = {name: columns[name] for name in columns if name.startswith(vote_column(task, ""))}
        sums = [sum(value or 0 for value in row) for row in zip(*voted.values(), strict=True)]
        if any(sums) and all(not total or abs(total - 100) <= 100 * WHOLE for total in sums):
            for name, values in voted.items():
                parts = zip(values, sums, strict=True)
                shares[name] = [None if value is None else value / (total or 100) for value, total in parts]
    return shares


def check_votes(columns: Mapping[str, Sequence], rows_named: Sequence[str]) -> None:
    """Refuses votes that cannot be, of each task of a table.

    Args:
        columns: all of the table, by our names.
        rows_named: each row's name, for errors.

    Raises:
        UserError: nobody rated at all, shares that do not sum to 1, or a label that most did not choose.
    """
    tasks = dict.fromkeys(name.partition(VOTES)[0] for name in columns if VOTES in name)
    for task in tasks:
        start = vote_column(task, "")
        voted = {name.removeprefix(start): values for name, values in columns.items() if name.startswith(start)}
        rows = [dict(zip(voted, row, strict=True)) for row in zip(*voted.values(), strict=True)]
        known = [value for row in rows for value in row.values() if value is not None]
        if not any(known):
            raise UserError(
                f"table: no row has a vote in {', '.join(vote_column(task, label) for label in voted)}: fill them, or "
                f"leave them out, as columns={{{vote_column(task, next(iter(voted)))}: null}}"
            )
        of_shares = max(known) <= 1 and any(value % 1 for value in known)
        for row, votes in enumerate(rows):
            where = f"row {row} ({rows_named[row]})"
            if of_shares:
                _refuse_other_sums(where, task, votes)
            _refuse_contradiction(where, task, columns.get(task, [None] * len(rows))[row], votes)


def _number(text: str, decimal_comma: bool) -> float:
    checked = CHECKED.get(text.casefold())
    return to_number(text, False, decimal_comma) if checked is None else checked


def _vote(number: float) -> float:
    if number < 0:
        raise ValueError(f"{number} is negative")
    return float(number)


def _parsed(value: Any) -> Any:
    """A cell as a label, a list of labels or a mapping of votes."""
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, dict):
        return value
    text = to_text(value)
    if text is None:
        return None
    if wrapped := WRAPPED.fullmatch(text):
        text = wrapped[1]
    if _in_brackets(text):
        for read in (json.loads, _of_python):
            with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
                return read(text)
        return text
    part = next((part for part in PARTS if part in text), None)
    return text if part is None else text.split(part)


def _of_python(text: str) -> Any:
    """A list or mapping as pandas and NumPy write it."""
    return ast.literal_eval(SIDE_BY_SIDE.sub(", ", text))


def _in_brackets(text: str) -> bool:
    return (text[0], text[-1]) in (("[", "]"), ("{", "}"))


def _counted(name: str, row: int, cell: Any, marks: set[str]) -> Counter[str]:
    """The votes of a cell."""
    if isinstance(cell, dict):
        counts = {to_text(label): _count(name, row, count) for label, count in cell.items() if count is not None}
    elif isinstance(cell, list):
        counts = Counter(map(to_text, cell))
    elif isinstance(cell, str) and not _in_brackets(cell):
        counts = Counter([cell])
    else:
        raise UserError(
            f"table: column {name!r} holds {str(cell)[:40]!r} in row {row}, which is neither a JSON list nor a JSON "
            "object: mend it"
        )
    return Counter({label: count for label, count in counts.items() if label and label.casefold() not in marks})


def _count(name: str, row: int, count: Any) -> float:
    with suppress(TypeError, ValueError):
        if not isinstance(count, bool) and math.isfinite(float(count)):
            return _vote(float(count))
    raise UserError(f"table: column {name!r} holds {count!r} votes in row {row}: give a number from 0 on")


def _refuse_other_sums(where: str, task: str, votes: Mapping[str, float | None]) -> None:
    known = [value for value in votes.values() if value is not None]
    if known and abs(sum(known) - 1) > WHOLE:
        raise UserError(
            f"table: {where} has shares of the {task} that sum to {sum(known):g} instead of 1: mend them, give all "
            "labels (label_map takes one away later), or leave the row empty where nobody rated"
        )


def _refuse_contradiction(where: str, task: str, label: str | None, votes: Mapping[str, float | None]) -> None:
    most = max((value for value in votes.values() if value is not None), default=0)
    leading = [name for name, value in votes.items() if value is not None and leads(value, most)]
    if label is None or not most or plain(label) in map(plain, leading):
        return
    raise UserError(
        f"table: {where} has the {task} {label!r}, but most votes are for {' and '.join(leading)} ({most:g}): mend "
        f"one of them, or leave the label out, as columns={{{task}: null}}, and the majority takes its place"
    )
