"""How far a figure can be trusted: intervals over speakers, tests between two models, calibration."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas
from scipy.stats import binomtest, bootstrap

from ...configuration.errors import UserError
from ...configuration.report import Calibration, Interval
from ...configuration.study_report import McNemar
from .metrics import accuracies

CONFIDENCE = 0.95
RESAMPLES = 10_000
SEED = 0  # of the resampling: the same predictions give the same interval
CALIBRATION_BINS = 15
MEASURES = ("wa", "ua", "macro_f1")
LEAST_SPEAKERS = 5
"""From which an interval is given. Resampling few clusters makes intervals too narrow (Hesterberg, The American
Statistician 69, 2015, section 3.2), and studies of it begin at five (Cameron, Gelbach and Miller, The Review of
Economics and Statistics 90, 2008). Of speakers whose figures are drawn from a normal distribution, nominal 95 %
intervals of this kind covered the truth in 51 % of 4,000 trials with 2 speakers, 74 % with 3, 83 % with 5, 90 % with
10 and 92 % with 24 (ours)."""


def interval(
    predictions: pandas.DataFrame, tasks: Mapping[str, Mapping[str, Any]], target: str, resamples: int = RESAMPLES
) -> Interval:
    """The 95 % interval of WA, UA and macro F1 that comes of drawing other speakers (percentile bootstrap).

    Utterances of one speaker, and the same utterance with several seeds, stand and fall together, so whole speakers
    are drawn with replacement. The percentiles of the resamples are used as they are: BCa's corrections are estimated
    from the speakers one by one, too few here to estimate them from, and are undefined where all speakers do alike.
    With fewer than about ten speakers the interval is too narrow, and with fewer than `LEAST_SPEAKERS` there is none.

    Args:
        predictions: one row an utterance (and seed), with `speaker`, the target and `<target>_predicted`.
        tasks: name -> `{"labels": [...], ...}`.
        target: a classification.
        resamples: of the bootstrap.

    Returns:
        `{"speakers": how many, measure: [low, high], ...}`, fractions; `speakers` alone where they are too few, and
        None of them where the speaker of an utterance is not known.
    """
    rows = _labelled(predictions, target)
    speakers = count_speakers(rows)
    if speakers is None or speakers < LEAST_SPEAKERS:
        return {"speakers": speakers}
    confusions = _speaker_confusions(rows, target, tasks[target]["labels"])
    low, high = bounds_over_speakers(confusions, accuracies, resamples)
    bounds = {measure: [float(low[place]), float(high[place])] for place, measure in enumerate(MEASURES)}
    return {"speakers": speakers, **bounds}


def paired_difference(
    predictions: pandas.DataFrame, others: pandas.DataFrame, target: str, resamples: int = RESAMPLES
) -> dict[str, dict[str, Any]]:
    """How much better the first predictions are than the others on the same utterances, with a 95 % interval.

    Each resample draws speakers for both tables at once, so that what makes a speaker easy or hard for both cancels.

    Args:
        predictions, others: one row an utterance (and seed), as of `interval`, with `utterance_id`.
        target: a classification.
        resamples: of the bootstrap.

    Returns:
        `{"speakers", "ua": {"difference", "interval": [low, high]}, "wa": {...}}`, fractions; without `interval`
        where the function of that name has none.

    Raises:
        UserError: the tables hold different utterances.
    """
    tables = [_labelled(table, target) for table in (predictions, others)]
    check_same_utterances(*tables, target)
    columns = [table[name] for table in tables for name in (target, f"{target}_predicted")]
    labels = sorted(pandas.unique(pandas.concat(columns)))
    speakers = count_speakers(tables[0])
    if speakers is None:
        tables = [table.assign(speaker="") for table in tables]
    confusions = np.stack([_speaker_confusions(table, target, labels) for table in tables], axis=1)
    differences = _differences(confusions.sum(axis=0))
    found = {measure: {"difference": float(differences[place])} for place, measure in enumerate(("ua", "wa"))}
    if len(confusions) >= LEAST_SPEAKERS:
        low, high = bounds_over_speakers(confusions, _differences, resamples)
        for place, measure in enumerate(found.values()):
            measure["interval"] = [float(low[place]), float(high[place])]
    return {"speakers": speakers, **found}


def mcnemar(predictions: pandas.DataFrame, others: pandas.DataFrame, target: str) -> McNemar:
    """McNemar's exact test: which of two models recognises the utterances that only one of them recognises.

    With several seeds an utterance counts once, for the model that recognises it with more of its seeds. The test
    takes utterances as independent and knows nothing of speakers, unlike `paired_difference`.

    Raises:
        UserError: the tables hold different utterances.
    """
    tables = [_labelled(table, target) for table in (predictions, others)]
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
    rows = _labelled(predictions, target)
    confidence = np.stack(rows[f"{target}_scores"].to_numpy()).max(axis=1)
    return calibration_of(confidence, (rows[target] == rows[f"{target}_predicted"]).to_numpy(dtype=float))


def calibration_of(confidence: np.ndarray, right: np.ndarray) -> Calibration:
    """The same of numbers: of each answer `(utterances,)` its confidence and how right it is, both from 0 to 1."""
    places = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    bins = pandas.DataFrame({"confidence": confidence, "accuracy": right}).groupby(places).mean()
    bins["n"] = np.bincount(places)[bins.index]
    gaps = (bins["accuracy"] - bins["confidence"]).abs()
    return {"ece": float((gaps * bins["n"]).sum() / len(right)), "bins": bins.to_dict("records")}


def _labelled(predictions: pandas.DataFrame, target: str) -> pandas.DataFrame:
    return predictions[predictions[target].notna()]


def count_speakers(rows: pandas.DataFrame) -> int | None:
    """How many speakers a table has; None where the speaker of an utterance is not known."""
    known = "speaker" in rows and rows["speaker"].notna().all()
    return int(rows["speaker"].nunique()) if known else None


def _speaker_confusions(rows: pandas.DataFrame, target: str, labels: Sequence[str]) -> np.ndarray:
    """Counts `(speakers, classes, classes)`, speakers in sorted order, rows = reference."""
    speakers, names = pandas.factorize(rows["speaker"], sort=True)
    reference, predicted = (pandas.Index(labels).get_indexer(rows[name]) for name in (target, f"{target}_predicted"))
    counts = np.zeros((len(names), len(labels), len(labels)))
    np.add.at(counts, (speakers, reference, predicted), 1)
    return counts


def bounds_over_speakers(
    confusions: np.ndarray, measure: Callable[[np.ndarray], np.ndarray], resamples: int
) -> tuple[np.ndarray, np.ndarray]:
    """The bounds of `measure` of sums, such as confusions, `(speakers, ...)` when speakers are drawn anew."""
    speakers = len(confusions)
    flat = confusions.reshape(speakers, -1)

    def of_drawn(drawn: np.ndarray, axis: int) -> np.ndarray:
        # how often each speaker was drawn, so that summing confusions is one product of matrices
        drawn = np.atleast_2d(drawn)
        offsets = speakers * np.arange(len(drawn))[:, None]
        times = np.bincount((drawn + offsets).ravel(), minlength=drawn.size).reshape(drawn.shape)
        return measure((times @ flat).reshape(-1, *confusions.shape[1:]))

    found = bootstrap(
        (np.arange(speakers),),
        of_drawn,
        vectorized=True,
        n_resamples=resamples,
        batch=1000,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(SEED),
    )
    return found.confidence_interval.low, found.confidence_interval.high


def _differences(confusions: np.ndarray) -> np.ndarray:
    """UA and WA `(2, ...)` of the first less those of the second of `(..., 2, classes, classes)`."""
    wa, ua, _ = accuracies(confusions)
    return np.stack([ua[..., 0] - ua[..., 1], wa[..., 0] - wa[..., 1]])


def check_same_utterances(predictions: pandas.DataFrame, others: pandas.DataFrame, target: str) -> None:
    """Also that each occurs as often (once a seed) and has the same reference."""
    counts = [table.groupby(["utterance_id", target]).size() for table in (predictions, others)]
    differing = counts[0].sub(counts[1], fill_value=0)
    differing = differing[differing != 0]
    if len(differing):
        raise UserError(
            f"two tables of predictions differ in their utterances (utterance_id {differing.index[0][0]!r} and "
            f"{len(differing) - 1} more): compare models that were judged on the same folds with as many seeds"
        )
