"""How a report's facts read: the same words on the terminal and on a card."""

from collections.abc import Mapping, Sequence
from typing import Any

NOTHING = "-"
MEASURES = {"WA": "wa", "UA": "ua", "macro F1": "macro_f1", "CER": "cer", "WER": "wer", "CCC": "ccc", "RMSE": "rmse"}
NO_FRACTIONS = ("ccc", "rmse")
VALIDATION = {
    "none": "no utterance was held out, so nothing was chosen by a score",
    "random": "random utterances of the training side, whose speakers are trained on too",
    "session": "one whole session of the training side",
    "speaker": "whole speakers of the training side",
}


def percent(fraction: float | None) -> str:
    """A fraction as percent with one decimal; a dash for a missing one."""
    return NOTHING if fraction is None else f"{fraction:.1%}"


def figure(measure: str, value: float | None) -> str:
    """A measure's value: percent, or a number with three decimals where percent means nothing."""
    return f"{value:.3f}" if measure in NO_FRACTIONS and value is not None else percent(value)


def span(interval: Sequence[float] | None) -> str:
    """An interval of fractions in percent; a dash for a missing one."""
    return NOTHING if interval is None else f"{100 * interval[0]:.1f}-{100 * interval[1]:.1f}%"


def words(value: Any) -> str:
    """A setting's value in words: numbers short, lists joined, mappings as `name value` pairs."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {words(item)}" for name, item in value.items()) or NOTHING
    if isinstance(value, list | tuple):
        return ", ".join(map(words, value)) or NOTHING
    return str(value)


def protocol_facts(report: Mapping[str, Any]) -> dict[str, str]:
    """What a result was measured on and how, as name -> words; what the report does not say is left out."""
    said = {name: value for name, value in report["protocol"].items() if value not in (None, "", [], {})}
    facts = {name.replace("_", " "): words(value) for name, value in said.items()}
    sides = {name: n for name, n in report.get("sides", {}).items() if n}
    if sides:
        facts["utterances"] = ", ".join(f"{n} {name}" for name, n in sides.items())
    return facts


def result_rows(report: Mapping[str, Any], target: str) -> list[tuple[str, str, Mapping[str, Any]]]:
    """The lines of a results table as `(kind, name, measures)`, without what is not applicable.

    Kinds, in this order: `target`, its `slice`s, its `yardstick`, and each other `task`.
    """
    metrics = report["metrics"]
    rows = [("target", target, metrics[target])]
    rows += [
        ("slice", f"{column} = {value}", measures)
        for column, values in report.get("slices", {}).items()
        for value, measures in values.items()
    ]
    rows.append(("yardstick", "logistic regression", report.get("yardstick") or {}))
    rows += [("task", name, measures) for name, measures in metrics.items() if name != target]
    return [row for row in rows if row[2] and "not_applicable" not in row[2]]


def not_applicable(report: Mapping[str, Any]) -> dict[str, str]:
    """Task -> why it has no result."""
    reasons = {task: measures.get("not_applicable") for task, measures in report["metrics"].items()}
    return {task: reason for task, reason in reasons.items() if reason}
