"""Whether the method helps on real speech: a study of one encoder on RAVDESS and nEMO, from one command.

python examples/studies/run.py /data/ravdess /data/nemo openai/whisper-base studies/whisper-base

It goes from the cheap to the dear: linear probes, our heads on the frozen encoder in the Tables I to IV, and in
Table I with its states centred by speaker, then the encoder fine-tuned, first the lower four layers at little cost,
then in all four tables, first on RAVDESS's speech without its song; last come settings that the paper leaves open,
judged on validation sides. What has finished is not done again: after an interruption the same command goes on.
`--emobox EmoBox`, a clone of its repository, adds what stands on EmoBox's folds, with its leaderboard beside it.
`--plan` tells how many trainings are left and trains none. Four GPUs: add precision=bf16 --at-once 4.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from scripts import run
from summary import summarize

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe import BaselineRecipe, Recipe
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.configuration.run_folder import StudyFolder
from ser_meta.configuration.study_report import write_study_report
from ser_meta.training.planning.study_folds import plan_study
from ser_meta.training.planning.tables import OURS, find_table, folder_name
from ser_meta.training.studies.ablation import ablate, plan_table
from ser_meta.training.studies.crossval import FoldRun, cross_validate, plan_runs
from ser_meta.training.studies.probe import probe_layers

RECIPES = Path(__file__).resolve().parent
FROZEN, CENTRED = ("ravdess-frozen", "nemo-frozen"), ("ravdess-centred", "nemo-centred")
LIGHT = ("ravdess-light", "nemo-light")  # fine-tuned at little cost
FINE_TUNED = ("ravdess-speech", "ravdess", "nemo")
ON_EMOBOX = EMOBOX, TUNED = "ravdess-emobox", "ravdess-emobox-tuned"  # on folds that are not ours
CROSSVAL = "crossval"
SETTINGS = sorted((RECIPES / "settings").glob("*.yaml"))
TABLES = RECIPES / "tables"
STEPS = (
    *((f"{recipe}-probe", recipe, None) for recipe in FROZEN + CENTRED),
    (f"{EMOBOX}-probe", EMOBOX, None),
    (f"{EMOBOX}-crossval", EMOBOX, CROSSVAL),
    (f"{EMOBOX}-table-1", EMOBOX, "1"),
    (f"{EMOBOX}-table-full-method", EMOBOX, str(TABLES / "full-method.yaml")),
    (f"{EMOBOX}-table-what-decides", EMOBOX, str(TABLES / "what-decides.yaml")),
    (f"{EMOBOX}-table-longer", EMOBOX, str(TABLES / "longer.yaml")),
    *((f"{recipe}-table-{table}", recipe, table) for table in "2134" for recipe in FROZEN),
    *((f"{recipe}-table-1", recipe, "1") for recipe in CENTRED),
    *((f"{recipe}-table-1", recipe, "1") for recipe in LIGHT),
    (f"{LIGHT[0]}-table-light", LIGHT[0], str(TABLES / "light.yaml")),
    (f"{TUNED}-crossval", TUNED, CROSSVAL),
    *((f"{recipe}-table-{table}", recipe, table) for table in "1234" for recipe in FINE_TUNED),
    *((f"ravdess-search-{path.stem}", "ravdess-search", str(path)) for path in SETTINGS),
)


@dataclass(frozen=True)
class Step:
    """One part of the study: a recipe's linear probes, its own figures, or a table of what it is compared with.

    Args:
        name: of the step.
        recipe: the full method.
        table: "1" to "4", or a file with settings; None for the probes, `crossval` for the recipe alone.
        folder: of all tables with this recipe, which share their trainings.
        seeds: of the trainings.
    """

    name: str
    recipe: Recipe
    table: str | None
    folder: Path
    seeds: list[int]

    @property
    def side(self) -> str:
        """What the rows of its table are compared on."""
        return "test" if self.recipe.data.validation == "none" else "validation"

    @property
    def report(self) -> Path:
        """What the step leaves."""
        if self.table == CROSSVAL:
            return self._own / "report.json"
        if self.table:
            return self.folder / find_table(self.table).folder(self.side) / "report.json"
        return self.folder.with_name(f"{self.folder.name}-probe") / "report.json"

    def take(self, at_once: int) -> None:
        """Trains and judges what is left of it."""
        if self.table == CROSSVAL:
            self._start_study()
            cross_validate(self._alone, self._own, self.seeds, at_once)
        elif self.table:
            ablate(self.table, {self.folder.name: self.recipe}, self.folder, self.seeds, at_once, self.side)
        elif not self.report.is_file():
            self.report.parent.mkdir(parents=True, exist_ok=True)
            write_study_report(self.report, probe_layers(self.recipe, "test"))

    def trainings(self) -> list[FoldRun]:
        """All that it needs, those that have finished among them."""
        if not self.table:
            return []
        if self.table == CROSSVAL:
            return plan_runs(self._alone, plan_study(self.recipe, self.seeds), self._own)
        plan = plan_table(find_table(self.table), {self.folder.name: self.recipe}, self.folder, self.seeds)
        return [run for runs in plan.values() for run in runs]

    def _start_study(self) -> None:
        """Makes the study that its tables go on with: what they find there they do not train again."""
        study, recipes = StudyFolder(self.folder), {self.folder.name: self.recipe}
        study.check(recipes)
        study.create(recipes)

    @property
    def _alone(self) -> Recipe:
        """The recipe as the tables train it."""
        return replace(self.recipe, baseline=BaselineRecipe())

    @property
    def _own(self) -> Path:
        """Where the tables keep the recipe's own trainings."""
        return self.folder / self.folder.name / folder_name(OURS)


def main(
    ravdess: Annotated[Path, typer.Argument(help="The folder of RAVDESS.")],
    nemo: Annotated[Path, typer.Argument(help="The folder of nEMO.")],
    encoder: Annotated[str, typer.Argument(help="A speech encoder: a folder, or its name on the Hub.")],
    output: Annotated[Path, typer.Argument(help="The study's folder.")],
    settings: Annotated[
        list[str] | None, typer.Argument(help="Of all recipes, as key=value.", metavar="[KEY=VALUE]...")
    ] = None,
    seeds: Annotated[list[int] | None, typer.Option("--seed", help="Default: 1, 2 and 3.")] = None,
    emobox: Annotated[Path | None, typer.Option(help="A clone of EmoBox; without it its steps are left out.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="This step alone; may be given again.")] = None,
    at_once: Annotated[int, typer.Option(help="Folds that train at the same time, each in its own process.")] = 1,
    plan: Annotated[bool, typer.Option("--plan", help="Count the trainings, and train none.")] = False,
) -> None:
    """Takes the study's steps one after another, and writes summary.md after each."""
    roots = {"ravdess": ravdess, "nemo": nemo}
    steps = []
    for name, recipe, table in chosen_steps(only, emobox is not None):
        root = roots[recipe.partition("-")[0]]
        lists = [f"data.emobox={emobox}"] if recipe in ON_EMOBOX else []
        changes = [f"data.root={root}", *lists, f"model.encoder={encoder}", *(settings or [])]
        loaded = load_recipe(str(RECIPES / f"{recipe}.yaml"), changes)
        steps.append(Step(name, loaded, table, output / recipe, list(seeds or (1, 2, 3))))
    if plan:
        print("\n".join(planned(steps)))
        return
    for step in steps:
        print(f"{step.name}: {step.report}", file=sys.stderr, flush=True)
        step.take(at_once)
        (output / "summary.md").write_text(summarize(output), encoding="utf-8")
    print(output / "summary.md")


def chosen_steps(only: list[str] | None, with_emobox: bool) -> list[tuple[str, str, str | None]]:
    """The steps with these names, in their order; all of them by default, those on EmoBox's folds if it is there."""
    names = [name for name, *_ in STEPS]
    if unknown := sorted(set(only or ()) - set(names)):
        raise UserError(f"no step {unknown[0]}: choose among {', '.join(names)}")
    chosen = [step for step in STEPS if not only or step[0] in only]
    if only and not with_emobox and any(recipe in ON_EMOBOX for _, recipe, _ in chosen):
        raise UserError(f"the steps {EMOBOX}-* need --emobox, a clone of https://github.com/emo-box/EmoBox")
    return [step for step in chosen if with_emobox or step[1] not in ON_EMOBOX]


def planned(steps: list[Step]) -> Iterator[str]:
    """A line a step: how many of its trainings are left, of which an earlier step's are not counted again."""
    counted, total = set(), 0
    yield f"{'step':<32}{'trainings':>10}{'left':>6}{'first stages':>14}"
    for step in steps:
        new = {run.folder: run for run in step.trainings() if run.folder not in counted}
        left = [run for run in new.values() if not run.finished]
        first_stages = {run.first_stage for run in left if run.first_stage}
        counted |= set(new)
        total += len(left)
        yield f"{step.name:<32}{len(new):>10}{len(left):>6}{len(first_stages):>14}"
    yield f"{'all':<32}{len(counted):>10}{total:>6}"


if __name__ == "__main__":
    run(main)
