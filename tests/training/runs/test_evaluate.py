import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ser_meta.configuration.recipe_files import load_recipe, save_recipe
from ser_meta.training.corpora.quarantine import write_quarantine


@pytest.fixture(scope="module")
def model(finished_run) -> Path:
    return finished_run / "model"


def test_judging_again_gives_the_runs_own_report(command_line, finished_run, model, speech_table):
    judged = ["evaluate", model, "table", speech_table, "--split", finished_run / "split.json"]
    code, printed, _ = command_line(*judged, "--json")
    report, expected = json.loads(printed), json.loads((finished_run / "report.json").read_text())
    assert code == 0
    for task in ("emotion", "gender", "style", "transcript"):
        assert report["metrics"][task] == expected["metrics"][task]
    assert {"wa", "ua", "macro_f1", "recall", "support", "confusion", "n"} <= set(report["metrics"]["emotion"])
    assert report["protocol"]["corpus"] == "speech" and report["sides"] == {"test": 12}

    code, printed, _ = command_line("evaluate", model, "table", speech_table)
    assert code == 0 and "UA" in printed and "36" in printed


def test_judging_refuses_what_does_not_fit(
    refused, finished_run, model, speech_table, changed_table, tmp_path, unusable
):
    judge = ["evaluate", model, "table", speech_table]
    refused(["evaluate", model, "tabel", speech_table], "unknown corpus 'tabel'", "table")
    refused([*judge, "colums.audio=path"], "'colums'", "columns")
    refused([*judge, "columns=[a"], "columns=[a")
    refused([*judge, "--split", tmp_path / "no.json"], tmp_path / "no.json", "split.json")
    split = finished_run / "split.json"
    refused([*judge, "--split", split, "--side", "dev"], "--side dev", "train, validation, test")
    refused([*judge, "--split", split, "--side", "validation"], "the side validation", "is empty", "--side")

    audio_root = f"audio_root={speech_table.parent}"
    table = changed_table(lambda row: row | ({"emotion": "bored"} if row["speaker"] == "finn" else {}))
    refused(["evaluate", model, "table", table, audio_root], "the emotion bored", "angry, neutral", "label_map=")
    short = unusable("short")
    table = changed_table(lambda row: row | {"audio": str(short)} if row["audio"].startswith("finn-sad-i") else row)
    judge = ["evaluate", model, "table", table, audio_root, "allow_outside=true"]
    refused(judge, short, "leave it out")


@pytest.fixture
def respelled(changed_table, speech_table):
    """The words of a corpus in which another people gave the labels."""

    def make(**names) -> list[str]:

        def change(row: dict) -> dict:
            return row | {name: labels.get(row[name], row[name]) for name, labels in names.items()}

        table = changed_table(change)
        return ["table", str(table), f"audio_root={speech_table.parent}"]

    return make


EMOTIONS = {"angry": "anger", "sad": "Sadness", "neutral": "calm"}


def test_labels_of_another_corpus_are_mapped_as_the_error_says(refused, command_line, finished_run, model, respelled):
    corpus = respelled(emotion=EMOTIONS)
    remedy = "label_map={emotion: {Sadness: sad, anger: angry, calm: null}}"
    refused(["evaluate", model, *corpus], "does not know the emotion Sadness, anger, calm", f'"{remedy}"')
    code, printed, _ = command_line("evaluate", model, *corpus, remedy, "--json")
    report = json.loads(printed)
    assert code == 0 and report["sides"] == {"test": 24}  # a third is calm, and left out
    assert report["protocol"]["label_map"] == "emotion: Sadness as sad, anger as angry, calm left out"

    remedy = remedy.replace("null", "neutral")
    split = finished_run / "split.json"
    code, printed, _ = command_line("evaluate", model, *corpus, remedy, "--split", split, "--json")
    expected = json.loads((finished_run / "report.json").read_text())["metrics"]
    assert code == 0 and json.loads(printed)["metrics"] == expected


def test_a_task_of_other_labels_is_told_and_not_judged(command_line, finished_run, model, respelled):
    corpus = respelled(gender={"female": "F", "male": "M"})
    code, printed, _ = command_line("evaluate", model, *corpus, "--split", finished_run / "split.json", "--json")
    metrics = json.loads(printed)["metrics"]
    expected = json.loads((finished_run / "report.json").read_text())["metrics"]
    assert code == 0
    assert metrics["emotion"] == expected["emotion"] and metrics["style"] == expected["style"]
    told = 'the model does not know M, but female, male; map them as in "label_map={gender: {M: male}}"'
    assert metrics["gender"] == {"not_applicable": told}  # both test speakers are men
    _, printed, _ = command_line("evaluate", model, *corpus)
    assert "gender: not applicable" in printed


def test_a_run_is_judged_again_with_its_own_recipe(command_line, refused, finished_run, model, speech_table, tmp_path):
    code, printed, _ = command_line("evaluate", finished_run, "--json")
    report, expected = json.loads(printed), json.loads((finished_run / "report.json").read_text())
    assert code == 0 and report["metrics"] == expected["metrics"] and report["sides"] == {"test": 12}
    code, printed, _ = command_line("evaluate", finished_run, f"data.root={speech_table}", "--side", "train", "--json")
    assert code == 0 and json.loads(printed)["sides"] == {"test": 24}
    assert json.loads(printed)["protocol"]["side"] == "train"

    code, printed, _ = command_line("evaluate", model, finished_run / "recipe.yaml", "--json")
    assert code == 0 and json.loads(printed)["sides"] == {"test": 36}
    refused(["evaluate", model], f"{model} is no run", "name a corpus")


def test_a_run_on_several_corpora_is_judged_again(command_line, finished_run, model, speech_table, tmp_path):
    sides = json.loads((finished_run / "split.json").read_text())
    run, other = tmp_path / "run", shutil.copy(speech_table, tmp_path / "other.csv")
    run.mkdir()
    (run / "model").symlink_to(model)
    named = {side: [f"speech:{name}" for name in names] for side, names in sides.items()}
    (run / "split.json").write_text(json.dumps(named))
    recipe = load_recipe(str(finished_run / "recipe.yaml"))
    source = recipe.data.sources[0]
    twin = replace(source, root=str(other), options={"audio_root": str(speech_table.parent)})
    data = replace(recipe.data, corpus=None, root=None, corpora=[source, twin])
    save_recipe(replace(recipe, data=data), run / "recipe.yaml")
    code, printed, _ = command_line("evaluate", run, "--json")
    report, expected = json.loads(printed), json.loads((finished_run / "report.json").read_text())
    assert code == 0 and report["sides"] == {"test": 12} and report["protocol"]["corpus"] == "speech + other"
    assert report["metrics"]["emotion"] == expected["metrics"]["emotion"]


def test_utterances_in_quarantine_are_not_judged(command_line, model, speech_table, tmp_path):
    path = tmp_path / "quarantine.json"
    write_quarantine(path, "table", {"anna-angry-improvised.wav": "silent", "anna-sad-scripted.wav": "silent"})
    code, printed, _ = command_line("evaluate", model, "table", speech_table, f"quarantine={path}", "--json")
    report = json.loads(printed)
    assert code == 0 and report["sides"] == {"test": 34}
    assert report["protocol"]["left_out"]


def test_a_speaker_on_both_sides_is_centred_by_all_of_their_recordings_again(command_line, recipe_file, tmp_path):
    settings = [
        *("data.folds=utterances", "data.fold_count=3", "data.test_fold.place=0", "stages.metadata=null"),
        *("model.center_by=[speaker]", "model.standardize_states=true", "model.auxiliary_tasks=[]"),
        *("stages.emotion.freeze_layers=all", "stages.emotion.epochs=1"),
    ]
    code, _, errors = command_line("train", recipe_file, *settings, "--output", tmp_path / "run")
    assert code == 0, errors
    code, printed, errors = command_line("evaluate", tmp_path / "run", "--json")
    assert code == 0, errors
    expected = json.loads((tmp_path / "run" / "report.json").read_text())
    for measure in ("ua", "confusion"):
        assert json.loads(printed)["metrics"]["emotion"][measure] == expected["metrics"]["emotion"][measure]
