"""How much processor time a typing mistake costs before it is told: ten mistakes, of one program or of two by turns.

python examples/benchmarks/mistakes.py --other "/old/checkout/.venv/bin/python -m ser_meta.training"
"""

import os
import resource
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import soundfile
import typer

SER_META = f"{shlex.quote(sys.executable)} -m ser_meta.training"
RECIPE = """
data: {corpus: table, root: my.csv, test_fold: anna}
model: {encoder: demo-encoder, auxiliary_tasks: [gender], coattention_heads: 4}
stages:
  emotion: {loss_weights: {emotion: 1, gender: 1}, epochs: 1, encoder_learning_rate: 1e-4, head_learning_rate: 1e-3}
"""
MISTAKES = {
    "a recipe's name": "train ravdes --output run",
    "a recipe's key": "train my.yaml data.rot=x --output run",
    "a table's path": "train my.yaml data.root=mine.csv --output run",
    "a task's column": "train my.yaml model.auxiliary_tasks=[mood] --output run",
    "a fold's name": "train my.yaml data.test_fold=ana --output run",
    "a recording that is missing": "train my.yaml data.root=missing.csv --output run",
    "folds that the corpus lacks": "crossval my.yaml data.folds=session --output study",
    "a model's folder": "evaluate run/modle table my.csv",
    "a corpus's name": "check ravdes .",
    "a recording's path": "predict run/model anna.wave",
}


def main(
    program: Annotated[str, typer.Option(help="The command line to measure.")] = SER_META,
    other: Annotated[str | None, typer.Option(help="Another one, measured by turns.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Each mistake is made so often by every side.")] = 3,
) -> None:
    """Prints, by mistake, the median of user and system seconds until it was told, and what was told.

    Example: python examples/benchmarks/mistakes.py --rounds 3
    """
    programs = [program, *([other] if other else [])]
    with tempfile.TemporaryDirectory() as folder:
        write_corpus(Path(folder))
        print(f"{'mistake':<30}" + "".join(f"{name:>10}" for name in ("seconds", "other")[: len(programs)]))
        for name, words in MISTAKES.items():
            measured = [[seconds_of(command, words, folder) for command in programs] for _ in range(rounds)]
            sides = [median(values) for values in zip(*measured, strict=True)]
            print(f"{name:<30}" + "".join(f"{seconds:>10.2f}" for seconds in sides), flush=True)


def write_corpus(folder: Path) -> None:
    """A table of two speakers, the same with a recording that is not there, and a recipe."""
    rows = ["audio,emotion,speaker,gender"]
    for speaker in ("anna", "bela"):
        for emotion in ("angry", "sad"):
            name = f"{speaker}-{emotion}.wav"
            soundfile.write(folder / name, np.zeros(16_000), 16_000)
            rows.append(f"{name},{emotion},{speaker},female")
    (folder / "my.csv").write_text("\n".join(rows))
    (folder / "missing.csv").write_text("\n".join([*rows, "nowhere.wav,sad,bela,female"]))
    (folder / "my.yaml").write_text(RECIPE)


def seconds_of(program: str, words: str, folder: str) -> float:
    """User and system seconds of a command.

    Raises:
        RuntimeError: it does not end as a mistake does.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [*shlex.split(program), *words.split()]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (1, 2):
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    typer.run(main)
