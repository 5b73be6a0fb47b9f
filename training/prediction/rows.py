"""Predictions as the rows of a table."""

from typing import Any


def flat_row(result: dict[str, Any]) -> dict[str, Any]:
    """A result as one row: a classification T as T, `T_score`, and `T_<label>` for the score of every label."""
    row = {}
    for name, value in result.items():
        if name in ("segments", "abstained"):
            continue
        if isinstance(value, list):
            row |= {name: value[0]["label"], f"{name}_score": value[0]["score"]}
            row |= {f"{name}_{entry['label']}": entry["score"] for entry in sorted(value, key=lambda e: e["label"])}
        else:
            row[name] = value
    return {**row, "abstained": result.get("abstained")}


def segment_rows(result: dict[str, Any], target: str) -> list[dict[str, Any]] | None:
    """A result's segments as `{"start", "end", "label", "score"}`; None where it was not cut into windows."""
    if "segments" not in result:
        return None
    return [{"start": each["start"], "end": each["end"], **each[target][0]} for each in result["segments"]]
