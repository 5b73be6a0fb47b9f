"""What of a recipe a training or a cross-validation would refuse, and which folds are judged on fewer labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...configuration.errors import UserError
from ...configuration.recipe import Recipe
from ..corpora.rows import Rows
from ..planning.folds import Folds, read, recipe_folds
from ..planning.plan import plan_run, shorten
from ..planning.sides import describe_unused_sides

REFUSED = {
    "refused": "ser-meta train ends with this before it begins",
    "folds refused": "ser-meta crossval ends with these before it begins; --skip-unfit judges the other folds alone",
}
"""Findings for which `ser-meta check` of a recipe ends with exit code 1."""

OF_FOLDS = {
    "absent labels": "nothing in the fold has that label: its unweighted accuracy is the mean over the others",
    "unused sides": "published results are usually those of the corpus's own sides",
}


def plan_findings(recipe: Recipe, rows: Rows, seconds: Sequence[float]) -> dict[str, dict[str, str]]:
    """By finding, what it is about with the detail.

    Args:
        recipe: whose training is planned with its own test fold, and with every other one.
        rows: of its corpora.
        seconds: that each row lasts.
    """
    own = _refusal(recipe, rows, seconds)
    found = {"refused": {} if own is None else {"recipe": own}}
    try:
        folds = recipe_folds(rows, recipe)
    except UserError:  # which is the refusal of the recipe
        return found
    refusals = {name: _refusal(_tested_on(recipe, name), rows, seconds) for name in folds.names}
    if own is None or None in refusals.values():  # what is wrong with every fold is told once
        found["folds refused"] = {name: refusal for name, refusal in refusals.items() if refusal is not None}
    unused = describe_unused_sides(rows, recipe.data.folds)
    return found | {
        "absent labels": _absent_labels(folds, read(rows, recipe.model.target_task)),
        "unused sides": {} if unused is None else {"split": unused},
    }


def _tested_on(recipe: Recipe, fold: str) -> Recipe:
    return replace(recipe, data=replace(recipe.data, test_fold=fold), judged_by=None)


def _refusal(recipe: Recipe, rows: Rows, seconds: Sequence[float]) -> str | None:
    """Why a recipe cannot be trained on these rows; None where it can."""
    try:
        shorten(plan_run(recipe, rows), list(seconds))
    except UserError as error:
        return str(error)
    return None


def _absent_labels(folds: Folds, labels: Sequence[str | None]) -> dict[str, str]:
    """By fold, the labels of the target that no row of it has."""
    known = {label for label in labels if label is not None}
    present = {name: set() for name in folds.names}
    for fold, label in zip(folds.of_rows, labels, strict=True):
        if fold in present:
            present[fold].add(label)
    return {
        f"fold {name}": f"no {', '.join(sorted(map(str, known - there)))}"
        for name, there in present.items()
        if known - there
    }
