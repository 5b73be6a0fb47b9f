import warnings
from math import isnan
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score

import ser_meta.training

FOLDER = Path(ser_meta.training.__file__).parent / "measures" / "evaluate_modules"
LABELS = np.array(["angry", "happy", "sad", "żal"])


@pytest.fixture
def load(tmp_path):
    import evaluate

    return lambda name: evaluate.load(str(FOLDER / name), cache_dir=str(tmp_path))


def concordance(predicted, reference):
    n = len(reference)
    mean_p, mean_r = sum(predicted) / n, sum(reference) / n
    variance_p = sum((value - mean_p) ** 2 for value in predicted) / n
    variance_r = sum((value - mean_r) ** 2 for value in reference) / n
    together = sum((p - mean_p) * (r - mean_r) for p, r in zip(predicted, reference, strict=True)) / n
    return 2 * together / (variance_p + variance_r + (mean_p - mean_r) ** 2)


@pytest.mark.parametrize("kind", ["text", "numbers"])
@pytest.mark.parametrize(
    ("name", "expected"), [("weighted_accuracy", accuracy_score), ("unweighted_accuracy", balanced_accuracy_score)]
)
def test_accuracies_equal_scikit_learns(load, name, expected, kind):
    chance = np.random.default_rng(0)
    reference, predicted = chance.choice(4, 50, p=[0.7, 0.1, 0.1, 0.1]), chance.choice(4, 50)
    if kind == "text":
        reference, predicted = LABELS[reference], LABELS[predicted]
    found = load(name).compute(predictions=predicted.tolist(), references=reference.tolist())
    assert found == {name: pytest.approx(expected(reference, predicted))}


def test_what_has_no_reference_or_does_not_differ_is_as_in_a_report(load):
    absent = {"references": list("aabb"), "predictions": list("aabc")}
    with warnings.catch_warnings(action="ignore"):
        assert load("unweighted_accuracy").compute(**absent) == {"unweighted_accuracy": 0.75}
    assert load("weighted_accuracy").compute(**absent) == {"weighted_accuracy": 0.75}
    constant = load("concordance_correlation").compute(references=[2, 2, 2], predictions=[1, 2, 3])
    assert isnan(constant["concordance_correlation"])


def test_concordance_correlation_equals_its_formula(load):
    chance = np.random.default_rng(0)
    reference = chance.normal(3, 1, 40)
    metric = load("concordance_correlation")
    for predicted in (reference, reference + 1, 0.5 * reference + chance.normal(0, 1, 40)):
        found = metric.compute(predictions=predicted.tolist(), references=reference.tolist())
        assert found == {"concordance_correlation": pytest.approx(concordance(predicted, reference))}
