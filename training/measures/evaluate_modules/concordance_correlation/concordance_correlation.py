"""Concordance correlation (CCC) for `evaluate.load("<this folder>")`: needs no network."""

import evaluate
import numpy as np

from ser_meta.training.measures.metric_info import metric_info
from ser_meta.training.measures.metrics import concordance_correlation

DESCRIPTION = (
    "Lin's concordance correlation coefficient (1989): how near pairs of numbers lie to the line of equality."
)
INPUTS = """
Args:
    predictions: numbers.
    references: numbers.
Returns:
    concordance_correlation: from -1 to 1, with variances divided by n; NaN where the references are all the same.
"""


class ConcordanceCorrelation(evaluate.Metric):
    """Correlation that is lowered by a shift or a stretch of the predictions."""

    def _info(self) -> evaluate.MetricInfo:
        return metric_info(DESCRIPTION, INPUTS, "float64")

    def _compute(self, predictions: list, references: list) -> dict[str, float]:
        found = concordance_correlation(np.asarray(references, dtype=float), np.asarray(predictions, dtype=float))
        return {"concordance_correlation": float("nan") if found is None else found}
