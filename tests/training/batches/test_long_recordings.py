import json
import shutil

import numpy as np
import pytest
import soundfile
from datasets import Dataset

from ser_meta.modeling_ser_meta import SpeechEmotionPipeline
from ser_meta.training.batches.collator import SpeechCollator
from ser_meta.training.batches.long_recordings import losses_of
from ser_meta.training.corpora import load_corpus
from ser_meta.training.runs.judging import predict_dataset
from ser_meta.training.runs.loading import load_model


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    """A recording of 21 s: tones of three pitches with pauses between them."""
    rate, rng = 16_000, np.random.default_rng(0)
    parts = []
    for pitch in (300, 120, 200, 300, 120, 200):
        time = np.arange(3 * rate) / rate
        parts += [0.1 * np.sin(2 * np.pi * pitch * time), np.zeros(rate // 2)]
    sound = np.concatenate(parts) + 0.0005 * rng.normal(size=21 * rate)
    path = tmp_path_factory.mktemp("calls") / "call.wav"
    soundfile.write(path, sound, rate)
    return path


@pytest.fixture
def mixed_table(changed_table, speech_table, call):
    """The little corpus with one recording of 21 s in it, on the test side."""
    table = changed_table(lambda row: row | {"audio": str(call)} if row["audio"] == "finn-sad-scripted.wav" else row)
    return table, {"audio_root": str(speech_table.parent), "allow_outside": True}


def test_a_long_recording_is_judged_as_it_is_predicted(finished_run, mixed_table, speech_table, call):
    model, processor = load_model(finished_run / "model")
    table, options = mixed_table
    with_call = predict_dataset(model, processor, load_corpus("table", table, **options))
    result = SpeechEmotionPipeline(model=model, processor=processor)(str(call), tasks=list(model.config.tasks))
    assert len(result["segments"]) > 1
    (row,) = [number for number, seconds in enumerate(with_call["duration"]) if seconds > 15]
    for task in ("emotion", "gender", "style"):
        scores = {entry["label"]: entry["score"] for entry in result[task]}
        expected = [scores[label] for label in model.config.tasks[task]["labels"]]
        np.testing.assert_allclose(with_call[f"{task}_scores"][row], expected, atol=1e-6)
        assert with_call[f"{task}_predicted"][row] == result[task][0]["label"]
    assert with_call["transcript_predicted"][row] == result["transcript"]

    # the others are heard as ever, to the bit but for the batch that they stand in
    short = with_call.drop(row).reset_index(drop=True)
    alone = predict_dataset(
        model,
        processor,
        load_corpus("table", table, **options).select([number for number in range(36) if number != row]),
    )
    assert list(short["utterance_id"]) == list(alone["utterance_id"])
    for task in ("emotion", "gender", "style", "speaker"):
        assert np.array_equal(np.stack(short[f"{task}_scores"]), np.stack(alone[f"{task}_scores"]))


def test_whisper_trains_and_is_judged_beyond_its_thirty_seconds(
    command_line, make_whisper, recipe_file, speech_table, tmp_path
):
    folder = shutil.copytree(speech_table.parent, tmp_path / "speech")
    soundfile.write(folder / "emil-sad-scripted.wav", 0.1 * np.sin(np.arange(31 * 16_000) / 9), 16_000)
    table = folder / speech_table.name
    brief = ["stages.metadata.epochs=0.1", "stages.emotion.epochs=0.1", "stages.emotion.freeze_layers=all"]
    centred = ["model.standardize_states=true", "model.center_by=[speaker]", "stages.metadata.freeze_layers=all"]
    settings = [
        f"model.encoder={make_whisper()}",
        f"data.root={table}",
        *brief,
        *centred,
        f"cache={tmp_path / 'kept'}",
    ]
    run = tmp_path / "run"
    code, _, errors = command_line("train", recipe_file, *settings, "--output", run)
    assert code == 0, errors
    report = json.loads((run / "report.json").read_text())
    assert report["metrics"]["emotion"]["n"] == 12
    assert report["protocol"]["long_recordings"] == "1 of 12 last more than 15 s, heard in pieces as by predict"

    code, printed, _ = command_line("evaluate", run / "model", "table", table, "--json")
    again = json.loads(printed)
    assert code == 0 and again["metrics"]["emotion"]["n"] == 36
    assert again["protocol"]["long_recordings"] == "1 of 36 last more than 15 s, heard in pieces as by predict"


def test_losses_of_scores_are_against_shares_and_against_several_labels():
    scores = [np.array([0.7, 0.4]), np.array([0.2, 0.8])]
    shares = {"a": np.array([0.5, 0.5]), "b": np.full(2, np.nan)}
    for kind in ("classification", "multilabel"):
        tasks = {"emotion": {"kind": kind, "labels": ["sad", "happy"], "thresholds": [0.5, 0.5]}}
        collator = SpeechCollator(None, tasks, shares={"emotion": shares})
        dataset = Dataset.from_dict({"utterance_id": ["a", "b"], "audio": ["", ""]})
        found = losses_of({"emotion_scores": scores}, collator, dataset)["emotion"]
        expected = -(np.log(0.7) + np.log(0.4)) / 2
        if kind == "multilabel":
            expected = -(np.log(0.7) + np.log(0.3) + np.log(0.4) + np.log(0.6)) / 4
        assert found[0] == pytest.approx(expected)
        assert np.isnan(found[1])
