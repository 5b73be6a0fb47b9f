"""A run that has ended goes on with more epochs of its last stage."""

import shutil

import pytest
from safetensors.torch import load_file

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.configuration.run_folder import RunFolder, read_json
from ser_meta.training.runs.stages import run_stages

STEADY = [
    *("stages.metadata.epochs=0.2", "stages.emotion.warmup=0", "stages.emotion.schedule=constant_with_warmup"),
    *("data.validation=speaker", "stages.emotion.keep=last"),
]


@pytest.fixture(scope="module")
def recipe(recipe_file, steady_settings):
    def make(epochs: float, *settings: str):
        changes = [*steady_settings, *STEADY, f"stages.emotion.epochs={epochs}", *settings]
        return load_recipe(str(recipe_file), changes)

    return make


@pytest.fixture(scope="module")
def ended(recipe, tmp_path_factory):
    """A run that has ended after half an epoch and is gone on with to two: its folder, and one of two at once."""
    folder, at_once = (tmp_path_factory.mktemp("runs") / name for name in ("parts", "at-once"))
    run_stages(recipe(0.5), folder)
    for epochs in (1, 2):
        run_stages(recipe(epochs), folder, resume=True)
    run_stages(recipe(2), at_once)
    return folder, at_once


def test_it_comes_to_what_all_epochs_at_once_come_to(ended):
    parts, at_once = (load_file(RunFolder(folder).model / "model.safetensors") for folder in ended)
    assert parts.keys() == at_once.keys()
    assert all(weight.equal(at_once[name]) for name, weight in parts.items())
    reports = [read_json(RunFolder(folder).report) for folder in ended]
    assert reports[0]["metrics"] == reports[1]["metrics"]
    assert [entry["step"] for entry in RunFolder(ended[0]).read_state()["emotion"]["log"] if "loss" in entry] == [
        *range(1, reports[1]["stages"]["emotion"]["steps"] + 1)
    ]


def test_the_report_says_that_it_went_on(ended):
    stages = [read_json(RunFolder(folder).report)["stages"] for folder in ended]
    assert stages[0]["emotion"]["went_on_after"] == [0.5, 1] and stages[0]["emotion"]["epochs"] == 2
    assert "went_on_after" not in stages[1]["emotion"] and "went_on_after" not in stages[0]["metadata"]
    assert "| went on after | - | 0.5, 1 |" in (ended[0] / "model" / "README.md").read_text(encoding="utf-8")
    assert load_recipe(str(ended[0] / "recipe.yaml")).stages["emotion"].epochs == 2


@pytest.mark.parametrize(
    "change", ["stages.metadata.epochs=1", "stages.emotion.batch_size=2", "seed=4", "stages.emotion.epochs=1"]
)
def test_anything_else_is_refused_and_told_how_to_start_from_the_model(ended, recipe, change):
    before = (ended[0] / "recipe.yaml").read_text()
    with pytest.raises(UserError, match=r"with more epochs of its last stage; or .* by model\.encoder=.*model"):
        run_stages(recipe(3, change), ended[0], resume=True)
    assert (ended[0] / "recipe.yaml").read_text() == before


def test_a_continuation_that_was_cut_off_goes_on(ended, recipe, tmp_path):
    """As when the training is killed after its last step and before that is recorded."""
    folder = tmp_path / "run"
    shutil.copytree(ended[0], folder)
    run = RunFolder(folder)
    state = run.read_state()
    state["emotion"] |= {"epochs": 1, "steps": state["emotion"]["steps"] // 2, "went_on_after": [0.5]}
    run.write_state(state)
    report = run_stages(recipe(2), folder, resume=True)
    assert report.stages["emotion"]["went_on_after"] == [0.5, 1]
    assert report.metrics == read_json(RunFolder(ended[0]).report)["metrics"]


def test_a_stage_without_its_checkpoint_is_refused(ended, recipe, tmp_path):
    folder = shutil.copytree(ended[0], tmp_path / "run", ignore=shutil.ignore_patterns("checkpoint-*"))
    with pytest.raises(UserError, match="no checkpoint any more to go on from"):
        run_stages(recipe(3), folder, resume=True)
    assert (folder / "model" / "model.safetensors").is_file()


def test_it_goes_on_after_the_epoch_that_was_kept(recipe, tmp_path, capsys):
    still = [
        f"stages.emotion.{part}_learning_rate=1e-9" for part in ("encoder", "head")
    ]  # the first epoch is the best
    changes = ["stages.metadata=null", "stages.emotion.batch_size=18", "stages.emotion.keep=best", *still]
    run_stages(recipe(2, *changes), tmp_path / "run")
    capsys.readouterr()
    report = run_stages(recipe(3, *changes), tmp_path / "run", resume=True)
    assert "stage emotion goes on after 1 of 3 epochs (the best one, which was kept)" in capsys.readouterr().err
    assert report.stages["emotion"]["went_on_after"] == [1]
    log = RunFolder(tmp_path / "run").read_state()["emotion"]["log"]
    assert [entry["epoch"] for entry in log if "eval_loss" in entry] == [1, 2, 3]
