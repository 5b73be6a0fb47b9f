"""How far the target's scores can be trusted: one temperature, fitted where the model was not trained."""

import numpy as np
import pandas
from scipy.optimize import minimize_scalar

BOUNDS = (0.2, 5.0)  # a validation side without a single error would ask for a temperature of 0
TINY = 1e-12  # of a score, whose logarithm stands for its logit


def fit_temperature(scores: np.ndarray, reference: np.ndarray) -> float:
    """The temperature at which the reference's negative log likelihood is least, within `BOUNDS` (ours).

    Temperature scaling (Guo et al., ICML 2017) changes no label, only the confidence in it.

    Args:
        scores: softmax scores `(utterances, labels)` at temperature 1.
        reference: the labels' ids `(utterances,)`.
    """
    rows = np.arange(len(reference))

    def loss(logarithm: float) -> float:
        return -np.log(at_temperature(scores, np.exp(logarithm))[rows, reference].clip(TINY)).mean()

    return float(np.exp(minimize_scalar(loss, bounds=np.log(BOUNDS), method="bounded").x))


def at_temperature(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Softmax scores `(utterances, labels)` at temperature 1, as they are at another one."""
    logits = np.log(scores.clip(TINY)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def fit_on(predictions: pandas.DataFrame, target: str, labels: list[str]) -> tuple[float, int] | None:
    """The temperature that a table of predictions at temperature 1 asks for, and on how many references it rests.

    None where the table has no reference.
    """
    known = predictions[predictions[target].notna()]
    if known.empty:
        return None
    scores = np.stack(known[f"{target}_scores"].tolist())
    return fit_temperature(scores, known[target].map(labels.index).to_numpy()), len(known)
