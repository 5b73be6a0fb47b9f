import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file
from signalling import signal_trainings

from ser_meta.configuration.errors import Interrupted, UserError
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.training.corpora.quarantine import write_quarantine
from ser_meta.training.runs.stages import run_stages


# an epoch has six steps: in mid-epoch, at the end of an epoch, and at the end of the run's last
@pytest.mark.parametrize(
    ("stage", "step", "number"),
    [
        ("stage-1-metadata", 8, signal.SIGINT),
        ("stage-2-emotion", 3, signal.SIGTERM),
        ("stage-2-emotion", 6, signal.SIGINT),
        ("stage-2-emotion", 12, signal.SIGTERM),
    ],
)
def test_a_run_that_was_stopped_ends_as_if_nothing_had_happened(
    stage, step, number, finished_run, recipe_file, tmp_path, monkeypatch
):
    recipe, output = load_recipe(str(recipe_file)), tmp_path / "run"
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    signal_trainings(monkeypatch, stage, step, number)
    with pytest.raises(Interrupted, match=signal.Signals(number).name):
        run_stages(recipe, output)
    assert [path.name for path in (output / stage).glob("checkpoint-*")] == [f"checkpoint-{step}"]
    assert not (output / stage / "model.safetensors").exists() and not (output / "report.json").exists()
    assert handlers == [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]

    monkeypatch.undo()
    report = run_stages(recipe, output, resume=True)
    for folder in ("stage-1-metadata", "stage-2-emotion"):
        expected, resumed = (load_file(run / folder / "model.safetensors") for run in (finished_run, output))
        assert all(torch.equal(resumed[name], expected[name]) for name in expected)
    assert report.metrics == json.loads((finished_run / "report.json").read_text())["metrics"]
    assert losses(output) == losses(finished_run)


def losses(run: Path) -> list[float]:
    state = json.loads((run / "state.json").read_text())
    return [entry["loss"] for stage in state.values() for entry in stage["log"] if "loss" in entry]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_command_leaves_with_one_line_that_says_how_to_go_on(
    number, code, recipe_file, tmp_path, monkeypatch, command_line
):
    signal_trainings(monkeypatch, "stage-1-metadata", 2, number)
    left, printed, errors = command_line("train", recipe_file, "--output", tmp_path / "run")
    *steps, line = errors
    (tested,) = (step for step in steps if not step.startswith("stage "))
    assert (left, printed) == (code, "") and tested.startswith("tested is the fold emil+finn")
    assert line.startswith(f"ser-meta: stopped by {signal.Signals(number).name}") and "--resume" in line


def test_going_on_with_another_recipe_is_refused(finished_run, recipe_file):
    before = (finished_run / "recipe.yaml").read_text()
    with pytest.raises(UserError, match="another recipe"):
        run_stages(load_recipe(str(recipe_file), ["seed=5"]), finished_run, resume=True)
    assert (finished_run / "recipe.yaml").read_text() == before


@pytest.fixture(scope="module")
def stopped(recipe_file, speech_table, write_changed_table, tmp_path_factory):
    """A run that was stopped in its first step: its recipe, whose table may be written anew, and its folder."""
    folder = tmp_path_factory.mktemp("stopped")
    table = write_changed_table(lambda row: row, folder / "table.csv")
    recipe = load_recipe(str(recipe_file), [f"data.root={table}", f"data.options.audio_root={speech_table.parent}"])
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Interrupted):
        signal_trainings(patch, "stage-1-metadata", 1, signal.SIGINT)
        run_stages(recipe, folder / "run")
    return recipe, folder / "run"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda row: None if row["audio"] == "emil-sad-scripted.wav" else row,
            "the test side lacks emil-sad-scripted",
        ),
        (
            lambda row: None if row["audio"] == "anna-sad-scripted.wav" else row,
            "the train side lacks anna-sad-scripted",
        ),
        (lambda row: row | ({"emotion": "angry"} if row["speaker"] == "anna" else {}), "emotion is not what it was"),
        (
            lambda row: row | ({"transcript": "no"} if row["speaker"] == "bela" else {}),
            "transcript is not what it was",
        ),
    ],
    ids=["test", "train", "emotion", "transcript"],
)
def test_a_run_does_not_go_on_with_a_changed_corpus(change, message, stopped, write_changed_table):
    recipe, run = stopped
    write_changed_table(change, Path(recipe.data.root))
    with pytest.raises(UserError, match=f"started with another corpus: {message}"):
        run_stages(recipe, run, resume=True)


def test_a_run_does_not_go_on_with_an_edited_quarantine_or_other_recordings(
    recipe_file, speech_table, tmp_path, monkeypatch
):
    folder = shutil.copytree(speech_table.parent, tmp_path / "speech")
    listed = tmp_path / "quarantine.json"
    write_quarantine(listed, "table", {})
    settings = [f"data.root={folder / speech_table.name}", f"data.quarantine={listed}"]
    recipe = load_recipe(str(recipe_file), settings)
    signal_trainings(monkeypatch, "stage-1-metadata", 1, signal.SIGINT)
    with pytest.raises(Interrupted):
        run_stages(recipe, tmp_path / "run")
    monkeypatch.undo()
    write_quarantine(listed, "table", {"finn-sad-scripted.wav": "too loud"})
    with pytest.raises(UserError, match="another corpus: the test side lacks finn-sad-scripted"):
        run_stages(recipe, tmp_path / "run", resume=True)
    write_quarantine(listed, "table", {})
    soundfile.write(folder / "anna-sad-scripted.wav", np.full(7_000, 0.1), 16_000)
    with pytest.raises(UserError, match="another corpus: recordings is not what it was"):
        run_stages(recipe, tmp_path / "run", resume=True)


def test_a_finished_run_is_not_written_over(finished_run, recipe_file):
    before = (finished_run / "report.json").stat().st_mtime_ns
    with pytest.raises(UserError, match="--resume"):
        run_stages(load_recipe(str(recipe_file)), finished_run)
    assert (finished_run / "report.json").stat().st_mtime_ns == before
