"""How many short recordings a second `ser-meta predict` hears: this build against another one, by turns.

python examples/benchmarks/many_files.py --other /builds/before --encoder openai/whisper-base

Both are called as a user calls them. From the time of a call with all recordings that of a call with a few is taken
off, so that starting and loading are not counted. The other build is a checkout with a `.venv` of its own.
"""

import resource
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import typer
from measuring import Row, alternate, compare, seconds_of, write_results
from speech import RATE, write_model

FEW = 4  # recordings of the call that is taken off
TARGET = "at least 1.5"
ROOT = Path(__file__).resolve().parents[2]


def main(
    other: Annotated[Path, typer.Option(help="A checkout of another build, with its .venv.")],
    output: Annotated[Path, typer.Option(help="The results, as this with .json and .md.")] = Path("many-files"),
    encoder: Annotated[str, typer.Option(help="A name on the Hub, or a folder.")] = "openai/whisper-base",
    recordings: Annotated[int, typer.Option(help="FLAC files of 2 s each.")] = 400,
    seconds: Annotated[float, typer.Option(help="Of each.")] = 2.0,
    rounds: Annotated[int, typer.Option(help="In each of which both are measured once.")] = 5,
) -> None:
    """Measures prediction over many short files.

    Example: python examples/benchmarks/many_files.py --other ../before --recordings 1000
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder / "all", recordings, seconds)
        write_files(folder / "few", FEW, seconds)
        model = write_model(folder / "model", Path(encoder))
        sides = {"ours": partial(speed, ROOT, model, folder), "other": partial(speed, other, model, folder)}
        values = alternate(sides, rounds)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    what = f"{recordings} files of {seconds:g} s, {encoder}"
    row: Row = compare(what, values["ours"], values["other"], "files/s", TARGET, f"at most {memory:.0f} MB")
    write_results([row], {"other": other, "rounds": rounds}, output)


def write_files(folder: Path, count: int, seconds: float) -> None:
    """Noise as FLAC."""
    folder.mkdir()
    chance = np.random.default_rng(0)
    for number in range(count):
        samples = 0.1 * chance.normal(size=round(seconds * RATE))
        soundfile.write(folder / f"{number:06}.flac", samples, RATE)


def speed(build: Path, model: Path, folder: Path) -> float:
    """Files a second of a build, without its start."""
    few, every = (seconds_of(partial(predict, build, model, folder / name)) for name in ("few", "all"))
    return (len(list((folder / "all").iterdir())) - FEW) / (every - few)


def predict(build: Path, model: Path, recordings: Path) -> None:
    """One call of a build's command."""
    with tempfile.TemporaryDirectory() as scratch:
        program = build / ".venv" / "bin" / "ser-meta"
        command = [program if program.exists() else Path(sys.executable).with_name("ser-meta"), "predict", model]
        subprocess.run([*command, recordings, "--csv", Path(scratch) / "predictions.csv"], check=True, cwd=scratch)


if __name__ == "__main__":
    typer.run(main)
