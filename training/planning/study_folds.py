"""The folds of a study: all are planned before any is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from ...configuration.errors import UserError
from ...configuration.recipe import Recipe
from ...configuration.recipe_checks import check_seed, refuse, require_trained_target
from ...configuration.run_folder import RunFolder
from ..corpora.rows import Rows
from .corpus_record import corpus_record
from .durations import recording_durations
from .plan import Plan, find_folds, load_rows, plan_run, shorten, utterances_of
from .sides import MissingLabelError
from .teachers import taught

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class StudyFolds:
    """What is known of a study's folds beforehand.

    Args:
        rows: the corpus.
        names: of all folds, in order.
        seeds: each once.
        plans: by seed and fold, of the trainings that can be.
        unfit: by fold, why none can be trained on the rest.
    """

    rows: Rows
    names: list[str]
    seeds: list[int]
    plans: Mapping[tuple[int, str], Plan]
    unfit: Mapping[str, str]

    def check_corpus(self, run: RunFolder, recipe: Recipe) -> None:
        """Raises `UserError` for a run that was begun with another corpus."""
        if run.split.is_file():
            plan = self.plans[recipe.seed, recipe.data.test_fold]
            dataset = self._dataset if plan.rows is self.rows else plan.rows.dataset()
            run.check_corpus(utterances_of(plan.rows, plan.sides), corpus_record(dataset, recipe))

    @cached_property
    def _dataset(self) -> Dataset:
        return self.rows.dataset()


def plan_study(recipe: Recipe, seeds: Sequence[int] = (), skip_unfit: bool = False) -> StudyFolds:
    """Plans the training of every fold with every seed; writes nothing.

    Args:
        recipe: its `data.test_fold` plays no part.
        seeds: of the study (default: the recipe's alone).
        skip_unfit: go on without the folds that cannot be trained, such as one that has all utterances of a class.

    Raises:
        UserError: a fold cannot be trained, with the reason of every such fold, or none can.
    """
    require_trained_target(recipe)
    seeds = list(dict.fromkeys(seeds)) or [recipe.seed]
    refuse(fault for seed in seeds for fault in check_seed(seed))
    rows = load_rows(recipe)
    names = find_folds(recipe, rows)
    durations = [] if recipe.data.longest is None else recording_durations(rows.dataset())
    plans, unfit = {}, {}
    for name in names:
        for seed in seeds:
            try:
                plans[seed, name] = shorten(plan_run(recipe_of_fold(recipe, seed, name), rows), durations)
            except UserError as error:
                unfit[name] = error
    if len(unfit) == len(names):
        raise next(iter(unfit.values()))
    if unfit and not skip_unfit:
        raise UserError(f"{len(unfit)} of {len(names)} folds cannot be trained: {_told(unfit)}")
    return StudyFolds(rows, names, seeds, plans, {name: _reason(error) for name, error in unfit.items()})


def _told(unfit: Mapping[str, UserError]) -> str:
    """Why folds cannot be trained, and how to mend it: together where a label is missing, else each by its own way."""
    unlabelled = {name: error for name, error in unfit.items() if isinstance(error, MissingLabelError)}
    others = [f"fold {name}: {error}" for name, error in unfit.items() if name not in unlabelled]
    if unlabelled:
        lacking = "; ".join(f"fold {name}: {_reason(error)}" for name, error in unlabelled.items())
        others.append(
            f"{lacking}: map or leave out that label with data.label_map, make larger folds with data.group_size"
        )
    return f"{'; '.join(others)}, or judge the other folds alone with --skip-unfit"


def _reason(error: UserError) -> str:
    return str(error).partition(": ")[0]


def recipe_of_fold(recipe: Recipe, seed: int, fold: str) -> Recipe:
    """A study's recipe for one training; a student's with that fold's teacher."""
    return taught(replace(recipe, seed=seed, data=replace(recipe.data, test_fold=fold), judged_by=None))


def check_at_once(at_once: int) -> None:
    """Raises `UserError` for a number of trainings at the same time that cannot be."""
    from ..machine.processes import processes  # torch's, which a mistake elsewhere need not wait for

    if at_once < 1:
        raise UserError(f"--at-once {at_once} trains nothing: give 1 or more")
    if at_once > 1 and (together := processes().num_processes) > 1:
        raise UserError(
            f"--at-once {at_once} starts processes of its own, and accelerate launch has started {together}: "
            "leave one of the two out"
        )
