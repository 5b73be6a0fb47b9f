"""How well a device is used: training of both stages and prediction, for each encoder, against its matrix products.

python examples/benchmarks/device.py --speech /data/ravdess --output benchmarks/device

A stage trains as its recipe does, in bf16, with and without what is kept of the frozen part of the encoder; filling
computes that once, in fp32. The share of the peak counts the encoder's matrix products and convolutions alone, twice
again for the backward pass of what is trained, once through an adapter (`--setting model.adapter.rank=8`): utterances'
own frames, so padding counts as waste. The peak is measured: one large matrix product in bf16.
"""

import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from cost import FILLING, KEPT, NOTHING_KEPT
from measuring import in_new_process, peak_megabytes, seconds_of, start_torch, write_page
from speech import MEAN, RATE, Corpus, corpus_durations, write_encoder, write_model, write_speech

STAGES = {"stage 1": "metadata", "stage 2": "emotion"}


@dataclass
class Figures:
    """One line of the table.

    Args:
        encoder, what: of it.
        utterances, hours: a second, hours of audio.
        memory: the most that the device held, in MB; on a CPU the process's.
        peak_share: of the measured matrix product's operations a second.
    """

    encoder: str
    what: str
    utterances: float
    hours: float
    memory: float
    peak_share: float


def main(
    output: Annotated[Path, typer.Option(help="The results, as this with .json and .md.")] = Path("device"),
    speech: Annotated[Path | None, typer.Option(help="A folder of recordings (default: noise).")] = None,
    encoder: Annotated[list[str] | None, typer.Option(help="wav2vec2, hubert, wavlm (default: all).")] = None,
    size: Annotated[str, typer.Option(help="base, large or tiny.")] = "base",
    encoder_layers: Annotated[int | None, typer.Option(help="Of the encoder, from the lowest (default: all).")] = None,
    utterances: Annotated[int, typer.Option(help="To learn from, and to recognise.")] = 400,
    stage: Annotated[list[str] | None, typer.Option(help="stage 1 or stage 2 (default: both).")] = None,
    epochs: Annotated[int, typer.Option(help="Of each stage; the first is not counted.")] = 3,
    matrix: Annotated[int, typer.Option(help="Width of the square matrices for the peak.")] = 8192,
    threads: Annotated[int, typer.Option(help="Torch's on the CPU.")] = 2,
    setting: Annotated[list[str] | None, typer.Option(help="Of our recipe, as key=value.")] = None,
) -> None:
    """Measures a device.

    Example: python examples/benchmarks/device.py --setting stages.metadata.batch_size=16 --output device
    """
    settings = [*(setting or []), *([f"model.encoder_layers={encoder_layers}"] if encoder_layers else [])]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        table = write_speech(folder / "speech", utterances, speech)
        device, peak = in_new_process(matrix_peak, matrix, threads)
        figures = []
        for family in encoder or ["wav2vec2", "hubert", "wavlm"]:
            corpus = Corpus(table, folder / family, folder / f"{family}-cache")
            in_new_process(write_encoder, corpus.encoder, family, size)
            found = [in_new_process(predict, corpus, peak, threads, encoder_layers)]
            for name in stage or STAGES:
                given = (corpus, name, peak, threads, settings, encoder_layers)
                found.append(in_new_process(train, *given, epochs, NOTHING_KEPT))
                found.append(in_new_process(fill, *given))
                found.append(in_new_process(train, *given, epochs, KEPT))
            figures += [replace(one, encoder=family) for one in found]
    facts = {"device": device, "bf16 peak": f"{peak / 1e12:.3g} TFLOP/s", "size": size, "utterances": utterances}
    facts |= {"encoder_layers": encoder_layers} if encoder_layers else {}
    write(figures, facts, output)


def matrix_peak(width: int, threads: int) -> tuple[str, float]:
    """The device's name, and how many operations a second a large bf16 matrix product does there."""
    import torch

    start_torch(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    square = torch.randn(width, width, device=device, dtype=torch.bfloat16)

    def multiply() -> None:
        (square @ square)[0, 0].item()  # which waits for it

    best = min(seconds_of(multiply) for _ in range(10))
    return torch.cuda.get_device_name() if device == "cuda" else "CPU", 2 * width**3 / best


def train(
    corpus: Corpus,
    stage: str,
    peak: float,
    threads: int,
    settings: list[str],
    layers: int | None,
    epochs: int,
    what: str,
) -> Figures:
    """A stage in bf16, its first epoch left out."""
    from training_sides import train_ours

    start_torch(threads)
    name = STAGES[stage]
    own = [f"stages.{name}.epochs={epochs}", *(["cache=null"] if what == NOTHING_KEPT else []), *settings]
    speed = statistics.median(train_ours(corpus, name, own, "bf16")[1:])
    below, trained = frozen_and_trained(corpus, stage, layers)
    passes = 2 if any(setting.startswith("model.adapter") for setting in settings) else 3
    operations = passes * trained + (below if what == NOTHING_KEPT else 0)
    return figures_of(corpus, f"{stage}, {what}", speed, operations / peak)


def fill(corpus: Corpus, stage: str, peak: float, threads: int, settings: list[str], layers: int | None) -> Figures:
    """What a stage computes once and keeps, in fp32."""
    from training_sides import fill_cache

    start_torch(threads)
    speed = fill_cache(corpus, STAGES[stage], settings)
    return figures_of(corpus, f"{stage}, {FILLING}", speed, frozen_and_trained(corpus, stage, layers)[0] / peak)


def frozen_and_trained(corpus: Corpus, stage: str, layers: int | None) -> tuple[float, float]:
    """Operations for a second of audio, in the part of the encoder that the stage freezes and in the rest."""
    front, lower, upper = encoder_operations(corpus.encoder, layers)
    return (front, lower + upper) if stage == "stage 1" else (front + lower, upper)


def predict(corpus: Corpus, peak: float, threads: int, layers: int | None) -> Figures:
    """Recognition of the corpus in bf16, after a few recordings to warm up."""
    from ser_meta.training.prediction.inputs import find_recordings
    from ser_meta.training.prediction.recognition import load_pipeline, recognise_all

    start_torch(threads)
    with tempfile.TemporaryDirectory() as folder:
        recognise = load_pipeline(write_model(Path(folder), corpus.encoder, layers), {}, 16, None, "bf16")
    paths = find_recordings([str(corpus.table.parent)])
    list(recognise_all(recognise, paths[:8]))
    speed = len(paths) / seconds_of(lambda: list(recognise_all(recognise, paths)))
    return figures_of(corpus, "prediction", speed, sum(encoder_operations(corpus.encoder, layers)) / peak)


def encoder_operations(encoder: Path, layers: int | None) -> tuple[float, float, float]:
    """Operations for a second of audio: the convolutions, up to the first third of the layers, and above."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoConfig, AutoModel

    with torch.device("meta"):
        config = AutoConfig.from_pretrained(encoder)
        config.num_hidden_layers = layers or config.num_hidden_layers
        model = AutoModel.from_config(config).eval()
        waves = torch.zeros(1, round(MEAN * RATE))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(waves)
    name, layers = type(model).__name__, model.config.num_hidden_layers
    counts = {module: sum(found.values()) / MEAN for module, found in counter.get_flop_counts().items()}
    front = counts[f"{name}.feature_extractor"]
    upper = sum(counts[f"{name}.encoder.layers.{layer}"] for layer in range(layers // 3, layers))
    return front, counts[name] - front - upper, upper


def figures_of(corpus: Corpus, what: str, speed: float, share_a_second: float) -> Figures:
    """A line of so many utterances a second, each second of which takes a share of the peak."""
    import torch

    seconds = statistics.mean(corpus_durations(corpus))
    on_gpu = torch.cuda.is_available()
    memory = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else peak_megabytes()
    return Figures("", what, speed, speed * seconds / 3600, memory, speed * seconds * share_a_second)


def write(figures: list[Figures], facts: Mapping[str, Any], output: Path) -> None:
    """Writes `output`.json and `output`.md, and prints the latter."""
    lines = [
        "| encoder | what | utterances/s | hours of audio/s | memory, MB | share of peak |",
        "|---|---|---|---|---|---|",
    ]
    for one in figures:
        lines.append(
            f"| {one.encoder} | {one.what} | {one.utterances:.4g} | {one.hours:.3g} | {one.memory:.0f} "
            f"| {100 * one.peak_share:.3g} % |"
        )
    write_page(lines, [asdict(one) for one in figures], facts, output)


if __name__ == "__main__":
    typer.run(main)
