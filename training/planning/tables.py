"""The rows of an ablation: those of the paper's Tables I to IV, or of a file with changes to the recipe."""

import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ...configuration.errors import UserError
from ...configuration.idle_settings import as_built, idle_settings
from ...configuration.recipe import BaselineRecipe, Recipe
from ...configuration.recipe_files import change_recipe, read_yaml
from ..corpora import loader_options

OURS = "ours"
BEST_LAYER = "baseline, best layer"
"""The row whose layer each fold chooses when it is trained, see `studies.best_layer`."""
# how recordings are heard or learned, not which there are
CHANGEABLE_DATA = ("speed_factors", "trim_decibels", "augmentation", "votes", "ties")


@dataclass(frozen=True)
class AblationTable:
    """What a recipe is compared with.

    Args:
        name: of its folder.
        title: in plain words.
        others: the recipes of the rows by name, made of the full method's.
    """

    name: str
    title: str
    others: Callable[[Recipe], Mapping[str, Recipe]]

    def rows(self, recipe: Recipe) -> dict[str, Recipe]:
        """By name: the recipes of the rows, the full method last.

        Raises:
            UserError: a row is the recipe itself, which lacks what the row leaves out or has what it sets; or a row
                would be judged on other recordings.
        """
        rows = {**self.others(recipe), OURS: recipe}
        # a row's recipe holds only what its training depends on
        rows = {name: replace(row, baseline=BaselineRecipe()) for name, row in rows.items()}
        built = {name: replace(row, model=as_built(row.model)) for name, row in rows.items()}
        if same := [name for name, row in built.items() if name != OURS and row == built[OURS]]:
            idle = [f"; model.{key} changes nothing: {why}" for key, why in idle_settings(rows[same[0]].model).items()]
            raise UserError(
                f"table {self.name}: the recipe itself is the row {same[0]!r}: choose a recipe that differs from it"
                + "".join(idle)
            )
        return rows

    def folder(self, side: str) -> str:
        """Of its pages in a study, where its rows are compared on the `test` or the `validation` side."""
        return f"table-{self.name}" if side == "test" else f"table-{self.name}-{side}"


@dataclass
class TableFile:
    """What a table's file holds: a title, and by row what it changes of the recipe."""

    title: Any
    rows: dict[str, Recipe]


def find_table(name: str) -> AblationTable:
    """One of the paper's tables, "1" to "4", or that of a YAML file.

    A file has a `title` and `rows`: by name, what each changes of the recipe, written as in a recipe.

        title: What the frames are pooled by
        rows:
          mean and deviation:
            model: {frame_pooling: [mean, deviation]}

    Raises:
        UserError: no such table, or a file of another form.
    """
    if name in PAPERS:
        return PAPERS[name]
    if Path(name).suffix in (".yaml", ".yml"):
        return _read_table(Path(name))
    raise UserError(f"no table {name}: choose one of {', '.join(PAPERS)}, or give a YAML file with rows")


def folder_name(row: str) -> str:
    """What a row's folder is called: its name without what a path may not hold."""
    return re.sub(r"[^\w.+-]+", "-", row).strip("-.")


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
    return {"baseline": baseline(recipe), BEST_LAYER: baseline(recipe)}


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


PAPERS = {
    table.name: table
    for table in (
        AblationTable("1", "Table I: the encoder alone, and the full method", _table_1),
        AblationTable("2", "Table II: without ARI, without co-attention, without both", _table_2),
        AblationTable("3", "Table III: a weighted sum of the layers against ARI, on every task", _table_3),
        AblationTable("4", "Table IV: every set of the auxiliary tasks", _table_4),
    )
}


def _read_table(path: Path) -> AblationTable:
    where = f"table {path}"
    if path.stem in PAPERS:
        raise UserError(f"{where} has the name of one of the paper's tables: give the file another one")
    table = read_yaml(path, where, TableFile)
    title, changes = table.pop("title", None), table.pop("rows", None)
    if table:
        raise UserError(f"{where} has {next(iter(table))!r}: it must have a title and rows, and nothing else")
    if not isinstance(title, str):
        raise UserError(f"{where} has the title {title!r}: give it one in words")
    if not isinstance(changes, dict) or not changes:
        raise UserError(f"{where} has the rows {changes!r}: write each as a name with what it changes of the recipe")
    changes = {str(row): change for row, change in changes.items()}
    if wrong := [row for row, change in changes.items() if not isinstance(change, dict) or not change]:
        raise UserError(f"{where}: the row {wrong[0]!r} changes nothing: write what it sets, as in a recipe")
    folders = [folder_name(row) for row in [OURS, *changes]]
    if "" in folders or len(set(folders)) < len(folders):
        raise UserError(f"{where}: each row needs a name of its own, in letters and digits, and none may be {OURS!r}")

    def others(recipe: Recipe) -> dict[str, Recipe]:
        return {row: _changed(recipe, change, f"{where}, row {row!r}") for row, change in changes.items()}

    return AblationTable(path.stem, title, others)


def _check_votes(row: Recipe, recipe: Recipe, where: str) -> None:
    """Raises `UserError` where other utterances would have a label, or be there, in one row than in another."""
    if (row.data.ties == "first") != (recipe.data.ties == "first"):
        raise UserError(
            f"{where}: rows are judged on the same utterances, and with data.ties=first those that are tied have a "
            "label too: let all rows have it, or none"
        )
    without = [source.corpus for source in recipe.data.sources if not source.options.get("votes")]
    apart = [corpus for corpus in without if "votes" in loader_options(corpus)]
    if apart and row.data.votes != recipe.data.votes:
        raise UserError(
            f"{where}: {apart[0]} brings its raters' votes, and utterances with these alone, to where they are "
            'learned: let all rows have them, by "data.options={votes: true}"'
        )


def _changed(recipe: Recipe, change: dict[str, Any], where: str) -> Recipe:
    row = change_recipe(recipe, change, where)
    target = recipe.model.target_task
    unchanged = {name: getattr(recipe.data, name) for name in CHANGEABLE_DATA}
    if replace(row.data, **unchanged) != recipe.data:
        raise UserError(
            f"{where}: rows are compared on the same recordings: of data it may change {' and '.join(CHANGEABLE_DATA)}"
        )
    _check_votes(row, recipe, where)
    if row.seed != recipe.seed:
        raise UserError(f"{where}: rows are compared on the same seeds: give them to ser-meta ablate with --seed")
    if row.model.target_task != target:
        raise UserError(f"{where}: rows are compared on the same target: leave model.target_task as it is")
    if (target in row.model.multilabel) != (target in recipe.model.multilabel):
        raise UserError(
            f"{where}: rows are compared by the same figures: leave {target} in model.multilabel, or out of it, in all"
        )
    changed_stages = change.get("stages") or {}
    for name, stage in recipe.stages.items():
        weights = (changed_stages.get(name) or {}).get("loss_weights") or {}
        if absent := [task for task, weight in weights.items() if not weight and task not in stage.loss_weights]:
            raise UserError(
                f"{where}: stages.{name}.loss_weights.{absent[0]}=0 takes nothing away: the recipe's are "
                f"{', '.join(stage.loss_weights)}"
            )
    return row
