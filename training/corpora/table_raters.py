"""Tables with a row for each rater of a recording, as one row a recording."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...configuration.errors import UserError
from .rows import RATINGS, VOTES
from .table_votes import spread
from .values import to_number

RATER, WEIGHT = "rater", "rater_weight"


def merge_raters(
    ids: Sequence[str], columns: Mapping[str, list], tasks: Iterable[str]
) -> tuple[list[int], dict[str, list]]:
    """The first row of each recording, and the columns of these rows in which all its raters have their part.

    A rater's label of the task `emotion` is one vote, and so is that of a further task on which raters differ; where
    the table has weights other than 1, they are shares by weight. Ratings become their means, and votes in columns
    their sums.

    Args:
        ids: of the recording that each row rates.
        columns: by our name, with `rater` among them.
        tasks: that raters may differ on.

    Raises:
        UserError: a rater who rates a recording twice, a weight that is none, and whatever else differs between the
            rows of a recording.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(ids):
        groups[name].append(row)
    _refuse_second_ratings(groups, columns[RATER])
    weights = _weights(columns.get(WEIGHT, [None] * len(ids)))
    merged: dict[str, list] = {}
    for name, values in columns.items():
        if name in (RATER, WEIGHT):
            continue
        if name in tasks and (name == "emotion" or _differs(groups, values)):
            votes = [_votes(values, rows, weights) for rows in groups.values()]
            merged |= spread(name, votes if set(weights) == {1.0} else [*map(_shares, votes)])
        elif name in RATINGS and not any(isinstance(value, str) for value in values):
            merged[name] = [_mean(values, rows, weights) for rows in groups.values()]
        elif VOTES in name:
            merged[name] = [_sum(values, rows, weights) for rows in groups.values()]
        else:
            merged[name] = [_agreed(name, values, rows) for rows in groups.values()]
    return [rows[0] for rows in groups.values()], merged


def _refuse_second_ratings(groups: Mapping[str, Sequence[int]], raters: Sequence[str | None]) -> None:
    for name, rows in groups.items():
        count = Counter(raters[row] for row in rows if raters[row] is not None)
        rater = next((rater for rater, ratings in count.items() if ratings > 1), None)
        if rater is not None:
            twice = " and ".join(str(row) for row in rows if raters[row] == rater)
            raise UserError(
                f"table: rater {rater!r} rates {name} more than once, in rows {twice}: keep one of the ratings, or "
                "leave the rater's cell empty where that is nobody in particular"
            )


def _weights(cells: Sequence[str | None]) -> list[float]:
    """A rater's weight by row; 1 where none is given."""
    weights = []
    for row, cell in enumerate(cells):
        try:
            weights.append(1.0 if cell is None else to_number(cell, whole=False))
        except ValueError:
            weights.append(-1.0)
        if weights[-1] < 0:
            raise UserError(f"table: {WEIGHT} is {cell!r} in row {row}: give a number from 0 on")
    return weights


def _votes(values: Sequence[Any], rows: Sequence[int], weights: Sequence[float]) -> dict[str, float] | None:
    """The votes of a recording's raters; null where none gave a label."""
    rated = [row for row in rows if values[row] is not None]
    votes: dict[str, float] = defaultdict(float)
    for row in rated:
        votes[values[row]] += weights[row]
    return dict(votes) if rated else None


def _shares(votes: Mapping[str, float] | None) -> dict[str, float] | None:
    """Votes of different weight as shares, since their sum is no number of raters; null where they weigh nothing."""
    total = sum((votes or {}).values())
    return {label: votes[label] / total for label in votes} if total else None


def _sum(values: Sequence[float | None], rows: Sequence[int], weights: Sequence[float]) -> float | None:
    known = [values[row] * weights[row] for row in rows if values[row] is not None]
    return sum(known) if known else None


def _mean(values: Sequence[Any], rows: Sequence[int], weights: Sequence[float]) -> float | None:
    known = [row for row in rows if values[row] is not None]
    if not known:
        return None
    total = sum(weights[row] for row in known)
    return sum(values[row] * weights[row] for row in known) / total if total else None


def _differs(groups: Mapping[str, Sequence[int]], values: Sequence[Any]) -> bool:
    return any(len({values[row] for row in rows} - {None}) > 1 for rows in groups.values())


def _agreed(name: str, values: Sequence[Any], rows: Sequence[int]) -> Any:
    """What the rows of a recording have in common; `UserError` where they differ."""
    known = {values[row]: row for row in reversed(rows) if values[row] is not None}
    if len(known) > 1:
        (one, first), (other, second) = sorted(known.items(), key=lambda item: item[1])[:2]
        raise UserError(
            f"table: rows {first} and {second} are of one recording, but have {name} {one!r} and {other!r}: mend it, "
            f"leave it out as columns={{{name}: null}}, or give each part its start and end"
        )
    return next(iter(known), None)
