import numpy as np
import pandas
import pytest
import torch
from safetensors.torch import load_file

from ser_meta.configuration.recipe import load_recipe
from ser_meta.training.preparation import prepare
from ser_meta.training.stages import run_stages, train_first_stage

FROZEN = ["stages.metadata.freeze_layers=all", "stages.emotion.freeze_layers=all"]
ONE_EPOCH = ["stages.metadata.epochs=1", "stages.emotion.epochs=1"]


@pytest.fixture(scope="module")
def frozen_settings(steady_settings):
    return [*steady_settings, *FROZEN]


@pytest.fixture(scope="module")
def cached(recipe_file, frozen_settings, tmp_path_factory):
    """A run on kept states; its folder and the folder of the states."""
    folder = tmp_path_factory.mktemp("frozen")
    recipe = load_recipe(str(recipe_file), [*frozen_settings, f"cache={folder / 'states'}"])
    run_stages(recipe, folder / "run")
    return folder / "run", folder / "states"


def scores(run):
    table = pandas.read_parquet(run / "predictions.parquet")
    return torch.tensor(np.stack(table["emotion_scores"]))


def test_kept_states_train_like_the_recordings(cached, recipe_file, frozen_settings, tmp_path):
    run, _ = cached
    run_stages(load_recipe(str(recipe_file), frozen_settings), tmp_path / "run")
    assert (scores(run) - scores(tmp_path / "run")).abs().max() < 2e-3


def test_an_encoder_frozen_as_a_whole_does_not_move(cached, recipe_file, frozen_settings):
    run, _ = cached
    start = prepare(load_recipe(str(recipe_file), frozen_settings)).new_model().state_dict()
    end = load_file(run / "model" / "model.safetensors")
    still = {name for name in start if torch.equal(start[name], end[name])}
    assert {name for name in start if name.startswith("encoder.")} == still


def test_states_are_computed_once_for_all_seeds_and_folds(cached, recipe_file, frozen_settings, tmp_path):
    _, states = cached
    before = {path: path.stat().st_mtime_ns for path in states.glob("*.arrow")}
    assert len(before) == 3  # speeds 0.8, 1 and 1.2
    others = ["seed=2", "data.test_fold=0", f"cache={states}"]
    train_first_stage(load_recipe(str(recipe_file), [*frozen_settings, *ONE_EPOCH, *others]), tmp_path / "run")
    assert {path: path.stat().st_mtime_ns for path in states.glob("*.arrow")} == before


@pytest.mark.parametrize("change", ["data.trim_decibels=20", "model.encoder={other}"])
def test_other_processing_or_weights_have_states_of_their_own(
    cached, recipe_file, frozen_settings, make_encoder, tmp_path, change
):
    _, states = cached
    change = change.format(other=make_encoder(initializer_range=0.05))
    before = set(states.glob("*.arrow"))
    settings = [*frozen_settings, *ONE_EPOCH, "data.speed_factors=[1.0]", f"cache={states}", change]
    train_first_stage(load_recipe(str(recipe_file), settings), tmp_path / "run")
    assert len(set(states.glob("*.arrow")) - before) == 1
