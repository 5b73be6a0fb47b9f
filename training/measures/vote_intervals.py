"""How far another draw of speakers could move what predictions are beside raters' votes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas

from ...configuration.study_report import Change
from .resampling import RESAMPLES, by_speaker, changes_of, check_same_utterances, interval_of, speaker_places
from .statistics import calibration_of
from .votes import MEASURES, judged_votes, measures_of_sums, rated_rows

OF_RATERS = ("raters_agreement", "most_agreement")  # the same whatever a model says


def vote_calibration(predictions: pandas.DataFrame, task: str, labels: Sequence[str]) -> float:
    """By how much the best score misses the share of raters who name that label: `calibration` of `statistics`."""
    _, shares, predicted, _ = judged_votes(predictions, task, labels)
    scores = np.stack(rated_rows(predictions, task, labels)[f"{task}_scores"].tolist())
    return calibration_of(scores.max(axis=1), shares[np.arange(len(shares)), predicted])["ece"]


def vote_interval(
    predictions: pandas.DataFrame, task: str, labels: Sequence[str], resamples: int = RESAMPLES
) -> dict[str, Any]:
    """The 95 % intervals of `vote_measures` that come of drawing other speakers, as of `interval_of`."""
    rated = rated_rows(predictions, task, labels)
    sums = _sums(rated, task, labels)
    return interval_of(rated, sums, lambda sums: measures_of_sums(sums, len(labels)), MEASURES, resamples)


def paired_votes(
    predictions: pandas.DataFrame,
    others: pandas.DataFrame,
    task: str,
    labels: Sequence[str],
    resamples: int = RESAMPLES,
) -> dict[str, Change]:
    """How much more of each of `vote_measures` the first predictions have than the others, as of `changes_of`.

    Of the first four but `cosine`, and of `brier`, less is nearer to the raters.

    Raises:
        UserError: the tables hold different utterances.
    """
    tables = [rated_rows(table, task, labels) for table in (predictions, others)]
    check_same_utterances(*tables, task)
    sums = np.stack([_sums(table, task, labels) for table in tables], axis=1)
    found = changes_of(tables[0], sums, lambda sums: measures_of_sums(sums, len(labels)), MEASURES, resamples)
    return {name: change for name, change in found.items() if name not in ("speakers", *OF_RATERS)}


def _sums(rated: pandas.DataFrame, task: str, labels: Sequence[str]) -> np.ndarray:
    return by_speaker(speaker_places(rated), judged_votes(rated, task, labels)[-1])
