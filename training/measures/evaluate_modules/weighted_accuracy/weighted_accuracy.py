"""Weighted accuracy (WA) for `evaluate.load("<this folder>")`: needs no network."""

import evaluate
from sklearn.metrics import accuracy_score

from ser_meta.training.measures.metric_info import metric_info

DESCRIPTION = "Weighted accuracy (WA) of speech emotion recognition: the share of utterances that is recognised."
INPUTS = """
Args:
    predictions: labels as text or as whole numbers.
    references: the same.
Returns:
    weighted_accuracy: a fraction, scikit-learn's `accuracy_score`.
"""


class WeightedAccuracy(evaluate.Metric):
    """The overall accuracy, which frequent classes dominate."""

    def _info(self) -> evaluate.MetricInfo:
        return metric_info(DESCRIPTION, INPUTS, "string", "int64")

    def _compute(self, predictions: list, references: list) -> dict[str, float]:
        return {"weighted_accuracy": float(accuracy_score(references, predictions))}
