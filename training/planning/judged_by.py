"""The cross-validation by which a final model is judged, which itself learns from all speakers."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ...configuration.errors import UserError
from ...configuration.recipe import Recipe
from ...configuration.recipe_files import load_recipe
from ...configuration.run_folder import StudyFolder, read_json

SHOWN = 3  # settings that differ
FIGURES = ("wa", "ua", "macro_f1", "n", "interval")


def judged_by(recipe: Recipe, utterances: int) -> dict[str, Any] | None:
    """What a recipe's cross-validation found, for the report of its final model; None where it names none.

    Args:
        recipe: with `judged_by`, the folder of a finished study of `ser-meta crossval`.
        utterances: of the corpus.

    Returns:
        `{"study", "folds", "folds_left_out", "seeds", "speakers", "protocol", "metrics"}`: the study's name, how many
        folds it has, the names of those that could not be trained, its seeds, what it says of its speakers, its
        protocol, and the target's figures over all folds together.

    Raises:
        UserError: no finished cross-validation, one of another recipe, or of a corpus of another size.
    """
    if recipe.judged_by is None:
        return None
    study = StudyFolder(Path(recipe.judged_by).expanduser())
    report = read_json(study.report) if study.report.is_file() else {}
    if not isinstance(report, dict) or report.get("kind") != "crossval":
        raise UserError(
            f"judged_by={recipe.judged_by} holds no finished cross-validation: give the --output of ser-meta crossval"
        )
    _refuse_another_recipe(recipe, load_recipe(str(study.recipes / "crossval.yaml")))
    runs, (seed, *_) = report["runs"], report["protocol"]["seeds"]
    tested = [run["sides"]["test"] for run in runs if run["seed"] == seed]
    left_out = list(report["protocol"].get("folds_left_out") or [])
    if sum(tested) != utterances and not (left_out and sum(tested) < utterances):
        raise UserError(
            f"judged_by={recipe.judged_by} tested {sum(tested)} utterances, and the corpus has {utterances}: run the "
            "cross-validation again, into another --output"
        )
    measures = report["pooled"]["metrics"][recipe.model.target_task]
    return {
        "study": study.path.resolve().name,
        "folds": len(tested),
        "folds_left_out": left_out,
        "seeds": report["protocol"]["seeds"],
        "speakers": report.get("speakers"),
        "protocol": report["protocol"],
        "metrics": {name: measures[name] for name in FIGURES if name in measures},
    }


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
