"""How well several labels at once are recognised, and how far another draw of speakers could move that."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas

from ...configuration.report import Interval, Measures
from .predictions import SEPARATOR
from .resampling import RESAMPLES, by_speaker, changes_of, check_same_utterances, interval_of, speaker_places
from .votes import labels_at_once

MEASURES = ("average_precision", "macro_f1", "exact_match")
COMPARED = MEASURES[:2]


def several_rows(predictions: pandas.DataFrame, task: str, labels: Sequence[str]) -> pandas.DataFrame:
    """The utterances of which the labels are known; the task's column has them as a prediction is written."""
    has, known = labels_at_once(predictions, task, labels)
    return predictions[known].assign(**{task: [SEPARATOR.join(np.array(labels)[row].tolist()) for row in has[known]]})


def several_measures(predictions: pandas.DataFrame, task: str, labels: Sequence[str]) -> Measures:
    """How well several labels at once are recognised.

    `average_precision` is the mean over the labels that the reference has of the area under precision over recall, by
    the scores alone (as scikit-learn has it, without interpolation). Macro F1 is the mean over the labels that the
    reference or the predictions have; `exact_match` the share of utterances of which all labels are right.

    Args:
        predictions: one row an utterance, with the references that `labels_at_once` reads, `<task>_predicted`, such
            as "angry;sad", and `<task>_scores` in label order.
        task: a multilabel task.
        labels: in their order.

    Returns:
        `{"average_precision", "macro_f1", "exact_match", "recall", "precision", "support", "n"}`, the three in the
        middle by label; what would divide by nothing is None.
    """
    rows = several_rows(predictions, task, labels)
    if rows.empty:
        return {"not_applicable": f"no utterance here has a reference for {task}"}
    has, said = (_told(rows[column], labels) for column in (task, f"{task}_predicted"))
    right, support = (has & said).sum(axis=0), has.sum(axis=0)
    found = zip(MEASURES, _figures(_sums(rows, task, labels).sum(axis=0), support), strict=True)
    return {
        **{name: float(value) if np.isfinite(value) else None for name, value in found},
        "recall": _fractions(labels, right, support),
        "precision": _fractions(labels, right, said.sum(axis=0)),
        "support": {label: int(count) for label, count in zip(labels, support, strict=True)},
        "n": len(rows),
    }


def several_interval(
    predictions: pandas.DataFrame, task: str, labels: Sequence[str], resamples: int = RESAMPLES
) -> Interval:
    """The intervals of `MEASURES`, as of `interval_of`; the thresholds of the predictions stay what they are."""
    rows = several_rows(predictions, task, labels)
    figures = partial(_figures, positives=_told(rows[task], labels).sum(axis=0))
    return interval_of(rows, _sums(rows, task, labels), figures, MEASURES, resamples)


def paired_several(
    predictions: pandas.DataFrame,
    others: pandas.DataFrame,
    task: str,
    labels: Sequence[str],
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """How much more of `COMPARED` the first predictions have than the others, as of `changes_of`.

    Raises:
        UserError: the tables hold different utterances.
    """
    tables = [several_rows(table, task, labels) for table in (predictions, others)]
    check_same_utterances(*tables, task)
    positives = _told(tables[0][task], labels).sum(axis=0)
    sums = np.stack([_sums(table, task, labels) for table in tables], axis=1)
    return changes_of(tables[0], sums, lambda sums: _figures(sums, positives)[: len(COMPARED)], COMPARED, resamples)


def _told(cells: Iterable[str], labels: Sequence[str]) -> np.ndarray:
    """Which labels each cell names, such as "angry;sad": bool `(utterances, labels)`."""
    named = [set(text.split(SEPARATOR)) for text in cells]
    return np.array([[label in each for label in labels] for each in named], dtype=bool).reshape(-1, len(labels))


def _sums(rows: pandas.DataFrame, task: str, labels: Sequence[str]) -> np.ndarray:
    """By speaker `(speakers, columns)` all that `_figures` reads."""
    has, said = (_told(rows[column], labels) for column in (task, f"{task}_predicted"))
    right = (has == said).all(axis=1, keepdims=True)
    scores, places = np.stack(rows[f"{task}_scores"].tolist()), speaker_places(rows)
    counted = np.concatenate([has & said, has, said, right, np.ones_like(right)], axis=1).astype(float)
    curves = [
        np.stack([_curve(score, positive, places == speaker) for speaker in range(places.max() + 1)])
        for score, positive in zip(scores.T, has.T, strict=True)
    ]
    return np.concatenate([by_speaker(places, counted), *curves], axis=1)


def _curve(scores: np.ndarray, positive: np.ndarray, mine: np.ndarray) -> np.ndarray:
    """What a speaker adds to the area under a label's precision over recall: three numbers for each positive of all.

    The area is the mean over the positives, which have the label, of the precision among all that score as high or
    higher. The numbers say whether a positive is of `mine`, how many positives of `mine` score so, and how many of
    `mine` at all.
    """
    cuts = scores[positive]
    parts = (np.sort(scores[those]) for those in (mine & positive, mine))
    return np.concatenate([mine[positive], *(len(part) - np.searchsorted(part, cuts) for part in parts)])


def _figures(sums: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """`MEASURES` of `_sums` `(..., columns)`; a label has so many `positives`. NaN where there is nothing to mean."""
    right, has, said, exact, n, curves = np.split(sums, np.cumsum([len(positives)] * 3 + [1, 1]), axis=-1)
    by_label = (np.split(curve, 3, axis=-1) for curve in np.split(curves, np.cumsum(3 * positives)[:-1], axis=-1))
    areas = np.stack([(own * _ratio(hits, reached)).sum(axis=-1) for own, hits, reached in by_label], axis=-1)
    means = [_mean(_ratio(areas, has), has > 0), _mean(_ratio(2 * right, has + said), has + said > 0)]
    return np.stack([*means, (exact / n)[..., 0]])


def _ratio(part: np.ndarray, whole: np.ndarray, otherwise: float = 0.0) -> np.ndarray:
    return np.divide(part, whole, out=np.full(part.shape, otherwise), where=whole > 0)


def _mean(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Over the labels that are counted; the others' values are 0."""
    return _ratio(values.sum(axis=-1), counted.sum(axis=-1), np.nan)


def _fractions(labels: Sequence[str], parts: np.ndarray, wholes: np.ndarray) -> dict[str, float | None]:
    found = zip(labels, parts, wholes, strict=True)
    return {label: float(part / whole) if whole else None for label, part, whole in found}
