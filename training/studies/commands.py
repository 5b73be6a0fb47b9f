"""The commands that train or judge on every fold. What needs torch is imported inside them."""

import json
from pathlib import Path
from typing import Annotated

import typer

from ...configuration.records import to_json
from ...configuration.report import Report
from ...configuration.study_report import StudyReport, study_json
from ..options import AsJson, AtOnce, Overrides, RecipeName, Seeds, StudyFolder


def crossval(
    recipe: RecipeName,
    overrides: Overrides = None,
    output: StudyFolder = ...,
    seeds: Seeds = None,
    at_once: AtOnce = 1,
    keep_models: Annotated[bool, typer.Option("--keep-models", help="Keep every run's weights.")] = False,
    skip_unfit: Annotated[
        bool, typer.Option("--skip-unfit", help="Leave out folds without which a class cannot be learned.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train a recipe on every fold, and judge all folds together.

    Example: ser-meta crossval ravdess-whisper-base-frozen data.root=/data/ravdess --seed 1 --seed 2 --output frozen

    Several GPUs: one fold on each with --at-once 4, or all of them on one fold after the other with
    accelerate launch -m ser_meta.training crossval RECIPE ... --output STUDY
    """
    from ..planning.beforehand import plan_crossval

    checked, folds = plan_crossval(recipe, overrides or [], output, seeds or (), skip_unfit)
    from .crossval import cross_validate

    report = cross_validate(checked, output, seeds or (), at_once, keep_models, skip_unfit, folds)
    _show_study(report, output, as_json)


def ablate(
    table: Annotated[str, typer.Argument(help="The paper's table, 1 to 4, or a YAML file with rows of your own.")],
    recipes: Annotated[
        list[str], typer.Argument(help="Recipes of the full method, and settings as key=value.", metavar="RECIPE...")
    ],
    output: StudyFolder = ...,
    seeds: Seeds = None,
    at_once: AtOnce = 1,
    side: Annotated[str, typer.Option(help="Compare on test, or on validation, to choose a setting.")] = "test",
    as_json: AsJson = False,
) -> None:
    """Train and compare a recipe with the rows of one of the paper's tables, or of your own.

    1 compares the encoder alone with the full method, 2 leaves out ARI, co-attention or both, 3 compares
    ARI with a weighted sum of the layers, 4 tries every set of the auxiliary tasks.

    Example: ser-meta ablate 2 demo data.root=/tmp/recordings --output studies/demo

    A file has a title, and rows with what each sets, as in a recipe; the recipe itself is the row ours, such as this
    pooling.yaml: {title: Pooling, rows: {with deviation: {model: {frame_pooling: [mean, deviation]}}}}

    A row takes tasks away by model: {auxiliary_tasks: [...]} with those that stay, and a stage by stages: {NAME: null}

    Example: ser-meta ablate pooling.yaml demo data.root=/tmp/recordings data.validation=speaker
    --side validation --output studies/pooling
    """
    from ..planning.beforehand import check_ablation
    from ..planning.tables import find_table

    loaded = check_ablation(table, recipes, output, seeds or ())
    from .ablation import ablate as run_table

    report = run_table(table, loaded, output, seeds or (), at_once, side)
    _show_study(report, output / find_table(table).folder(side), as_json)


def distill(
    teacher: Annotated[
        str,
        typer.Argument(
            help="A ser-meta model's folder or owner/name on the Hub, a finished run, or a study with its models."
        ),
    ],
    recipe: RecipeName,
    overrides: Overrides = None,
    output: Annotated[Path, typer.Option(help="The student's run folder; of a study's students the study's.")] = ...,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run; a study does so.")] = False,
    seeds: Seeds = None,
    at_once: AtOnce = 1,
    keep_models: Annotated[bool, typer.Option("--keep-models", help="Of a study: keep every student.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a small model that answers as a large one does, and tell what it loses against it.

    The recipe says what the student is: another encoder, or the teacher's own with fewer and narrower layers.

    Example: ser-meta distill runs/mine my.yaml model.encoder=teacher model.encoder_layers=2 --output runs/small

    Recordings without labels help: distillation.unlabelled=/data/calls

    Of a study each fold's student learns from that fold's teacher: ser-meta crossval my.yaml --keep-models
    --output studies/mine, then ser-meta distill studies/mine my.yaml model.encoder=teacher --output studies/small
    """
    from ..planning.beforehand import plan_students

    plan, folds = plan_students(teacher, recipe, overrides or [], output, resume, seeds or ())
    if folds is not None:
        from .crossval import cross_validate

        report = cross_validate(plan, output, seeds or (), at_once, keep_models, folds=folds)
        _show_study(report, output, as_json)
        return
    from ..runs.stages import run_stages

    show_run(run_stages(plan.recipe, output, resume, plan=plan), output, as_json)


def probe(
    recipe: RecipeName,
    overrides: Overrides = None,
    output: Annotated[Path, typer.Option(help="The folder to write: report and picture.")] = ...,
    side: Annotated[
        str, typer.Option(help="Judge on validation, to choose a number of layers, or on test.")
    ] = "validation",
    heard: Annotated[
        int | None, typer.Option(min=1, help="With model.center_by: recordings of each judged group to centre it by.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell what each layer of a frozen encoder knows of the target, and how many layers are worth having.

    A logistic regression on the mean frame of each layer alone, of the lowest ones together and of all is judged on
    speakers that it has not heard. It suggests the fewest layers that are within one standard error of the best.

    Example: ser-meta probe ravdess-whisper-base-frozen data.root=/data/ravdess --output probes/ravdess

    Another encoder needs a folder for its states only: ser-meta probe my.yaml model.encoder=microsoft/wavlm-large
    cache=/tmp/states --output probes/wavlm
    """
    from ..planning.beforehand import plan_probe

    checked = plan_probe(recipe, overrides or [], side, heard)
    from ...configuration.study_report import write_study_report
    from ...hub_cards.study.write import write_study
    from .probe import probe_layers

    report = probe_layers(checked, side, heard)
    write_study(report, output)
    write_study_report(output / "report.json", report)
    _show_study(report, output, as_json)


def show_run(report: Report, output: Path, as_json: bool) -> None:
    """Prints the report of a run that has ended, and where its parts are."""
    from ...hub_cards.terminal.report import print_report
    from ..machine.processes import is_main_process

    if not is_main_process():
        return
    if as_json:
        print(json.dumps(to_json(report)))
    else:
        print_report(report)
        print(f"Model: {output / 'model'}   Report: {output / 'report.json'}   Pictures: {output / 'plots'}")


def _show_study(report: StudyReport, folder: Path, as_json: bool) -> None:
    from ...hub_cards.study.write import print_study
    from ..machine.processes import is_main_process

    if not is_main_process():
        return
    if as_json:
        print(json.dumps(study_json(report)))
    else:
        print_study(report)
        print(f"Page: {folder / 'report.html'}   Report: {folder / 'report.json'}")
