"""The page on a cross-validation: one recipe on every fold."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from ...configuration.report import Measures
from ...configuration.study_report import CrossvalReport, TrainingFacts
from ..document import (
    Page,
    Picture,
    Section,
    Table,
    conditions_section,
    filled,
    leaderboard_section,
    mean_and_spread,
    protocol_line,
    protocol_section,
    task_columns,
)
from ..pictures.run import plot_confusion, plot_risk
from ..pictures.study import plot_curves_of_runs, plot_folds, plot_layer_shares, plot_reliability
from ..wording import (
    MEASURES,
    NAMES,
    VOTES_HEADER,
    VOTES_KEY,
    abstaining_words,
    calibration_words,
    classes_words,
    compared_by,
    figure,
    interval_words,
    not_applicable,
    percent,
    remarks,
    speakers_line,
    taught_by,
    votes_rows,
    votes_words,
    words,
)

Curves = Mapping[str, Mapping[str, Sequence[Mapping[str, float]]]]


def crossval_page(report: CrossvalReport, curves: Curves | None = None) -> Page:
    """What the report of a cross-validation says, with the runs' log histories where they are at hand."""
    target, measures = report.target, report.measures
    sections = [
        _folds(report),
        Section("Teacher", taught_by(report.teacher), brief=True),
        conditions_section(measures, report.degraded),
        leaderboard_section(report.leaderboard),
        _tasks(report.pooled.metrics),
        _classes(measures, target),
        _raters(measures, target),
        _slices(report),
        _calibration(measures, target),
        _abstaining(measures, target),
        _confusion(measures, target),
        _layers(report),
        _learning(curves or {}),
        protocol_section(report.protocol),
        _runs(report),
        Section("Recipe", code=OmegaConf.to_yaml(OmegaConf.create(report.recipe))),
        Section("Versions", texts=[words(report.versions)]),
    ]
    return Page(
        title=f"{target}: {len(_by_fold(report))} folds of {report.protocol.corpus}",
        protocol=protocol_line(report.protocol),
        speakers=speakers_line(report.speakers),
        headline=_headline(measures),
        sections=filled(sections),
    )


def _headline(measures: Measures) -> dict[str, tuple[str, str]]:
    shown = {name: key for name, key in MEASURES.items() if measures.get(key) is not None}
    main, _ = compared_by(measures)  # what this field compares comes first
    return {
        name: (figure(key, measures[key]), interval_words(measures["interval"], key) if "interval" in measures else "")
        for name, key in sorted(shown.items(), key=lambda item: item[1] != main)
    }


def _by_fold(report: CrossvalReport) -> dict[str, list[TrainingFacts]]:
    """Fold -> its runs, one a seed."""
    folds: dict[str, list[TrainingFacts]] = {}
    for run in report.runs:
        folds.setdefault(run.fold, []).append(run)
    return folds


def _folds(report: CrossvalReport) -> Section:
    folds, target, pooled = _by_fold(report), report.target, report.pooled.metrics
    columns, (main, _) = task_columns(pooled, target), compared_by(pooled[target])
    seeds = len(report.protocol.seeds) > 1 and main in pooled[target]
    rows = [
        [
            fold,
            str(runs[0].metrics[target].get("n", "-")),
            *(_mean(runs, *place) for place in columns.values()),
            *([" / ".join(percent(run.metrics[target].get(main)) for run in runs)] if seeds else []),
        ]
        for fold, runs in folds.items()
    ]
    summary = zip(*(mean_and_spread(report.summary, *place) for place in columns.values()), strict=True)
    blank = [""] * seeds
    for name, cells in zip(("mean of the folds", "standard deviation"), summary, strict=True):
        rows.append([name, "", *cells, *blank])
    total = [figure(measure, pooled[task].get(measure)) for task, measure in columns.values()]
    rows.append(["all utterances together", str(pooled[target].get("n", "-")), *total, *blank])
    header = ["fold", "n", *columns, *([f"{NAMES[main]} of each seed"] if seeds else [])]
    several = ", the mean of its seeds" if len(report.protocol.seeds) > 1 else ""
    texts = [
        f"Each fold's test side{several}; n counts its utterances. All utterances together count each one once a seed."
    ]
    return Section("Folds", texts, [Table(header, rows)], _fold_picture(folds, pooled[target], target), brief=True)


def _mean(runs: Sequence[TrainingFacts], task: str, measure: str) -> str:
    values = [run.metrics[task][measure] for run in runs if run.metrics.get(task, {}).get(measure) is not None]
    return figure(measure, float(np.mean(values)) if values else None)


def _fold_picture(folds: Mapping[str, Sequence[TrainingFacts]], pooled: Measures, target: str) -> list[Picture]:
    main, _ = compared_by(pooled)
    found = {fold: [run.metrics[target].get(main) for run in runs] for fold, runs in folds.items()}
    found = {fold: [value for value in values if value is not None] for fold, values in found.items()}
    if pooled.get(main) is None or not all(found.values()):
        return []
    shows = f"{NAMES[main]} of each fold and seed, and of all test utterances together with its interval"
    return [Picture("folds", shows, partial(_draw_folds, found, pooled, main))]


def _draw_folds(found: Mapping[str, Sequence[float]], pooled: Measures, main: str, path: Any) -> Any:
    interval = pooled.get("interval", {})
    return plot_folds(found, pooled[main], path, interval.get(main), interval.get("speakers"), NAMES[main])


def _tasks(metrics: Mapping[str, Measures]) -> Section:
    measured = {task: found for task, found in metrics.items() if "not_applicable" not in found}
    shown = {name: key for name, key in MEASURES.items() if any(key in found for found in measured.values())}
    rows = [
        [task, *(figure(key, found.get(key)) for key in shown.values()), str(found["n"])]
        for task, found in measured.items()
    ]
    reasons = [f"Not applicable to {task}: {reason}." for task, reason in not_applicable(metrics).items()]
    texts = ["All test utterances together.", *reasons, *(f"{remark}." for remark in remarks(metrics))]
    return Section("Tasks", texts, [Table(["task", *shown, "n"], rows)], brief=True)


def _classes(measures: Measures, target: str) -> Section:
    if "recall" not in measures:
        return Section("Classes")
    shown = [name for name in ("recall", "precision") if name in measures]
    rows = [
        [label, *(percent(measures[name][label]) for name in shown), str(n)]
        for label, n in measures["support"].items()
    ]
    return Section("Classes", tables=[Table([target, *shown, "n"], rows)], brief=True)


def _raters(measures: Measures, target: str) -> Section:
    if "votes" not in measures:
        return Section("Raters")
    votes, labels = measures["votes"], list(measures["recall"])
    title = f"{target}: what raters said, by share, and the model's label"
    draw = partial(plot_confusion, votes["confusion"], labels, title=title, reference="raters' shares")
    shows = "What raters said beside the model's label: a row is a label's shares of all utterances"
    texts, table = [*votes_words(measures, target), VOTES_KEY], Table(VOTES_HEADER, votes_rows(votes))
    return Section("Raters", texts, [table], [Picture("raters", shows, draw)], brief=True)


def _slices(report: CrossvalReport) -> Section:
    whole = report.measures
    shown = {name: key for name, key in MEASURES.items() if key in whole}
    rows = [
        [
            column,
            f"{value}{classes_words(found, whole)}",
            *(figure(key, found.get(key)) for key in shown.values()),
            str(found["n"]),
        ]
        for column, values in report.pooled.slices.items()
        for value, found in values.items()
        if "n" in found
    ]
    main, _ = compared_by(whole)
    if not rows or main not in whole:
        return Section("Slices")
    texts = [
        f"The target on parts of the test utterances; {NAMES[main]} is over the classes that a part has, and one with "
        "few utterances has their number alone."
    ]
    return Section("Slices", texts, [Table(["by", "value", *shown, "n"], rows, names=2)])


def _calibration(measures: Measures, target: str) -> Section:
    if "calibration" not in measures:
        return Section("Calibration")
    found = measures["calibration"]
    texts = [
        f"Expected calibration error {found['ece']:.3f}, over 15 bins of equal width: by so much the best score "
        "misses, on average, the share of answers that are right.",
        *calibration_words(measures),
    ]
    shows = "Share of right answers at each confidence, and how many utterances have it"
    picture = Picture("reliability", shows, partial(plot_reliability, found, title=target))
    return Section("Calibration", texts, pictures=[picture])


def _abstaining(measures: Measures, target: str) -> Section:
    """What is won where the model does not answer."""
    if "risk_and_coverage" not in measures:
        return Section("Not answering")
    found = measures["risk_and_coverage"]
    draw = partial(plot_risk, found, title=target)
    picture = Picture("risk", "Error among the recordings that are answered, the surest first", draw)
    return Section("Not answering", list(abstaining_words(measures)), pictures=[picture])


def _confusion(measures: Measures, target: str) -> Section:
    if "confusion" not in measures:
        return Section("Confusion")
    labels = list(measures["recall"])
    rows = [[label, *map(str, counts)] for label, counts in zip(labels, measures["confusion"], strict=True)]
    draw = partial(plot_confusion, measures["confusion"], labels, title=f"{target}, all test utterances")
    picture = Picture("confusion", "Confusion matrix of all test utterances: rows are the reference", draw)
    table = Table(["reference \\ predicted", *labels], rows)
    return Section("Confusion", tables=[table], pictures=[picture])


def _layers(report: CrossvalReport) -> Section:
    found = [run.layer_shares for run in report.runs if run.layer_shares]
    if not found:
        return Section("Layers")
    shares = {task: np.mean([each[task] for each in found], axis=0).tolist() for task in found[0]}
    texts = ["How much of what a task reads comes from each of the encoder's layers, the mean over the trainings."]
    picture = Picture("layers", "Share of each of the encoder's layers by task", partial(plot_layer_shares, shares))
    header = ["task", *(str(layer + 1) for layer in range(len(next(iter(shares.values())))))]
    rows = [[task, *map(percent, values)] for task, values in shares.items()]
    return Section("Layers", texts, [Table(header, rows)], [picture])


def _learning(curves: Curves) -> Section:
    if not any(log for stages in curves.values() for log in stages.values()):
        return Section("Learning")
    shows = "Training losses, and validated UA where there was a validation side, over the epochs of each stage"
    texts = ["A faint line is one training, a strong one the mean of all, where all took as many epochs."]
    return Section("Learning", texts, pictures=[Picture("curves", shows, partial(plot_curves_of_runs, curves))])


def _runs(report: CrossvalReport) -> Section:
    key = "ccc" if "ccc" in report.measures else compared_by(report.measures)[0]
    rows = [
        [
            run.folder,
            run.fold,
            str(run.seed),
            figure(key, run.metrics[report.target].get(key)),
            f"{run.seconds / 60:.1f}",
        ]
        for run in report.runs
    ]
    return Section("Trainings", tables=[Table(["folder", "fold", "seed", NAMES[key], "minutes"], rows, names=2)])
