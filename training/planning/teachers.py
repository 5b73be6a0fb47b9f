"""The teacher of a student: found, and never one that has heard what tests the student."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from ...configuration.errors import UserError
from ...configuration.recipe import TEACHER, Recipe
from ...configuration.recipe_files import load_recipe
from ...configuration.run_folder import RunFolder, StudyFolder, read_json
from ...configuration.study_report import CrossvalReport, read_study_report
from ..corpora.files import find_recordings
from ..corpora.rows import Rows

UNLABELLED = "unlabelled"  # the side of recordings that a teacher alone tells something of


def is_study(teacher: str | None) -> bool:
    """Whether a teacher is the folder of a study: then each fold has its own."""
    return teacher is not None and StudyFolder(Path(teacher).expanduser()).recipes.is_dir()


def taught(recipe: Recipe) -> Recipe:
    """The recipe with its teacher's model folder, or name on the Hub, in the place of a run or a study.

    Raises:
        UserError: there is no such model, run or fold of the study.
    """
    if recipe.distillation is None:
        return recipe
    teacher = recipe.distillation.teacher
    folder = Path(teacher).expanduser()
    if is_study(teacher):
        folder = _run_of_fold(StudyFolder(folder), recipe).model
    elif RunFolder(folder).recipe.is_file():
        folder = RunFolder(folder).model
    elif not folder.exists() and teacher.count("/") == 1 and not teacher.startswith((".", "~", "/")):
        folder = teacher  # of the Hub, which is asked when it is loaded
    if isinstance(folder, Path) and not (folder / "config.json").is_file():
        raise UserError(
            f"the teacher {folder} holds no model: give a model's folder, a finished run, or a study of ser-meta "
            "crossval --keep-models"
        )
    encoder = str(folder) if recipe.model.encoder == TEACHER else recipe.model.encoder
    return replace(
        recipe,
        model=replace(recipe.model, encoder=encoder),
        distillation=replace(recipe.distillation, teacher=str(folder)),
    )


def refuse_untested(teacher: str, tested: Collection[str]) -> None:
    """Raises `UserError` unless the teacher was tested on all that tests its student.

    Of a teacher whose run is not here nothing is known, which the report tells.
    """
    split = RunFolder(Path(teacher).parent).split
    if not split.is_file():
        return
    own = set(read_json(split).get("test", []))
    others = [name for name in tested if name not in own]
    if others:
        raise UserError(
            f"the teacher {teacher} was not tested on {len(others)} of the {len(tested)} utterances that test the "
            f"student, such as {others[0]}: give both the same folds, and the student data.test_fold of the teacher"
        )


def has_frozen_encoder(teacher: str) -> bool:
    """Whether no stage of the teacher's run has trained its encoder: then all teachers of a study have the same."""
    run = RunFolder(Path(teacher).parent)
    if not run.recipe.is_file():
        return False
    recipe = load_recipe(str(run.recipe))
    return recipe.distillation is None and all(stage.freeze_layers == "all" for stage in recipe.stages.values())


def with_unlabelled(rows: Rows, folder: str | None) -> tuple[Rows, list[int]]:
    """The rows with those of a folder's recordings behind them, and the numbers of these.

    Their other columns are null: what is not known costs no loss.
    """
    if folder is None:
        return rows, []
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise UserError(f"distillation.unlabelled={folder} is no folder: give one with recordings")
    found = find_recordings(root, "distillation.unlabelled", "sound files, in folders or not")
    names = [f"{UNLABELLED}/{path.relative_to(root).as_posix()}" for path in found]
    unknown = [None] * len(found)
    columns = {name: [*rows[name], *unknown] for name in rows.column_names if name != "audio"}
    columns["utterance_id"] = [*rows["utterance_id"], *names]
    joined = Rows([*rows["audio"], *map(str, found)], columns, rows.remarks)
    return joined, list(range(len(rows), len(joined)))


def _run_of_fold(study: StudyFolder, recipe: Recipe) -> RunFolder:
    """The run of a study that was tested on the recipe's fold: with the recipe's seed, or with the study's first."""
    report = read_study_report(study.report) if study.report.is_file() else None
    if not isinstance(report, CrossvalReport):
        raise UserError(f"the teacher {study.path} is no finished cross-validation: let ser-meta crossval end first")
    fold = recipe.data.test_fold
    runs = [run for run in report.runs if run.fold == fold]
    if not runs:
        known = ", ".join(dict.fromkeys(run.fold for run in report.runs))
        raise UserError(f"the teacher {study.path} has no fold {fold}, but {known}: give the student the same folds")
    chosen = next((run for run in runs if run.seed == recipe.seed), runs[0])
    run = RunFolder(study.path / chosen.folder)
    if not run.model.is_dir():
        raise UserError(f"the teacher {run.path} has no model any more: train the study with --keep-models")
    return run
