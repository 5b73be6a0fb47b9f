import json

import numpy as np
import pandas
import pytest

from ser_meta.configuration.errors import UserError
from ser_meta.training.metrics import classification_metrics, evaluate_predictions, flatten, slices, transcript_metrics

LABELS = ["neutral", "happy", "sad"]
TASKS = {
    "emotion": {"kind": "classification", "labels": LABELS},
    "speaker": {"kind": "classification", "labels": ["a", "b"]},
    "transcript": {"kind": "ctc", "vocab_size": 30},
}


@pytest.fixture
def predictions():
    return pandas.DataFrame(
        {
            "utterance_id": list("123456"),
            "speaker": ["c"] * 6,
            "speaker_predicted": ["a"] * 6,
            "gender": ["female", "female", "male", "male", None, "male"],
            "style": ["speech"] * 6,
            "emotion": ["neutral", "neutral", "neutral", "happy", "happy", None],
            "emotion_predicted": ["neutral", "neutral", "sad", "happy", "neutral", "happy"],
            "transcript": ["A DOG", "", None, "A CAT SAT", "OH", "NO"],
            "transcript_predicted": ["A DOG", "ZZZZ", "ZZZZ", "A CAT", "OH", "NO"],
        }
    )


def test_classification_by_hand(predictions):
    emotion = evaluate_predictions(predictions, TASKS)["emotion"]
    assert emotion["n"] == 5
    assert emotion["wa"] == pytest.approx(3 / 5)
    assert emotion["ua"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    # F1: neutral 2*2/(2*2+1+1), happy 2*1/(2*1+0+1)
    assert emotion["macro_f1"] == pytest.approx((4 / 6 + 2 / 3) / 2)
    assert emotion["recall"] == {"neutral": pytest.approx(2 / 3), "happy": 0.5, "sad": None}
    assert emotion["support"] == {"neutral": 3, "happy": 2, "sad": 0}
    assert emotion["confusion"] == [[2, 0, 1], [1, 1, 0], [0, 0, 0]]


def test_the_confusion_follows_the_order_of_the_labels():
    measures = classification_metrics(["b", "a", "a"], ["a", "a", "a"], ["b", "a"])
    assert measures["confusion"] == [[0, 1], [0, 2]]
    assert list(measures["recall"]) == ["b", "a"]
    assert measures["ua"] == 0.5
    assert measures["wa"] == pytest.approx(2 / 3)


def test_transcript_errors_are_pooled_over_utterances(predictions):
    transcript = evaluate_predictions(predictions, TASKS)["transcript"]
    assert transcript["n"] == 4  # neither the missing nor the empty reference counts, nor what was heard there
    assert transcript["wer"] == pytest.approx(1 / 7)
    assert transcript["cer"] == pytest.approx(4 / len("A DOGA CAT SATOHNO"))


def test_transcripts_that_are_all_empty_have_no_error_rate():
    assert "empty" in transcript_metrics(["", " "], ["A", "B"])["not_applicable"]


def test_rates_may_exceed_one():
    assert transcript_metrics(["A"], ["B C D"])["wer"] == 3


def test_unseen_speakers_are_not_applicable_and_seen_ones_are_measured(predictions):
    reason = evaluate_predictions(predictions, TASKS)["speaker"]["not_applicable"]
    assert "test speakers are unseen" in reason
    predictions["speaker"] = "a"
    assert evaluate_predictions(predictions, TASKS, unseen=())["speaker"]["wa"] == 1


@pytest.mark.parametrize("missing", [None, np.nan])
def test_a_task_without_a_reference_is_not_applicable(predictions, missing):
    tasks = {"emotion": TASKS["emotion"], "transcript": TASKS["transcript"], "age": TASKS["emotion"]}
    metrics = evaluate_predictions(predictions.assign(emotion=missing, transcript=missing), tasks)
    assert [list(measures) for measures in metrics.values()] == [["not_applicable"]] * 3
    assert "age" in metrics["age"]["not_applicable"]


def test_a_foreign_label_names_itself_and_the_labels(predictions):
    predictions["emotion"] = "bored"
    with pytest.raises(UserError, match=r"emotion 'bored' is none of the labels \(neutral, happy, sad\)"):
        evaluate_predictions(predictions, TASKS)


def test_slices_only_by_columns_with_two_values(predictions):
    found = slices(predictions, TASKS, by=("gender", "style", "intensity"))
    assert list(found) == ["gender"]
    assert found["gender"]["female"]["confusion"] == [[2, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert found["gender"]["male"]["n"] == 2


def test_ages_and_durations_are_sliced_in_ascending_bands(predictions):
    predictions = predictions.assign(age=[60, 29, 30, None, 44, 59], duration=[0.5, 1.99, 2.0, 8.0, 30.0, 3.0])
    found = slices(predictions, TASKS)
    assert {value: measures.get("n") for value, measures in found["age"].items()} == {
        "under 30": 1, "30 to 44": 2, "45 to 59": None, "60 and over": 1
    }  # fmt: skip
    assert {value: measures["n"] for value, measures in found["duration"].items()} == {
        "under 2 s": 2, "2 to 4 s": 1, "8 s and over": 2
    }  # fmt: skip
    assert list(found) == ["gender", "age", "duration"]


def test_a_column_without_any_value_is_no_slice(predictions):
    assert "age" not in slices(predictions.assign(age=None), TASKS)


def test_a_slice_without_the_target_is_not_applicable(predictions):
    predictions["style"] = ["speech"] * 5 + ["song"]  # the last utterance has no emotion
    found = slices(predictions, TASKS)["style"]
    assert "not_applicable" in found["song"]
    assert found["speech"]["n"] == 5


def test_flat_names_for_the_logs(predictions):
    flat = flatten(evaluate_predictions(predictions, TASKS))
    assert set(flat) == {"emotion_wa", "emotion_ua", "emotion_macro_f1", "transcript_cer", "transcript_wer"}
    assert flat["emotion_wa"] == pytest.approx(0.6)
    assert all(type(value) is float for value in flat.values())


def test_metrics_are_strict_json_and_survive_parquet(predictions, tmp_path):
    metrics = evaluate_predictions(predictions, TASKS)
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    predictions.to_parquet(tmp_path / "predictions.parquet")
    assert evaluate_predictions(pandas.read_parquet(tmp_path / "predictions.parquet"), TASKS) == metrics
