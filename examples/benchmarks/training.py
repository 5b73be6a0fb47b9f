"""How many utterances a second training learns from: a recipe's stages against the stock Trainer, on the same speech.

python examples/benchmarks/training.py --speech /data/ravdess --output benchmarks/training

The peer is Transformers' own classifier on the same encoder, trained as its audio-classification example does it. The
encoder has a base checkpoint's shape and random weights; speed does not depend on them. Each side learns from all
utterances twice a round, and the second epoch counts: the first two steps take as long as five others, while a new
model's gradients and the optimizer's moments get their memory. What is computed once for a corpus and kept (the cache)
is computed before, and timed apart.
"""

import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from measuring import Row, alternate, compare, seconds_of, start_torch, write_results
from speech import Corpus, write_encoder, write_speech

# by row: its own side, the peer's side, the target
ROWS = {
    "stage 1": ("stage 1", "stock", 1.8),
    "stage 2": ("stage 2", "stock", 2.8),
    "stage 2, bf16": ("stage 2, bf16", "stock, bf16", 2.8),
    "head alone, second epoch on": ("head alone", "stock, encoder frozen", 50.0),
}


def main(
    output: Annotated[Path, typer.Option(help="The results, as this with .json and .md.")] = Path("training"),
    speech: Annotated[Path | None, typer.Option(help="A folder of recordings (default: noise).")] = None,
    encoder: Annotated[str, typer.Option(help="wav2vec2, hubert or wavlm.")] = "wav2vec2",
    size: Annotated[str, typer.Option(help="base or tiny.")] = "base",
    utterances: Annotated[int, typer.Option(help="That both sides learn from.")] = 40,
    rounds: Annotated[int, typer.Option(help="In each of which every side is measured once.")] = 5,
    threads: Annotated[int, typer.Option(help="Torch's.")] = 2,
    row: Annotated[list[str] | None, typer.Option(help="Only this row; may be given again.")] = None,
    setting: Annotated[list[str] | None, typer.Option(help="Of our recipe, as key=value.")] = None,
) -> None:
    """Measures training.

    Example: python examples/benchmarks/training.py --speech /data/ravdess --row "stage 1" --output stage-1
    """
    start_torch(threads)
    settings = {"encoder": f"{encoder} {size}", "utterances": utterances, "rounds": rounds, "threads": threads}
    with tempfile.TemporaryDirectory() as folder:
        table = write_speech(Path(folder, "speech"), utterances, speech)
        corpus = Corpus(table, write_encoder(Path(folder, "encoder"), encoder, size), Path(folder, "cache"))
        rows = measure(corpus, row or list(ROWS), rounds, setting or [])
    write_results(rows, {**settings, "batch": "4 of alike lengths against 4 at random"}, output)


def measure(corpus: Corpus, names: list[str], rounds: int, settings: list[str]) -> list[Row]:
    """The rows of these names."""
    sides = all_sides(corpus, settings)
    needed = dict.fromkeys(side for name in names for side in ROWS[name][1::-1])
    filling = {name: seconds_of(sides[name]) for name in needed if not name.startswith("stock")}
    values = alternate({name: sides[name] for name in needed}, rounds)
    return [
        compare(
            name,
            values[ROWS[name][0]],
            values[ROWS[name][1]],
            "utterances/s",
            f"at least {ROWS[name][2]}",
            f"first run, which fills the cache: {filling[ROWS[name][0]]:.0f} s",
        )
        for name in names
    ]


def all_sides(corpus: Corpus, settings: list[str]) -> dict[str, Callable[[], float]]:
    """What measures each side once: utterances a second."""
    from training_sides import HEAD_ALONE, train_ours, train_stock

    seeds = iter(range(10**6))
    twice = [*settings, "stages.metadata.epochs=2", "stages.emotion.epochs=2"]
    head = [*HEAD_ALONE, *settings, "stages.emotion.epochs=4"]

    def stock(**options) -> float:
        return train_stock(corpus, next(seeds), **options)[-1]

    return {
        "stock": stock,
        "stock, bf16": partial(stock, precision="bf16"),
        "stock, encoder frozen": partial(stock, freeze_encoder=True),
        "stage 1": lambda: train_ours(corpus, "metadata", twice)[-1],
        "stage 2": lambda: train_ours(corpus, "emotion", twice)[-1],
        "stage 2, bf16": lambda: train_ours(corpus, "emotion", twice, "bf16")[-1],
        "head alone": lambda: statistics.median(train_ours(corpus, "emotion", head)[1:]),
    }


if __name__ == "__main__":
    typer.run(main)
