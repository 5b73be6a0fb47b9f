"""How good predictions are, task by task: fractions from 0 to 1, never percent."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jiwer
import numpy as np
import pandas
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from ..configuration.errors import UserError

LOGGED_MEASURES = ("wa", "ua", "macro_f1", "cer", "wer", "ccc", "rmse")
SLICED_BY = ("gender", "age", "style", "language", "duration", "corpus")
BANDS = {
    "age": {"under 30": 30, "30 to 44": 45, "45 to 59": 60, "60 and over": np.inf},
    "duration": {"under 2 s": 2, "2 to 4 s": 4, "4 to 8 s": 8, "8 s and over": np.inf},
}
"""Of a column of numbers: band -> its upper bound, which is not in it; years and seconds (the bounds are ours)."""


def evaluate_predictions(
    predictions: pandas.DataFrame,
    tasks: Mapping[str, Mapping[str, Any]],
    unseen: Iterable[str] = ("speaker",),
) -> dict[str, dict]:
    """Measures every task on one table of predictions.

    Args:
        predictions: one row an utterance. A classification task `T` has the columns `T` (reference label or missing)
            and `T_predicted`; a CTC task the same columns with text, a regression with numbers.
        tasks: name -> `{"kind": "classification", "labels": [...]}`, `{"kind": "ctc", ...}` or
            `{"kind": "regression", ...}`.
        unseen: tasks whose classes on this side were never trained. Where the test speakers are unseen, the speaker
            task has no right answer to give (reading of the paper's Table III, which leaves it out too).

    Returns:
        Task -> what `classification_metrics`, `transcript_metrics` or `regression_metrics` returns, or
        `{"not_applicable": reason}`.

    Raises:
        UserError: a reference label that the task does not have.
    """
    unseen = set(unseen)
    return {name: _task_metrics(predictions, name, task, name in unseen) for name, task in tasks.items()}


def classification_metrics(reference: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> dict:
    """Recall-centred measures of one classification.

    WA is the overall accuracy and UA the mean recall over the classes (some public code swaps the names). UA and
    macro F1 average over the classes that the reference has; the recall of a class that it lacks is None.

    Returns:
        `{"wa", "ua", "macro_f1", "recall": {label: fraction}, "support": {label: count}, "confusion", "n"}`;
        `confusion` counts utterances, rows = reference and columns = prediction, both in the order of `labels`.
    """
    labels = list(labels)
    confusion = confusion_matrix(reference, predicted, labels=labels)
    _, recall, f1, support = precision_recall_fscore_support(reference, predicted, labels=labels, zero_division=0)
    present = support > 0
    return {
        "wa": float(np.trace(confusion) / len(reference)),
        "ua": float(recall[present].mean()),
        "macro_f1": float(f1[present].mean()),
        "recall": {
            label: float(value) if seen else None for label, value, seen in zip(labels, recall, present, strict=True)
        },
        "support": {label: int(count) for label, count in zip(labels, support, strict=True)},
        "confusion": confusion.tolist(),
        "n": len(reference),
    }


def transcript_metrics(reference: Sequence[str], predicted: Sequence[str]) -> dict:
    """Character and word error rate, pooled: all errors over all reference characters or words.

    An utterance with an empty reference (a tag only, say) is left out and not counted in `n`: what is recognised there
    would be an insertion without a reference to divide by.

    Returns:
        `{"cer", "wer", "n"}`; both rates may exceed 1. `{"not_applicable": reason}` where every reference is empty.
    """
    pairs = [(text, guess) for text, guess in zip(reference, predicted, strict=True) if text.strip()]
    if not pairs:
        return {"not_applicable": "every reference transcript is empty"}
    references, guesses = (list(texts) for texts in zip(*pairs, strict=True))
    return {
        "cer": float(jiwer.cer(references, guesses)),
        "wer": float(jiwer.wer(references, guesses)),
        "n": len(pairs),
    }


def regression_metrics(reference: Sequence[float], predicted: Sequence[float]) -> dict:
    """How near numbers are to those that were given.

    Returns:
        `{"ccc", "rmse", "n"}`: the concordance correlation coefficient (Lin, 1989; variances divided by n), from -1 to
        1, and the root mean squared error in the task's own units. `{"not_applicable": reason}` where the references
        are all the same, so that nothing could go along with them.
    """
    reference, predicted = np.asarray(reference, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if np.ptp(reference) == 0:
        return {"not_applicable": f"every one of the {len(reference)} references is {reference[0]:g}"}
    covariance = np.mean((reference - reference.mean()) * (predicted - predicted.mean()))
    apart = (reference.mean() - predicted.mean()) ** 2
    return {
        "ccc": float(2 * covariance / (reference.var() + predicted.var() + apart)),
        "rmse": float(np.sqrt(np.mean((reference - predicted) ** 2))),
        "n": len(reference),
    }


def slices(
    predictions: pandas.DataFrame,
    tasks: Mapping[str, Mapping[str, Any]],
    target: str = "emotion",
    by: Iterable[str] = SLICED_BY,
) -> dict[str, dict[str, dict]]:
    """The target's measures within each value of a metadata column; age and duration in the bands of `BANDS`.

    Returns:
        Column -> value -> the target's metrics, for the columns of `by` that the table has with two values or more.
    """
    found = {column: _groups(predictions, column) for column in by if column in predictions}
    return {
        column: {value: _task_metrics(rows, target, tasks[target]) for value, rows in groups.items()}
        for column, groups in found.items()
        if len(groups) > 1
    }


def flatten(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Task -> measures as one level for a Trainer's logs: `emotion_ua`, `gender_wa`, `transcript_cer`, ..."""
    return {
        f"{task}_{measure}": measures[measure]
        for task, measures in metrics.items()
        for measure in LOGGED_MEASURES
        if measure in measures
    }


def _task_metrics(predictions: pandas.DataFrame, name: str, task: Mapping[str, Any], unseen: bool = False) -> dict:
    if unseen:
        return {"not_applicable": f"the test {name}s are unseen in training"}
    if name not in predictions or not predictions[name].notna().any():
        return {"not_applicable": f"no utterance here has a reference for {name}"}
    rows = predictions[predictions[name].notna()]
    reference, predicted = rows[name].tolist(), rows[f"{name}_predicted"].tolist()
    if task["kind"] == "ctc":
        return transcript_metrics(reference, predicted)
    if task["kind"] == "regression":
        return regression_metrics(reference, predicted)
    _refuse_foreign_labels(name, reference, task["labels"])
    return classification_metrics(reference, predicted, task["labels"])


def _refuse_foreign_labels(name: str, reference: Sequence[str], labels: Sequence[str]) -> None:
    foreign = sorted(set(reference) - set(labels))
    if foreign:
        raise UserError(
            f"{name} {', '.join(map(repr, foreign))} is none of the labels ({', '.join(labels)}): "
            "rename it in the corpus, or leave those utterances out"
        )


def _groups(predictions: pandas.DataFrame, column: str) -> dict[str, pandas.DataFrame]:
    """Value, or band in ascending order, -> its rows."""
    values = predictions[column]
    if column in BANDS:
        bounds = [-np.inf, *BANDS[column].values()]
        values = pandas.cut(values.astype(float), bounds, right=False, labels=list(BANDS[column]))
    return dict(iter(predictions.groupby(values, observed=True)))
