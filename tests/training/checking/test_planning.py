"""`ser-meta check RECIPE`: what a training or a cross-validation would refuse is told with what its corpora have."""

import json
import shutil
from pathlib import Path

import pytest

from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.training.checking.check import check_rows
from ser_meta.training.checking.planning import plan_findings
from ser_meta.training.corpora.quarantine import write_quarantine
from ser_meta.training.corpora.rows import gather

SPEAKERS, EMOTIONS = ("anna", "bela", "cleo", "dora"), ("angry", "neutral", "sad")
RECIPE = """
data: {corpus: table, root: my.csv, test_fold: anna}
model: {encoder: demo-encoder, auxiliary_tasks: [gender]}
stages:
  emotion: {loss_weights: {emotion: 1, gender: 1}, epochs: 1, encoder_learning_rate: 1e-4, head_learning_rate: 1e-3}
"""


@pytest.fixture
def found(tmp_path):
    """What the planning of a recipe finds, with these settings and rows changed so."""
    path = tmp_path / "my.yaml"
    path.write_text(RECIPE)

    def plan(*settings, change=lambda row: {}):
        rows = [
            {"audio": f"{speaker}-{emotion}.wav", "speaker": speaker, "emotion": emotion, "gender": "female"}
            for speaker in SPEAKERS
            for emotion in EMOTIONS
        ]
        rows = [row | {"utterance_id": row["audio"]} | change(row) for row in rows]
        findings = plan_findings(load_recipe(str(path), list(settings)), gather(rows), [1.0] * len(rows))
        return {name: details for name, details in findings.items() if details}

    return plan


def test_nothing_is_found_where_all_can_be_trained(found):
    assert found() == {} and found("data.test_fold=none") == {}


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        (["data.test_fold=emma"], "there is no fold 'emma'"),
        (["data.folds=session"], "have no session"),
        (["data.folds=split"], "folds by split need"),
        (["data.folds=groups", "data.fold_count=5"], "5 groups cannot be made of 4 speakers"),
        (["data.validation=session"], "have no session"),
        (["data.longest=0.5"], "data.longest=0.5 leaves nothing to train on"),
        (["model.encoder=/nowhere/encoder"], "model.encoder=/nowhere/encoder"),
        (["model.auxiliary_tasks=[gender,mood]"], "no mood for a task"),
        (
            ["model.auxiliary_tasks=[gender,style,transcript]"],
            "no utterance of the training side has a value of style or transcript: leave them out of "
            "model.auxiliary_tasks, as model.auxiliary_tasks=[gender]",
        ),
        (["model.labels.emotion=[angry,sad]"], "'neutral', which is not among the task's labels"),
    ],
)
def test_what_a_training_refuses(found, settings, part):
    findings = found(*settings)
    assert set(findings) == {"refused"} and part in findings["refused"]["recipe"]


def test_a_class_that_one_fold_has_alone(found):
    def bored(row):
        return {"emotion": "bored"} if row["audio"] == "bela-sad.wav" else {}

    findings = found(change=bored)
    assert set(findings) == {"folds refused", "absent labels"}
    assert set(findings["folds refused"]) == {"bela"}
    assert "the train side has no utterance of bored" in findings["folds refused"]["bela"]
    assert "data.label_map={emotion: {bored: null}}" in findings["folds refused"]["bela"]
    assert findings["absent labels"] == {
        "fold anna": "no bored",
        "fold bela": "no sad",
        "fold cleo": "no bored",
        "fold dora": "no bored",
    }
    findings = found("data.test_fold=bela", change=bored)
    assert findings["refused"]["recipe"] == findings["folds refused"]["bela"]


def test_a_speaker_on_two_sides(found):
    def sides(row):
        return {"split": "Test" if row["emotion"] == "sad" else "Train"}

    assert "anna" in found("data.folds=split", "data.test_fold=test", change=sides)["refused"]["recipe"]
    assert "Test 4, Train 8" in found(change=sides)["unused sides"]["split"]


@pytest.fixture
def recipe(changed_table, recipe_file, speech_table):
    """The words of a command that name the tiny recipe, with rows of its table changed so."""

    def words(change=lambda row: row) -> list[str]:
        table = changed_table(change)
        return [str(recipe_file), f"data.root={table}", f"data.options.audio_root={speech_table.parent}"]

    return words


def finding(report, name) -> dict:
    return next((one for one in report["findings"] if one["finding"] == name), {"details": {}})


def test_the_command_takes_a_recipe(command_line, recipe, tmp_path):
    words = recipe()
    code, printed, _ = command_line("check", *words, "--workers", "1", "--json")
    report = json.loads(printed)
    assert code == 0 and not [one for one in report["findings"] if one["harm"] == "spoils"]
    assert (report["recipe"], report["corpus"], report["utterances"]) == (words[0], "table", 36)

    words = recipe(lambda row: row | ({"emotion": "bored"} if row["audio"].startswith("finn-sad") else {}))
    code, printed, _ = command_line("check", *words, "data.test_fold=emil+finn", "--workers", "1", "--json")
    refused = finding(json.loads(printed), "refused")
    assert code == 1 and refused["harm"] == "spoils" and "no utterance of bored" in refused["details"]["recipe"]
    code, printed, _ = command_line("check", *words, "--workers", "1")
    shown = " ".join(printed.split())  # a long path breaks the line
    assert code == 1 and shown.startswith(f"{words[0]}, table: 36 utterances") and "SPOILS A RESULT" in shown


def test_label_map_quarantine_and_missing_recordings_of_a_recipe(command_line, recipe, tmp_path):
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    write_quarantine(before, "table", {"anna-angry-improvised.wav": "hoarse"})
    words = recipe(lambda row: row | ({"audio": "gone.wav"} if row["audio"] == "anna-sad-scripted.wav" else {}))
    words += [f"data.quarantine={before}", "data.label_map={emotion: {angry: cross}}"]
    code, printed, _ = command_line("check", *words, "--workers", "1", "--json", "--quarantine", after)
    report = json.loads(printed)
    assert code == 0 and report["utterances"] == 35
    assert set(report["counts"][0]["emotions"]) == {"cross", "neutral", "sad"}
    assert set(finding(report, "missing recording")["details"]) == {"gone.wav"}
    reasons = json.loads(after.read_text())["utterances"]
    assert reasons == {"anna-angry-improvised.wav": "hoarse", **report["leave_out"]} and "gone.wav" in reasons


def test_another_target_than_emotion():
    rows = [
        {"utterance_id": f"{speaker}-{style}", "speaker": speaker, "style": style}
        for speaker in SPEAKERS
        for style in ("song", "speech")
    ]
    rows = [row | {"audio": f"/nowhere/{row['utterance_id']}.wav"} for row in rows]
    recipe = load_recipe("demo", ["data.root=x", "model.target_task=style", "model.auxiliary_tasks=[speaker]"])
    report = check_rows(gather(rows), workers=1, recipe=recipe)
    assert not finding(report, "no emotion")["details"]
    assert report["counts"][0]["emotions"] == {"song": 1, "speech": 1}


def test_which_words_are_meant(refused, recipe, speech_table, tmp_path):
    refused(["check", "ravdess"], "ravdess is a corpus", "folder or table behind it")
    refused(["check", "data.root=x"], "nothing is named beside data.root=x", "or a recipe")
    refused(["check", "nonsense.yaml"], "no such file: nonsense.yaml")
    refused(["check", *recipe(), "data.optoins.split=x"], "unknown recipe key data.optoins")
    refused(["check", *recipe(), "data.label_map={emotion: {agnry: cross}}"], "'agnry'", "did you mean angry")
    twin = shutil.copy(speech_table, tmp_path / "twin.csv")
    several = tmp_path / "several.yaml"
    root = f"options: {{audio_root: {speech_table.parent}}}"
    several.write_text(
        Path(recipe()[0])
        .read_text()
        .replace("  corpus: table\n", "  corpora:\n")
        .replace(
            f"  root: {speech_table}\n",
            f"    - {{corpus: table, root: {speech_table}}}\n    - {{corpus: table, root: {twin}, {root}}}\n",
        )
    )
    refused(["check", several, "--quarantine", tmp_path / "q.json"], "q.json is of one corpus", "check each alone")
