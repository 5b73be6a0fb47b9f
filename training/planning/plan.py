"""What a run learns from and is judged on, found without torch: rows, folds, sides, and tasks with their labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ...configuration.errors import UserError
from ...configuration.recipe import Recipe, StageRecipe
from ..corpora.mixture import load_corpora
from ..corpora.remarks import tell
from ..corpora.rows import Rows
from ..corpora.values import WHO, spelling_remarks
from .folds import recipe_folds
from .judged_by import judged_by
from .labels import check_labels, find_tasks, fits, learned_from, learned_labels
from .sides import divide, require_labels, rows_on_no_side
from .starting import check_adapter_package, check_encoder, refuse_heard
from .teachers import UNLABELLED, refuse_untested, taught, with_unlabelled

if TYPE_CHECKING:
    from datasets import Dataset

SIDES = ("train", "validation", "test")


@dataclass
class Plan:
    """What a run is to do with a corpus.

    Args:
        recipe: of the run.
        rows: the whole corpus.
        sides: row numbers of the train, validation and test side, and of the `unlabelled` recordings of a student.
        test_fold: name of the fold that is the test side; None where nothing is tested.
        tasks: as in the model's config, the target first.
        left_out: by reason, how many rows of the corpus are on no side.
    """

    recipe: Recipe
    rows: Rows
    sides: dict[str, list[int]]
    test_fold: str | None
    tasks: dict[str, dict[str, Any]]
    left_out: Mapping[str, str] = field(default_factory=dict)


def plan_run(recipe: Recipe, rows: Rows | None = None) -> Plan:
    """Splits the corpus and finds the tasks' labels; writes nothing.

    Args:
        recipe: of the run.
        rows: what `load_rows` gives for it, if that is at hand.

    Raises:
        UserError: whatever of the recipe does not fit the corpus.
    """
    recipe = taught(recipe)
    check_encoder(recipe.model.encoder)
    check_adapter_package(recipe.model.adapter)
    rows = load_rows(recipe) if rows is None else rows
    sides, test_fold = divide(rows, recipe)
    judged_by(recipe, len(rows))
    if not recipe.data.allow_speaker_overlap:
        tested = [rows["utterance_id"][row] for row in sides["test"]]
        refuse_heard(recipe.model.encoder, tested)
        if recipe.distillation is not None:
            refuse_untested(recipe.distillation.teacher, tested)
    tasks = find_tasks(rows, sides["train"], recipe.model, recipe.data)
    tell({"spellings": spelling_remarks(rows, [*(name for name in tasks if name != "transcript"), *WHO])})
    check_labels(rows, tasks, data=recipe.data)
    left_out = rows.remarks.get("left out", {}) | rows_on_no_side(rows, recipe, sides)
    if recipe.distillation is not None:
        rows, sides[UNLABELLED] = with_unlabelled(rows, recipe.distillation.unlabelled)
    plan = Plan(recipe, rows, sides, test_fold, tasks, left_out)
    check_sides(plan, recipe.model.target_task)
    return plan


def load_rows(recipe: Recipe) -> Rows:
    """All utterances that a recipe learns from or is judged on; tells what was left out of them, and why."""
    data, model = recipe.data, recipe.model
    rows = load_corpora(
        data.sources, model.target_task, model.ranges, votes=data.votes, ties=data.ties, several=model.multilabel
    )
    tell(rows.remarks)
    return rows


def find_folds(recipe: Recipe, rows: Rows | None = None) -> list[str]:
    """The names of the folds that a recipe can be tested on, in order: an official split has one."""
    return recipe_folds(load_rows(recipe) if rows is None else rows, recipe).names


def check_sides(plan: Plan, target: str) -> None:
    """Raises `UserError` unless every label of the target can be learned, and something of it can be judged."""
    labels, data = plan.tasks[target]["labels"], learned_from(target, plan.recipe.model, plan.recipe.data)
    if len(labels) == 1:
        raise UserError(
            f"every {target} is {labels[0]}, and there is nothing to tell apart: add others, or choose another "
            "model.target_task"
        )
    require_labels({"train": learned_labels(plan.rows, target, plan.sides["train"], data)}, labels, target)
    if plan.test_fold is not None and not learned_labels(plan.rows, target, plan.sides["test"], data):
        raise UserError(f"no utterance of the test fold {plan.test_fold} has a {target}: choose another fold")
    _check_choice_of_epoch(plan, target)


def _check_choice_of_epoch(plan: Plan, target: str) -> None:
    """Raises `UserError` where the validation side is to pick an epoch, and there is nothing by which it could."""
    for name, stage in plan.recipe.stages.items():
        by = [target] if target in stage.loss_weights else list(stage.loss_weights)
        picking = _what_picks(stage) if plan.sides["validation"] else None
        if picking and not any(_judged_on_validation(plan, task) for task in by):
            raise UserError(
                f"no utterance of the validation side has a value of {' or '.join(by)} that is learned, by which "
                f"stages.{name}.{picking} is to pick an epoch: choose another data.validation or seed, or "
                f"stages.{name}.keep=last without early_stopping_patience"
            )


def _what_picks(stage: StageRecipe) -> str | None:
    """The setting by which a stage picks an epoch; None where it keeps the last."""
    if stage.keep == "best":
        return "keep=best"
    patience = stage.early_stopping_patience
    return None if patience is None else f"early_stopping_patience={patience}"


def _judged_on_validation(plan: Plan, name: str) -> bool:
    """Whether the validation side has something of a task: the target's UA needs a label, a loss is of votes too."""
    model, validation = plan.recipe.model, plan.sides["validation"]
    if name == model.target_task and name not in model.multilabel:
        return any(plan.rows[name][row] is not None for row in validation)
    there = learned_labels(plan.rows, name, validation, learned_from(name, model, plan.recipe.data))
    return any(fits(value, plan.tasks[name]) for value in there)


def shorten(plan: Plan, durations: list[float]) -> Plan:
    """The plan without what is longer than `data.longest`, in seconds, on the training side."""
    longest = plan.recipe.data.longest
    if longest is None:
        return plan
    train = [row for row in plan.sides["train"] if durations[row] <= longest]
    if not train:
        raise UserError(f"data.longest={longest} leaves nothing to train on: raise it")
    shortened = replace(plan, sides=plan.sides | {"train": train})
    check_sides(shortened, plan.recipe.model.target_task)
    return shortened


def utterances_of(dataset: Dataset | Rows, sides: Mapping[str, list[int]]) -> dict[str, list[str]]:
    """Ids of the utterances on each side, of row numbers."""
    ids = dataset["utterance_id"]
    return {name: [ids[row] for row in rows] for name, rows in sides.items()}
