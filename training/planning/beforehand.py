"""What a command checks before it imports torch and Transformers, so that a mistake is told within a second."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ...configuration.errors import UserError
from ...configuration.recipe import Recipe
from ...configuration.recipe_checks import require_trained_target
from ...configuration.recipe_files import load_recipe, load_recipes, read_settings
from ...configuration.run_folder import RunFolder, StudyFolder
from ..corpora import load_rows
from ..corpora.rows import Rows
from .plan import Plan, plan_run
from .study_folds import StudyFolds, plan_study
from .tables import BEST_LAYER, find_table
from .teachers import is_study, taught


def plan_training(name: str, overrides: Sequence[str], output: Path, resume: bool) -> Plan:
    """The plan of a run; `UserError` for what of the recipe, the corpus or the folder does not fit."""
    recipe = taught(load_recipe(name, list(overrides)))
    require_trained_target(recipe)
    RunFolder(output).check(recipe, resume)
    return plan_run(recipe)


def plan_crossval(
    name: str, overrides: Sequence[str], output: Path, seeds: Sequence[int], skip_unfit: bool
) -> tuple[Recipe, StudyFolds]:
    """A recipe and the plans of its folds; `UserError` for what of them or the folder does not fit."""
    recipe = load_recipe(name, list(overrides))
    StudyFolder(output).check({"crossval": recipe})
    return recipe, plan_study(recipe, seeds, skip_unfit)


def plan_students(
    teacher: str, name: str, overrides: Sequence[str], output: Path, resume: bool, seeds: Sequence[int]
) -> tuple[Plan, None] | tuple[Recipe, StudyFolds]:
    """The plan of a student's run; of a study's students their recipe, and the plans of its folds.

    Raises:
        UserError: what of the recipe, its teacher, the corpus or the folder does not fit.
    """
    settings = [*overrides, f"distillation.teacher={json.dumps(teacher)}"]
    if is_study(teacher):
        return plan_crossval(name, settings, output, seeds, skip_unfit=False)
    if seeds:
        raise UserError(f"--seed {seeds[0]} is for the students of a study: set seed={seeds[0]}")
    return plan_training(name, settings, output, resume), None


def plan_probe(name: str, overrides: Sequence[str], side: str, heard: int | None) -> Recipe:
    """The recipe of a probe, with a validation side where that is to be judged; `UserError` for what does not fit."""
    recipe = load_recipe(name, list(overrides))
    if side not in ("validation", "test"):
        raise UserError(f"layers are not judged on the side {side!r}: choose validation or test")
    if recipe.cache is None:
        raise UserError("cache=null: name a folder that keeps the frozen encoder's states, as cache=FOLDER")
    if heard is not None and not recipe.model.center_by:
        raise UserError(f"--heard {heard} needs recordings that are centred: set model.center_by=[speaker]")
    if side == "validation" and recipe.data.validation == "none":
        recipe = replace(recipe, data=replace(recipe.data, validation="speaker"))
    _require_one_label(recipe, "probe makes", "take it out of model.multilabel")
    plan_study(recipe)
    return recipe


def _require_one_label(recipe: Recipe, what: str, mend: str) -> None:
    target = recipe.model.target_task
    if target in recipe.model.multilabel:
        raise UserError(f"{what} a linear probe of one label an utterance, and {target} may have several: {mend}")


def check_ablation(table: str, words: Sequence[str], output: Path, seeds: Sequence[int]) -> dict[str, Recipe]:
    """The recipes of an ablation by name; `UserError` unless each fits all rows of the table, and the folder."""
    recipes, found = load_recipes(list(words)), find_table(table)
    StudyFolder(output).check(recipes)
    for recipe in recipes.values():
        if BEST_LAYER in found.others(recipe):
            _require_one_label(recipe, f"the row {BEST_LAYER!r} needs", "give a YAML file with rows of your own")
        folds = plan_study(recipe, seeds)
        for changed in found.rows(recipe).values():
            require_trained_target(changed)
            plan_run(replace(changed, data=replace(changed.data, test_fold=folds.names[0])), folds.rows)
    return recipes


def read_corpus(corpus: str, root: str, options: Sequence[str]) -> Rows:
    """A corpus's rows; `options` are of its loader, as `key=value`."""
    return load_rows(corpus, root, **read_settings(list(options)))


def require_folder(*files: Path | None) -> None:
    """Raise `UserError`, before hours of work, for a file in a folder that is not there."""
    for file in files:
        if file is not None and not file.parent.is_dir():
            raise UserError(f"{file} cannot be written: {file.parent} is no folder: make it first")
