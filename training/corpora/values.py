"""What the cells of a table mean: marks of missing values, numbers, times, and labels in several spellings."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from ...configuration.printable import one_line
from .rows import VOTES, Rows

MISSING = ("NA", "N/A", "#N/A", "<NA>", "NaN", "None", "Null", "-", "--", "?")
"""Marks that stand for no value, in any case, beside an empty cell, in every column but `NAMES`."""

NAMES = ("utterance_id", "speaker", "session", "transcript", "split", "rater")
"""Columns in which only an empty cell is a missing value: a speaker may be called Nan."""

WHO = ("speaker", "session")
"""Columns that say who is meant, by which folds are made: 01 and 1 are one."""

DECORATED = re.compile(r"(?<!\d)0+(?=\d)|(?<=\d)\.0+$")  # zeros that change no number
TIME_UNITS = ("s", "ms", "h:m:s")


def to_text(value: object) -> str | None:
    """A cell as text on one line; null for an empty one. Whole numbers in a column with NaN lose their ".0"."""
    if isinstance(value, float):
        if math.isnan(value):
            return None
        value = int(value) if value.is_integer() else value
    return None if value is None else one_line(str(value)).strip() or None


def without_marks(values: Sequence[str | None], marks: Iterable[str]) -> tuple[list[str | None], Counter[str]]:
    """The values with null for a mark of a missing one, and how often each mark was met."""
    known = {mark.casefold() for mark in marks}
    met = Counter(value for value in values if value is not None and value.casefold() in known)
    return [None if value in met else value for value in values], met


def to_number(text: str, whole: bool, decimal_comma: bool = False) -> int | float:
    """A number, whole ones also as "23.0"; `ValueError` for any other text."""
    number = float(text.replace(",", ".", 1) if decimal_comma else text)
    if not math.isfinite(number):
        raise ValueError(f"{text!r} is not finite")
    if not whole:
        return number
    if not number.is_integer():
        raise ValueError(f"{text!r} is not whole")
    return int(number)


def to_seconds(text: str, unit: str, decimal_comma: bool = False) -> float:
    """A time in seconds; `ValueError` for what is none in this unit."""
    if unit == "h:m:s":
        *larger, seconds = text.replace(",", ".").split(":")
        if len(larger) > 2 or not all(part.strip().isdecimal() for part in larger):
            raise ValueError(text)
        total = to_number(seconds, whole=False)
        for place, part in enumerate(reversed(larger), start=1):
            total += int(part) * 60**place
    else:
        total = to_number(text, whole=False, decimal_comma=decimal_comma) / (1000 if unit == "ms" else 1)
    if total < 0:
        raise ValueError(text)
    return total


def to_channel(text: str | None) -> str | None:
    """A channel: `left`, `right` or a number from 0; null for all of them, mixed. `ValueError` for any other text."""
    if text is None or text.lower() == "mix":
        return None
    if text.lower() not in ("left", "right") and not (text.isdecimal() and text.isascii()):
        raise ValueError(repr(text))
    return text.lower()


def plain(label: str) -> str:
    """A label without case, accents and gaps; between numbers a gap counts, as in 1-1 and 11."""
    letters = unicodedata.normalize("NFKD", label.casefold())
    words = "".join(" " if letter in "_-" else letter for letter in letters if not unicodedata.combining(letter))
    return (" " if any(map(str.isdigit, words)) else "").join(words.split()) or label


def plain_name(name: str) -> str:
    """The same of a speaker or session, to whom 01, 1 and 1.0 are one number too."""
    return plain(DECORATED.sub("", name))


def spellings(values: Iterable[str | None], same: Callable[[str], str] = plain) -> list[dict[str, int]]:
    """Labels that differ in case, spaces or accents alone: of each such group the spellings with their counts."""
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for value in values:
        if value is not None:
            groups[same(value)][value] += 1
    return [dict(group.most_common()) for group in groups.values() if len(group) > 1]


def spelling_remarks(rows: Rows, columns: Iterable[str]) -> dict[str, str]:
    """By column, the labels of which there are several spellings."""
    found = {}
    for name in columns:
        labels = rows[name] if rows.types.get(name) == "string" else []
        same = plain_name if name in WHO else plain
        if groups := spellings([*labels, *_voted_alone(rows, name, labels)], same):
            found[name] = "; ".join(
                " and ".join(f"{label!r} ({count:,})" for label, count in group.items()) for group in groups
            )
    return found


def _voted_alone(rows: Rows, name: str, labels: Sequence[str | None]) -> list[str]:
    """The labels that have votes alone, as often as somebody gave one."""
    start = f"{name}{VOTES}"
    voted = {column.removeprefix(start): rows[column] for column in rows.column_names if column.startswith(start)}
    return [label for label, votes in voted.items() if label not in labels for value in votes if value]


def merge_spellings(rows: Rows) -> Rows:
    """Labels that differ in case, spaces or accents alone in the spelling that most have, or the first of equals."""
    columns: dict[str, list] = {}
    for name, kind in rows.types.items():
        if kind == "string" and name not in ("utterance_id", "transcript"):
            usual = usual_spellings(spellings(rows[name]))
            if usual:
                columns[name] = [usual.get(value, value) for value in rows[name]]
    return rows.with_columns(columns) if columns else rows


def usual_spellings(groups: Sequence[Mapping[str, int]]) -> dict[str, str]:
    """By label of these groups the spelling that most have, or the first of equals."""
    return {label: min(group, key=lambda name: (-group[name], name)) for group in groups for label in group}


def holds_several(label: str) -> str | None:
    """What a cell is that holds more, or less, than one label: a list, a mapping or a share; None for a label."""
    if (label[0], label[-1]) in (("[", "]"), ("(", ")")):
        return "a list"
    if (label[0], label[-1]) == ("{", "}"):
        return "a mapping"
    try:
        number = float(label)
    except ValueError:
        return None
    return "a share or a rating" if math.isfinite(number) and not number.is_integer() else None
