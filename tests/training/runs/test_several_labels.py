"""A target of which a recording may have several labels at once, from the table to the exported results."""

import csv
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas
import pytest
import soundfile
from sklearn.metrics import average_precision_score, f1_score
from transformers import pipeline

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe_checks import recipe_faults
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.configuration.run_folder import RunFolder
from ser_meta.modeling_ser_meta import SerMetaConfig
from ser_meta.training.measures.metrics import evaluate_predictions
from ser_meta.training.measures.temperature import fit_thresholds
from ser_meta.training.planning.beforehand import check_ablation, plan_probe
from ser_meta.training.planning.plan import load_rows, plan_run
from ser_meta.training.runs.judging import predict_dataset
from ser_meta.training.runs.loading import load_model
from ser_meta.training.runs.preparation import prepare
from ser_meta.training.runs.stages import run_stages

LABELS = ["angry", "neutral", "sad"]
SETTINGS = [
    "model.multilabel=[emotion]",
    "data.validation=speaker",
    "stages.metadata.epochs=0.5",
    "stages.emotion.epochs=1",
    "stages.emotion.keep=best",
]


def with_several(rows):
    """Every third utterance has the next label too; the fifth has none at all."""
    places = [LABELS.index(label) for label in rows["emotion"]]
    has = np.zeros((len(rows), 3))
    for row, place in enumerate(places):
        has[row, place] = 1
        if row % 3 == 0:
            has[row, (place + 1) % 3] = 1
    has[4] = 0
    columns = {f"emotion:{label}": has[:, place].tolist() for place, label in enumerate(LABELS)}
    alone = [label if has[row].sum() == 1 else None for row, label in enumerate(rows["emotion"])]
    return rows.with_columns({**columns, "emotion": alone})


@pytest.fixture(scope="module")
def recipe(recipe_file):
    return load_recipe(str(recipe_file), SETTINGS)


@pytest.fixture(scope="module")
def plan(recipe):
    return plan_run(recipe, with_several(load_rows(replace(recipe, model=replace(recipe.model, multilabel=[])))))


@pytest.fixture(scope="module")
def run(recipe, plan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("several") / "run"
    return run_stages(recipe, folder, plan=plan), folder


def test_batches_have_a_one_for_each_label(recipe, plan):
    prepared = prepare(recipe, plan)
    collator = prepared.build_collator(prepared.new_model(), recipe.stages["emotion"])
    labels = collator.labels([prepared.dataset[row] for row in (0, 1, 4)])["emotion"]
    expected = [[plan.rows[f"emotion:{label}"][row] for label in LABELS] for row in (0, 1, 4)]
    assert labels.tolist() == expected and labels[0].sum() == 2 and labels[2].sum() == 0


def test_the_figures_are_scikit_learns_on_the_table(run):
    report, folder = run
    table = pandas.read_parquet(folder / "predictions.parquet")
    scores = np.stack(table["emotion_scores"])
    reference = table[[f"emotion:{label}" for label in LABELS]].to_numpy() > 0
    task = report.model.tasks["emotion"]
    said = scores >= task["thresholds"]
    names = [";".join(np.array(LABELS)[row]) for row in said]
    assert table["emotion_predicted"].tolist() == names
    found = report.metrics["emotion"]
    assert found["average_precision"] == pytest.approx(average_precision_score(reference, scores, average="macro"))
    assert found["macro_f1"] == pytest.approx(f1_score(reference, said, average="macro", zero_division=0))
    assert found["exact_match"] == pytest.approx((reference == said).all(axis=1).mean())
    assert found["n"] == len(table) and found["support"] == dict(zip(LABELS, reference.sum(axis=0), strict=True))


def test_a_model_judged_again_has_the_same_figures(run, plan):
    report, folder = run
    model, processor = load_model(folder / "model")
    table = predict_dataset(model, processor, plan.rows.select(plan.sides["test"]).dataset())
    found = evaluate_predictions(table, model.config.tasks)["emotion"]
    assert found["n"] == report.metrics["emotion"]["n"] and found["support"] == report.metrics["emotion"]["support"]
    assert found["average_precision"] == pytest.approx(report.metrics["emotion"]["average_precision"])


def test_thresholds_are_the_validation_sides(run):
    report, folder = run
    table = pandas.read_parquet(RunFolder(folder).predictions_of("validation"))
    reference = table[[f"emotion:{label}" for label in LABELS]].to_numpy() > 0
    fitted = fit_thresholds(np.stack(table["emotion_scores"]), reference)
    assert report.model.tasks["emotion"]["thresholds"] == fitted
    assert SerMetaConfig.from_pretrained(folder / "model").tasks["emotion"]["thresholds"] == fitted
    assert report.temperature.value == 1


def test_the_pipeline_tells_every_label_and_which_are_present(run, speech_table, command_line, tmp_path):
    report, folder = run
    recording = str(speech_table.parent / "anna-sad-scripted.wav")
    recognise = pipeline("speech-emotion-recognition", model=str(folder / "model"), trust_remote_code=True)
    result = recognise(recording)
    thresholds = dict(zip(LABELS, report.model.tasks["emotion"]["thresholds"], strict=True))
    scores = [entry["score"] for entry in result["emotion"]]
    assert {entry["label"] for entry in result["emotion"]} == set(LABELS) and scores == sorted(scores, reverse=True)
    assert all(entry["present"] == (entry["score"] >= thresholds[entry["label"]]) for entry in result["emotion"])
    present = [entry["label"] for entry in result["emotion"] if entry["present"]]
    code, _, errors = command_line("predict", folder / "model", recording, "--csv", tmp_path / "found.csv")
    assert code == 0, errors
    (row,) = csv.DictReader((tmp_path / "found.csv").open())
    assert row["emotion"] == ";".join(present)
    (sad,) = (entry["score"] for entry in result["emotion"] if entry["label"] == "sad")
    assert float(row["emotion_sad"]) == pytest.approx(sad, abs=1e-4)
    (tmp_path / "turns.csv").write_text(f"start,end\n0,{soundfile.info(recording).duration}\n")
    code, _, errors = command_line(
        *("predict", folder / "model", recording, "--turns", tmp_path / "turns.csv", "--csv", tmp_path / "told.csv")
    )
    assert code == 0, errors
    (told,) = csv.DictReader((tmp_path / "told.csv").open())
    assert told["emotion"] == row["emotion"] and told["emotion_sad"] == row["emotion_sad"]
    cut = recognise(recording, window_seconds=0.5)
    assert "segments" not in cut and len(cut["emotion"]) == 3


def test_the_page_tells_the_labels_of_a_turn(run, speech_table):
    pytest.importorskip("gradio")
    from ser_meta.hub_cards.page.space_live import Talk

    samples, rate = soundfile.read(speech_table.parent / "anna-sad-scripted.wav", dtype="float32", always_2d=True)
    recognise = pipeline("speech-emotion-recognition", model=str(run[1] / "model"), trust_remote_code=True)
    talk = Talk(recognise, rate, most=60)
    talk.feed(samples)
    talk.end()
    (turn,) = recognise.stream(rate).turns([samples[:, 0]])
    present = [entry["label"] for entry in turn["emotion"] if entry["present"]]
    ((_, _, labels, score),) = talk.rows()
    assert labels == ", ".join(present) and score == f"{turn['emotion'][0]['score']:.2f}"


def test_the_exported_runner_tells_the_same(run, speech_table, command_line, tmp_path):
    pytest.importorskip("onnxscript")
    _, folder = run
    recording = str(speech_table.parent / "anna-sad-scripted.wav")
    code, _, errors = command_line("export", folder / "model", "--output", tmp_path / "exported")
    assert code == 0, errors
    done = subprocess.run(
        [sys.executable, "runner.py", recording], cwd=tmp_path / "exported", capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)["emotion"]
    recognise = pipeline("speech-emotion-recognition", model=str(folder / "model"), trust_remote_code=True)
    expected = recognise(recording)["emotion"]
    assert [(entry["label"], entry["present"]) for entry in found] == [(e["label"], e["present"]) for e in expected]
    np.testing.assert_allclose([e["score"] for e in found], [e["score"] for e in expected], atol=1e-4)


def test_the_card_says_several_at_once(run):
    _, folder = run
    card = (folder / "model" / "README.md").read_text()
    assert "several at once" in card and ".sigmoid()[0]" in card and "softmax" not in card
    assert json.loads((folder / "model" / "config.json").read_text())["problem_type"] == "multi_label_classification"


def test_each_threshold_gives_its_labels_best_f1():
    chance = np.random.default_rng(0)
    reference = chance.random((200, 3)) < [0.5, 0.1, 0.0]
    scores = np.clip(0.4 * reference + 0.6 * chance.random((200, 3)), 0, 1)
    found = fit_thresholds(scores, reference)
    for label in range(2):
        best = max(f1_score(reference[:, label], scores[:, label] >= cut) for cut in np.unique(scores[:, label]))
        assert f1_score(reference[:, label], scores[:, label] >= found[label]) == pytest.approx(best)
    assert found[2] == 0.5  # nothing is known of a label that nobody has
    assert fit_thresholds(np.array([[0.7], [0.7]]), np.array([[True], [False]])) == [pytest.approx(0.35)]


def test_a_label_alone_is_one_of_several():
    task = {"emotion": {"kind": "multilabel", "labels": LABELS, "thresholds": [0.5] * 3}}
    rows = pandas.DataFrame({"emotion": ["sad", None], "emotion_predicted": ["sad;angry", ""]})
    rows["emotion_scores"] = [np.array([0.6, 0.1, 0.9]), np.array([0.1, 0.1, 0.1])]
    found = evaluate_predictions(rows, task)["emotion"]
    assert found["n"] == 1 and found["exact_match"] == 0 and found["average_precision"] == 1
    nobody = evaluate_predictions(rows.assign(emotion=None), task)["emotion"]
    assert nobody == {"not_applicable": "no utterance here has a reference for emotion"}


def test_what_does_not_go_with_it_is_refused(recipe, recipe_file, tmp_path):
    kl = replace(recipe, model=replace(recipe.model, target_loss="kl"))
    assert any("choose cross_entropy or focal" in fault for fault in recipe_faults(kl))
    with pytest.raises(UserError, match=r"baseline, best layer. needs a linear probe of one label an utterance"):
        check_ablation("1", [str(recipe_file), "model.multilabel=[emotion]"], tmp_path / "study", [])
    with pytest.raises(UserError, match="probe makes a linear probe of one label an utterance"):
        plan_probe(str(recipe_file), ["model.multilabel=[emotion]", f"cache={tmp_path}"], "test", None)
    with pytest.raises(ValueError, match="needs a threshold between 0 and 1 for each of"):
        SerMetaConfig(tasks={"emotion": {"kind": "multilabel", "labels": LABELS, "thresholds": [0.5]}})
