"""Unweighted accuracy (UA) for `evaluate.load("<this folder>")`: needs no network."""

import evaluate
from sklearn.metrics import balanced_accuracy_score

from ser_meta.training.measures.metric_info import metric_info

DESCRIPTION = "Unweighted accuracy (UA) of speech emotion recognition: the mean recall over the references' classes."
INPUTS = """
Args:
    predictions: labels as text or as whole numbers.
    references: the same.
Returns:
    unweighted_accuracy: a fraction, scikit-learn's `balanced_accuracy_score`.
"""


class UnweightedAccuracy(evaluate.Metric):
    """The mean recall, to which every class counts the same."""

    def _info(self) -> evaluate.MetricInfo:
        return metric_info(DESCRIPTION, INPUTS, "string", "int64")

    def _compute(self, predictions: list, references: list) -> dict[str, float]:
        return {"unweighted_accuracy": float(balanced_accuracy_score(references, predictions))}
