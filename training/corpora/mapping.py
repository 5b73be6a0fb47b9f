"""Labels brought to a shared set, by name or by pattern: those of a task, and the votes for them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

import numpy as np

from ...configuration.errors import UserError
from .rows import Rows
from .values import plain, spellings, usual_spellings
from .votes import vote_column, voted_labels, voted_tasks, votes_of, with_majority

ANYTHING = "*"  # within a name: any letters, or none
NAMES_SHOWN = 20


def map_labels(rows: Rows, label_map: Mapping[str, Mapping[str, str | None]], target: str, corpus: str) -> Rows:
    """A corpus with the labels of a shared set; see `CorpusRecipe`. `corpus` is its name in errors.

    Votes for labels that become one are added. Those for a label that is mapped to null are taken away, and with them
    an utterance of the target that has no others and no label.

    Raises `UserError` for a column that holds no labels, a name that none of the corpus's labels has, and a map that
    drops every utterance.
    """
    mapped, dropped = rows, set()
    for task, names in label_map.items():
        shared = _shared(rows, task, names, corpus)
        if task in rows.column_names:
            mapped = mapped.with_columns({task: [shared.get(label, label) for label in rows[task]]})
        mapped = _map_votes(mapped, task, shared, corpus)
        if task == target:
            labels = rows[task] if task in rows.column_names else []
            dropped = {row for row, label in enumerate(labels) if label is not None and shared[label] is None}
            dropped |= _left_without(rows, mapped, task)
    if not dropped:
        return mapped
    if len(dropped) == len(rows):
        raise UserError(f"{corpus}: label_map drops every utterance: keep some {target}")
    return mapped.select(row for row in range(len(rows)) if row not in dropped)


def with_outvoted(rows: Rows, label_map: Mapping[str, Mapping[str, str | None]], ties: str, corpus: str) -> Rows:
    """The rows with the label that most raters chose, of tasks without labels of which the map takes some away.

    Without it, the votes that are left would give a row to those who were outvoted. Raises `UserError` as
    `map_labels`.
    """
    columns = {}
    for task, names in label_map.items():
        voted = voted_labels(rows, task)
        labelled = task in rows.column_names and any(label is not None for label in rows[task])
        if voted and not labelled and None in names.values():
            shared = _shared(rows, task, names, corpus)
            one_of = {shared[label]: label for label in reversed(voted)}  # what becomes one counts as one
            counted = {label: label if shared[label] is None else one_of[shared[label]] for label in voted}
            columns[task] = with_majority(_map_votes(rows, task, counted, corpus), ties)[task]
    return rows.with_columns(columns) if columns else rows


def merge_voted_spellings(rows: Rows) -> Rows:
    """Votes for labels that differ in case, spaces or accents alone under the spelling that most have."""
    for task in voted_tasks(rows):
        voted = voted_labels(rows, task)
        counts = [label for label in voted for value in rows[vote_column(task, label)] if value]
        usual = usual_spellings(spellings(counts))
        rows = _map_votes(rows, task, {label: usual.get(label, label) for label in voted}, task)
    return rows


def _shared(rows: Rows, task: str, names: Mapping[str, str | None], corpus: str) -> dict[str, str | None]:
    """By label of the corpus what it becomes.

    A label goes by its own name; or else by one that differs in case, spaces or accents alone; or else by the first
    pattern that it fits.
    """
    labels = [name for name, kind in rows.types.items() if kind == "string"]
    voted = voted_tasks(rows)
    if task not in (*labels, *voted):
        told = dict.fromkeys([*labels, *voted])
        raise UserError(f"{corpus}: label_map cannot map {task}: columns of labels are {', '.join(told)}")
    values = rows[task] if task in labels else []
    known = sorted({*values, *voted_labels(rows, task)} - {None})
    for name in names:
        if not any(_fits(name, label) for label in known):
            raise UserError(
                f"{corpus}: label_map names the {task} {name!r}, which the corpus does not have: {_hint(name, known)}"
            )
    return {label: _meant(label, names) for label in known}


def _meant(label: str, names: Mapping[str, str | None]) -> str | None:
    if label in names:
        return names[label]
    alike = [name for name in names if ANYTHING not in name and _fits(name, label)]
    patterns = [name for name in names if ANYTHING in name and _fits(name, label)]
    return next((names[name] for name in (*alike, *patterns)), label)


def _fits(name: str, label: str) -> bool:
    """Whether a name of a map means a label: `neu*` is any that begins so, in any case."""
    if ANYTHING not in name:
        return name == label or plain(name) == plain(label)
    pattern = ".*".join(re.escape(part) for part in name.casefold().split(ANYTHING))
    return name == label or re.fullmatch(pattern, label.casefold(), re.DOTALL) is not None


def _hint(name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name, known)
    return f"did you mean {' or '.join(close)}?" if close else f"it has {', '.join(known[:NAMES_SHOWN]) or 'none'}"


def _map_votes(rows: Rows, task: str, shared: Mapping[str, str | None], corpus: str) -> Rows:
    """The rows with the votes for each shared label; a remark tells how many votes are left out."""
    voted = voted_labels(rows, task)
    if not voted or all(shared[label] == label for label in voted):
        return rows
    given = {label: rows[vote_column(task, label)] for label in voted}
    kept = dict.fromkeys(shared[label] for label in voted if shared[label] is not None)
    columns = {
        vote_column(task, name): _sums([given[label] for label in voted if shared[label] == name]) for name in kept
    }
    mapped = rows.without_columns(vote_column(task, label) for label in voted).with_columns(columns)
    counts = {label: sum(count or 0 for count in given[label]) for label in voted}
    lost = {label: counts[label] for label in voted if shared[label] is None and counts[label]}
    if lost:
        told = ", ".join(f"{label} {count:g}" for label, count in lost.items())
        mapped.remarks.setdefault("votes left out", {})[f"{corpus}: {task}"] = (
            f"{sum(lost.values()):g} of {sum(counts.values()):g} ({told})"
        )
    return mapped


def _sums(columns: Iterable[Sequence[float | None]]) -> list[float | None]:
    """The sums of columns row by row; null where all are."""
    return [
        sum(value for value in values if value is not None) if any(value is not None for value in values) else None
        for values in zip(*columns, strict=True)
    ]


def _left_without(rows: Rows, mapped: Rows, task: str) -> set[int]:
    """The rows that had votes, and have none left, nor a label."""
    before = np.nansum(votes_of(rows, task, voted_labels(rows, task)), axis=1)
    after = np.nansum(votes_of(mapped, task, voted_labels(mapped, task)), axis=1)
    labels = mapped[task] if task in mapped.column_names else [None] * len(mapped)
    return {int(row) for row in np.flatnonzero((before > 0) & (after == 0)) if labels[row] is None}
