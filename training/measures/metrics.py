"""How good predictions are, task by task: fractions from 0 to 1, never percent.

What each figure does with absent classes, empty references and constants, beside other libraries: `metrics.md`.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jiwer
import numpy as np
import pandas
from sklearn.metrics import confusion_matrix

from ...configuration.errors import UserError
from ...configuration.report import Measures, VoteMeasures
from .several import several_measures
from .votes import has_votes, vote_measures

LOGGED_MEASURES = ("wa", "ua", "macro_f1", "cer", "wer", "ccc", "rmse", "average_precision", "exact_match")
LOGGED_OF_VOTES = ("jensen_shannon", "rater_agreement")
LEAST_IN_SLICE = 10
"""Utterances from which a slice is measured (ours): one more right answer moves the accuracy of 10 by ten points."""
OPEN = "speaker"  # the task that may meet classes on another side which training never saw
SLICED_BY = ("gender", "age", "style", "language", "duration", "corpus")
BANDS = {
    "age": {"under 30": 30, "30 to 44": 45, "45 to 59": 60, "60 and over": np.inf},
    "duration": {"under 2 s": 2, "2 to 4 s": 4, "4 to 8 s": 8, "8 s and over": np.inf},
}
"""Of a column of numbers: band -> its upper bound, which is not in it; years and seconds (the bounds are ours)."""


def evaluate_predictions(
    predictions: pandas.DataFrame,
    tasks: Mapping[str, Mapping[str, Any]],
    not_judged: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Measures]:
    """Measures every task on one table of predictions.

    The speaker task is measured on the utterances of speakers that it has as labels, which were trained on; for the
    others it has no right answer to give (our reading of the paper's Table III, which leaves it out).

    Args:
        predictions: one row an utterance. A classification task `T` has the columns `T` (reference label or missing)
            and `T_predicted`; a CTC task the same columns with text, a regression with numbers.
        tasks: name -> `{"kind": "classification", "labels": [...]}`, `{"kind": "ctc", ...}` or
            `{"kind": "regression", ...}`.
        not_judged: tasks that are not measured here -> the reason.

    Returns:
        Task -> what `classification_metrics`, `transcript_metrics`, `regression_metrics` or `several_measures` has
        returned, or `{"not_applicable": reason}`. `left_out` among them is reason -> how many utterances were not
        counted for it;
        `votes` is `vote_measures`, where raters' votes on a classification are among the columns.

    Raises:
        UserError: a reference label that the task does not have.
    """
    return {
        name: {"not_applicable": not_judged[name]}
        if name in not_judged
        else {**_task_metrics(predictions, name, task), **_of_votes(predictions, name, task)}
        for name, task in tasks.items()
    }


def classification_metrics(reference: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> Measures:
    """Recall-centred measures of one classification.

    WA is the overall accuracy and UA the mean recall over the classes that the reference has (some public code swaps
    the names); the recall of a class that it lacks is None. Macro F1 is the mean over the classes that the reference
    or the predictions have: one that was predicted without any reference counts with 0.

    Returns:
        `{"wa", "ua", "macro_f1", "recall": {label: fraction}, "support": {label: count}, "confusion", "n"}`;
        `confusion` counts utterances, rows = reference and columns = prediction, both in the order of `labels`.
    """
    labels = list(labels)
    confusion = confusion_matrix(reference, predicted, labels=labels)
    wa, ua, macro_f1 = accuracies(confusion)
    support = confusion.sum(axis=1)
    return {
        "wa": float(wa),
        "ua": float(ua),
        "macro_f1": float(macro_f1),
        "recall": {
            label: float(confusion[place, place] / n) if n else None
            for place, (label, n) in enumerate(zip(labels, support, strict=True))
        },
        "support": {label: int(n) for label, n in zip(labels, support, strict=True)},
        "confusion": confusion.tolist(),
        "n": len(reference),
    }


def accuracies(confusions: np.ndarray) -> np.ndarray:
    """WA, UA and macro F1 `(3, ...)` of confusions `(..., classes, classes)`, rows = reference."""
    right = np.diagonal(confusions, axis1=-2, axis2=-1)
    reference, predicted = confusions.sum(axis=-1), confusions.sum(axis=-2)
    present, either = reference > 0, reference + predicted > 0
    recall = np.divide(right, reference, out=np.zeros(right.shape), where=present)
    f1 = np.divide(2 * right, reference + predicted, out=np.zeros(right.shape), where=either)
    return np.stack([right.sum(-1) / reference.sum(-1), recall.sum(-1) / present.sum(-1), f1.sum(-1) / either.sum(-1)])


def transcript_metrics(reference: Sequence[str], predicted: Sequence[str]) -> Measures:
    """Character and word error rate, pooled: all errors over all reference characters or words.

    An utterance with an empty reference (a tag only, say) is left out of both and of `n`, and counted in `left_out`:
    what is recognised there would be an insertion without a reference to divide by.

    Returns:
        `{"cer", "wer", "n", "left_out"?}`; both rates may exceed 1. `{"not_applicable": reason}` where every reference
        is empty.
    """
    pairs = [(text, guess) for text, guess in zip(reference, predicted, strict=True) if text.strip()]
    if not pairs:
        return {"not_applicable": "every reference transcript is empty"}
    references, guesses = (list(texts) for texts in zip(*pairs, strict=True))
    return {
        "cer": float(jiwer.cer(references, guesses)),
        "wer": float(jiwer.wer(references, guesses)),
        "n": len(pairs),
        **_left_out("an empty reference", len(reference) - len(pairs)),
    }


def regression_metrics(reference: Sequence[float], predicted: Sequence[float]) -> Measures:
    """How near numbers are to those that were given.

    Returns:
        `{"ccc", "rmse", "n"}`: `concordance_correlation`, and the root mean squared error in the task's own units.
        Where the references are all the same `ccc` is None, and `undefined` says why.
    """
    reference, predicted = np.asarray(reference, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    ccc = concordance_correlation(reference, predicted)
    constant = {"undefined": {"ccc": f"every one of the {len(reference)} references is {reference[0]:g}"}}
    return {
        "ccc": ccc,
        "rmse": float(np.sqrt(np.mean((reference - predicted) ** 2))),
        "n": len(reference),
        **(constant if ccc is None else {}),
    }


def concordance_correlation(reference: np.ndarray, predicted: np.ndarray) -> float | None:
    """The concordance correlation coefficient (Lin, 1989; variances divided by n) of numbers `(n,)`, from -1 to 1.

    None where the references are all the same: nothing can go along with them, and 0 would read as a bad prediction.
    """
    if np.ptp(reference) == 0:
        return None
    covariance = np.mean((reference - reference.mean()) * (predicted - predicted.mean()))
    apart = (reference.mean() - predicted.mean()) ** 2
    return float(2 * covariance / (reference.var() + predicted.var() + apart))


def slices(
    predictions: pandas.DataFrame,
    tasks: Mapping[str, Mapping[str, Any]],
    target: str,
    by: Iterable[str] = SLICED_BY,
) -> dict[str, dict[str, Measures]]:
    """The target's measures within each value of a metadata column; age and duration in the bands of `BANDS`.

    Returns:
        Column -> value -> the target's metrics, for the columns of `by` that the table has with two values or more.
        Where a slice has fewer than `LEAST_IN_SLICE` references it has `n` alone; where they are all of one class,
        `ua` and `macro_f1` are None: a mean over classes says nothing there that `wa` does not.
    """
    found = {column: _groups(predictions, column) for column in by if column in predictions}
    return {
        column: {value: _of_slice(_task_metrics(rows, target, tasks[target])) for value, rows in groups.items()}
        for column, groups in found.items()
        if len(groups) > 1
    }


def flatten(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Task -> measures as one level for a Trainer's logs: `emotion_ua`, `gender_wa`, `transcript_cer`, ..."""
    return {
        f"{task}_{measure}": found[measure]
        for task, measures in metrics.items()
        for found, names in ((measures, LOGGED_MEASURES), (measures.get("votes", {}), LOGGED_OF_VOTES))
        for measure in names
        if found.get(measure) is not None
    }


def _task_metrics(predictions: pandas.DataFrame, name: str, task: Mapping[str, Any]) -> Measures:
    if task["kind"] == "multilabel":
        return several_measures(predictions, name, task["labels"])
    if name not in predictions or not predictions[name].notna().any():
        return {"not_applicable": f"no utterance here has a reference for {name}"}
    rows = predictions[predictions[name].notna()]
    if name == OPEN and task["kind"] == "classification":
        return _of_known_classes(rows, name, task["labels"])
    reference, predicted = rows[name].tolist(), rows[f"{name}_predicted"].tolist()
    if task["kind"] == "ctc":
        return transcript_metrics(reference, predicted)
    if task["kind"] == "regression":
        return regression_metrics(reference, predicted)
    _refuse_foreign_labels(name, reference, task["labels"])
    return classification_metrics(reference, predicted, task["labels"])


def _of_votes(predictions: pandas.DataFrame, name: str, task: Mapping[str, Any]) -> dict[str, VoteMeasures]:
    if task["kind"] != "classification" or not has_votes(predictions, name, task["labels"]):
        return {}
    return {"votes": vote_measures(predictions, name, task["labels"])}


def _of_known_classes(rows: pandas.DataFrame, name: str, labels: Sequence[str]) -> Measures:
    known = rows[rows[name].isin(labels)]
    if known.empty:
        return {"not_applicable": f"none of the {rows[name].nunique()} {name}s here is among the model's labels"}
    measures = classification_metrics(known[name].tolist(), known[f"{name}_predicted"].tolist(), labels)
    return {**measures, **_left_out(f"a {name} that was not trained on", len(rows) - len(known))}


def _left_out(reason: str, utterances: int) -> dict[str, dict[str, int]]:
    return {"left_out": {reason: utterances}} if utterances else {}


def _of_slice(measures: Measures) -> Measures:
    if measures.get("n", LEAST_IN_SLICE) < LEAST_IN_SLICE:
        return {"n": measures["n"]}
    if sum(count > 0 for count in measures.get("support", {}).values()) == 1:
        return {**measures, "ua": None, "macro_f1": None}
    return measures


def _refuse_foreign_labels(name: str, reference: Sequence[str], labels: Sequence[str]) -> None:
    foreign = sorted(set(reference) - set(labels))
    if foreign:
        raise UserError(
            f"{name} {', '.join(map(repr, foreign))} is none of the labels ({', '.join(labels)}): "
            "rename it in the corpus, or leave those utterances out"
        )


def _groups(predictions: pandas.DataFrame, column: str) -> dict[str, pandas.DataFrame]:
    """Value, or band in ascending order, -> its rows; ages that a corpus has as text, such as 25-34, are values."""
    values = predictions[column]
    if column in BANDS and not any(isinstance(value, str) for value in values):
        bounds = [-np.inf, *BANDS[column].values()]
        values = pandas.cut(values.astype(float), bounds, right=False, labels=list(BANDS[column]))
    return dict(iter(predictions.groupby(values, observed=True)))
