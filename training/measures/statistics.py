"""How far figures of predictions can be trusted: intervals over speakers, tests between two models, calibration."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas
from scipy.stats import binomtest

from ...configuration.report import Calibration, Interval
from ...configuration.study_report import McNemar
from .metrics import accuracies
from .resampling import RESAMPLES, changes_of, check_same_utterances, interval_of, speaker_places
from .several import paired_several, several_interval, several_rows

CALIBRATION_BINS = 15
MEASURES = ("wa", "ua", "macro_f1")


def interval(
    predictions: pandas.DataFrame, tasks: Mapping[str, Mapping[str, Any]], target: str, resamples: int = RESAMPLES
) -> Interval:
    """The 95 % intervals of a target's figures that come of drawing other speakers, as of `interval_of`.

    Args:
        predictions: one row an utterance (and seed), with `speaker`, the target and `<target>_predicted`.
        tasks: name -> `{"kind": ..., "labels": [...], ...}`.
        target: a classification, of which these are WA, UA and macro F1; or a multilabel task, see `several_interval`.
        resamples: of the bootstrap.
    """
    if several := several_of(tasks[target]):
        return several_interval(predictions, target, several, resamples)
    rows = judged_rows(predictions, target)
    confusions = _speaker_confusions(rows, target, tasks[target]["labels"])
    return interval_of(rows, confusions, accuracies, MEASURES, resamples)


def several_of(task: Mapping[str, Any]) -> Sequence[str]:
    """The labels of a task of which an utterance may have several at once; none of any other."""
    return task["labels"] if task["kind"] == "multilabel" else ()


def paired_difference(
    predictions: pandas.DataFrame,
    others: pandas.DataFrame,
    target: str,
    several: Sequence[str] = (),
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """How much better the first predictions are than the others on the same utterances, as of `changes_of`.

    Args:
        predictions, others: one row an utterance (and seed), as of `interval`, with `utterance_id`.
        target: a classification, or a multilabel task.
        several: the labels of a multilabel task.
        resamples: of the bootstrap.

    Returns:
        `{"speakers", "ua": {"difference", "interval": [low, high]}, "wa": {...}}`, fractions; of a multilabel task
        `average_precision` and `macro_f1` instead; without `interval` where the function of that name has none.

    Raises:
        UserError: the tables hold different utterances.
    """
    if several:
        return paired_several(predictions, others, target, several, resamples)
    tables = [judged_rows(table, target) for table in (predictions, others)]
    check_same_utterances(*tables, target)
    columns = [table[name] for table in tables for name in (target, f"{target}_predicted")]
    labels = sorted(pandas.unique(pandas.concat(columns)))
    confusions = np.stack([_speaker_confusions(table, target, labels) for table in tables], axis=1)
    return changes_of(tables[0], confusions, lambda sums: accuracies(sums)[[1, 0]], ("ua", "wa"), resamples)


def mcnemar(
    predictions: pandas.DataFrame, others: pandas.DataFrame, target: str, several: Sequence[str] = ()
) -> McNemar:
    """McNemar's exact test: which of two models recognises the utterances that only one of them recognises.

    With several seeds an utterance counts once, for the model that recognises it with more of its seeds. The test
    takes utterances as independent and knows nothing of speakers, unlike `paired_difference`, whose arguments it has.
    Of several labels at once all must be right.

    Raises:
        UserError: the tables hold different utterances.
    """
    tables = [judged_rows(table, target, several) for table in (predictions, others)]
    check_same_utterances(*tables, target)
    this, other = (
        (table[target] == table[f"{target}_predicted"]).groupby(table["utterance_id"]).mean() for table in tables
    )
    only_this, only_other = int((this > other).sum()), int((other > this).sum())
    discordant = only_this + only_other
    p = binomtest(only_this, discordant).pvalue if discordant else 1.0
    return {"only_this": only_this, "only_other": only_other, "p": float(p)}


def calibration(predictions: pandas.DataFrame, target: str) -> Calibration:
    """Whether the model is right as often as its scores say: expected calibration error over 15 equal bins.

    Args:
        predictions: with the target, `<target>_predicted` and `<target>_scores`, the scores in label order.
        target: a classification.

    Returns:
        `{"ece", "bins": [{"confidence", "accuracy", "n"}, ...]}`: the mean over utterances of |accuracy - confidence|
        of their bin, and the bins that hold utterances. Confidence is the best score; a bin has its lower bound and
        not its upper one, but for the last.
    """
    rows = judged_rows(predictions, target)
    confidence = np.stack(rows[f"{target}_scores"].to_numpy()).max(axis=1)
    return calibration_of(confidence, (rows[target] == rows[f"{target}_predicted"]).to_numpy(dtype=float))


def calibration_of(confidence: np.ndarray, right: np.ndarray) -> Calibration:
    """The same of numbers: of each answer `(utterances,)` its confidence and how right it is, both from 0 to 1."""
    places = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    bins = pandas.DataFrame({"confidence": confidence, "accuracy": right}).groupby(places).mean()
    bins["n"] = np.bincount(places)[bins.index]
    gaps = (bins["accuracy"] - bins["confidence"]).abs()
    return {"ece": float((gaps * bins["n"]).sum() / len(right)), "bins": bins.to_dict("records")}


def judged_rows(predictions: pandas.DataFrame, target: str, several: Sequence[str] = ()) -> pandas.DataFrame:
    """The utterances that have a reference; see `several_rows` for those of `several` labels at once."""
    return several_rows(predictions, target, several) if several else predictions[predictions[target].notna()]


def _speaker_confusions(rows: pandas.DataFrame, target: str, labels: Sequence[str]) -> np.ndarray:
    """Counts `(speakers, classes, classes)`, speakers in sorted order, rows = reference."""
    speakers = speaker_places(rows)
    reference, predicted = (pandas.Index(labels).get_indexer(rows[name]) for name in (target, f"{target}_predicted"))
    counts = np.zeros((speakers.max(initial=-1) + 1, len(labels), len(labels)))
    np.add.at(counts, (speakers, reference, predicted), 1)
    return counts
