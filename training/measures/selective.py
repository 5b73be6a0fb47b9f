"""What is won where a model does not answer: by its scores, and by how familiar the recordings are."""

import numpy as np
import pandas

from ...configuration.report import RiskAndCoverage

POINTS = 20  # of the curve that are kept
UNFAMILIAR = 0.05  # below which a recording counts as unfamiliar, as `FamiliarityFacts` has it


def risk_and_coverage(predictions: pandas.DataFrame, target: str) -> RiskAndCoverage:
    """The error among the answers of the highest scores, by how many these are.

    Utterances of one score are answered together: the error among them is the same for each.

    Args:
        predictions: with the target, `<target>_predicted` and `<target>_scores`.
        target: a classification.
    """
    rows = predictions[predictions[target].notna()]
    score = pandas.Series(np.stack(rows[f"{target}_scores"].to_numpy()).max(axis=1))
    wrong = pandas.Series((rows[target] != rows[f"{target}_predicted"]).to_numpy(dtype=float))
    wrong = wrong.groupby(score).transform("mean")  # of equal scores no order is known
    order = np.argsort(-score.to_numpy(), kind="stable")
    answered = np.arange(1, len(order) + 1)
    risk = np.cumsum(wrong.to_numpy()[order]) / answered
    places = np.unique(np.ceil(np.linspace(0, 1, POINTS + 1)[1:] * len(order)).astype(int) - 1)
    points = [
        {
            "coverage": float(answered[place] / len(order)),
            "risk": float(risk[place]),
            "score": round(float(score.to_numpy()[order][place]), 3),
        }
        for place in places
    ]
    return {"aurc": round(float(risk.mean()), 4), "points": points}


def familiarity_of(predictions: pandas.DataFrame) -> dict[str, float]:
    """The median of how familiar the recordings are, and the share that is unfamiliar."""
    familiar = predictions["familiar"].dropna()
    return {"median": float(familiar.median()), "unfamiliar": float((familiar < UNFAMILIAR).mean())}
