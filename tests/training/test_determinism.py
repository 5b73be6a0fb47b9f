import signal
from pathlib import Path

import killable
import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file

from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.configuration.run_folder import read_json
from ser_meta.training.runs.stages import run_stages

SHORT = ["stages.metadata.epochs=1", "stages.emotion.epochs=1"]
STAGES = ("stage-1-metadata", "stage-2-emotion")


def same_weights(one: Path, other: Path) -> bool:
    pairs = [(load_file(run / stage / "model.safetensors") for run in (one, other)) for stage in STAGES]
    return all(all(torch.equal(ours[name], theirs[name]) for name in ours) for ours, theirs in pairs)


@pytest.fixture(scope="module")
def short_run(recipe_file, tmp_path_factory):
    """Both stages for an epoch, with dropout, SpecAugment, speeds drawn and rows shuffled."""
    folder = tmp_path_factory.mktemp("short") / "run"
    run_stages(load_recipe(str(recipe_file), [*SHORT, "stages.emotion.group_by_length=false"]), folder)
    return folder


def test_chance_that_was_used_before_does_not_matter_nor_do_workers(short_run, recipe_file, tmp_path):
    torch.rand(7), np.random.rand(7)
    settings = [*SHORT, "stages.emotion.group_by_length=false", "workers=2"]
    run_stages(load_recipe(str(recipe_file), settings), tmp_path / "run")
    assert same_weights(tmp_path / "run", short_run)


@pytest.mark.parametrize(
    ("setting", "same"),
    [("data.speed_factors=[1.0]", False), ("model.dropout=0.2", False), ("report_to=[]", True)],
)
def test_what_is_drawn_shows_in_the_weights(setting, same, short_run, recipe_file, tmp_path):
    """The draws that are claimed to be seeded do take place."""
    settings = [*SHORT, "stages.emotion.group_by_length=false", setting]
    run_stages(load_recipe(str(recipe_file), settings), tmp_path / "run")
    assert same_weights(tmp_path / "run", short_run) == same


def test_two_processes_equal_one_also_where_the_last_step_is_not_whole(recipe_file, steady_settings, tmp_path):
    """24 utterances in steps of 10: of the last step's four the second process has none, but repetitions."""
    batches = {size: [f"stages.{name}.batch_size={size}" for name in ("metadata", "emotion")] for size in (10, 5)}
    run_stages(load_recipe(str(recipe_file), [*steady_settings, *SHORT, *batches[10]]), tmp_path / "one")
    command = ["train", recipe_file, *steady_settings, *SHORT, *batches[5], "--output", tmp_path / "two"]
    codes, printed = killable.run_together(2, *command, log=tmp_path / "log")
    assert codes == [0, 0], printed
    for stage in STAGES:
        one, two = (load_file(tmp_path / run / stage / "model.safetensors") for run in ("one", "two"))
        # a key's bias decides nothing, and its gradient is rounding
        for name in (name for name in one if not name.endswith(("key.bias", "k_proj.bias"))):
            torch.testing.assert_close(two[name], one[name], rtol=0, atol=2e-4, msg=f"{stage} {name}")


@pytest.mark.skipif(
    transformers.__version__.startswith("4."), reason="cannot read what several processes on a CPU have saved"
)
def test_a_signal_to_one_of_two_processes_stops_both_and_they_go_on(recipe_file, tmp_path):
    """Each process has random numbers of its own, which go on as well."""
    command, log = ["train", recipe_file, "stages.emotion.epochs=1", "--output"], tmp_path / "log"
    codes, printed = killable.run_together(2, *command, tmp_path / "whole", log=log)
    assert codes == [0, 0], printed
    signal_to = {1: {"writing": tmp_path / "run", "kill_at": "checkpoint-3", "number": signal.SIGTERM}}
    codes, printed = killable.run_together(2, *command, tmp_path / "run", log=log, by_place=signal_to)
    assert codes == [143, 143] and "".join(printed).count("ser-meta: ") == 1
    codes, printed = killable.run_together(2, *command, tmp_path / "run", "--resume", log=log)
    assert codes == [0, 0], printed
    assert same_weights(tmp_path / "run", tmp_path / "whole")
    metrics = [read_json(tmp_path / run / "report.json")["metrics"] for run in ("run", "whole")]
    assert metrics[0] == metrics[1]
