"""The scripts of examples/accelerate, with stand-ins for the cluster's own programs."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ACCELERATE = 'echo "$(basename "$PWD"): $*" >> "$TOLD"; [ "$FAILING" != here ] || exit 3'
STAND_INS = {
    "accelerate": ACCELERATE,
    "ssh": 'shift 2; exec bash -c "$1"',  # -tt HOST COMMAND
    "scontrol": "printf 'node1\\nnode2\\n'",
    "srun": 'shift; for node in 0 1; do SLURM_NODEID=$node "$@" || exit 1; done',
}


@pytest.fixture
def launch(tmp_path):
    """Runs one of the scripts; returns its exit code and how `accelerate` was called."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, body in STAND_INS.items():
        (programs / name).write_text(f"#!/bin/bash\n{body}\n")
        (programs / name).chmod(0o755)

    def run(script: str, *arguments: str, **variables: str) -> tuple[int, list[str]]:
        told = tmp_path / "told"
        path = f"{programs}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "TOLD": str(told), "FAILING": "", **variables}
        command = ["bash", str(ROOT / "examples" / "accelerate" / script), *arguments]
        code = subprocess.run(command, cwd=ROOT, env=environment, check=False, timeout=60).returncode
        return code, sorted(told.read_text().splitlines())

    return run


@pytest.mark.parametrize(
    ("script", "variables"),
    [
        ("ssh.sh", {"HOSTS": "node1 node2", "PROCESSES": "4"}),
        ("slurm.sh", {"SLURM_NNODES": "2", "SLURM_JOB_NODELIST": "node[1-2]"}),
    ],
)
def test_each_machine_gets_its_number_and_the_command_as_it_was_given(launch, script, variables):
    code, told = launch(script, "predict", "my model", "shard-*.tar", "--parquet", "/shared/out", **variables)
    assert code == 0 and len(told) == 2
    for place, line in enumerate(told):
        start, _, command = line.partition(" -m ser_meta.training ")
        assert start == (
            f"{ROOT.name}: launch --config_file examples/accelerate/two_nodes.yaml --num_machines 2 --num_processes 8 "
            f"--machine_rank {place} --main_process_ip node1"
        )
        assert command == "predict my model shard-*.tar --parquet /shared/out"
    assert launch(script, "train", **variables, FAILING="here")[0] != 0
