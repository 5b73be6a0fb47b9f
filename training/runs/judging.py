"""The judgement of a trained model: predictions of its validation and test side, the report, and the model folder."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from datasets import Dataset

from ...configuration.protocol import Protocol
from ...configuration.report import (
    DataFacts,
    Findings,
    ModelFacts,
    Report,
    SideFindings,
    Speakers,
    Temperature,
    write_report,
)
from ...configuration.run_folder import RunFolder, moved_into_place
from ...hub_cards.card.render import write_card
from ...hub_cards.pictures.run import plot_confusion, plot_risk, plot_training_curves
from ...modeling_ser_meta.configuration_ser_meta import SerMetaConfig
from ...modeling_ser_meta.modeling_ser_meta import SerMetaModel
from ...modeling_ser_meta.processing_ser_meta import SerMetaProcessor
from ...modeling_ser_meta.settings_ser_meta import adapter_settings, nameless_labels
from ..batches.collator import SpeechCollator
from ..batches.degradations import Condition
from ..batches.group_means import collator_in, describe_centering
from ..batches.long_recordings import describe_pieces
from ..corpora.mixture import corpora_words, label_maps
from ..learning.arguments import judging_arguments
from ..learning.trainer import SerMetaTrainer
from ..machine.environment import environment
from ..machine.processes import say
from ..measures.conditions import found_in_conditions, together
from ..measures.layer_shares import layer_shares
from ..measures.metrics import evaluate_predictions, slices
from ..measures.selective import familiarity_of, risk_and_coverage
from ..measures.statistics import calibration, interval
from ..measures.temperature import fit_on, fit_thresholds
from ..measures.vote_intervals import vote_calibration, vote_interval
from ..measures.votes import labels_at_once
from ..measures.yardstick import logistic_regression_yardstick
from ..planning.durations import recording_durations
from ..planning.folds import describe_folds, read
from ..planning.judged_by import judged_by
from ..planning.labels import describe_votes
from ..planning.plan import SIDES
from ..planning.sides import describe_styles
from ..planning.speakers import speaker_facts
from ..planning.starting import describe_start, encoder_path
from ..planning.teachers import UNLABELLED
from .familiarity import fit_familiarity
from .hub import corpus_facts
from .preparation import Preparation


@dataclass
class Judgement:
    """Predictions of the sides that were not learned from, and the report that was made of them.

    Args:
        predictions: by side.
        report: on them.
        degraded: those of the test side in the recipe's conditions, with the column `condition`; None without any.
        teacher: of a student, what its teacher says of the test side.
    """

    predictions: dict[str, pandas.DataFrame]
    report: Report
    degraded: pandas.DataFrame | None = None
    teacher: pandas.DataFrame | None = None


def predict_dataset(
    model: SerMetaModel, processor: SerMetaProcessor, dataset: Dataset, collator: SpeechCollator | None = None
) -> pandas.DataFrame:
    """Predictions of every task, one row an utterance, in the dataset's order; on all processes there are.

    The target's scores are at the temperature of the model's config, as a user of the pipeline sees them. Each row has
    its recording's `duration` in seconds too. The `collator` makes the batches; by default from the
    recordings. A label that the model does not have counts as a missing one.
    """
    tasks = model.config.tasks
    with tempfile.TemporaryDirectory() as folder:
        trainer = SerMetaTrainer(
            loss_weights=dict.fromkeys(tasks, 1.0),
            encoder_learning_rate=0.0,
            model=model,
            args=judging_arguments(folder),
            processing_class=processor,
            data_collator=collator or SpeechCollator(processor, tasks),
        )
        predictions, _ = trainer.predict_table(dataset)
    return predictions.assign(duration=recording_durations(dataset))


def report_on(
    predictions: pandas.DataFrame, tasks: dict[str, dict], target: str, not_judged: Mapping[str, str] | None = None
) -> Findings:
    """Metrics of every task, and the target's by slices of the utterances, with its intervals and its calibration."""
    metrics = evaluate_predictions(predictions, tasks, not_judged or {})
    if "confusion" in metrics[target]:
        metrics[target]["calibration"] = calibration(predictions, target)
        metrics[target]["interval"] = interval(predictions, tasks, target)
        metrics[target]["risk_and_coverage"] = risk_and_coverage(predictions, target)
        if "familiar" in predictions and predictions["familiar"].notna().any():
            metrics[target]["familiar"] = familiarity_of(predictions)
    if "average_precision" in metrics[target]:
        metrics[target]["interval"] = interval(predictions, tasks, target)
    if "votes" in metrics[target]:
        labels = tasks[target]["labels"]
        metrics[target]["votes"]["ece"] = vote_calibration(predictions, target, labels)
        metrics[target]["votes"]["interval"] = vote_interval(predictions, target, labels)
    return Findings(metrics=metrics, slices=slices(predictions, tasks, target=target))


def judge(prepared: Preparation, model: SerMetaModel, state: dict[str, Any]) -> Judgement:
    """Judges a run's model on its test side, once, with the weights that its recipe's rule picked beforehand.

    The report of a model without a test side has no metrics, but `judged_by`: see there.
    """
    recipe = prepared.recipe
    *_, last_stage = recipe.stages.values()
    collator = prepared.build_collator(model, last_stage)
    _tell_shares(prepared, model)
    validation = prepared.side("validation") if prepared.sides["validation"] else None
    familiarity = fit_familiarity(model, collator, prepared.side("train"), validation)
    temperature, predictions = set_temperature(prepared, model, collator)
    degraded = None
    if prepared.test_fold is not None:
        predictions["test"] = predict_dataset(model, prepared.processor, prepared.side("test"), collator)
        degraded = predict_in_conditions(recipe.degraded, model, prepared.processor, prepared.side("test"), collator)
    tasks, target = model.config.tasks, model.config.target_task
    found = {
        side: SideFindings(speakers=_speakers(prepared, side), **vars(report_on(table, tasks, target)))
        for side, table in predictions.items()
    }
    report = Report(
        target=target,
        protocol=protocol_of(prepared),
        validation=found.get("validation"),
        temperature=temperature,
        familiarity=familiarity,
        sides={side: len(rows) for side, rows in prepared.sides.items()},
        data=_data_facts(prepared),
        model=ModelFacts(
            encoder=recipe.model.encoder,
            parameters=model.num_parameters(),
            tasks=tasks,
            adapter=None if recipe.model.adapter is None else adapter_settings(vars(recipe.model.adapter)),
            new_parts=prepared.new_parts,
        ),
        layer_shares=layer_shares(model),
        stages={name: {key: value for key, value in record.items() if key != "log"} for name, record in state.items()},
        versions=environment(),
        **vars(found.get("test", SideFindings())),
    )
    if prepared.test_fold is None:
        report.judged_by = judged_by(recipe, len(prepared.dataset) - len(prepared.sides.get(UNLABELLED, [])))
    elif recipe.yardstick and tasks[target]["kind"] == "classification":
        report.yardstick = logistic_regression_yardstick(prepared.side("train"), prepared.side("test"), target)
    if degraded is not None:
        report.degraded = found_in_conditions(predictions["test"], degraded, tasks, target)
    return Judgement(predictions, report, degraded)


def predict_in_conditions(
    conditions: Sequence[str],
    model: SerMetaModel,
    processor: SerMetaProcessor,
    dataset: Dataset,
    collator: SpeechCollator,
) -> pandas.DataFrame | None:
    """Predictions of a dataset in each condition, with the column `condition`; None without any."""
    tables = {}
    for name in conditions:
        say(f"the test side once more, in the condition {name}")
        heard = collator_in(Condition(name), collator, model, dataset)
        tables[name] = predict_dataset(model, processor, dataset, heard)
    return together(tables)


def _tell_shares(prepared: Preparation, model: SerMetaModel) -> None:
    """Stores how often the training has met each of the target's labels, as its loss has weighed them."""
    target = model.config.target_task
    met = prepared.target_shares.sum(axis=0)
    *_, last = (stage for stage in prepared.recipe.stages.values() if stage.loss_weights.get(target))
    counts = np.ones(len(met)) if last.balanced_batches else np.maximum(met, 0.5)
    weighed = counts * (prepared.class_weights or np.ones(len(met)))
    model.config.label_shares = (weighed / weighed.sum()).round(6).tolist()


def set_temperature(
    prepared: Preparation, model: SerMetaModel, collator: SpeechCollator
) -> tuple[Temperature, dict[str, pandas.DataFrame]]:
    """Fits the temperature of the target's scores on the validation side, and stores it in the model's config.

    Returns:
        the temperature, which is 1 where the run has no validation side; and by `"validation"` the predictions of that
        side, at a temperature of 1.
    """
    config = model.config
    config.calibration_temperature = 1.0
    several = config.tasks[config.target_task]["kind"] == "multilabel"
    temperature, predictions = Temperature(value=1.0, fitted_on=None, n=0), {}
    if prepared.sides["validation"]:
        table = predict_dataset(model, prepared.processor, prepared.side("validation"), collator)
        predictions["validation"] = table
        if several:
            _set_thresholds(config, table)
            return temperature, predictions
        target, shares = config.target_task, prepared.shares.get(config.target_task)
        shares = None if shares is None else shares[prepared.sides["validation"]]
        fitted = fit_on(table, target, config.tasks[target]["labels"], shares)
        if fitted is not None:
            config.calibration_temperature, n = fitted
            temperature = Temperature(
                value=config.calibration_temperature, fitted_on="validation", n=n, on_shares=config.scores_are_shares
            )
    return temperature, predictions


def _set_thresholds(config: SerMetaConfig, table: pandas.DataFrame) -> None:
    """Fits from which score on each of several labels is told, on the validation side, and stores it in the config."""
    target, task = config.target_task, config.tasks[config.target_task]
    reference, known = labels_at_once(table, target, task["labels"])
    if known.any():
        scores = np.stack(table[f"{target}_scores"].tolist())
        task["thresholds"] = fit_thresholds(scores[known], reference[known])


def write_results(
    run: RunFolder, prepared: Preparation, judgement: Judgement, model: SerMetaModel, state: dict
) -> None:
    """Writes predictions, pictures, the Hub-ready model folder and, when all is there, the report."""
    for side, table in judgement.predictions.items():
        with moved_into_place(run.predictions_of(side)) as aside:
            table.to_parquet(aside)
    if judgement.degraded is not None:
        with moved_into_place(run.predictions_in_conditions) as aside:
            judgement.degraded.to_parquet(aside)
    if judgement.teacher is not None:
        with moved_into_place(run.teacher_predictions) as aside:
            judgement.teacher.to_parquet(aside)
    target = model.config.target_task
    measured = judgement.report.metrics.get(target, {})
    run.plots.mkdir(exist_ok=True)
    if "confusion" in measured:
        labels, title = model.config.tasks[target]["labels"], f"{target}, test side"
        plot_confusion(measured["confusion"], labels, run.plots / "confusion.png", title)
        plot_risk(measured["risk_and_coverage"], run.plots / "risk.png", title)
    if "votes" in measured:
        labels, title = model.config.tasks[target]["labels"], f"{target}: what raters said, and the model's label"
        plot_confusion(measured["votes"]["confusion"], labels, run.plots / "raters.png", title, "raters' shares")
    plot_training_curves({name: record["log"] for name, record in state.items()}, run.plots / "training.png")
    with moved_into_place(run.model) as folder:
        save_model_folder(model, prepared, folder)
        shutil.copytree(run.plots, folder / "plots")
        facts = corpus_facts(prepared.recipe)
        write_card(folder, judgement.report, facts, repository=f"./{run.model.name}")
    write_report(run.report, judgement.report)


def save_model_folder(model: SerMetaModel, prepared: Preparation, folder: Path) -> None:
    """Weights, config, processor, and the code that `trust_remote_code` and the pipeline need.

    Of a model with an adapter, which has not been merged, the encoder's own weights are left out. What predictions do
    not show has no names there: who was recorded is nobody's business.
    """
    with _nameless(model.config):
        if model.config.adapter is None:
            model.save_pretrained(folder)
        else:
            model.save_adapter(folder, encoder_path(prepared.recipe.model.encoder), prepared.encoder_revision)
    prepared.processor.save_pretrained(folder)


@contextmanager
def _nameless(config: SerMetaConfig) -> Iterator[None]:
    """Numbers in the place of the labels of tasks that are not reported, such as `speaker`."""
    named = config.tasks
    kept = {config.target_task, *config.reported_tasks}
    config.tasks = {
        name: task
        if name in kept or "labels" not in task
        else {**task, "labels": nameless_labels(name, len(task["labels"]))}
        for name, task in named.items()
    }
    try:
        yield
    finally:
        config.tasks = named


def describe_longest(seconds: float, left_out: Sequence[int]) -> str:
    """What `data.longest` did in one run or several, which leave out so many utterances each, in words."""
    fewest, most = min(left_out), max(left_out)
    several = fewest if fewest == most else f"{fewest} to {most}"
    return f"{seconds:g} s: {several} longer utterances were not trained on"


def _data_facts(prepared: Preparation) -> DataFacts:
    speakers, durations = read(prepared.dataset, "speaker"), prepared.durations
    return DataFacts(
        speakers={side: len({speakers[row] for row in prepared.sides[side]} - {None}) for side in SIDES},
        minutes={side: round(sum(durations[row] for row in prepared.sides[side]) / 60, 1) for side in SIDES},
        too_long=prepared.too_long,
    )


def _speakers(prepared: Preparation, judged: str) -> Speakers:
    speakers = read(prepared.dataset, "speaker")
    of_side = {side: [speakers[row] for row in prepared.sides[side]] for side in SIDES}
    validation = of_side["validation"] if judged != "validation" else ()
    return speaker_facts(of_side[judged], of_side["train"], validation)


def protocol_of(prepared: Preparation) -> Protocol:
    """All of a recipe that changes what a figure of it means."""
    recipe, data = prepared.recipe, prepared.recipe.data
    *_, last_stage = recipe.stages.values()
    return Protocol(
        corpus=corpora_words(data.sources),
        label_map=label_maps(data.sources),
        left_out=dict(prepared.left_out),
        votes=describe_votes(prepared.dataset, recipe.model, data),
        folds=describe_folds(data),
        test_fold=prepared.test_fold,
        allow_speaker_overlap=data.speakers_may_overlap,
        styles=describe_styles(*(prepared.side(side) for side in ("train", "test"))),
        searched=recipe.searched,
        validation=data.validation,
        validation_fraction=data.validation_fraction if data.validation in ("random", "speaker") else None,
        longest=None if data.longest is None else describe_longest(data.longest, [prepared.too_long]),
        epoch_rule=f"{last_stage.keep} epoch of {last_stage.epochs:g}",
        seed=recipe.seed,
        started_from=describe_start(
            recipe.model.encoder, prepared.side("test")["utterance_id"], trained=prepared.new_parts is not None
        ),
        long_recordings=describe_pieces(prepared.durations_of("test")),
        states_centred_by=describe_centering(recipe.model.center_by),
    )
