"""What it costs that recordings are worse than those that were learned from."""

from collections.abc import Mapping
from typing import Any

import pandas

from ...configuration.report import InCondition
from .metrics import evaluate_predictions
from .statistics import interval, paired_difference, several_of


def found_in_conditions(
    clean: pandas.DataFrame,
    degraded: pandas.DataFrame,
    tasks: Mapping[str, Mapping[str, Any]],
    target: str,
) -> dict[str, InCondition]:
    """By condition: the target's figures, and how they differ from those of the same utterances as they are.

    Args:
        clean: one row an utterance (and seed).
        degraded: the same for each condition, with the column `condition`.
        tasks: name -> `{"kind": ..., "labels": [...], ...}`.
        target: a classification, or a multilabel task.
    """
    found = {}
    for condition, table in degraded.groupby("condition", sort=False):
        measures = evaluate_predictions(table, {target: tasks[target]})[target]
        if "not_applicable" not in measures:
            measures["interval"] = interval(table, tasks, target)
            changes = paired_difference(table, clean, target, several_of(tasks[target]))
            found[condition] = InCondition(metrics=measures, **changes)
    return found


def together(tables: Mapping[str, pandas.DataFrame]) -> pandas.DataFrame | None:
    """Predictions by condition as one table with the column `condition`; None without any."""
    parts = [table.assign(condition=name) for name, table in tables.items()]
    return pandas.concat(parts, ignore_index=True) if parts else None
