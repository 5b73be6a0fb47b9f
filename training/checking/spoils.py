"""What of a corpus would spoil a result, as far as its table tells: who says what, and in which labels."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from ..corpora.remarks import SPELLINGS
from ..corpora.rows import RATINGS, SEGMENT, Rows
from ..corpora.values import MISSING, spelling_remarks
from ..planning.folds import read

SPOILS = {
    "no emotion": "nothing can be learned: say which column has it, as columns={emotion: mine}",
    "one emotion": "there is nothing to tell apart",
    "no speaker": "training and test may share voices, and nobody can tell: give each row its speaker; of "
    "corpus=folders options.speaker=REGEX reads it from the path",
    "few speakers": "a result on one or two voices says little of others: add speakers",
    "one emotion a speaker": "most speakers have one emotion each: a model can learn the voice in its place",
    "emotion of one speaker": "where that speaker is tested nothing is left to learn it from",
    "spellings": SPELLINGS,
    "marks as labels": "they look like marks of missing values, and are classes: add them to missing=[...] in a "
    "table, map them to null by label_map in any corpus",
}
"""Findings for which `ser-meta check` ends with exit code 1."""

FEW = 2  # speakers
UNKNOWN = {"unknown", "unk", "undefined", "unspecified", "unlabeled", "unlabelled", "missing", "nil", "nan", "xxx"}
MARKS = {mark.casefold() for mark in MISSING} | UNKNOWN
NO_LABELS = ("utterance_id", "transcript", "age", *RATINGS, *SEGMENT)


def spoiling_findings(rows: Rows, target: str = "emotion") -> dict[str, dict[str, str]]:
    """By finding, what it is about with the detail; `target` is the task whose labels are the emotions."""
    emotions = read(rows, target)
    labels = [name for name, kind in rows.types.items() if kind == "string" and name not in NO_LABELS]
    marks = {name: told for name in labels if (told := _marks(rows[name]))}
    return {
        **_emotion_findings(emotions, target),
        **_speaker_findings(rows["speaker"], emotions),
        "spellings": spelling_remarks(rows, labels),
        "marks as labels": marks,
    }


def _emotion_findings(emotions: Sequence[str | None], target: str) -> dict[str, dict[str, str]]:
    known = Counter(emotion for emotion in emotions if emotion is not None)
    if not known:
        return {"no emotion": {target: f"none in {len(emotions):,} rows"}}
    if len(known) == 1:
        label, count = next(iter(known.items()))
        return {"one emotion": {target: f"{label} in all {count:,} rows that have one"}}
    return {}


def _speaker_findings(
    of_rows: Sequence[str | None], emotions_of_rows: Sequence[str | None]
) -> dict[str, dict[str, str]]:
    emotions: dict[str, set[str]] = defaultdict(set)
    speakers: dict[str, set[str]] = defaultdict(set)
    for speaker, emotion in zip(of_rows, emotions_of_rows, strict=True):
        if speaker is not None and emotion is not None:
            emotions[speaker].add(emotion)
            speakers[emotion].add(speaker)
    known = sorted({speaker for speaker in of_rows if speaker is not None})
    if not known:
        return {"no speaker": {"speaker": f"none in {len(of_rows):,} rows"}}
    found = {}
    if len(known) <= FEW:
        found["few speakers"] = {"speaker": " and ".join(known)}
    single = {speaker: next(iter(heard)) for speaker, heard in emotions.items() if len(heard) == 1}
    if len(speakers) > 1 and 2 * len(single) > len(emotions):
        told = {f"speaker {speaker}": f"{emotion} alone" for speaker, emotion in sorted(single.items())}
        found["one emotion a speaker"] = {"speakers": f"{len(single):,} of {len(emotions):,}"} | told
    elif len(known) > FEW:
        lone = {emotion: next(iter(heard)) for emotion, heard in sorted(speakers.items()) if len(heard) == 1}
        found["emotion of one speaker"] = {emotion: f"speaker {speaker} alone" for emotion, speaker in lone.items()}
    return found


def _marks(values: list[str | None]) -> str:
    met = Counter(value for value in values if value is not None and value.casefold() in MARKS)
    return ", ".join(f"{mark!r} ({count:,})" for mark, count in met.most_common())
