"""`ser-meta ablate`: a recipe against others that lack or change something, each cross-validated and compared."""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from pandas import DataFrame

from ...configuration.errors import UserError
from ...configuration.recipe import Recipe
from ...configuration.run_folder import JUDGED_SIDES, RunFolder, StudyFolder
from ...configuration.study_report import AblationReport, AblationRow, Change, Difference, write_study_report
from ...hub_cards.study.write import write_study
from ..machine.environment import environment
from ..machine.processes import is_main_process, wait_for_all_processes
from ..measures.statistics import judged_rows, mcnemar, paired_difference
from ..measures.vote_intervals import paired_votes
from ..measures.votes import has_votes
from ..planning.study_folds import StudyFolds, check_at_once, plan_study
from ..planning.tables import BEST_LAYER, OURS, AblationTable, find_table, folder_name
from ..runs.stages import first_stage_recipe
from .best_layer import layers_words, on_best_layer
from .crossval import FoldRun, judge_runs, plan_runs, read_in_conditions, read_predictions, train_runs
from .leaderboard import leaderboard
from .paper import PAPER_TABLES


def ablate(
    table: str,
    recipes: Mapping[str, Recipe],
    output: str | Path,
    seeds: Sequence[int] = (),
    at_once: int = 1,
    side: str = "test",
) -> AblationReport:
    """Trains and compares the rows of one of the paper's tables, or of a file.

    Rows that need the same first stage share it, and tables in the same folder share their rows: what has finished is
    not trained again.

    Args:
        table: "1" to "4", or a YAML file, see `find_table`.
        recipes: by name, the full method with one encoder each.
        output: the study's folder; the table's own pages are in its subfolder `table-<name>`, those of the validation
            side in `table-<name>-validation`.
        seeds: of the runs (default: each recipe's alone).
        at_once: folds that train at the same time, see `cross_validate`.
        side: what the rows are compared on: `test`, or `validation` to choose a setting by.

    Returns:
        the report: each row's figures, and its difference to the full method with an interval and McNemar's test.

    Raises:
        UserError: no such table, a recipe that does not fit its corpus or has no such side, or a folder with another
            study.
    """
    _check_side(side, recipes)
    found = find_table(table)
    rows = plan_table(found, recipes, output, seeds)
    study = StudyFolder(output)
    study.check(recipes)
    check_at_once(at_once)
    if is_main_process():
        study.create(recipes)
    rows = {key: on_best_layer(runs) if key[1] == BEST_LAYER else runs for key, runs in rows.items()}
    runs = [run for planned in rows.values() for run in planned]
    _announce(found.title, runs)
    train_runs(runs, at_once)
    report = _report(found, rows, side)
    folder = study.path / found.folder(side)
    if is_main_process():
        folder.mkdir(exist_ok=True)
        write_study(report, folder)
        write_study_report(folder / "report.json", report)
    wait_for_all_processes()
    return report


def plan_table(
    table: AblationTable, recipes: Mapping[str, Recipe], output: str | Path, seeds: Sequence[int] = ()
) -> dict[tuple[str, str], list[FoldRun]]:
    """By encoder and row: the trainings that `ablate` needs, those that have finished among them; writes nothing."""
    planned = {}
    for name, recipe in recipes.items():
        rows = table.rows(recipe)
        folds = plan_study(recipe, seeds)  # the same of all rows, which are judged on the same recordings
        for row, changed in rows.items():
            planned[name, row] = _plan_row(changed, row, folds, Path(output) / name)
            for run in planned[name, row]:
                folds.check_corpus(RunFolder(run.folder), run.recipe)
    return planned


def _plan_row(recipe: Recipe, row: str, folds: StudyFolds, folder: Path) -> list[FoldRun]:
    runs = plan_runs(recipe, folds, folder / folder_name(row))
    if len(recipe.stages) == 1:
        return runs
    return [replace(run, first_stage=folder / "first-stages" / _first_stage_key(run.recipe)) for run in runs]


def _first_stage_key(recipe: Recipe) -> str:
    """A name for all that a first stage's result depends on."""
    settings = json.dumps(asdict(first_stage_recipe(recipe).deciding), sort_keys=True)
    return hashlib.sha256(settings.encode()).hexdigest()[:16]


def _check_side(side: str, recipes: Mapping[str, Recipe]) -> None:
    if side not in JUDGED_SIDES:
        raise UserError(f"rows are not compared on the side {side!r}: choose one of {', '.join(JUDGED_SIDES)}")
    for name, recipe in recipes.items():
        if side == "validation" and recipe.data.validation == "none":
            raise UserError(f"recipe {name} has no validation side to compare on: set data.validation=speaker")


def _announce(title: str, runs: list[FoldRun]) -> None:
    left = [run for run in runs if not run.finished]
    shared = {run.first_stage for run in left if run.first_stage}
    rows = len({run.folder.parent.parent for run in runs})
    if is_main_process():
        print(
            f"{title}: {rows} rows, {len(runs)} trainings, of which {len(left)} are left, "
            f"with {len(shared)} first stages between them",
            file=sys.stderr,
            flush=True,
        )


def _report(table: AblationTable, rows: Mapping[tuple[str, str], list[FoldRun]], side: str) -> AblationReport:
    judged = {key: judge_runs(runs, side) for key, runs in rows.items()}
    encoder = next(iter(judged))[0]
    protocol = judged[encoder, OURS].protocol
    return AblationReport(
        table=table.name,
        title=table.title,
        protocol=protocol,
        rows=[
            AblationRow(encoder=name, name=row, reads=_layers(row, rows[name, row]), **vars(found))
            for (name, row), found in judged.items()
        ],
        differences=[
            _difference(rows, name, row, side, list(judged[name, OURS].measures.get("support", {})))
            for name, row in rows
            if row != OURS
        ],
        leaderboard=leaderboard(next(iter(rows.values()))[0].recipe, protocol),
        paper=PAPER_TABLES.get(table.name, []) if side == "test" and protocol.corpus == "iemocap" else [],
        versions=environment(),
    )


def _layers(row: str, runs: list[FoldRun]) -> str | None:
    return layers_words([run.recipe.model.encoder_layers for run in runs]) if row == BEST_LAYER else None


def _difference(
    rows: Mapping[tuple[str, str], list[FoldRun]], encoder: str, row: str, side: str, labels: list[str]
) -> Difference:
    """The full method against one row, on the same utterances: how much better it is, and on each style apart."""
    ours, other = rows[encoder, OURS], rows[encoder, row]
    model = ours[0].recipe.model
    target = model.target_task
    several = labels if target in model.multilabel else []
    tables = read_predictions(ours, side), read_predictions(other, side)
    return Difference(
        encoder=encoder,
        name=OURS,
        against=row,
        **paired_difference(*tables, target, several),
        votes={} if several else _differences_of_votes(*tables, target, labels),
        slices=_differences_by_style(*tables, target, several),
        degraded=_differences_in_conditions(ours, other, target, several) if side == "test" else {},
        mcnemar=mcnemar(*tables, target, several),
    )


def _differences_of_votes(ours: DataFrame, other: DataFrame, target: str, labels: list[str]) -> dict[str, Change]:
    """The paired differences beside the raters' votes, where the corpus has them."""
    rated = all(has_votes(table, target, labels) for table in (ours, other))
    return paired_votes(ours, other, target, labels) if rated else {}


def _differences_in_conditions(
    ours: list[FoldRun], other: list[FoldRun], target: str, several: list[str]
) -> dict[str, dict]:
    """The paired differences in each condition that both were judged in."""
    shared = [name for name in ours[0].recipe.degraded if name in other[0].recipe.degraded]
    tables = [read_in_conditions(runs) for runs in (ours, other)] if shared else []
    return {
        name: paired_difference(*(table[table["condition"] == name] for table in tables), target, several)
        for name in shared
    }


def _differences_by_style(
    ours: DataFrame, other: DataFrame, target: str, several: list[str]
) -> dict[str, dict[str, dict]]:
    """The paired differences on each speaking style, such as speech and song, where there are several."""
    styles = sorted(judged_rows(ours, target, several)["style"].dropna().unique()) if "style" in ours else []
    parts = {style: [table[table["style"] == style] for table in (ours, other)] for style in styles}
    found = {style: paired_difference(*tables, target, several) for style, tables in parts.items()}
    return {"style": found} if len(found) > 1 else {}
