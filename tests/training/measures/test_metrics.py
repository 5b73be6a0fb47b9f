import json
import warnings

import jiwer
import numpy as np
import pandas
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, recall_score

from ser_meta.configuration.errors import UserError
from ser_meta.training.measures.metrics import (
    classification_metrics,
    evaluate_predictions,
    flatten,
    regression_metrics,
    slices,
    transcript_metrics,
)

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


def often(predictions):
    """The same rows five times, enough for slices."""
    return pandas.concat([predictions] * 5, ignore_index=True)


def test_classification_by_hand(predictions):
    emotion = evaluate_predictions(predictions, TASKS)["emotion"]
    assert emotion["n"] == 5
    assert emotion["wa"] == pytest.approx(3 / 5)
    assert emotion["ua"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    # F1: neutral 2*2/(2*2+1+1), happy 2*1/(2*1+0+1), sad was predicted once and has no reference
    assert emotion["macro_f1"] == pytest.approx((4 / 6 + 2 / 3 + 0) / 3)
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
    assert transcript["left_out"] == {"an empty reference": 1}
    assert transcript["wer"] == pytest.approx(1 / 7)
    assert transcript["cer"] == pytest.approx(4 / len("A DOGA CAT SATOHNO"))


def test_transcripts_that_are_all_empty_have_no_error_rate():
    assert "empty" in transcript_metrics(["", " "], ["A", "B"])["not_applicable"]


def test_rates_may_exceed_one():
    assert transcript_metrics(["A"], ["B C D"])["wer"] == 3


def test_speakers_are_measured_where_they_were_trained_on(predictions):
    found = evaluate_predictions(predictions, TASKS)["speaker"]
    assert found == {"not_applicable": "none of the 1 speakers here is among the model's labels"}
    predictions["speaker"] = ["a", "a", "b", "c", "c", None]
    found = evaluate_predictions(predictions, TASKS)["speaker"]
    assert (found["n"], found["wa"]) == (3, pytest.approx(2 / 3))
    assert found["left_out"] == {"a speaker that was not trained on": 2}
    found = evaluate_predictions(predictions, TASKS, {"speaker": "nobody knows them"})["speaker"]
    assert found == {"not_applicable": "nobody knows them"}


@pytest.mark.parametrize("missing", [None, np.nan])
def test_a_task_without_a_reference_is_not_applicable(predictions, missing):
    tasks = {"emotion": TASKS["emotion"], "transcript": TASKS["transcript"], "age": TASKS["emotion"]}
    metrics = evaluate_predictions(predictions.assign(emotion=missing, transcript=missing), tasks)
    assert [list(measures) for measures in metrics.values()] == [["not_applicable"]] * 3
    assert "age" in metrics["age"]["not_applicable"]


ABSENT = list("aabb"), list("aabc")  # c is predicted and has no reference
NEITHER = list("aabb"), list("aabb")
UNHEARD = list("aabbc"), list("aabba")  # c is never predicted


@pytest.mark.parametrize("pair", [ABSENT, NEITHER, UNHEARD])
def test_absent_classes_as_scikit_learn_prints_them(pair):
    measures = classification_metrics(*pair, ["a", "b", "c"])
    assert measures["wa"] == pytest.approx(accuracy_score(*pair))
    assert measures["macro_f1"] == pytest.approx(f1_score(*pair, average="macro"))
    with warnings.catch_warnings(action="ignore"):
        assert measures["ua"] == pytest.approx(balanced_accuracy_score(*pair))


def test_absent_classes_beside_other_libraries():
    """UAR of audmetric 1.4.2 and torchmetrics 1.9.0 counts a recall without a reference as 0, as recall_score does."""
    measures = classification_metrics(*ABSENT, ["a", "b", "c"])
    assert recall_score(*ABSENT, average="macro", zero_division=0) == 0.5  # both libraries print this
    assert measures["ua"] == 0.75 and measures["recall"]["c"] is None and measures["support"]["c"] == 0
    assert measures["macro_f1"] == pytest.approx(0.5556, abs=1e-4)  # and this
    unheard = classification_metrics(*UNHEARD, ["a", "b", "c"])
    assert (unheard["ua"], unheard["macro_f1"]) == (pytest.approx(2 / 3), pytest.approx(0.6))  # and these


@pytest.mark.parametrize(
    ("reference", "predicted", "audmetric"),
    [([1, 2, 4, 3], [1.5, 2, 3, 3], 0.8148148), ([1, 2, 3, 4], [2, 2, 2, 2], 0.0)],
)
def test_concordance_beside_another_library(reference, predicted, audmetric):
    assert regression_metrics(reference, predicted)["ccc"] == pytest.approx(audmetric)


def test_constant_references_have_an_error_and_no_concordance():
    found = regression_metrics([2, 2, 2, 2], [1.5, 2, 3, 3])
    assert found == {
        "ccc": None, "rmse": 0.75, "n": 4, "undefined": {"ccc": "every one of the 4 references is 2"}
    }  # fmt: skip
    assert flatten({"valence": found}) == {"valence_rmse": 0.75}


def test_error_rates_as_jiwer_prints_them():
    reference, predicted = ["a b c", "d"], ["a x c", "d e"]
    found = transcript_metrics(reference, predicted)
    assert found == {"wer": jiwer.wer(reference, predicted), "cer": jiwer.cer(reference, predicted), "n": 2}
    assert transcript_metrics(["a b"], [""])["wer"] == jiwer.wer(["a b"], [""]) == 1
    assert jiwer.wer(["a b", ""], ["a b", "x y"]) == 1  # two insertions into the other utterance's two words
    found = transcript_metrics(["a b", ""], ["a b", "x y"])
    assert found == {"wer": 0.0, "cer": 0.0, "n": 1, "left_out": {"an empty reference": 1}}


def test_a_foreign_label_names_itself_and_the_labels(predictions):
    predictions["emotion"] = "bored"
    with pytest.raises(UserError, match=r"emotion 'bored' is none of the labels \(neutral, happy, sad\)"):
        evaluate_predictions(predictions, TASKS)


def test_slices_only_by_columns_with_two_values(predictions):
    found = slices(often(predictions), TASKS, "emotion", by=("gender", "style", "intensity"))
    assert list(found) == ["gender"]
    assert found["gender"]["female"]["confusion"] == [[10, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert found["gender"]["male"]["n"] == 10


def test_a_slice_of_few_utterances_has_their_number_and_one_of_a_single_class_no_mean_over_classes(predictions):
    assert slices(predictions, TASKS, "emotion")["gender"] == {"female": {"n": 2}, "male": {"n": 2}}
    female, male = slices(often(predictions), TASKS, "emotion")["gender"].values()
    assert (female["wa"], female["ua"], female["macro_f1"]) == (1.0, None, None)
    assert (male["wa"], male["ua"]) == (0.5, 0.5)


def test_ages_and_durations_are_sliced_in_ascending_bands(predictions):
    predictions = predictions.assign(age=[60, 29, 30, None, 44, 59], duration=[0.5, 1.99, 2.0, 8.0, 30.0, 3.0])
    found = slices(predictions, TASKS, "emotion")
    assert {value: measures.get("n") for value, measures in found["age"].items()} == {
        "under 30": 1, "30 to 44": 2, "45 to 59": None, "60 and over": 1
    }  # fmt: skip
    assert {value: measures["n"] for value, measures in found["duration"].items()} == {
        "under 2 s": 2, "2 to 4 s": 1, "8 s and over": 2
    }  # fmt: skip
    assert list(found) == ["gender", "age", "duration"]


def test_ages_that_a_corpus_has_as_text_are_sliced_as_they_are(predictions):
    ages = ["25-34", "35-44"] * (len(predictions) // 2) + ["25-34"] * (len(predictions) % 2)
    assert list(slices(predictions.assign(age=ages), TASKS, target="emotion")["age"]) == ["25-34", "35-44"]


def test_a_column_without_any_value_is_no_slice(predictions):
    assert "age" not in slices(predictions.assign(age=None), TASKS, "emotion")


def test_a_slice_without_the_target_is_not_applicable(predictions):
    predictions["style"] = ["speech"] * 5 + ["song"]  # the last utterance has no emotion
    found = slices(predictions, TASKS, "emotion")["style"]
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
