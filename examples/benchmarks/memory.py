"""The most memory that training takes: a stage of a recipe against the stock Trainer, each in a process of its own.

python examples/benchmarks/memory.py --speech /data/ravdess --output benchmarks/memory

Both learn once from the same utterances in batches of 4. The peak is the whole process's, libraries included; on a GPU
it is what the device holds.
"""

import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from measuring import alternate, compare, in_new_process, peak_megabytes, start_torch, write_results
from speech import Corpus, write_encoder, write_speech

STAGES = {"stage 1": "metadata", "stage 2": "emotion"}


def main(
    output: Annotated[Path, typer.Option(help="The results, as this with .json and .md.")] = Path("memory"),
    speech: Annotated[Path | None, typer.Option(help="A folder of recordings (default: noise).")] = None,
    encoder: Annotated[str, typer.Option(help="wav2vec2, hubert or wavlm.")] = "wav2vec2",
    size: Annotated[str, typer.Option(help="base or tiny.")] = "base",
    utterances: Annotated[int, typer.Option(help="That both sides learn from.")] = 24,
    rounds: Annotated[int, typer.Option(help="In each of which every side is measured once.")] = 5,
    threads: Annotated[int, typer.Option(help="Torch's.")] = 2,
    stage: Annotated[list[str] | None, typer.Option(help="stage 1 or stage 2 (default: both).")] = None,
    setting: Annotated[list[str] | None, typer.Option(help="Of our recipe, as key=value.")] = None,
) -> None:
    """Measures the peak of memory in training.

    Example: python examples/benchmarks/memory.py --speech /data/ravdess --output memory
    """
    settings = {"encoder": f"{encoder} {size}", "utterances": utterances, "rounds": rounds, "threads": threads}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        in_new_process(write_folders, folder, utterances, speech, encoder, size)
        stages = stage or list(STAGES)
        sides = {
            side: partial(in_new_process, peak_of, folder, STAGES.get(side), threads, setting or [])
            for side in ["stock", *stages]
        }
        for side in stages:  # what is kept for a corpus is computed before
            sides[side]()
        values = alternate(sides, rounds)
    rows = [compare(f"peak, {side}", values[side], values["stock"], "MB", "at most 1.05") for side in stages]
    write_results(rows, {**settings, "batch": "4 of alike lengths against 4 at random"}, output)


def write_folders(folder: Path, utterances: int, speech: Path | None, encoder: str, size: str) -> None:
    """What both sides learn from; this process, the parent of all, stays a small one."""
    start_torch(1)
    write_speech(folder / "speech", utterances, speech)
    write_encoder(folder / "encoder", encoder, size)


def peak_of(folder: Path, stage: str | None, threads: int, settings: list[str]) -> float:
    """Megabytes that one training takes: of a stage of ours, or of the stock Trainer."""
    import torch
    from training_sides import train_ours, train_stock

    start_torch(threads)
    corpus = Corpus(folder / "speech" / "speech.csv", folder / "encoder", folder / "cache")
    train_stock(corpus, seed=0) if stage is None else train_ours(corpus, stage, settings)
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return peak_megabytes()


if __name__ == "__main__":
    typer.run(main)
