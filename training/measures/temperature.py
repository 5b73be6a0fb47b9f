"""How far the target's scores can be trusted: one temperature, fitted where the model was not trained."""

import numpy as np
import pandas
from scipy.optimize import minimize_scalar

from ...modeling_ser_meta.configuration_ser_meta import LABEL_THRESHOLD

BOUNDS = (0.2, 5.0)  # a validation side without a single error would ask for a temperature of 0
TINY = 1e-12  # of a score, whose logarithm stands for its logit


def fit_temperature(scores: np.ndarray, reference: np.ndarray) -> float:
    """The temperature at which the reference's negative log likelihood is least, within `BOUNDS` (ours).

    Temperature scaling (Guo et al., ICML 2017) changes no label, only the confidence in it. Of shares the likelihood
    is the mean over the raters, so that the scores become such shares.

    Args:
        scores: softmax scores `(utterances, labels)` at temperature 1.
        reference: the labels' ids `(utterances,)`, or the raters' shares `(utterances, labels)`.
    """
    rows = np.arange(len(reference))

    def loss(logarithm: float) -> float:
        logs = np.log(at_temperature(scores, np.exp(logarithm)).clip(TINY))
        return -(logs[rows, reference] if reference.ndim == 1 else (reference * logs).sum(axis=1)).mean()

    return float(np.exp(minimize_scalar(loss, bounds=np.log(BOUNDS), method="bounded").x))


def at_temperature(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Softmax scores `(utterances, labels)` at temperature 1, as they are at another one."""
    logits = np.log(scores.clip(TINY)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def fit_thresholds(scores: np.ndarray, reference: np.ndarray) -> list[float]:
    """The score from which each label is told: the one at which its F1 is best, halfway to the next lower score.

    Lipton, Elkan and Naryanaswamy (ECML 2014) show that the best one differs by label. A label that the reference
    lacks, or never lacks, keeps `LABEL_THRESHOLD`.

    Args:
        scores: `(utterances, labels)`, from 0 to 1.
        reference: bool, which labels the utterances have.
    """
    return [_best_threshold(*column) for column in zip(scores.T, reference.T, strict=True)]


def _best_threshold(scores: np.ndarray, reference: np.ndarray) -> float:
    if not reference.any() or reference.all():
        return LABEL_THRESHOLD
    order = np.argsort(-scores, kind="stable")
    ranked, right = scores[order], reference[order].cumsum()
    f1 = 2 * right / (np.arange(1, len(right) + 1) + reference.sum())
    ends = np.append(ranked[:-1] > ranked[1:], True)  # equal scores are told together
    last = int(np.where(ends, f1, -1).argmax())
    below = ranked[last + 1] if last + 1 < len(ranked) else 0.0
    return float(np.clip((ranked[last] + below) / 2, TINY, 1 - TINY))


def fit_on(
    predictions: pandas.DataFrame, target: str, labels: list[str], shares: np.ndarray | None = None
) -> tuple[float, int] | None:
    """The temperature that a table of predictions at temperature 1 asks for, and on how many references it rests.

    Those are the raters' shares `(rows, labels)`, NaN where nobody rated, where they were learned from. None where the
    table has no reference.
    """
    has_reference = predictions[target].notna() if shares is None else ~np.isnan(shares).any(axis=1)
    known = predictions[has_reference]
    if known.empty:
        return None
    scores = np.stack(known[f"{target}_scores"].tolist())
    reference = known[target].map(labels.index).to_numpy() if shares is None else shares[has_reference]
    return fit_temperature(scores, reference), len(known)
