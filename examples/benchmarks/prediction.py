"""How many recordings a second are recognised: by us, against Transformers' stock pipeline.

python examples/benchmarks/prediction.py --speech /data/ravdess --recordings 500 --output benchmarks/prediction

The peer is `pipeline("audio-classification")` with the same model, at its best batch size of 1, 4, 8 and 16, found
in one pass each; both sides read files, and both give scores, whose logarithms are compared: same model, same logits.
The rows fp32 and bf16 are `ser-meta predict`, the row int8 is what `ser-meta export --int8` writes.
With --stock-classifier the peer runs Transformers' own classifier on the same encoder, whose labels are other ones.
Without --model it is a base-size encoder with random weights: its speed is a trained one's, its labels mean nothing.
"""

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from measuring import Row, alternate, compare, seconds_of, start_torch, write_results
from speech import RATE, write_encoder, write_model, write_speech, write_stock_classifier

BATCH_SIZES = (1, 4, 8, 16)
ROWS = {"fp32": 1.8, "bf16": 3.0, "int8": 3.0}
Scores = list[dict[str, float]]  # of each recording, by label


def main(
    output: Annotated[Path, typer.Option(help="The results, as this with .json and .md.")] = Path("prediction"),
    speech: Annotated[Path | None, typer.Option(help="A folder of recordings (default: noise).")] = None,
    model: Annotated[Path | None, typer.Option(help="A ser-meta model folder, whose code is run.")] = None,
    encoder: Annotated[str, typer.Option(help="wav2vec2, hubert or wavlm; without --model.")] = "wav2vec2",
    size: Annotated[str, typer.Option(help="base or tiny; without --model.")] = "base",
    recordings: Annotated[int, typer.Option(help="To recognise.")] = 100,
    as_they_are: Annotated[bool, typer.Option("--as-they-are", help="Neither cut nor join --speech.")] = False,
    stock_classifier: Annotated[bool, typer.Option("--stock-classifier", help="As the peer.")] = False,
    rounds: Annotated[int, typer.Option(help="In each of which every side is measured once.")] = 5,
    threads: Annotated[int, typer.Option(help="Torch's and onnxruntime's.")] = 2,
    row: Annotated[list[str] | None, typer.Option(help="fp32, bf16 or int8 (default: all).")] = None,
) -> None:
    """Measures prediction.

    Example: python examples/benchmarks/prediction.py --speech /data/ravdess --row fp32 --output prediction
    """
    start_torch(threads)
    settings = {"model": model or f"{encoder} {size}", "recordings": recordings, "rounds": rounds, "threads": threads}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        random = None if model and not stock_classifier else write_encoder(folder / "encoder", encoder, size)
        ours = model or write_model(folder / "model", random)
        peer = write_stock_classifier(folder / "stock", random) if stock_classifier else ours
        paths = chosen(speech, recordings) if as_they_are else written(folder / "speech", recordings, speech)
        rows, batch_size = measure(ours, peer, paths, row or list(ROWS), rounds, threads, folder)
    write_results(rows, {**settings, "peer": f"stock pipeline, batch size {batch_size}"}, output)


def measure(
    model: Path, peer: Path, paths: list[str], names: list[str], rounds: int, threads: int, scratch: Path
) -> tuple[list[Row], int]:
    """The rows of these names, and the peer's best batch size."""
    stock = {size: stock_side(peer, size) for size in BATCH_SIZES}
    passes = {size: seconds_of(partial(recognise, paths)) for size, recognise in stock.items()}
    best = min(passes, key=passes.get)
    ours = {name: our_side(model, name, threads, scratch) for name in names}
    sides = {"stock": stock[best], **ours}
    found: dict[str, Scores] = {}

    def speed(name: str) -> float:
        def work() -> None:
            found[name] = sides[name](paths)

        return len(paths) / seconds_of(work)

    values = alternate({name: partial(speed, name) for name in sides}, rounds)
    return [
        compare(
            f"prediction, {name}",
            values[name],
            values["stock"],
            "recordings/s",
            f"at least {ROWS[name]}",
            agreement(found[name], found["stock"]),
        )
        for name in names
    ], best


def our_side(model: Path, name: str, threads: int, scratch: Path) -> Callable[[list[str]], Scores]:
    """`ser-meta predict` in single or half precision, or the exported model in 8 bits."""
    if name == "int8":
        return exported_side(model, threads, scratch / "exported")
    from ser_meta.training.prediction.recognition import load_pipeline, recognise_all

    recognise = load_pipeline(model, {}, 8, None, name)

    def recognised(paths: list[str]) -> Scores:
        results = [result for _, _, result in recognise_all(recognise, paths)]
        return [scores_of(result[recognise.model.config.target_task]) for result in results]

    return recognised


def exported_side(model: Path, threads: int, folder: Path) -> Callable[[list[str]], Scores]:
    """The runner that an export brings, over many recordings."""
    import sys

    from ser_meta.hub_cards.export.onnx import export_onnx
    from ser_meta.training.runs.loading import load_model

    export_onnx(*load_model(model), folder, int8=True)
    sys.path.insert(0, str(folder))
    from runner import Recognizer

    recognizer = Recognizer(folder, threads=threads)
    target = recognizer.facts["target_task"]
    return lambda paths: [scores_of(result[target]) for result in recognizer.many(paths)]


def stock_side(model: Path, batch_size: int) -> Callable[[list[str]], Scores]:
    """The stock pipeline over files that are read one after the other."""
    from transformers import pipeline

    import ser_meta.modeling_ser_meta  # noqa: F401 - Transformers knows the model from here on

    options = {"batch_size": batch_size, "top_k": None, "trust_remote_code": True}  # a run's model brings its code
    classify = pipeline("audio-classification", model=str(model), **options)

    def read(paths: list[str]) -> Iterator[dict[str, Any]]:
        from ser_meta.modeling_ser_meta.audio_ser_meta import read_audio

        for path in paths:
            yield {"raw": read_audio(path, RATE), "sampling_rate": RATE}

    return lambda paths: [scores_of(result) for result in classify(read(paths))]


def scores_of(ranked: list[dict[str, Any]]) -> dict[str, float]:
    """Scores by label."""
    return {entry["label"]: entry["score"] for entry in ranked}


def agreement(found: Scores, expected: Scores) -> str:
    """How many labels are the same, and by how much the scores' logarithms differ at most; labels of one set only."""
    if set(found[0]) != set(expected[0]):
        return "other labels"
    pairs = list(zip(found, expected, strict=True))
    same = np.mean([max(one, key=one.get) == max(other, key=other.get) for one, other in pairs])
    difference = max(
        abs(np.log(one[label] + 1e-9) - np.log(other[label] + 1e-9)) for one, other in pairs for label in one
    )
    return f"{100 * same:.4g} % of labels the same, logits within {difference:.1g}"


def chosen(folder: Path, count: int) -> list[str]:
    """So many recordings of a folder, evenly spread over it."""
    from ser_meta.training.prediction.inputs import find_recordings

    paths = find_recordings([str(folder)])
    return [paths[index] for index in np.linspace(0, len(paths) - 1, min(count, len(paths))).astype(int)]


def written(folder: Path, count: int, source: Path | None) -> list[str]:
    """Recordings of the benchmarks' lengths, joined and cut; longer ones would go to the model in windows."""
    from ser_meta.modeling_ser_meta.windows_ser_meta import LONGEST_PIECE

    write_speech(folder, count, source, longest=LONGEST_PIECE)
    return sorted(str(path) for path in folder.glob("*.wav"))[:count]


if __name__ == "__main__":
    typer.run(main)
