"""The same network in another backend, and its exports: how much time each takes, and whether the labels stay.

python examples/benchmarks/backends.py --model runs/ravdess/model --speech /data/ravdess --output backends

The rows:
    onnx               `ser-meta predict --backend onnx` against `ser-meta predict`, time and peak of memory
    int8               the runner of `ser-meta export --int8` against that of `ser-meta export`, recordings a second
    quantize_dynamic   onnxruntime's own tool on the same products in the place of ours, against `ser-meta export`
Without --model it is a base-size encoder with random weights: its speed is a trained one's, its labels mean nothing.
"""

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from measuring import Row, alternate, compare, in_new_process, peak_megabytes, seconds_of, start_torch, write_results
from prediction import Scores, agreement, chosen, scores_of, written
from speech import write_encoder, write_model

EXPORTS = ("int8", "quantize_dynamic")
TARGETS = {"onnx": "at most 0.65", "memory": "at most 1.0", "int8": "at least 1.5"}


def main(
    output: Annotated[Path, typer.Option(help="The results, as this with .json and .md.")] = Path("backends"),
    speech: Annotated[Path | None, typer.Option(help="A folder of recordings (default: noise).")] = None,
    model: Annotated[Path | None, typer.Option(help="A ser-meta model folder.")] = None,
    encoder: Annotated[str, typer.Option(help="wav2vec2, hubert or wavlm; without --model.")] = "wav2vec2",
    size: Annotated[str, typer.Option(help="base or tiny; without --model.")] = "base",
    recordings: Annotated[int, typer.Option(help="To recognise.")] = 40,
    as_they_are: Annotated[bool, typer.Option("--as-they-are", help="Neither cut nor join --speech.")] = False,
    rounds: Annotated[int, typer.Option(help="In each of which every side is measured once.")] = 5,
    threads: Annotated[int, typer.Option(help="Torch's and onnxruntime's.")] = 2,
    row: Annotated[list[str] | None, typer.Option(help="onnx, memory or int8 (default: all).")] = None,
) -> None:
    """Measures backends and exports.

    Example: python examples/benchmarks/backends.py --model runs/ravdess/model --speech /data/ravdess --as-they-are
    """
    start_torch(threads)
    wanted, rows = row or ["onnx", "memory", "int8"], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = model or write_model(folder / "model", write_encoder(folder / "encoder", encoder, size))
        paths = chosen(speech, recordings) if as_they_are else written(folder / "speech", recordings, speech)
        if "onnx" in wanted:
            sides = {backend: predict_side(model, backend) for backend in ("torch", "onnx")}
            rows += time_rows(sides, paths, rounds)
        if "memory" in wanted:
            rows.append(memory_row(model, paths, rounds, threads))
        if "int8" in wanted:
            rows += export_rows(export_sides(model, threads, folder / "exports"), paths, rounds)
    settings = {"model": model, "recordings": recordings, "rounds": rounds, "threads": threads}
    write_results(rows, settings, output)


def time_rows(sides: dict[str, Callable[[list[str]], Scores]], paths: list[str], rounds: int) -> list[Row]:
    """Of prediction in onnxruntime against torch: the time."""
    found, values = measured(sides, paths, rounds)
    same = agreement(found["onnx"], found["torch"])
    return [compare("predict, onnx against torch", values["onnx"], values["torch"], "s", TARGETS["onnx"], same)]


def memory_row(model: Path, paths: list[str], rounds: int, threads: int) -> Row:
    """Of the same: the peak of a process that has loaded the model and heard all recordings once."""
    sides = {name: partial(in_new_process, peak_of, model, name, paths, threads) for name in ("torch", "onnx")}
    sides["onnx"]()  # which writes the graph into the cache, if it is not there
    values = alternate(sides, rounds)
    return compare("peak memory, onnx against torch", values["onnx"], values["torch"], "MB", TARGETS["memory"])


def peak_of(model: Path, backend: str, paths: list[str], threads: int) -> float:
    """Megabytes that loading and predicting take in this process."""
    start_torch(threads)
    predict_side(model, backend)(paths)
    return peak_megabytes()


def export_rows(sides: dict[str, Callable[[list[str]], Scores]], paths: list[str], rounds: int) -> list[Row]:
    """Of the exported runners: how many times as many recordings a second as in 32 bits."""
    found, values = measured(sides, paths, rounds)
    speeds = {name: [len(paths) / seconds for seconds in taken] for name, taken in values.items()}
    return [
        compare(
            f"exported, {name} against fp32",
            speeds[name],
            speeds["fp32"],
            "recordings/s",
            TARGETS.get(name, ""),
            agreement(found[name], found["fp32"]),
        )
        for name in EXPORTS
    ]


def measured(
    sides: dict[str, Callable[[list[str]], Scores]], paths: list[str], rounds: int
) -> tuple[dict[str, Scores], dict[str, list[float]]]:
    """What each side answers, heard once before, and the seconds that it takes in each round."""
    found = {name: recognise(paths) for name, recognise in sides.items()}
    return found, alternate({name: partial(seconds_of, partial(run, paths)) for name, run in sides.items()}, rounds)


def predict_side(model: Path, backend: str) -> Callable[[list[str]], Scores]:
    """`ser-meta predict`."""
    from ser_meta.training.prediction.recognition import load_pipeline, recognise_all

    recognise = load_pipeline(model, {}, 8, None, backend=backend)
    target = recognise.model.config.target_task
    return lambda paths: [scores_of(result[target]) for _, _, result in recognise_all(recognise, paths)]


def export_sides(model: Path, threads: int, folder: Path) -> dict[str, Callable[[list[str]], Scores]]:
    """The runner in 32 bits, in 8 (where the processor has VNNI), and with onnxruntime's own 8 bits."""
    import shutil

    from ser_meta.hub_cards.export.onnx import export_onnx
    from ser_meta.training.runs.loading import load_model

    export_onnx(*load_model(model), folder / "int8", int8=True)
    for name in ("fp32", "quantize_dynamic"):
        shutil.copytree(folder / "int8", folder / name)
    (folder / "fp32" / "model_quantized.onnx").unlink()
    quantize_dynamically(folder / "fp32" / "model.onnx", folder / "quantize_dynamic" / "model_quantized.onnx")
    sys.path.insert(0, str(folder / "int8"))
    from runner import Recognizer

    return {name: side_of(Recognizer(folder / name, threads)) for name in ("fp32", *EXPORTS)}


def side_of(recognizer: Any) -> Callable[[list[str]], Scores]:
    """A runner over many recordings."""
    target = recognizer.facts["target_task"]
    return lambda paths: [scores_of(result[target]) for result in recognizer.many(paths)]


def quantize_dynamically(graph: Path, quantized: Path) -> None:
    """onnxruntime's tool on the encoder layers' products: one scale a column of weights, one for all that comes in."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from ser_meta.hub_cards.export.int8 import layers_products

    model = onnx.load(graph)
    del model.graph.value_info[:]  # which contradict the tool's own inference of shapes
    names = [node.name for node in layers_products(model)]
    options = {"op_types_to_quantize": ["MatMul"], "nodes_to_quantize": names, "per_channel": True}
    quantize_dynamic(model, quantized, weight_type=QuantType.QInt8, **options)


if __name__ == "__main__":
    typer.run(main)
