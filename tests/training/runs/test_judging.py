import json

import pandas
import pytest
import soundfile

from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.training.measures.statistics import calibration, interval
from ser_meta.training.runs.judging import _tell_shares, predict_dataset, protocol_of, report_on
from ser_meta.training.runs.loading import load_model
from ser_meta.training.runs.preparation import prepare


@pytest.fixture(scope="module")
def predictions(finished_run):
    return pandas.read_parquet(finished_run / "predictions.parquet")


def test_predictions_have_their_recordings_durations(predictions, speech_table):
    seconds = {path.stem: soundfile.info(path).duration for path in speech_table.parent.glob("*.wav")}
    names = predictions["utterance_id"].str.removesuffix(".wav")
    found = dict(zip(names, predictions["duration"], strict=True))
    assert len(found) == 12
    assert all(found[name] == pytest.approx(seconds[name]) for name in found)


def test_predictions_are_in_single_precision_whatever_was_trained_before(
    finished_run, predictions, recipe_file, monkeypatch
):
    """Transformers 4 leaves a training's precision in the environment, where the next Trainer finds it."""
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    table = predict_dataset(*load_model(finished_run / "model"), prepare(load_recipe(str(recipe_file))).side("test"))
    assert [list(scores) for scores in table["emotion_scores"]] == [
        list(scores) for scores in predictions["emotion_scores"]
    ]


def test_the_report_has_intervals_and_calibration_of_the_target(finished_run, predictions):
    report = json.loads((finished_run / "report.json").read_text(encoding="utf-8"))
    tasks, emotion = report["model"]["tasks"], report["metrics"]["emotion"]
    assert emotion["interval"] == interval(predictions, tasks, "emotion")
    assert emotion["calibration"] == calibration(predictions, "emotion")
    assert "interval" not in report["metrics"]["gender"]
    assert report_on(predictions, tasks, "emotion").metrics == report["metrics"]


def test_the_protocol_tells_shared_speakers_and_sides_that_are_not_used(recipe_file, speech_table, tmp_path):
    dealt = protocol_of(prepare(load_recipe(str(recipe_file), ["data.folds=utterances", "data.test_fold.place=0"])))
    assert dealt.allow_speaker_overlap and dealt.left_out == {}
    table, sides = pandas.read_csv(speech_table), {"anna": "dev", "bela": "dev", "emil": "test", "finn": "test"}
    table.assign(split=table["speaker"].map(sides).fillna("train")).to_csv(tmp_path / "own.csv", index=False)
    settings = [f"data.root={tmp_path / 'own.csv'}", f"data.options.audio_root={speech_table.parent}"]
    own = protocol_of(prepare(load_recipe(str(recipe_file), [*settings, "data.folds=split", "data.test_fold=test"])))
    assert not own.allow_speaker_overlap
    assert own.left_out == {
        "the corpus's own side validation, which data.validation=none does not use": "12 of 36 rows"
    }


def test_without_a_reference_for_the_target_nothing_is_claimed(finished_run, predictions):
    tasks = json.loads((finished_run / "report.json").read_text(encoding="utf-8"))["model"]["tasks"]
    found = report_on(predictions.assign(emotion=None), tasks, "emotion")
    assert list(found.metrics["emotion"]) == ["not_applicable"]


def test_a_published_model_names_no_speaker(finished_run, speech_table):
    """They are numbers in its folder, and stay names in the run: the weights are those that were judged."""
    folder = finished_run / "model"
    tasks = json.loads((folder / "config.json").read_text(encoding="utf-8"))["tasks"]
    judged = json.loads((finished_run / "report.json").read_text(encoding="utf-8"))["model"]["tasks"]
    assert sorted(judged["speaker"]["labels"]) == ["anna", "bela", "cleo", "dora"]
    assert tasks["speaker"]["labels"] == ["speaker 1", "speaker 2", "speaker 3", "speaker 4"]
    assert {**tasks, "speaker": None} == {**judged, "speaker": None}
    for path in folder.glob("*.[jm][sd]*"):
        assert not any(name in path.read_text(encoding="utf-8") for name in judged["speaker"]["labels"]), path
    assert "its head is in the file, with numbers in the place of names" in (folder / "README.md").read_text("utf-8")


def test_numbers_are_not_measured_against_names(finished_run, recipe_file):
    model, processor = load_model(finished_run / "model")
    table = predict_dataset(model, processor, prepare(load_recipe(str(recipe_file))).side("train"))
    measured = report_on(table, model.config.tasks, "emotion").metrics["speaker"]
    assert measured == {"not_applicable": "none of the 4 speakers here is among the model's labels"}


def test_the_shares_that_a_model_tells_are_those_that_its_training_met(recipe_file):
    two = ["data.label_map={emotion: {neutral: sad}}"]
    for settings, shares in (
        ([], [1 / 3, 2 / 3]),
        (["model.class_weights=balanced"], [0.5, 0.5]),
        (["stages.emotion.balanced_batches=true"], [0.5, 0.5]),
    ):
        prepared = prepare(load_recipe(str(recipe_file), two + settings))
        model = prepared.new_model()
        _tell_shares(prepared, model)
        assert model.config.tasks["emotion"]["labels"] == ["angry", "sad"]
        assert model.config.label_shares == pytest.approx(shares, abs=1e-6)
