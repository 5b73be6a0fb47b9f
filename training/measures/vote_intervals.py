"""How far another draw of speakers could move what predictions are beside raters' votes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas

from ...configuration.study_report import Change
from .statistics import (
    LEAST_SPEAKERS,
    RESAMPLES,
    bounds_over_speakers,
    calibration_of,
    check_same_utterances,
    count_speakers,
)
from .votes import MEASURES, judged_votes, measures_of_sums, rated_rows


def vote_calibration(predictions: pandas.DataFrame, task: str, labels: Sequence[str]) -> float:
    """By how much the best score misses the share of raters who name that label: `calibration` of `statistics`."""
    _, shares, predicted, _ = judged_votes(predictions, task, labels)
    scores = np.stack(rated_rows(predictions, task, labels)[f"{task}_scores"].tolist())
    return calibration_of(scores.max(axis=1), shares[np.arange(len(shares)), predicted])["ece"]


def vote_interval(
    predictions: pandas.DataFrame, task: str, labels: Sequence[str], resamples: int = RESAMPLES
) -> dict[str, Any]:
    """The 95 % intervals of `vote_measures` that come of drawing other speakers; see `interval` of `statistics`."""
    rated = rated_rows(predictions, task, labels)
    speakers = count_speakers(rated)
    if speakers is None or speakers < LEAST_SPEAKERS:
        return {"speakers": speakers}
    *_, rows = judged_votes(predictions, task, labels)
    low, high = bounds_over_speakers(
        _by_speaker(rated, rows), lambda sums: np.stack(measures_of_sums(sums, len(labels))), resamples
    )
    bounds = {name: [float(low[place]), float(high[place])] for place, name in enumerate(MEASURES)}
    return {"speakers": speakers, **{name: ends for name, ends in bounds.items() if np.isfinite(ends).all()}}


def paired_votes(
    predictions: pandas.DataFrame,
    others: pandas.DataFrame,
    task: str,
    labels: Sequence[str],
    resamples: int = RESAMPLES,
) -> dict[str, Change]:
    """How much more of each of `vote_measures` the first predictions have than the others on the same utterances.

    Of the first four but `cosine`, and of `brier`, less is nearer to the raters. The 95 % intervals are as of
    `paired_difference`: each resample draws speakers for both tables at once.

    Raises:
        UserError: the tables hold different utterances.
    """
    tables = [rated_rows(table, task, labels) for table in (predictions, others)]
    check_same_utterances(*tables, task)
    speakers = count_speakers(tables[0])
    if speakers is None:
        tables = [table.assign(speaker="") for table in tables]
    sums = np.stack([_by_speaker(table, judged_votes(table, task, labels)[-1]) for table in tables], axis=1)

    def differences(sums: np.ndarray) -> np.ndarray:
        found = np.stack(measures_of_sums(sums, len(labels)))
        return found[..., 0] - found[..., 1]

    whole = dict(zip(MEASURES, differences(sums.sum(axis=0)), strict=True))
    found: dict[str, Change] = {name: {"difference": float(value)} for name, value in whole.items() if value == value}
    if len(sums) >= LEAST_SPEAKERS:
        low, high = bounds_over_speakers(sums, differences, resamples)
        for place, name in enumerate(MEASURES):
            if name in found:
                found[name]["interval"] = [float(low[place]), float(high[place])]
    for name in ("raters_agreement", "most_agreement"):  # the same of both
        found.pop(name, None)
    return found


def _by_speaker(rated: pandas.DataFrame, rows: np.ndarray) -> np.ndarray:
    """Sums `(speakers, columns)`, speakers in sorted order."""
    speakers, names = pandas.factorize(rated["speaker"], sort=True)
    sums = np.zeros((len(names), rows.shape[1]))
    np.add.at(sums, speakers, rows)
    return sums
