"""Concordance correlation (CCC) for `evaluate.load("<this folder>")`: needs no network."""

import datasets
import evaluate
import numpy as np

DESCRIPTION = (
    "Lin's concordance correlation coefficient (1989): how near pairs of numbers lie to the line of equality."
)
INPUTS = """
Args:
    predictions: numbers.
    references: numbers, not all the same.
Returns:
    concordance_correlation: from -1 to 1, with variances divided by n.
"""


class ConcordanceCorrelation(evaluate.Metric):
    """Correlation that is lowered by a shift or a stretch of the predictions."""

    def _info(self) -> evaluate.MetricInfo:
        number = datasets.Value("float64")
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": number, "references": number}),
        )

    def _compute(self, predictions: list, references: list) -> dict[str, float]:
        predicted, reference = np.asarray(predictions), np.asarray(references)
        covariance = np.mean((predicted - predicted.mean()) * (reference - reference.mean()))
        apart = (predicted.mean() - reference.mean()) ** 2
        return {"concordance_correlation": float(2 * covariance / (predicted.var() + reference.var() + apart))}
