"""A target of another name than emotion, through every command that prints or publishes a result."""

import json

import pytest
from huggingface_hub import ModelCard

SETTINGS = [
    "model.target_task=style",
    "model.auxiliary_tasks=[gender]",
    "stages.metadata.loss_weights={gender: 1.0, speaker: 0, style: 0, transcript: 0}",
    "stages.emotion.loss_weights={style: 1.0, gender: 0.5, emotion: 0, speaker: 0, transcript: 0}",
    *(f"stages.{stage}.epochs=0.2" for stage in ("metadata", "emotion")),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs") / "style"


def test_every_command_prints_the_target_by_its_own_name(folder, recipe_file, speech_table, command_line):
    code, printed, errors = command_line("train", recipe_file, *SETTINGS, "--output", folder)
    assert code == 0, errors
    assert "improvised" in printed and "scripted" in printed and "emotion" not in printed
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert report["target"] == "style" and list(report["metrics"]) == ["style", "gender"]

    card = ModelCard.load(folder / "model" / "README.md")
    assert card.text.strip().splitlines()[0].endswith(": recognition of style in speech")
    assert {result.task_name for result in card.data.eval_results} == {"Recognition of style in speech"}
    assert "the emotion that is" not in card.text and "recognises 2 classes of style" in card.text

    code, printed, _ = command_line("evaluate", folder / "model", "table", speech_table)
    assert code == 0 and "scripted" in printed
    code, printed, _ = command_line("predict", folder / "model", speech_table.parent / "anna-sad-scripted.wav")
    assert code == 0 and "style" in printed
    code, printed, _ = command_line("card", folder, "--repository", "someone/style")
    assert code == 0 and "recognition of style in speech" in (folder / "model" / "README.md").read_text("utf-8")


def test_a_cross_validation_of_it_has_its_page(tmp_path, recipe_file, command_line):
    study = tmp_path / "study"
    folds = ["data.group_size=3", "data.test_fold.place=0"]
    code, printed, errors = command_line("crossval", recipe_file, *SETTINGS, *folds, "--output", study)
    assert code == 0, errors
    assert printed.startswith("style: 2 folds of speech")
    assert "speaker-independent: none of the 6 test speakers was trained on in its fold" in printed
    assert "over 6 speakers, so few that it is too narrow" in " ".join(printed.split())
    assert (study / "report.md").is_file()
