import json
import socket
import subprocess
import sys
from pathlib import Path

import pandas
import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from safetensors.torch import load_file

from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.training.runs.stages import run_stages

TWO_PROCESSES = Path(__file__).resolve().parents[3] / "examples" / "accelerate" / "two_processes.yaml"


@pytest.mark.parametrize(("name", "on_cpu"), [("two_processes", True), ("multi_gpu", False), ("two_nodes", False)])
def test_accelerate_reads_the_example(name, on_cpu):
    config = load_config_from_file(str(TWO_PROCESSES.with_name(f"{name}.yaml")))
    assert config.distributed_type == "MULTI_GPU" and config.num_processes > 1 and config.use_cpu == on_cpu


def settings(size: int) -> list[str]:
    """Batches of this size, and six rows to validate on: two processes have to fill their last batches."""
    return ["data.validation=speaker", *(f"stages.{stage}.batch_size={size}" for stage in ("metadata", "emotion"))]


@pytest.fixture(scope="module", params=["one label", "shares of votes"])
def corpus(request, speech_table, steady_settings, tmp_path_factory):
    """What is learned: the labels of the table, or the shares of four raters, of whom one may err; two have none."""
    if request.param == "one label":
        return steady_settings
    rows = pandas.read_csv(speech_table, keep_default_na=False)
    fourth = ["sad" if row % 2 else label for row, label in enumerate(rows["emotion"])]
    votes = zip(*[rows["emotion"]] * 3, fourth, strict=True)
    rows["emotion"] = [";".join(each) for each in votes]
    rows.loc[4:5, "emotion"] = ""
    table = tmp_path_factory.mktemp("votes") / "voted.csv"
    rows.to_csv(table, index=False)
    learned = ["data.votes=shares", "model.class_weights=balanced"]
    return [*steady_settings, f"data.root={table}", f"data.options.audio_root={speech_table.parent}", *learned]


@pytest.fixture(scope="module")
def one_process(recipe_file, corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one") / "run"
    run_stages(load_recipe(str(recipe_file), [*corpus, *settings(4)]), folder)
    return folder


@pytest.fixture(scope="module")
def two_processes(recipe_file, corpus, tmp_path_factory):
    """The same with half the batch in each of two processes, started by the command of the documentation."""
    folder = tmp_path_factory.mktemp("two") / "run"
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", TWO_PROCESSES]
    program = ["-m", "ser_meta.training", "train", recipe_file, *corpus, *settings(2), "--output", folder]
    command = [*launch, "--main_process_port", free_port(), *program, "--json"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=folder.parent, timeout=600)
    assert done.returncode == 0, done.stderr[max(0, done.stderr.find("Traceback")) :][:6_000]  # the first to fail
    assert json.loads(done.stdout) == json.loads((folder / "report.json").read_text())
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def logs(run: Path, key: str = "loss") -> list[dict]:
    state = json.loads((run / "state.json").read_text())
    return [entry for stage in state.values() for entry in stage["log"] if key in entry]


def test_two_processes_log_the_losses_of_one(one_process, two_processes):
    stages = json.loads((two_processes / "state.json").read_text()).values()
    assert [stage["processes"] for stage in stages] == [2, 2]
    expected, logged = logs(one_process), logs(two_processes)
    assert len(expected) == len(logged) == 20
    for one, two in zip(expected, logged, strict=True):
        names = {name for name in one if name.startswith("loss")}
        assert len(names) >= 5 and {name: two[name] for name in names} == pytest.approx(
            {name: one[name] for name in names},
            abs=1.5e-4,  # Transformers 4 rounds them to four digits
        )


def test_two_processes_validate_as_one(one_process, two_processes):
    losses = [[entry["eval_loss"] for entry in logs(run, "eval_loss")] for run in (one_process, two_processes)]
    assert len(losses[0]) == 4 and losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_two_processes_end_with_the_weights_and_predictions_of_one(corpus, one_process, two_processes):
    expected, trained = (load_file(run / "model" / "model.safetensors") for run in (one_process, two_processes))
    # a key's bias adds the same to every score of the attention: its gradient is rounding, which Adam makes a step of
    left_out = ("key.bias", "k_proj.bias", "familiarity.components")  # whose directions rounding may turn
    for name in (name for name in expected if not name.endswith(left_out)):
        torch.testing.assert_close(trained[name], expected[name], rtol=0, atol=2e-4, msg=name)
    reports = [json.loads((run / "report.json").read_text()) for run in (one_process, two_processes)]
    errors = [report["metrics"]["emotion"].pop("calibration")["ece"] for report in reports]
    assert errors[0] == pytest.approx(errors[1], abs=1e-3)
    votes = [report["metrics"]["emotion"].pop("votes", {}) for report in reports]
    assert bool(votes[0]) == ("data.votes=shares" in corpus)
    for name in ("jensen_shannon", "brier", "rater_agreement", "n") if votes[0] else ():
        assert votes[0][name] == pytest.approx(votes[1][name], abs=1e-3), name
    for report in reports:  # of scores, which differ in their last digits
        del report["metrics"]["emotion"]["familiar"], report["metrics"]["emotion"]["risk_and_coverage"]
    assert reports[0]["metrics"] == reports[1]["metrics"] and reports[0]["slices"] == reports[1]["slices"]
