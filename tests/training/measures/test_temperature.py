import numpy as np
import pandas
import pytest

from ser_meta.training.measures.temperature import BOUNDS, at_temperature, fit_on, fit_temperature

LABELS = ["angry", "neutral", "sad"]


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits)
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def logits() -> np.ndarray:
    return np.random.default_rng(0).normal(scale=2, size=(4_000, 3))


@pytest.fixture(scope="module")
def reference(logits) -> np.ndarray:
    """Drawn from the scores themselves: at temperature 1 they are calibrated."""
    draws = np.random.default_rng(1).random((len(logits), 1))
    return (softmax(logits).cumsum(axis=1) < draws).sum(axis=1)


def test_scores_at_a_temperature_are_those_of_divided_logits(logits):
    np.testing.assert_allclose(at_temperature(softmax(logits), 1.7), softmax(logits / 1.7), atol=1e-9)
    np.testing.assert_allclose(at_temperature(np.array([[1.0, 0.0]]), 2.0).sum(), 1)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_over_and_under_confidence(logits, reference, factor):
    assert fit_temperature(softmax(factor * logits), reference) == pytest.approx(factor, rel=0.06)


def test_a_side_without_errors_asks_for_no_certainty(logits):
    assert fit_temperature(softmax(logits), logits.argmax(axis=1)) == pytest.approx(BOUNDS[0], rel=0.01)


def test_a_table_is_fitted_where_it_has_references(logits, reference):
    emotion = [LABELS[label] for label in reference]
    emotion[::7] = [None] * len(emotion[::7])
    table = pandas.DataFrame({"emotion": emotion, "emotion_scores": list(softmax(2 * logits))})
    temperature, n = fit_on(table, "emotion", LABELS)
    assert temperature == pytest.approx(2, rel=0.06) and n == table["emotion"].notna().sum()
    scores = at_temperature(np.stack(table["emotion_scores"].tolist()), temperature)
    np.testing.assert_array_equal(scores.argmax(axis=1), logits.argmax(axis=1))
    np.testing.assert_allclose(scores, softmax(2 * logits / temperature), atol=1e-9)
    assert fit_on(table.assign(emotion=None), "emotion", LABELS) is None


def test_a_run_keeps_its_temperature(recipe_file, tmp_path):
    from ser_meta.configuration.recipe_files import load_recipe
    from ser_meta.configuration.report import Temperature
    from ser_meta.modeling_ser_meta import SerMetaConfig
    from ser_meta.training.runs.stages import run_stages

    quick = ["stages.metadata.epochs=0.2", "stages.emotion.epochs=0.2"]
    report = run_stages(load_recipe(str(recipe_file), [*quick, "data.validation=speaker"]), tmp_path / "run")
    kept = SerMetaConfig.from_pretrained(tmp_path / "run" / "model").calibration_temperature
    assert report.temperature == Temperature(value=kept, fitted_on="validation", n=report.sides["validation"])
    assert BOUNDS[0] <= kept <= BOUNDS[1] and kept != 1


def test_without_a_validation_side_nothing_is_fitted(finished_run):
    import json

    report = json.loads((finished_run / "report.json").read_text())
    assert report["temperature"] == {"value": 1.0, "fitted_on": None, "n": 0}
