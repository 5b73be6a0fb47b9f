"""The cross-validation by which a final model is judged, which itself learns from all speakers."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ...configuration.errors import UserError
from ...configuration.recipe import Recipe
from ...configuration.recipe_files import load_recipe
from ...configuration.report import JudgedBy
from ...configuration.run_folder import StudyFolder
from ...configuration.study_report import CrossvalReport, read_study_report

SHOWN = 3  # settings that differ
FIGURES = ("wa", "ua", "macro_f1", "n", "interval")


def judged_by(recipe: Recipe, utterances: int) -> JudgedBy:
    """What a recipe's cross-validation found, for the report of its final model; empty where it names none.

    Args:
        recipe: with `judged_by`, the folder of a finished study of `ser-meta crossval`.
        utterances: of the corpus.

    Raises:
        UserError: no finished cross-validation, one of another recipe, or of a corpus of another size.
    """
    if recipe.judged_by is None:
        return JudgedBy()
    study = StudyFolder(Path(recipe.judged_by).expanduser())
    judged = study.recipes / "crossval.yaml"
    report = read_study_report(study.report) if study.report.is_file() and judged.is_file() else None
    if not isinstance(report, CrossvalReport):
        raise UserError(
            f"judged_by={recipe.judged_by} holds no finished cross-validation: give the --output of ser-meta crossval"
        )
    _refuse_another_recipe(recipe, load_recipe(str(judged)))
    seed, *_ = report.protocol.seeds
    tested = [run.sides["test"] for run in report.runs if run.seed == seed]
    left_out = list(report.protocol.folds_left_out)
    if sum(tested) != utterances and not (left_out and sum(tested) < utterances):
        raise UserError(
            f"judged_by={recipe.judged_by} tested {sum(tested)} utterances, and the corpus has {utterances}: run the "
            "cross-validation again, into another --output"
        )
    return JudgedBy(
        study=study.path.resolve().name,
        folds=len(tested),
        folds_left_out=left_out,
        seeds=report.protocol.seeds,
        speakers=report.speakers,
        protocol=report.protocol,
        metrics={name: report.measures[name] for name in FIGURES if name in report.measures},
    )


def _refuse_another_recipe(recipe: Recipe, judged: Recipe) -> None:
    if "auto" in (recipe.precision, judged.precision):
        judged = replace(judged, precision=recipe.precision)
    differing = list(_differences(asdict(judged.of_study.deciding), asdict(recipe.of_study.deciding)))
    if differing:
        more = f" and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
        raise UserError(
            f"judged_by={recipe.judged_by} is of another recipe: {', '.join(differing[:SHOWN])}{more}: give a "
            "cross-validation of this recipe, or leave judged_by out"
        )


def _differences(judged: Mapping[str, Any], recipe: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The settings that two recipes do not share, with the value that each has."""
    for name in dict.fromkeys([*judged, *recipe]):
        there, here = judged.get(name), recipe.get(name)
        if isinstance(there, Mapping) and isinstance(here, Mapping):
            yield from _differences(there, here, f"{prefix}{name}.")
        elif there != here:
            yield f"{prefix}{name} is {there} there and {here} here"
