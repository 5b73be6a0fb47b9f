"""What a recipe must not say, whatever the corpus."""

import math
from dataclasses import asdict

from .errors import UserError
from .recipe import (
    CLASS_WEIGHTS,
    DEALT,
    FOLDS,
    PRECISIONS,
    SCHEDULES,
    SINGLE_CORPUS,
    VALIDATIONS,
    DataRecipe,
    ModelRecipe,
    Recipe,
    StageRecipe,
)

LARGEST_SEED = 2**32 - 1  # NumPy's


def check_recipe(recipe: Recipe) -> None:
    """Raises `UserError` for the first thing that is wrong, and how to mend it."""
    _check_corpora(recipe.data)
    _choice("data.folds", recipe.data.folds, FOLDS)
    _choice("data.validation", recipe.data.validation, VALIDATIONS)
    _choice("precision", recipe.precision, PRECISIONS)
    if recipe.data.validation == "split" and recipe.data.folds != "split":
        raise UserError("data.validation=split needs the corpus's own sides: set data.folds=split too")
    _check_folds(recipe.data)
    _within("seed", recipe.seed, 0, LARGEST_SEED)
    _within("workers", recipe.workers, 0, 1_000)
    for factor in recipe.data.speed_factors or [0]:
        _positive("data.speed_factors", factor)
    if not recipe.stages:
        raise UserError(
            "the recipe has no stages: name at least one, with its loss_weights, epochs and learning rates"
        )
    tasks = [recipe.model.target_task, *recipe.model.auxiliary_tasks]
    if recipe.model.class_weights is not None:
        _choice("model.class_weights", recipe.model.class_weights, CLASS_WEIGHTS)
    for task in recipe.model.labels:
        _choice("model.labels", task, tuple(tasks))
    for task, scale in recipe.model.ranges.items():
        _check_range(task, scale, recipe.model)
    for key, rate in asdict(recipe.baseline).items():
        if rate is not None:
            _positive(f"baseline.{key}", rate)
    for name, stage in recipe.stages.items():
        _check_stage(f"stages.{name}", stage, tasks, recipe.data.validation)
    _check_centering(recipe)


def _check_centering(recipe: Recipe) -> None:
    """Means of the encoder's states would no longer be theirs where it changes."""
    trained = [name for name, stage in recipe.stages.items() if stage.freeze_layers != "all"]
    if recipe.model.center_by and trained:
        raise UserError(
            f"model.center_by={list(recipe.model.center_by)} needs an encoder that stays as it is: "
            f"set stages.{trained[0]}.freeze_layers=all"
        )


def _check_corpora(data: DataRecipe) -> None:
    beside = [f"data.{key}" for key in SINGLE_CORPUS if getattr(data, key)]
    if data.corpora and beside:
        raise UserError(
            f"data.corpora lists the corpora, but {', '.join(beside)} is set beside it: "
            "move it into the list, or leave the list empty"
        )
    if not (data.corpora or data.corpus):
        raise UserError("data.corpus has no value: set it, as data.corpus=..., or list several in data.corpora")


def _check_folds(data: DataRecipe) -> None:
    _positive("data.group_size", data.group_size)
    if data.fold_count is not None and data.folds not in DEALT:
        raise UserError(f"data.fold_count={data.fold_count} needs data.folds={' or '.join(DEALT)}, not {data.folds}")
    if data.fold_count is not None and data.fold_count < 2:
        raise UserError(f"data.fold_count={data.fold_count} must be at least 2")
    asked = data.test_fold
    place = asked.get("place") if isinstance(asked, dict) and len(asked) == 1 else None
    is_place = isinstance(place, int) and place >= 0
    if not (is_place if isinstance(asked, dict) else asked):
        raise UserError(
            f"data.test_fold={asked} must be a fold's name, none, or a place from 0 on, as data.test_fold.place=0"
        )


def _check_range(task: str, scale: list[float], model: ModelRecipe) -> None:
    _choice("model.ranges", task, tuple(name for name in model.auxiliary_tasks if name != "transcript"))
    if task in model.labels:
        raise UserError(f"{task} has both model.labels and model.ranges: labels are for classes, ranges for numbers")
    if len(scale) != 2 or not scale[0] < scale[1]:
        raise UserError(f"model.ranges.{task}={scale} must be the lowest and the highest value, such as [1, 5]")


def _check_stage(name: str, stage: StageRecipe, tasks: list[str], validation: str) -> None:
    for task, weight in stage.loss_weights.items():
        _choice(f"{name}.loss_weights", task, tuple(tasks))
        _positive(f"{name}.loss_weights.{task}", weight)
    if not stage.loss_weights:
        raise UserError(f"{name}.loss_weights is empty: name at least one of {', '.join(tasks)}")
    if stage.batch_size is not None and stage.batch_duration is not None:
        raise UserError(
            f"{name} has both batch_size={stage.batch_size} and batch_duration={stage.batch_duration:g}: "
            "set one of them to null"
        )
    size = "batch_size" if stage.batch_duration is None else "batch_duration"
    for key in ("epochs", "encoder_learning_rate", "head_learning_rate", size, "gradient_accumulation_steps"):
        _positive(f"{name}.{key}", getattr(stage, key))
    _positive(f"{name}.max_gradient_norm", stage.max_gradient_norm)
    _within(f"{name}.warmup", stage.warmup, 0, 1)
    _within(f"{name}.weight_decay", stage.weight_decay, 0, 1_000)
    _choice(f"{name}.schedule", stage.schedule, SCHEDULES)
    _choice(f"{name}.keep", stage.keep, ("last", "best"))
    if stage.freeze_layers not in ("third", "all") and not (
        isinstance(stage.freeze_layers, int) and stage.freeze_layers >= 0
    ):
        raise UserError(f"{name}.freeze_layers={stage.freeze_layers!r} must be a number of layers, third or all")
    if validation == "none" and (stage.keep == "best" or stage.early_stopping_patience):
        raise UserError(f"{name} picks an epoch by the validation side, but data.validation is none: choose another")


def _choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UserError(f"{key}={value!r} must be one of {', '.join(choices)}")


def _positive(key: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise UserError(f"{key}={value} must be a number above 0")


def _within(key: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UserError(f"{key}={value} must be from {low:g} to {high:g}")
