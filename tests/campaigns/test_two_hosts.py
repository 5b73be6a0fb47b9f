"""Two network namespaces are two hosts: four processes, two on each, over the files of examples/accelerate."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pandas
import pyarrow.parquet
import pytest
import torch
import yaml
from safetensors.torch import load_file

from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.configuration.run_folder import read_json
from ser_meta.training.runs.stages import run_stages
from ser_meta.training.studies.crossval import cross_validate

TWO_NODES = Path(__file__).resolve().parents[2] / "examples" / "accelerate" / "two_nodes.yaml"
PATIENCE = 600  # seconds

pytestmark = pytest.mark.campaign


def settings(size: int) -> list[str]:
    return [f"stages.{stage}.batch_size={size}" for stage in ("metadata", "emotion")]


@pytest.fixture(scope="module")
def hosts() -> Iterator[list[str]]:
    """Two namespaces that a cable joins, at 10.77.0.1 and 10.77.0.2."""
    if os.geteuid() or not shutil.which("ip"):
        pytest.skip("network namespaces need root and ip")
    names = [f"ser-meta-{os.getpid()}-{place}" for place in range(2)]
    cable = [f"sm{os.getpid() % 100_000}-{place}" for place in range(2)]
    try:
        for name in names:
            if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
                pytest.skip("this machine makes no network namespaces")
        _ip("link", "add", cable[0], "type", "veth", "peer", "name", cable[1])
        for place, name in enumerate(names):
            _ip("link", "set", cable[place], "netns", name, "name", "cable")
            _ip("-n", name, "addr", "add", f"10.77.0.{place + 1}/24", "dev", "cable")
            for device in ("lo", "cable"):
                _ip("-n", name, "link", "set", device, "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


class Host:
    """What runs in one namespace: `accelerate launch` and its processes.

    Args:
        name: of the namespace.
        place: 0 for the host that the others find.
        config: of Accelerate.
        command: of `ser-meta`.
        log: what the host prints.
    """

    def __init__(self, name: str, place: int, config: Path, command: list[object], log: Path):
        launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", config]
        launch += ["--machine_rank", place, "--main_process_ip", "10.77.0.1", "-m", "ser_meta.training", *command]
        self.name, self.log = name, log
        with log.open("w") as file:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", name, *map(str, launch)],
                stdout=file,
                stderr=file,
                cwd=log.parent,
                env={**os.environ, "GLOO_SOCKET_IFNAME": "cable"},
            )

    def end(self) -> int:
        """The exit code; a host that has not ended by then is switched off."""
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.switch_off()

    def switch_off(self) -> None:
        """Kills all that runs on the host, as a power cut does."""
        told = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True, check=True).stdout
        for number in told.split():
            with suppress(ProcessLookupError):
                os.kill(int(number), signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def start(hosts, tmp_path) -> Iterator[Callable[..., list[Host]]]:
    """Starts a command of `ser-meta` on both hosts, as the example has it, but on the CPU."""
    config = {**yaml.safe_load(TWO_NODES.read_text()), "use_cpu": True, "num_processes": 4}
    (tmp_path / "nodes.yaml").write_text(yaml.safe_dump(config))
    started = []

    def start_both(*command: object) -> list[Host]:
        number = len(started) // 2
        both = [
            Host(name, place, tmp_path / "nodes.yaml", list(command), tmp_path / f"log-{number}-{place}")
            for place, name in enumerate(hosts)
        ]
        started.extend(both)
        return both

    yield start_both
    for host in started:
        host.switch_off()


def wait_for(host: Host, words: str) -> None:
    """Until a host has said something."""
    ends = time.monotonic() + PATIENCE
    while words not in host.log.read_text():
        assert host.process.poll() is None and time.monotonic() < ends, host.log.read_text()[-3_000:]
        time.sleep(0.02)


def test_one_host_is_switched_off_in_mid_epoch_and_the_run_ends_as_on_one_machine(
    start, recipe_file, steady_settings, tmp_path
):
    expected = tmp_path / "expected"
    run_stages(load_recipe(str(recipe_file), [*steady_settings, *settings(4)]), expected)

    command = ["train", recipe_file, *steady_settings, *settings(1), "--output", tmp_path / "run"]
    first, second = start(*command)
    wait_for(first, "stage metadata, epoch 1.5")
    second.switch_off()
    assert first.end() != 0
    state = tmp_path / "run" / "state.json"
    assert "metadata" not in (read_json(state) if state.exists() else {})
    print(f"host 1 switched off after: {first.log.read_text().count('stage metadata')} lines of stage metadata")

    again = start(*command, "--resume")
    assert [host.end() for host in again] == [0, 0], again[0].log.read_text()[-3_000:]
    assert [stage["processes"] for stage in read_json(state).values()] == [4, 4]
    trained, alone = (load_file(run / "model" / "model.safetensors") for run in (tmp_path / "run", expected))
    # a key's bias adds the same to every score of the attention: its gradient is rounding, which Adam makes a step of
    names = [name for name in alone if not name.endswith(("key.bias", "k_proj.bias"))]
    farthest = max((trained[name] - alone[name]).abs().max().item() for name in names)
    print(f"weights of two hosts and of one process differ by {farthest:.1e} at most")
    for name in names:
        torch.testing.assert_close(trained[name], alone[name], rtol=0, atol=2e-4, msg=name)
    reports = [read_json(run / "report.json") for run in (tmp_path / "run", expected)]
    assert reports[0]["metrics"]["emotion"]["confusion"] == reports[1]["metrics"]["emotion"]["confusion"]


def test_two_hosts_share_the_parts_of_a_prediction(start, finished_run, speech_table, tmp_path):
    both = start("predict", finished_run / "model", speech_table.parent, "--parquet", tmp_path / "parts")
    assert [host.end() for host in both] == [0, 0], both[0].log.read_text()[-3_000:]
    rows = pyarrow.parquet.read_table(tmp_path / "parts").to_pylist()
    assert [row["file"] for row in rows] == sorted(map(str, speech_table.parent.glob("*.wav")))
    assert list(read_json(tmp_path / "parts" / "_manifest.json")["parts"].values()) == [9] * 4


def test_two_hosts_train_every_fold_as_one_process(start, recipe_file, steady_settings, tmp_path):
    brief = [*steady_settings, "stages.metadata=null", "stages.emotion.epochs=1"]
    alone, together = tmp_path / "alone", tmp_path / "together"
    cross_validate(load_recipe(str(recipe_file), [*brief, "stages.emotion.batch_size=4"]), alone)
    both = start("crossval", recipe_file, *brief, "stages.emotion.batch_size=1", "--output", together)
    assert [host.end() for host in both] == [0, 0], both[0].log.read_text()[-3_000:]
    predictions = [pandas.read_parquet(study / "predictions.parquet") for study in (together, alone)]
    assert len(predictions[0]) == 36
    for column in ("utterance_id", "fold", "emotion_predicted"):
        assert list(predictions[0][column]) == list(predictions[1][column])
