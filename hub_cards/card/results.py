"""The results of a report as a card shows them."""

from typing import Any

from ...configuration.report import FamiliarityFacts, Measures, Report, Temperature
from ..document import conditions_section
from ..wording import (
    MEASURES,
    VALIDATION,
    VOTES_HEADER,
    VOTES_KEY,
    abstaining_words,
    calibration_words,
    figure,
    no_interval,
    not_applicable,
    percent,
    protocol_facts,
    remarks,
    result_rows,
    speakers_basis,
    speakers_line,
    votes_rows,
    votes_words,
    words,
)


def result_facts(report: Report) -> dict[str, Any]:
    """What the template shows of the results; where the report has none `measured` is false."""
    if not report.metrics:
        return {"measured": False, "familiarity": _familiarity(report.familiarity)}
    protocol = protocol_facts(report)
    if protocol.get("validation") in VALIDATION:
        protocol["validation"] += f" ({VALIDATION[protocol['validation']]})"
    target, measures, rows = report.target, report.metrics[report.target], result_rows(report)
    shown = {name: key for name, key in MEASURES.items() if any(row.get(key) is not None for _, _, row in rows)}
    return {
        "measured": True,
        "speakers": _sentence(speakers_line(report.speakers)),
        "protocol": protocol,
        "columns": [*shown, "utterances"],
        "results": {
            f"{target}, {name}" if kind in ("slice", "yardstick") else name: [
                *(figure(key, row.get(key)) for key in shown.values()),
                words(row.get("n")),
            ]
            for kind, name, row in rows
        },
        "intervals": _intervals(measures),
        "interval_note": _interval_note(measures),
        "remarks": [_sentence(remark) for remark in remarks(report.metrics)],
        "raters": [*votes_words(measures, target), VOTES_KEY] if "votes" in measures else [],
        "raters_header": VOTES_HEADER,
        "raters_rows": votes_rows(measures["votes"]) if "votes" in measures else [],
        "conditions": conditions_section(measures, report.degraded),
        "calibration": _calibration(measures),
        "calibration_of_votes": calibration_words(measures),
        "abstaining": abstaining_words(measures),
        "familiarity": _familiarity(report.familiarity),
        "temperature": _temperature(report.temperature),
        "yardstick": "ua" in (report.yardstick or {}),
        "not_applicable": not_applicable(report.metrics),
        "class_columns": [*(classes := [name for name in ("recall", "precision") if name in measures]), "utterances"],
        "recalls": {
            label: [*(percent(measures[name][label]) for name in classes), str(measures["support"][label])]
            for label in measures.get("recall", {})
        },
    }


def _sentence(line: str) -> str:
    return f"{line[0].upper()}{line[1:]}." if line else ""


def _intervals(measures: Measures) -> dict[str, list[str]]:
    """Measure -> its value, and the ends of its 95 % interval."""
    intervals = measures.get("interval", {})
    return {
        name: [percent(measures[key]), *map(percent, intervals[key])]
        for name, key in MEASURES.items()
        if key in intervals
    }


def _interval_note(measures: Measures) -> str:
    """What the intervals stand on, or why there are none; nothing where the report does not say."""
    interval = measures.get("interval")
    if not interval:
        return ""
    if len(interval) == 1:
        return _sentence(no_interval(interval["speakers"]))
    stands_on = speakers_basis(interval.get("speakers"))
    return f"How far another draw of speakers could move it (bootstrap over {stands_on}):"


def _calibration(measures: Measures) -> dict[str, Any]:
    """The expected calibration error, and the bins that hold utterances."""
    calibration = measures.get("calibration")
    if not calibration:
        return {}
    bins = [entry for entry in calibration["bins"] if entry["n"]]
    return {
        "error": percent(calibration["ece"]),
        "bins": [[percent(entry["confidence"]), percent(entry["accuracy"]), words(entry["n"])] for entry in bins],
    }


def _temperature(temperature: Temperature | None) -> str:
    """What the scores are divided by; nothing where the report does not say."""
    if temperature is None:
        return ""
    if not temperature.fitted_on:
        return "No temperature was fitted: the scores are the network's own."
    shares = " to the shares of their raters' votes" if temperature.on_shares else ""
    return (
        f"The scores are divided by a temperature of {words(temperature.value)}, fitted on {temperature.n} "
        f"utterances of the {temperature.fitted_on} side{shares}."
    )


def _familiarity(familiarity: FamiliarityFacts | None) -> str:
    """By what the model tells how familiar a recording is; nothing where it does not."""
    if familiarity is None:
        return ""
    return (
        f"With `least_familiar` it tells of each recording how familiar it is: the share of {familiarity.n} "
        f"recordings (side: {familiarity.fitted_on}) that are as far from what it has learned from, or further. Below "
        f"{familiarity.threshold:g} take a recording for unfamiliar."
    )


def speakers_judged(report: Report) -> int | None:
    """How many speakers the test side has; None where the report does not say."""
    return report.data.speakers.get("test")
