"""The results of a report as a card shows them."""

from collections.abc import Mapping
from typing import Any

from .wording import MEASURES, VALIDATION, figure, not_applicable, percent, protocol_facts, result_rows, words

ENOUGH_SPEAKERS = 10  # for an interval that is not too narrow


def result_facts(report: Mapping[str, Any], target: str) -> dict[str, Any]:
    """What the template shows of the results; `measured` alone, which is false, where the report has none."""
    if "metrics" not in report:
        return {"measured": False}
    protocol = protocol_facts(report)
    if protocol.get("validation") in VALIDATION:
        protocol["validation"] += f" ({VALIDATION[protocol['validation']]})"
    measures, rows = report["metrics"][target], result_rows(report, target)
    speakers = speakers_judged(report)
    shown = {name: key for name, key in MEASURES.items() if any(row.get(key) is not None for _, _, row in rows)}
    return {
        "measured": True,
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
        "few_speakers": speakers if speakers and speakers < ENOUGH_SPEAKERS else None,
        "calibration": _calibration(measures),
        "temperature": _temperature(report.get("calibration", {})),
        "yardstick": "ua" in report.get("yardstick", {}),
        "not_applicable": not_applicable(report),
        "recalls": {
            label: (percent(recall), str(measures["support"][label]))
            for label, recall in measures.get("recall", {}).items()
        },
    }


def _intervals(measures: Mapping[str, Any]) -> dict[str, list[str]]:
    """Measure -> its value, and the ends of its 95 % interval."""
    intervals = measures.get("interval", {})
    return {
        name: [percent(measures[key]), *map(percent, intervals[key])]
        for name, key in MEASURES.items()
        if key in intervals
    }


def _calibration(measures: Mapping[str, Any]) -> dict[str, Any]:
    """The expected calibration error, and the bins that hold utterances."""
    calibration = measures.get("calibration")
    if not calibration:
        return {}
    bins = [entry for entry in calibration["bins"] if entry["n"]]
    return {
        "error": percent(calibration["ece"]),
        "bins": [[percent(entry["confidence"]), percent(entry["accuracy"]), words(entry["n"])] for entry in bins],
    }


def _temperature(fitted: Mapping[str, Any]) -> str:
    """How the scores were calibrated; nothing where the report does not say."""
    if not fitted:
        return ""
    if not fitted["fitted_on"]:
        return "No temperature was fitted: the scores are the network's own."
    return (
        f"The scores are divided by a temperature of {words(fitted['temperature'])}, fitted on {fitted['n']} "
        f"utterances of the {fitted['fitted_on']} side."
    )


def speakers_judged(report: Mapping[str, Any]) -> int | None:
    """How many speakers the test side has; None where the report does not say."""
    return report.get("data", {}).get("speakers", {}).get("test")
