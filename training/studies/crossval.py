"""`ser-meta crossval`: a recipe on every fold and with several seeds, judged together."""

import math
import multiprocessing
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path

import pandas
import torch
from omegaconf import OmegaConf

from ...configuration.errors import Interrupted, UserError
from ...configuration.protocol import Protocol
from ...configuration.recipe import Recipe
from ...configuration.report import Report, TeacherFacts, read_report
from ...configuration.run_folder import RunFolder, StudyFolder, moved_into_place
from ...configuration.study_report import CrossvalReport, RecipeFindings, Spread, TrainingFacts, write_study_report
from ...hub_cards.study.write import write_study
from ..machine.environment import environment
from ..machine.interruption import leaving_on_signals
from ..machine.processes import is_main_process, processes, say, wait_for_all_processes
from ..measures.conditions import found_in_conditions
from ..planning.sides import left_out_of_all
from ..planning.speakers import not_judged, together
from ..planning.study_folds import StudyFolds, check_at_once, plan_study, recipe_of_fold
from ..runs.judging import describe_longest, report_on
from ..runs.preparation import prepare
from ..runs.stages import run_stages, train_first_stage
from ..runs.teaching import compare
from .leaderboard import leaderboard


@dataclass(frozen=True)
class FoldRun:
    """One training of a study: what to train, and where.

    Args:
        recipe: with the seed and the test fold of this run.
        fold: the test fold's place among the folds, from 0.
        folder: of the run.
        first_stage: folder of a first stage that is shared with other runs; it is trained if it is not there.
    """

    recipe: Recipe
    fold: int
    folder: Path
    first_stage: Path | None = None

    @property
    def finished(self) -> bool:
        """Whether its report is there, which is written last."""
        return RunFolder(self.folder).report.is_file()


def cross_validate(
    recipe: Recipe,
    output: str | Path,
    seeds: Sequence[int] = (),
    at_once: int = 1,
    keep_models: bool = False,
    skip_unfit: bool = False,
    folds: StudyFolds | None = None,
) -> CrossvalReport:
    """Trains a recipe with every fold as the test side, and judges all folds together.

    A run that has finished is not repeated, and one that was interrupted goes on.

    Args:
        recipe: its `data.test_fold` plays no part.
        output: the study's folder: a run folder for each seed and fold, `predictions.parquet` with the test sides of
            all, `report.json`, `report.md`, `report.html` and `plots/`.
        seeds: of the runs (default: the recipe's alone).
        at_once: folds that train at the same time, each in a process and, where there are several GPUs, on one of its
            own.
        keep_models: keep every run's weights; by default they go when the run has been judged.
        skip_unfit: go on without the folds that cannot be trained, see `plan_study`; the protocol names them.
        folds: what `plan_study` gives for these, if it is at hand.

    Returns:
        the report: each run's figures, their mean and spread, and those of all folds' utterances together.

    Raises:
        UserError: the recipe does not fit the corpus, or the folder holds another recipe's study.
    """
    study = StudyFolder(output)
    study.check({"crossval": recipe})
    check_at_once(at_once)
    folds = folds or plan_study(recipe, seeds, skip_unfit)
    for name, reason in folds.unfit.items():
        say(f"fold {name} is left out: {reason}")
    runs = plan_runs(recipe, folds, study.path)
    for run in runs:
        folds.check_corpus(RunFolder(run.folder), run.recipe)
    if keep_models:
        _refuse_lost_models(runs)
    if is_main_process():
        study.create({"crossval": recipe})
    train_runs(runs, at_once, keep_models)
    report = CrossvalReport(**vars(judge_runs(runs)), versions=environment())
    report.protocol.folds_left_out = dict(folds.unfit)
    report.leaderboard = leaderboard(recipe, report.protocol)
    if is_main_process():
        with moved_into_place(study.predictions) as aside:
            read_predictions(runs).to_parquet(aside)
        write_study(report, study.path, curves=training_curves(runs))
        write_study_report(study.report, report)
    wait_for_all_processes()
    return report


def _refuse_lost_models(runs: Iterable[FoldRun]) -> None:
    """Raises `UserError` where a run that is not trained again has no weights any more."""
    if lost := [run.folder for run in runs if run.finished and not RunFolder(run.folder).model.is_dir()]:
        raise UserError(
            f"--keep-models: {lost[0]} and {len(lost) - 1} others have finished without it, and their weights are "
            "gone: choose another --output, or remove those folders and they are trained again"
        )


def plan_runs(recipe: Recipe, folds: StudyFolds, folder: Path) -> list[FoldRun]:
    """The runs of one recipe, in the order in which they are trained."""
    return [
        FoldRun(
            recipe_of_fold(recipe, seed, name),
            fold,
            folder / f"seed-{seed}" / f"fold-{fold}",
        )
        for seed in folds.seeds
        for fold, name in enumerate(folds.names)
        if name not in folds.unfit
    ]


def train_runs(runs: list[FoldRun], at_once: int = 1, keep_models: bool = False) -> None:
    """Trains the runs that have not finished, and says after each how long the rest will take, if they are alike.

    Raises:
        UserError: a folder holds another recipe's run.
    """
    for run in runs:
        RunFolder(run.folder).check(run.recipe, resume=True)
    left = [run for run in runs if not run.finished]
    started = time.monotonic()
    with leaving_on_signals():
        for done, run in enumerate(_trained(left, at_once), start=1):
            if not keep_models and is_main_process():
                _drop_weights(run, runs)
            rest = (time.monotonic() - started) * rounds_left(len(left), done, at_once)
            say(f"{run.folder}: {done} of {len(left)} trainings done{time_left(rest)}")
    wait_for_all_processes()


def rounds_left(trainings: int, done: int, at_once: int) -> float:
    """How much longer the rest takes than what has been done; those beside a training that has ended are as far."""
    rounds = math.ceil(done / at_once)
    return math.ceil(trainings / at_once) / rounds - 1


def time_left(seconds: float) -> str:
    """How long it takes still, in words; nothing where nothing is left."""
    if not seconds:
        return ""
    unit, size = ("hour", 3600) if seconds > 5400 else ("minute", 60) if seconds > 90 else ("second", 1)
    count = max(1, round(seconds / size))
    return f", about {count} {unit}{'' if count == 1 else 's'} left"


def judge_runs(runs: list[FoldRun], side: str = "test") -> RecipeFindings:
    """What the runs of one recipe show: each run's figures, their mean and spread over the folds, and all together."""
    reports = [read_report(RunFolder(run.folder).report) for run in runs]
    if side == "validation":
        reports = [replace(report, **vars(report.validation)) for report in reports]
    recipe = runs[0].recipe
    predictions = read_predictions(runs, side)
    speakers = together(
        report.speakers for run, report in zip(runs, reports, strict=True) if run.recipe.seed == recipe.seed
    )
    tasks, target = _tasks(reports), recipe.model.target_task
    return RecipeFindings(
        speakers=speakers,
        recipe=OmegaConf.to_container(OmegaConf.structured(recipe)),
        protocol=_protocol(runs, reports, side, predictions),
        runs=[_training_facts(run, report) for run, report in zip(runs, reports, strict=True)],
        summary=_mean_and_spread(runs, reports),
        pooled=report_on(predictions, tasks, target, not_judged(speakers)),
        degraded=found_in_conditions(predictions, read_in_conditions(runs), tasks, target)
        if recipe.degraded and side == "test"
        else {},
        teacher=_teachers(runs, reports, predictions) if side == "test" else None,
    )


def _teachers(runs: list[FoldRun], reports: list[Report], predictions: pandas.DataFrame) -> TeacherFacts | None:
    """What the students of all folds together lose against their teachers; None for models without one."""
    facts, target = reports[0].teacher, runs[0].recipe.model.target_task
    if facts is None:
        return None
    tables = [
        pandas.read_parquet(RunFolder(run.folder).teacher_predictions).assign(seed=run.recipe.seed) for run in runs
    ]
    together = replace(facts)
    compare(together, predictions, pandas.concat(tables, ignore_index=True), _tasks(reports), target)
    return together


def read_predictions(runs: Iterable[FoldRun], side: str = "test") -> pandas.DataFrame:
    """The test or validation sides of all runs in one table, with the columns `fold`, `test_fold` and `seed`."""
    return _joined((run, RunFolder(run.folder).predictions_of(side)) for run in runs)


def read_in_conditions(runs: Iterable[FoldRun]) -> pandas.DataFrame:
    """The test sides of all runs in the recipe's conditions, with the column `condition` too."""
    return _joined((run, RunFolder(run.folder).predictions_in_conditions) for run in runs)


def _joined(tables: Iterable[tuple[FoldRun, Path]]) -> pandas.DataFrame:
    return pandas.concat(
        [
            pandas.read_parquet(path).assign(fold=run.fold, test_fold=run.recipe.data.test_fold, seed=run.recipe.seed)
            for run, path in tables
        ],
        ignore_index=True,
    )


def training_curves(runs: Iterable[FoldRun]) -> dict[str, dict[str, list]]:
    """By run: each stage's log history."""
    states = {_name(run): RunFolder(run.folder).read_state() for run in runs}
    return {name: {stage: record["log"] for stage, record in state.items()} for name, state in states.items()}


def _trained(runs: list[FoldRun], at_once: int) -> Iterator[FoldRun]:
    if at_once == 1:
        yield from map(_train, runs)
        return
    if runs and runs[0].recipe.cache is not None:
        _fill_cache(runs[0].recipe)
    context = multiprocessing.get_context("spawn")
    gpus, places = visible_gpus() or [None], context.Queue()
    for place in range(at_once):
        places.put(gpus[place % len(gpus)])
    threads = max(1, torch.get_num_threads() // at_once)
    with ProcessPoolExecutor(at_once, context, initializer=_take_place, initargs=(places, threads)) as pool:
        try:
            yield from pool.map(_train_in_pool, runs)
        except Interrupted:
            for process in multiprocessing.active_children():
                process.terminate()  # each saves first
            raise
        except BrokenProcessPool as error:
            raise UserError(
                f"one of the {at_once} processes was killed, perhaps for want of memory: the same command goes on, "
                "with a lower --at-once if need be"
            ) from error


def _fill_cache(recipe: Recipe) -> None:
    """Computes what the first stage's frozen part gives with all cores, before the folds share them."""
    prepared = prepare(recipe)
    prepared.build_collator(prepared.new_model().to(processes().device), next(iter(recipe.stages.values())))


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, named as in CUDA_VISIBLE_DEVICES: by numbers or by identifiers."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(number) for number in range(torch.cuda.device_count())]


def _take_place(places: multiprocessing.Queue, threads: int) -> None:
    """Gives a process its GPU, if there is one, and its share of the cores."""
    if (gpu := places.get()) is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    torch.set_num_threads(threads)


def _train(run: FoldRun) -> FoldRun:
    if run.first_stage is not None:
        train_first_stage(run.recipe, run.first_stage)
    run_stages(run.recipe, run.folder, resume=True, first_stage=run.first_stage)
    return run


def _train_in_pool(run: FoldRun) -> FoldRun:
    try:
        return _train(run)
    except Interrupted as error:
        os._exit(error.exit_code)  # the pool would give it the next run


def _drop_weights(run: FoldRun, runs: list[FoldRun]) -> None:
    """Those of a finished run, and its shared first stage when no other run waits for that."""
    for part in [*run.folder.glob("stage-*"), run.folder / "model"]:
        shutil.rmtree(part)
    waiting = [other for other in runs if other.first_stage == run.first_stage and not other.finished]
    if run.first_stage is not None and run.first_stage.is_dir() and not waiting:
        shutil.rmtree(run.first_stage)


def _protocol(runs: list[FoldRun], reports: list[Report], side: str, predictions: pandas.DataFrame) -> Protocol:
    seconds, too_long = runs[0].recipe.data.longest, [report.data.too_long for report in reports]
    return replace(
        reports[0].protocol,
        left_out=left_out_of_all([report.protocol.left_out for report in reports]),
        test_fold=None,
        seed=None,
        longest=None if seconds is None else describe_longest(seconds, too_long),
        seeds=sorted({run.recipe.seed for run in runs}),
        judged_on=_validation_sides(predictions) if side == "validation" else None,
    )


def _validation_sides(predictions: pandas.DataFrame) -> str:
    """Whom the validation sides hold: a speaker may be drawn in several folds, and count there, or in none."""
    folds = predictions.groupby(["seed", "speaker"])["fold"].nunique().groupby("speaker").max()
    several = int((folds > 1).sum())
    known = f"the validation sides of {len(folds)} speakers in all" if len(folds) else "the validation sides"
    return f"{known}, {several} of them in several folds" if several else known


def _tasks(reports: list[Report]) -> dict[str, dict]:
    """The tasks of all folds together, with the labels of every fold, such as the speakers that it trained on."""
    tasks = dict(reports[0].model.tasks)
    for name, task in tasks.items():
        if task["kind"] == "classification":
            every = (label for report in reports for label in report.model.tasks[name]["labels"])
            tasks[name] = {**task, "labels": list(dict.fromkeys(every))}
    return tasks


def _training_facts(run: FoldRun, report: Report) -> TrainingFacts:
    return TrainingFacts(
        seed=run.recipe.seed,
        fold=run.recipe.data.test_fold,
        folder=f"{run.folder.parent.name}/{run.folder.name}",
        seconds=sum(stage["seconds"] for stage in report.stages.values()),
        metrics=report.metrics,
        sides=report.sides,
        layer_shares=report.layer_shares,
    )


def _mean_and_spread(runs: list[FoldRun], reports: list[Report]) -> dict[str, dict[str, Spread]]:
    """By task and measure: mean and standard deviation over the folds, of each fold's mean over the seeds."""
    figures = [
        {"fold": run.fold, "task": task, "measure": measure, "value": value}
        for run, report in zip(runs, reports, strict=True)
        for task, measures in report.metrics.items()
        for measure, value in {**measures, **measures.get("votes", {})}.items()
        if isinstance(value, float)
    ]
    by_fold = pandas.DataFrame(figures).groupby(["task", "measure", "fold"])["value"].mean()
    summary: dict[str, dict[str, Spread]] = {}
    for (task, measure), values in by_fold.groupby(level=["task", "measure"]):
        summary.setdefault(task, {})[measure] = {"mean": values.mean(), "sd": values.std() if len(values) > 1 else 0.0}
    return summary


def _name(run: FoldRun) -> str:
    return f"fold {run.recipe.data.test_fold}, seed {run.recipe.seed}"
