"""What labels look like in real tables: what of them is odd, and how a label map or the table's options mend it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping

from ..corpora.rows import Rows
from ..corpora.values import plain
from ..corpora.votes import leads, voted_labels, votes_of
from ..planning.folds import read

LABEL_REMARKS = {
    "shortened labels": "one may be short for the other, and they count as two: make them one by label_map, as in "
    '{"neu*": neutral}',
    "numbers as labels": "they are classes like any other: name them by label_map, as in {0: neutral, 1: happy}",
    "misread labels": "a program took a word for something else, such as no for False or 0011 for 11.0: mend the "
    "table, or name them by label_map",
    "several labels": "they look like lists: part the labels by ; or |, and they are read as votes",
    "lone labels": "one utterance alone cannot be both learned and judged: map or leave it out by label_map",
    "ties": "as many say one as another, and data.ties=drop leaves these without a label: data.votes=shares learns "
    "from them too",
    "not rated": "nobody rated these: they cost the loss on their rows, and nothing else",
}
"""By finding what it means, and how to mend it."""

SHORTEST = 2  # letters of what may be short for another label (ours)
MISREAD = re.compile(r"true|false|[-+]?\d+\.0+|[-+]?\d+(\.\d+)?e[-+]?\d+|\d{4}-\d\d-\d\d.*", re.IGNORECASE)
LISTED = re.compile(r"[^\W\d]+(\s*[,/+&]\s*[^\W\d]+)+")
SHOWN = 10


def label_findings(rows: Rows, target: str = "emotion") -> dict[str, dict[str, str]]:
    """By finding of `LABEL_REMARKS`, the target with the detail."""
    counts = count_labels(rows, target)
    found = {
        "shortened labels": _shortened(counts),
        "numbers as labels": _of(counts, str.isdecimal),
        "misread labels": _of(counts, MISREAD.fullmatch),
        "several labels": _of(counts, LISTED.fullmatch),
        "lone labels": ", ".join(label for label, count in sorted(counts.items()) if count == 1),
        **_vote_findings(rows, target),
    }
    return {name: {target: told} for name, told in found.items() if told}


def count_labels(rows: Rows, task: str) -> Counter[str]:
    """The utterances of each label, and of each that has votes alone."""
    voted = voted_labels(rows, task)
    given = (votes_of(rows, task, voted) > 0).sum(axis=0)
    labelled = Counter(str(label) for label in read(rows, task) if label is not None)
    return labelled + Counter({label: int(n) for label, n in zip(voted, given, strict=True) if label not in labelled})


def _shortened(counts: Mapping[str, int]) -> str:
    names = {label: plain(label) for label in counts}
    pairs = [
        f"{short!r} ({counts[short]:,}) and {long!r} ({counts[long]:,})"
        for short in sorted(names)
        for long in sorted(names)
        if len(names[short]) >= SHORTEST and len(names[short]) < len(names[long]) and names[short].isalpha()
        if names[long].startswith(names[short])
    ]
    return "; ".join(pairs[:SHOWN])


def _of(counts: Mapping[str, int], meant: Callable[[str], object]) -> str:
    return ", ".join([f"{label!r} ({counts[label]:,})" for label in sorted(counts) if meant(label)][:SHOWN])


def _vote_findings(rows: Rows, task: str) -> dict[str, str]:
    voted = voted_labels(rows, task)
    if not voted:
        return {}
    votes = votes_of(rows, task, voted)
    most = votes.max(axis=1, keepdims=True)
    rated = most[:, 0] > 0
    tied = rated & (leads(votes, most).sum(axis=1) > 1)
    return {
        name: f"{count:,} of {len(rows):,} rows" if count else ""
        for name, count in {"ties": int(tied.sum()), "not rated": int((~rated).sum())}.items()
    }
