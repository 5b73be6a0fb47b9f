import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import killable
import pandas
import pytest
import torch
from safetensors.torch import load_file
from signalling import signal_trainings
from transformers.trainer_utils import get_last_checkpoint

from ser_meta.configuration.errors import Interrupted
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.configuration.run_folder import RunFolder, read_json
from ser_meta.training.learning.checkpoints import ASIDE
from ser_meta.training.runs.stages import run_stages

# a validation side and patience, so that what picks an epoch is interrupted too; the second stage in mid-epoch order
PICKED = ["data.validation=speaker", "stages.metadata.keep=best", "stages.emotion.early_stopping_patience=1"]
PICKED += ["stages.emotion.group_by_length=false", "stages.emotion.gradient_accumulation_steps=2"]
SEED = 20260


@pytest.fixture(scope="session")
def uninterrupted(recipe_file, tmp_path_factory):
    """A run that nobody disturbs: its folder, its touches of files, and the seconds it took."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    started = time.monotonic()
    code = killable.run(
        "train", recipe_file, *PICKED, "--output", folder / "run", log=folder / "log", writing=folder / "run"
    )
    seconds = time.monotonic() - started
    assert code == 0, (folder / "log").read_text()
    return folder / "run", int((folder / "log.touches").read_text()), seconds


def assert_same(run: Path, expected: Path) -> None:
    """Bit-identical weights, predictions and records, but for seconds; nothing half-written is left."""
    for part in ("model", "stage-1-metadata", "stage-2-emotion"):
        ours, theirs = (load_file(folder / part / "model.safetensors") for folder in (run, expected))
        assert set(ours) == set(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours), part
    for record in ("report.json", "state.json", "split.json"):
        assert timeless(read_json(run / record)) == timeless(read_json(expected / record)), record
    pandas.testing.assert_frame_equal(
        *(pandas.read_parquet(folder / "predictions.parquet") for folder in (run, expected))
    )
    assert files(run) == files(expected)


def files(folder: Path) -> set[str]:
    found = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    return {name for name in found if not name.endswith(".lock")}


def timeless(record):
    if isinstance(record, list):
        return [timeless(value) for value in record]
    if isinstance(record, dict):
        return {name: timeless(value) for name, value in record.items() if name != "seconds"}
    return record


def moment(run: Path) -> str:
    """What a killed run was at."""
    state = read_json(run / "state.json") if (run / "state.json").exists() else {}
    unfinished = [path for path in run.rglob("*") if path.name == ASIDE]
    if not (run / "split.json").exists():
        return "before the first stage"
    if unfinished:
        return "inside a checkpoint's write"
    if len(state) == 2:
        return "judgement and final save"
    if (run / "stage-1-metadata" / "model.safetensors").exists() and not (run / "stage-2-emotion").exists():
        return "between the stages"
    return "inside a stage"


def kill(how: str, part: float | str, uninterrupted, recipe_file, folder: Path) -> str:
    """Kills a training once, at this part of its seconds or of its touches of files, and goes on."""
    expected, touches, seconds = uninterrupted
    command = ["train", recipe_file, *PICKED, "--output", folder / "run"]
    place = part if isinstance(part, str) else int(part * touches)
    options = {"writing": folder / "run", "kill_at": place} if how == "touch" else {}
    process = killable.start(*command, log=folder / "killed", **options)
    process.join(part * seconds if how == "time" else None)
    process.kill()
    process.join()
    at = moment(folder / "run") if (folder / "run").exists() else "before the first stage"
    assert process.exitcode in (-signal.SIGKILL, 0)
    assert killable.run(*command, "--resume", log=folder / "resumed") == 0, (folder / "resumed").read_text()
    assert_same(folder / "run", expected)
    return at


# touches of files lie in checkpoints, records and the final save, the first of state.json between the stages; most of
# the time is steps
@pytest.mark.parametrize(("how", "part"), [("time", 0.4), ("touch", 0.5), ("touch", 0.97), ("touch", "/.state.json")])
def test_a_killed_run_ends_as_if_nothing_had_happened(how, part, uninterrupted, recipe_file, tmp_path):
    kill(how, part, uninterrupted, recipe_file, tmp_path)


def test_the_last_checkpoint_stays_until_the_stage_is_recorded(recipe_file, tmp_path):
    """Also where an earlier one is the best: what came after that would be trained anew."""
    settings = ["data.validation=speaker", "stages.metadata.keep=best", "stages.metadata.epochs=3"]
    rates = ["stages.metadata.head_learning_rate=1", "stages.metadata.warmup=0"]
    command, run = ["train", recipe_file, *settings, *rates, "--output", tmp_path / "run"], tmp_path / "run"
    options = {"writing": run, "kill_at": "/.state.json"}
    assert killable.run(*command, log=tmp_path / "log", **options) == -signal.SIGKILL
    state = read_json(run / "stage-1-metadata" / "checkpoint-15" / "trainer_state.json")
    assert state["global_step"] == 15 > state["best_global_step"]
    assert (run / "stage-1-metadata" / f"checkpoint-{state['best_global_step']}").is_dir()


@pytest.mark.campaign
def test_25_kills(uninterrupted, recipe_file, tmp_path, capsys):
    chance, moments = random.Random(SEED), Counter()
    for number in range(25):
        folder = tmp_path / str(number)
        folder.mkdir()
        moments[kill(("touch", "time")[number % 2], chance.random(), uninterrupted, recipe_file, folder)] += 1
    with capsys.disabled():
        print(f"\n{moments.total()} of 25 kills survived, bit-identical: {dict(moments)}")


def test_between_the_stages_too_a_signal_leaves_with_one_line(uninterrupted, recipe_file, tmp_path):
    command, run = ["train", recipe_file, *PICKED, "--output", tmp_path / "run"], tmp_path / "run"
    options = {"writing": run, "kill_at": ".state.json", "number": signal.SIGTERM}
    assert killable.run(*command, log=tmp_path / "log", **options) == 143
    *_, line = (tmp_path / "log").read_text().splitlines()
    assert line.startswith("ser-meta: stopped by SIGTERM") and moment(run) == "between the stages"
    assert killable.run(*command, "--resume", log=tmp_path / "log") == 0
    assert_same(run, uninterrupted[0])


@pytest.mark.parametrize("step", [1, 5])
def test_a_run_that_was_stopped_in_mid_epoch_and_moved_goes_on(
    step, uninterrupted, recipe_file, tmp_path, monkeypatch
):
    """An epoch of the second stage has three steps of two batches, drawn from shuffled rows."""
    recipe = load_recipe(str(recipe_file), PICKED)
    signal_trainings(monkeypatch, "stage-2-emotion", step, signal.SIGINT)
    with pytest.raises(Interrupted):
        run_stages(recipe, tmp_path / "run")
    assert (tmp_path / "run" / "stage-2-emotion" / f"checkpoint-{step}").is_dir()
    monkeypatch.undo()
    (tmp_path / "run").rename(tmp_path / "moved")
    run_stages(recipe, tmp_path / "moved", resume=True)
    assert_same(tmp_path / "moved", uninterrupted[0])


def test_a_stage_that_ended_for_want_of_patience_is_not_gone_on_with(recipe_file, tmp_path):
    """Killed between its last checkpoint and its record; at a learning rate of nothing no epoch is better."""
    patience = ["stages.emotion.epochs=4", "stages.emotion.early_stopping_patience=1", "stages.emotion.warmup=0"]
    still = [f"stages.emotion.{part}_learning_rate=1e-12" for part in ("head", "encoder")]
    command = [
        "train",
        recipe_file,
        "data.validation=speaker",
        "stages.metadata.epochs=1",
        *patience,
        *still,
        "--output",
    ]
    assert killable.run(*command, tmp_path / "whole", log=tmp_path / "log") == 0, (tmp_path / "log").read_text()
    assert read_json(tmp_path / "whole" / "state.json")["emotion"]["steps"] == 10  # two epochs of four
    options = {"writing": tmp_path / "run", "kill_at": "stage-2-emotion/config.json"}
    assert killable.run(*command, tmp_path / "run", log=tmp_path / "log", **options) == -signal.SIGKILL
    assert killable.run(*command, tmp_path / "run", "--resume", log=tmp_path / "log") == 0
    assert_same(tmp_path / "run", tmp_path / "whole")


def test_a_stopped_study_goes_on(recipe_file, tmp_path):
    short = ["stages.metadata.epochs=1", "stages.emotion.epochs=1"]
    command = ["crossval", recipe_file, *short, "--output", tmp_path / "study"]
    second = tmp_path / "study" / "seed-1" / "fold-1"
    options = {"writing": second, "kill_at": "stage-2-emotion", "number": signal.SIGTERM}
    assert killable.run(*command, log=tmp_path / "log", **options) == 143
    printed = (tmp_path / "log").read_text().splitlines()
    assert printed[-1].startswith("ser-meta: stopped by SIGTERM") and not (second / "report.json").exists()
    begun = (second / "split.json").stat().st_mtime_ns
    assert killable.run(*command, log=tmp_path / "log") == 0, (tmp_path / "log").read_text()
    assert (second / "split.json").stat().st_mtime_ns == begun
    assert len(read_json(tmp_path / "study" / "report.json")["runs"]) == 3


def test_a_signal_to_one_of_two_processes_stops_both_and_they_go_on(recipe_file, tmp_path):
    epochs = ["stages.metadata.epochs=200", "stages.emotion.epochs=0.2"]
    command = ["train", recipe_file, *epochs, "--output", tmp_path / "run"]
    started = killable.start_together(2, *command, log=tmp_path / "log")
    while started[1].is_alive() and not list((tmp_path / "run").glob("stage-1-metadata/checkpoint-*")):
        started[1].join(0.1)
    started[1].terminate()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [143, 143]
    *_, line = (tmp_path / "log-0").read_text().splitlines()
    assert line.startswith("ser-meta: stopped by SIGTERM")
    (checkpoint,) = (tmp_path / "run" / "stage-1-metadata").glob("checkpoint-*")
    assert len(list(checkpoint.glob("rng_state_*.pth"))) == 2


@pytest.mark.campaign
def test_a_stopped_study_of_several_processes_goes_on(recipe_file, tmp_path):
    command = ["crossval", recipe_file, "--at-once", 2, "--output", tmp_path / "study"]
    process = killable.start(*command, log=tmp_path / "log")
    while process.is_alive() and not list((tmp_path / "study").glob("seed-1/fold-*/stage-1-metadata/checkpoint-*")):
        process.join(0.1)
    process.terminate()
    process.join()
    assert process.exitcode == 143
    *_, line = (tmp_path / "log").read_text().splitlines()
    assert line.startswith("ser-meta: stopped by SIGTERM") and "Traceback" not in (tmp_path / "log").read_text()
    assert killable.run(*command, log=tmp_path / "log") == 0, (tmp_path / "log").read_text()
    assert len(read_json(tmp_path / "study" / "report.json")["runs"]) == 3


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a disk of this many bytes, or gives a mounted one another size."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(size: int, remount: str = "") -> Path:
        options = f"{remount}size={size}"
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
        return disk

    yield mount
    subprocess.run(["umount", disk], capture_output=True)


def test_a_full_disk_is_one_line_and_keeps_the_last_checkpoint(uninterrupted, recipe_file, tmp_path, small_disk):
    (checkpoint,) = (uninterrupted[0] / "stage-1-metadata").glob("checkpoint-*")
    size = sum(path.stat().st_size for path in checkpoint.iterdir())
    run = small_disk(int(1.6 * size)) / "run"  # room for one checkpoint, and not for the next beside it
    command = ["train", recipe_file, *PICKED, "--output", run]
    assert killable.run(*command, log=tmp_path / "log") == 2
    printed = (tmp_path / "log").read_text()
    errors = [line for line in printed.splitlines() if not line.startswith(("tested is", "stage "))]
    assert len(errors) == 1 and f"{run} cannot be written to (" in errors[0] and "make room" in errors[0], printed
    assert [path.name for path in (run / "stage-1-metadata").iterdir()] == ["checkpoint-5"]
    small_disk(64 * 2**20, remount="remount,")
    assert killable.run(*command, "--resume", log=tmp_path / "log") == 0, (tmp_path / "log").read_text()
    assert_same(run, uninterrupted[0])


def test_two_trainings_into_one_folder_are_refused(finished_run, recipe_file, refused):
    with RunFolder(finished_run).held():
        refused(
            ["train", recipe_file, "--output", finished_run, "--resume"],
            "another training is writing to",
            finished_run,
        )


def test_another_number_of_processes_does_not_go_on_in_mid_stage(recipe_file, tmp_path):
    run = tmp_path / "run"
    command = ["train", recipe_file, "--output", run]
    assert killable.run(*command, log=tmp_path / "log", writing=run, kill_at="checkpoint-12") == -signal.SIGKILL
    checkpoint = Path(get_last_checkpoint(run / "stage-1-metadata"))
    # what two processes leave
    (checkpoint / "rng_state.pth").rename(checkpoint / "rng_state_0.pth")
    shutil.copy(checkpoint / "rng_state_0.pth", checkpoint / "rng_state_1.pth")
    assert killable.run(*command, "--resume", log=tmp_path / "log") == 2
    assert "was written by 2 processes, and there are 1 now" in (tmp_path / "log").read_text()
