"""What a conversation's turns say of each speaker: shares of the time spoken, as a whole and as it goes on."""

from collections.abc import Mapping, Sequence
from typing import Any

from .predictions_table import UNCERTAIN, is_ranking, leading_task

PART_SECONDS = (10, 30, 60, 120, 300, 600, 1_800, 3_600)
PARTS = 10  # of a conversation, at most, as long as the longest of these parts allows


def speaker_summaries(segments: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """By speaker, in the order in which they begin to speak.

    Args:
        segments: of a conversation: `start`, `end`, `speaker`, and what is said of each.

    Returns:
        `{"turns", "seconds", "shares", "over_time"}`: how often and how long they speak, the share of that time by
        label, the largest first, and of each part of the conversation `{"start", "end", "turns", "seconds",
        "shares"}`. Silent time is left out of the shares, and what is abstained from is `uncertain`.
    """
    parts = parts_of(max((segment["end"] for segment in segments), default=0.0))
    found = {}
    for speaker in dict.fromkeys(segment["speaker"] for segment in segments):
        own = [segment for segment in segments if segment["speaker"] == speaker]
        found[speaker] = {**_within(own, 0.0, float("inf")), "over_time": []}
        for start, end in parts:
            found[speaker]["over_time"].append({"start": start, "end": end, **_within(own, start, end)})
    return found


def parts_of(seconds: float) -> list[tuple[float, float]]:
    """At most ten parts of one length, a round one, of a conversation of so many seconds."""
    length = next((length for length in PART_SECONDS if seconds <= PARTS * length), PART_SECONDS[-1])
    starts = range(0, max(1, -int(-seconds // 1)), length)
    return [(float(start), round(min(start + length, max(seconds, start)), 3)) for start in starts]


def summary_rows(result: Mapping[str, Any], labels: Sequence[str]) -> list[dict[str, Any]]:
    """A conversation's speakers as rows of a table: of each the whole, then its parts.

    Args:
        result: with `speakers`, see `speaker_summaries`.
        labels: each has a column of shares, and so has what is uncertain.
    """
    end = max((part["end"] for of in result["speakers"].values() for part in of["over_time"]), default=0.0)
    rows = []
    for speaker, summary in result["speakers"].items():
        whole = {"start": 0.0, "end": end, "part": "whole"}
        parts = [{**part, "part": number} for number, part in enumerate(summary["over_time"], start=1)]
        for part in ({**summary, **whole}, *parts):
            row = {"speaker": speaker, **{name: part[name] for name in ("part", "start", "end", "turns", "seconds")}}
            rows.append(row | {f"share_{label}": part["shares"].get(label, 0.0) for label in (*labels, UNCERTAIN)})
    return rows


def _within(segments: Sequence[Mapping[str, Any]], start: float, end: float) -> dict[str, Any]:
    """Of what is said between two times: turns, seconds, and shares by label."""
    seconds: dict[str, float] = {}
    spoken, turns = 0.0, set()
    for segment in segments:
        lasts = min(end, segment["end"]) - max(start, segment["start"])
        if lasts <= 0:
            continue
        spoken += lasts
        turns.add(segment["turn"])
        if label := _label(segment):
            seconds[label] = seconds.get(label, 0.0) + lasts
    total = sum(seconds.values())
    shares = sorted(seconds.items(), key=lambda item: -item[1])
    return {
        "turns": len(turns),
        "seconds": round(spoken, 3),
        "shares": {label: round(lasts / total, 4) for label, lasts in shares},
    }


def _label(segment: Mapping[str, Any]) -> str | None:
    leading = leading_task(segment)
    if segment.get("silent") or leading is None or not is_ranking(segment[leading]):
        return None
    return UNCERTAIN if segment.get("abstained") else segment[leading][0]["label"]
