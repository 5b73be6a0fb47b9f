"""A run folder that somebody else has had in hand: what its checkpoints hold must not run, nor come from elsewhere."""

import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from transformers import TrainerCallback, trainer

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.training.runs.stages import run_stages


class Harmful:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class Interruption(TrainerCallback):
    """Somebody ends the program in the second epoch of the first stage."""

    def on_step_end(self, args, state, control, **_):
        if state.global_step == 8:
            raise InterruptedError


@pytest.fixture(scope="module")
def stopped(recipe_file, tmp_path_factory):
    """A run that stopped behind its first checkpoint. To be read only."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.MonkeyPatch.context() as patched, pytest.raises(InterruptedError):
        patched.setattr(trainer, "DEFAULT_CALLBACKS", [*trainer.DEFAULT_CALLBACKS, Interruption])
        run_stages(load_recipe(str(recipe_file)), folder)
    return folder


@pytest.fixture
def interrupted(stopped, recipe_file, tmp_path):
    """A copy of it: its recipe, its folder, and the checkpoint."""
    run = Path(shutil.copytree(stopped, tmp_path / "run"))
    return load_recipe(str(recipe_file)), run, run / "stage-1-metadata" / "checkpoint-6"


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"])
@pytest.mark.parametrize("write", [torch.save, lambda harm, path: path.write_bytes(pickle.dumps(harm))])
def test_a_planted_pickle_never_runs(interrupted, name, write, tmp_path):
    recipe, run, checkpoint = interrupted
    write(Harmful(tmp_path / "harm"), checkpoint / name)
    if name == "training_args.bin":  # is written for people alone, and never read
        run_stages(recipe, run, resume=True)
    else:
        with pytest.raises(UserError, match=rf"{checkpoint} holds a pickle .* was not run"):
            run_stages(recipe, run, resume=True)
    assert not (tmp_path / "harm").exists()


def test_pickled_weights_in_a_checkpoint_are_not_taken(interrupted, tmp_path):
    recipe, run, checkpoint = interrupted
    torch.save({"weights": Harmful(tmp_path / "harm")}, checkpoint / "pytorch_model.bin")
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(UserError, match=rf"{checkpoint} has no model\.safetensors"):
        run_stages(recipe, run, resume=True)
    assert not (tmp_path / "harm").exists()


def test_a_checkpoint_that_is_a_link_out_of_the_run_is_refused(interrupted, tmp_path):
    recipe, run, checkpoint = interrupted
    checkpoint.rename(tmp_path / checkpoint.name)
    checkpoint.symlink_to(tmp_path / checkpoint.name)
    with pytest.raises(UserError, match=rf"{checkpoint} leads out of {checkpoint.parent}"):
        run_stages(recipe, run, resume=True)


def test_files_of_a_checkpoint_that_are_links_are_refused(interrupted, tmp_path):
    recipe, run, checkpoint = interrupted
    (checkpoint / "optimizer.pt").rename(tmp_path / "optimizer.pt")
    (checkpoint / "optimizer.pt").symlink_to(tmp_path / "optimizer.pt")
    with pytest.raises(UserError, match=r"optimizer\.pt leads out of"):
        run_stages(recipe, run, resume=True)
