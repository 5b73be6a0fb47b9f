"""Labels as several people gave them: beside a task's one label a row, a column of votes for each class.

The votes of the task `emotion` for `angry` stand in the column `emotion:angry`: counts, or shares,
also of raters of different weight. Null in all of them means that nobody rated; null in some counts as 0 there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .rows import VOTES, Rows

if TYPE_CHECKING:
    from datasets import Dataset


def vote_column(task: str, label: str) -> str:
    """The name of the column with a task's votes for a label."""
    return f"{task}{VOTES}{label}"


def voted_tasks(rows: Dataset | Rows) -> list[str]:
    """The tasks that have votes."""
    return list(dict.fromkeys(name.partition(VOTES)[0] for name in rows.column_names if VOTES in name))


def voted_labels(rows: Dataset | Rows, task: str) -> list[str]:
    """The labels that a task has votes for, in the order of their columns."""
    start = vote_column(task, "")
    return [name.removeprefix(start) for name in rows.column_names if name.startswith(start)]


def votes_of(rows: Dataset | Rows, task: str, labels: Sequence[str]) -> np.ndarray:
    """The votes (rows, labels) as given, 0 for a label without a column; NaN where nobody rated.

    Votes for other labels than these are left aside: a row that has no others is NaN too.
    """
    votes = np.full((len(rows), len(labels)), np.nan)
    for place, label in enumerate(labels):
        if (name := vote_column(task, label)) in rows.column_names:
            votes[:, place] = np.array(list(rows[name]), float)
    unrated = np.isnan(votes).all(axis=1)
    return np.where(unrated[:, None], np.nan, np.nan_to_num(votes))


def shares_of(rows: Dataset | Rows, task: str, labels: Sequence[str]) -> np.ndarray:
    """The shares (rows, labels) of the votes, which sum to 1; a row without votes has its one label's share, 1.

    NaN where a row has neither.
    """
    votes = votes_of(rows, task, labels)
    sums = np.nansum(votes, axis=1, keepdims=True)
    return np.where(sums > 0, votes / np.where(sums > 0, sums, 1), certain_shares(rows, task, labels))


def certain_shares(rows: Dataset | Rows, task: str, labels: Sequence[str]) -> np.ndarray:
    """The share 1 (rows, labels) of each row's one label; NaN where it has none of these."""
    place = {label: number for number, label in enumerate(labels)}
    shares = np.full((len(rows), len(labels)), np.nan)
    for row, label in enumerate(rows[task] if task in rows.column_names else ()):
        if label in place:
            shares[row] = np.eye(len(labels))[place[label]]
    return shares


def several_of(rows: Dataset | Rows, task: str, labels: Sequence[str]) -> np.ndarray:
    """Which of the labels (rows, labels) a row has, 1 or 0, where it may have several; NaN where it is not known."""
    votes = votes_of(rows, task, labels)
    return np.where(np.isnan(votes), certain_shares(rows, task, labels), votes > 0)


def learned_shares(rows: Dataset | Rows, task: str, labels: Sequence[str], votes: str, ties: str) -> np.ndarray | None:
    """What a recipe's `data.votes` and `data.ties` learn from: shares (rows, labels); None for one label a row.

    With the majority and `ties: all`, the labels that have most votes share a row that has no label of its own.
    """
    if votes == "shares":
        return shares_of(rows, task, labels)
    if ties != "all":
        return None
    shares, certain = shares_of(rows, task, labels), certain_shares(rows, task, labels)
    most = np.where(np.isnan(shares), np.nan, leads(shares, shares.max(axis=1, keepdims=True)))
    return np.where(np.isnan(certain), most / np.sum(most, axis=1, keepdims=True), certain)


def with_majority(rows: Rows, ties: str = "drop") -> Rows:
    """The rows with the label that most raters chose, where a task has votes.

    A corpus's own labels stay as they are, and so does the lack of one, such as of a consensus. `ties` says what
    becomes of a row whose labels are tied: `drop` gives it none, and so does `all`; `first` the first of the labels by
    alphabet, also where the corpus itself has none.
    """
    columns = {}
    for task in voted_tasks(rows):
        own = rows[task] if task in rows.column_names else [None] * len(rows)
        if ties == "first" or not any(label is not None for label in own):
            labels = sorted(voted_labels(rows, task))
            chosen = [_most(votes, labels, ties) for votes in votes_of(rows, task, labels)]
            columns[task] = [one if other is None else other for one, other in zip(chosen, own, strict=True)]
    return rows.with_columns(columns) if columns else rows


def leads(votes: np.ndarray | float, most: np.ndarray | float) -> np.ndarray:
    """Which votes are as many as the most: weights and shares that were added may differ by rounding."""
    return np.isclose(votes, most, rtol=1e-9, atol=0)


def _most(votes: np.ndarray, labels: Sequence[str], ties: str) -> str | None:
    """The label that most chose; null where nobody did."""
    if not np.nansum(votes) > 0:
        return None
    most = [label for label, count in zip(labels, votes, strict=True) if leads(count, votes.max())]
    return most[0] if len(most) == 1 or ties == "first" else None
