"""`ser-meta ablate`: the paper's Tables I to IV on any corpus, each row cross-validated and compared."""

import hashlib
import itertools
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pandas import DataFrame

from ..configuration.errors import UserError
from ..configuration.recipe import BaselineRecipe, Recipe
from ..configuration.run_folder import StudyFolder, write_json
from ..hub_cards.study import write_study
from .crossval import FoldRun, judge_runs, plan_runs, read_predictions, train_runs
from .environment import environment
from .paper import PAPER_TABLES
from .preparation import find_folds
from .progress import is_main_process, wait_for_main_process
from .stages import first_stage_recipe
from .statistics import mcnemar, paired_difference

OURS = "ours"
TABLES = {
    1: "the encoder alone against ours",
    2: "without ARI, without co-attention, without both",
    3: "a weighted sum of the layers against ARI, on every task",
    4: "every set of the auxiliary tasks",
}


def ablate(
    table: int,
    recipes: Mapping[str, Recipe],
    output: str | Path,
    seeds: Iterable[int] = (),
    at_once: int = 1,
) -> dict[str, Any]:
    """Trains and compares the rows of one of the paper's tables.

    Rows that need the same first stage share it, and tables in the same folder share their rows: what has finished is
    not trained again.

    Args:
        table: 1 to 4, see `TABLES`.
        recipes: by name, the full method with one encoder each.
        output: the study's folder; the table's own pages are in its subfolder `table-N`.
        seeds: of the runs (default: each recipe's alone).
        at_once: folds that train at the same time, see `cross_validate`.

    Returns:
        the report: each row's figures, and its difference to the full method with an interval and McNemar's test.

    Raises:
        UserError: no such table, a recipe that does not fit its corpus, or a folder with another study.
    """
    rows = plan_table(table, recipes, output, seeds)
    study = StudyFolder(output)
    study.begin(dict(recipes))
    runs = [run for planned in rows.values() for run in planned]
    _announce(table, runs)
    train_runs(runs, at_once)
    report = _report(table, rows)
    folder = study.path / f"table-{table}"
    if is_main_process():
        folder.mkdir(exist_ok=True)
        write_study(report, folder)
        write_json(folder / "report.json", report)
    wait_for_main_process()
    return report


def plan_table(
    table: int, recipes: Mapping[str, Recipe], output: str | Path, seeds: Iterable[int] = ()
) -> dict[tuple[str, str], list[FoldRun]]:
    """By encoder and row: the trainings that `ablate` needs, those that have finished among them; writes nothing."""
    if table not in TABLES:
        raise UserError(f"no table {table}: choose one of {', '.join(map(str, TABLES))}")
    planned = {}
    for name, recipe in recipes.items():
        rows = table_rows(table, recipe)
        folds = find_folds(recipe)  # the rows differ in the model and its stages, not in the recordings
        for row, changed in rows.items():
            planned[name, row] = _plan_row(changed, row, folds, Path(output) / name, list(seeds) or [recipe.seed])
    return planned


def table_rows(table: int, recipe: Recipe) -> dict[str, Recipe]:
    """By name: the recipes of a table's rows, the full method last.

    Raises:
        UserError: what a row leaves out is missing in the recipe itself.
    """
    rows = {1: _table_1, 2: _table_2, 3: _table_3, 4: _table_4}[table](recipe)
    if same := [name for name, row in rows.items() if row == recipe]:
        raise UserError(f"table {table}: the recipe itself is the row {same[0]!r}: choose one of the full method")
    # a row's recipe holds only what its training depends on
    return {name: replace(row, baseline=BaselineRecipe()) for name, row in {**rows, OURS: recipe}.items()}


def baseline(recipe: Recipe) -> Recipe:
    """The encoder fine-tuned on the target alone (section IV-A): last layer, mean, one linear map.

    It is trained for as many epochs as the full method's stages together, with the last stage's settings, but for the
    rates that `recipe.baseline` gives, and with all Transformer layers free but those that every stage freezes (our
    reading).
    """
    target = recipe.model.target_task
    (name, stage) = list(recipe.stages.items())[-1]
    epochs = sum(each.epochs for each in recipe.stages.values())
    frozen = stage.freeze_layers if len({each.freeze_layers for each in recipe.stages.values()}) == 1 else 0
    rates = {key: rate for key, rate in asdict(recipe.baseline).items() if rate is not None}
    weights = {target: stage.loss_weights[target]}
    alone = replace(stage, loss_weights=weights, epochs=epochs, freeze_layers=frozen, **rates)
    model = replace(
        recipe.model,
        auxiliary_tasks=[],
        layer_fusion="last_hidden",
        coattention=False,
        frame_pooling=["mean"],
        classifier_hidden_size=0,
    )
    return replace(recipe, model=model, stages={name: alone})


def with_auxiliary_tasks(recipe: Recipe, auxiliary: Iterable[str]) -> Recipe:
    """The recipe with these auxiliary tasks only; a stage without a loss is left out."""
    kept = [task for task in recipe.model.auxiliary_tasks if task in set(auxiliary)]
    known = {recipe.model.target_task, *kept}
    stages = {
        name: replace(stage, loss_weights={task: w for task, w in stage.loss_weights.items() if task in known})
        for name, stage in recipe.stages.items()
    }
    return replace(
        recipe,
        model=replace(recipe.model, auxiliary_tasks=kept),
        stages={name: stage for name, stage in stages.items() if stage.loss_weights},
    )


def _table_1(recipe: Recipe) -> dict[str, Recipe]:
    return {"baseline": baseline(recipe)}


def _table_2(recipe: Recipe) -> dict[str, Recipe]:
    model = recipe.model
    return {
        "without both": replace(recipe, model=replace(model, layer_fusion="last_hidden", coattention=False)),
        "without co-attention": replace(recipe, model=replace(model, coattention=False)),
        "without ARI": replace(recipe, model=replace(model, layer_fusion="last_hidden")),
    }


def _table_3(recipe: Recipe) -> dict[str, Recipe]:
    return {"weighted sum": replace(recipe, model=replace(recipe.model, layer_fusion="weighted_sum"))}


def _table_4(recipe: Recipe) -> dict[str, Recipe]:
    tasks = recipe.model.auxiliary_tasks
    sets = [chosen for count in range(len(tasks)) for chosen in itertools.combinations(tasks, count)]
    return {", ".join(chosen) or "no auxiliary task": with_auxiliary_tasks(recipe, chosen) for chosen in sets}


def _plan_row(recipe: Recipe, row: str, folds: list[str], folder: Path, seeds: list[int]) -> list[FoldRun]:
    runs = plan_runs(recipe, folds, seeds, folder / row.replace(" ", "-").replace(",", ""))
    if len(recipe.stages) == 1:
        return runs
    return [replace(run, first_stage=folder / "first-stages" / _first_stage_key(run.recipe)) for run in runs]


def _first_stage_key(recipe: Recipe) -> str:
    """A name for all that a first stage's result depends on."""
    settings = json.dumps(asdict(first_stage_recipe(recipe)), sort_keys=True)
    return hashlib.sha256(settings.encode()).hexdigest()[:16]


def _announce(table: int, runs: list[FoldRun]) -> None:
    left = [run for run in runs if not run.finished]
    shared = {run.first_stage for run in left if run.first_stage}
    rows = len({run.folder.parent.parent for run in runs})
    if is_main_process():
        print(
            f"Table {table}, {TABLES[table]}: {rows} rows, {len(runs)} trainings, of which {len(left)} are left, "
            f"with {len(shared)} first stages between them",
            file=sys.stderr,
            flush=True,
        )


def _report(table: int, rows: Mapping[tuple[str, str], list[FoldRun]]) -> dict[str, Any]:
    judged = {key: judge_runs(runs) for key, runs in rows.items()}
    (encoder, _), first = next(iter(judged.items()))
    return {
        "kind": "ablation",
        "table": table,
        "protocol": judged[encoder, OURS]["protocol"],
        "rows": [
            {"encoder": name, "name": row, "auxiliary_tasks": result["recipe"]["model"]["auxiliary_tasks"], **result}
            for (name, row), result in judged.items()
        ],
        "differences": [_difference(rows, name, row) for name, row in rows if row != OURS],
        "paper": PAPER_TABLES[table] if first["protocol"]["corpus"] == "iemocap" else [],
        "versions": environment(),
    }


def _difference(rows: Mapping[tuple[str, str], list[FoldRun]], encoder: str, row: str) -> dict[str, Any]:
    """The full method against one row, on the same utterances: how much better it is, and on each style apart."""
    ours, other = rows[encoder, OURS], rows[encoder, row]
    target = ours[0].recipe.model.target_task
    tables = read_predictions(ours), read_predictions(other)
    return {
        "encoder": encoder,
        "name": OURS,
        "against": row,
        **paired_difference(*tables, target),
        "slices": _differences_by_style(*tables, target),
        "mcnemar": mcnemar(*tables, target),
    }


def _differences_by_style(ours: DataFrame, other: DataFrame, target: str) -> dict[str, dict[str, dict]]:
    """The paired differences on each speaking style, such as speech and song, where there are several."""
    styles = sorted(ours["style"].dropna().unique()) if "style" in ours else []
    parts = {style: [table[table["style"] == style] for table in (ours, other)] for style in styles}
    found = {style: paired_difference(*tables, target) for style, tables in parts.items()}
    return {"style": found} if len(found) > 1 else {}
