"""How soon the command line answers: its help, and the first label of `ser-meta predict` against a short script.

python examples/benchmarks/start_up.py --output benchmarks/start-up

The script asks Transformers' stock pipeline with its own classifier on the same encoder. Each side is a new process,
and what counts is the time to the first line that it prints.
"""

import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from measuring import alternate, compare, in_new_process, start_torch, write_results
from speech import write_encoder, write_model, write_speech, write_stock_classifier

SER_META = [sys.executable, "-m", "ser_meta.training"]
SCRIPT = """
import sys, soundfile
from transformers import pipeline
folder, path = sys.argv[1:]
classify = pipeline("audio-classification", model=folder, device="cpu")
samples, rate = soundfile.read(path, dtype="float32")
print(classify({"raw": samples, "sampling_rate": rate})[0]["label"])
"""
LIMIT = 0.5  # seconds


def main(
    output: Annotated[Path, typer.Option(help="The results, as this with .json and .md.")] = Path("start-up"),
    encoder: Annotated[str, typer.Option(help="wav2vec2, hubert or wavlm.")] = "wav2vec2",
    size: Annotated[str, typer.Option(help="base or tiny.")] = "base",
    rounds: Annotated[int, typer.Option(help="In each of which every side is measured once.")] = 7,
    threads: Annotated[int, typer.Option(help="OpenMP's.")] = 2,
) -> None:
    """Measures the time to the first line.

    Example: python examples/benchmarks/start_up.py --output start-up
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        in_new_process(write_folders, folder, encoder, size)
        recording = str(folder / "speech" / "00000.wav")
        sides = {
            "help": [*SER_META, "--help"],
            "script": [sys.executable, "-c", SCRIPT, str(folder / "stock"), recording],
            "predict": [*SER_META, "predict", str(folder / "model"), recording, "--json"],
        }
        values = alternate({side: partial(first_line, command, threads) for side, command in sides.items()}, rounds)
    rows = [
        compare("--help", values["help"], [LIMIT] * rounds, "s", "at most 1", "the peer is the limit"),
        compare("first label", values["predict"], values["script"], "s", "at most 1.1"),
    ]
    write_results(rows, {"encoder": f"{encoder} {size}", "rounds": rounds, "threads": threads}, output)


def write_folders(folder: Path, encoder: str, size: str) -> None:
    """A model of ours, a stock classifier, and a recording."""
    start_torch(1)
    write_encoder(folder / "encoder", encoder, size)
    write_model(folder / "model", folder / "encoder")
    write_stock_classifier(folder / "stock", folder / "encoder")
    write_speech(folder / "speech", 1)


def first_line(command: list[str], threads: int) -> float:
    """Seconds from the start of a command to its first line.

    Raises:
        RuntimeError: it prints none.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    started = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as running:
        line = running.stdout.readline()
        seconds = time.perf_counter() - started
        _, errors = running.communicate()
    if not line:
        raise RuntimeError(f"{' '.join(command)} printed nothing: {errors}")
    return seconds


if __name__ == "__main__":
    typer.run(main)
