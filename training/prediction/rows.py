"""Predictions as the rows of a table."""

from typing import Any

from ...hub_cards.page.predictions_table import BESIDE_TASKS, answered_task, of_a_row


def flat_row(result: dict[str, Any], **facts: Any) -> dict[str, Any]:
    """A result, or a segment, as one row: a classification T as T, `T_score`, and `T_<label>` for every label's score.

    Several labels at once stand in T as in "angry;sad", and have no `T_score`.

    Of what is silent nothing is told, and of a result that is abstained from no label: no count takes it for one.

    Args:
        result: as a prediction has it, with what it is of in front.
        facts: more of what it is of, such as the `duration` of a recording.
    """
    row = of_a_row(result) | facts
    silent, answer = result.get("silent", False), answered_task(result)
    for name, value in _tasks(result).items():
        if isinstance(value, list):
            several = "present" in value[0]
            label = ";".join(entry["label"] for entry in value if entry["present"]) if several else value[0]["label"]
            told = {name: None if result.get("abstained") and name == answer else label}
            told |= {} if several else {f"{name}_score": value[0]["score"]}
            told |= {f"{name}_{entry['label']}": entry["score"] for entry in sorted(value, key=lambda e: e["label"])}
        else:
            told = {name: value}
        row |= dict.fromkeys(told) if silent else told
    row |= {"familiar": result["familiar"]} if "familiar" in result else {}
    return {**row, **{name: result.get(name) for name in ("abstained", "abstained_because")}}


def column_types(result: dict[str, Any]) -> dict[str, type]:
    """The type of each column of a recording's `flat_row`, also of those that are empty in this row."""
    types = {"utterance_id": str, "file": str, "channel": int, "abstained": bool, "abstained_because": str}
    texts = [name for name, value in _tasks(result).items() if isinstance(value, (list, str))]
    return {name: str if name in texts else types.get(name, float) for name in flat_row(result, duration=None)}


def rounded(row: dict[str, Any]) -> dict[str, Any]:
    """A row with its numbers to four digits, as a person reads them."""
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}


def _tasks(result: dict[str, Any]) -> dict[str, Any]:
    others = {*of_a_row(result), *BESIDE_TASKS}
    return {name: value for name, value in result.items() if name not in others}
