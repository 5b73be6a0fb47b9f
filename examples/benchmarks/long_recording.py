"""Memory, time and timestamps over a long recording: a corpus's recordings strung together, heard by one pipeline.

python examples/benchmarks/long_recording.py ravdess /data/ravdess --model runs/ravdess/model --minutes 5 --minutes 60

Without --model it is a base-size wav2vec2 with random weights: memory and time are a trained one's, the labels mean
nothing. Lengths are heard one after the other in one process, so memory that grows with the length shows.
"""

import json
import multiprocessing
import random
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer

RATE = 16_000
Truth = list[tuple[float, float, str]]


def main(
    corpus: Annotated[str, typer.Argument(help="A corpus's name, or table.")],
    root: Annotated[str, typer.Argument(help="The corpus's folder, or the table.")],
    model: Annotated[Path | None, typer.Option(help="A ser-meta model folder.")] = None,
    minutes: Annotated[list[float] | None, typer.Option(help="Lengths, rising; may be given again.")] = None,
    window: Annotated[float, typer.Option(help="Seconds of a window.")] = 4.0,
    hop: Annotated[float, typer.Option(help="Seconds from one window to the next.")] = 2.0,
    batch_size: Annotated[int, typer.Option(help="Windows at a time.")] = 4,
) -> None:
    """Prints one JSON object a length."""
    with tempfile.TemporaryDirectory() as folder:
        # strung together in another process: what a corpus needs in memory is not what is measured
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
            lengths = minutes or [5.0, 60.0]
            paths = [Path(folder) / f"{index}.wav" for index in range(len(lengths))]
            given = [corpus] * len(lengths), [root] * len(lengths), lengths, paths
            truths = list(other.map(string_together, *given))
        recognise = load(model)
        for path, truth in zip(paths, truths, strict=True):
            print(json.dumps(measure(recognise, path, truth, window, hop, batch_size)), flush=True)


def string_together(corpus: str, root: str, minutes: float, path: Path) -> Truth:
    """Writes recordings in random order, neighbours by different speakers; returns start, end and emotion of each."""
    import soundfile

    from ser_meta.modeling_ser_meta.audio_ser_meta import read_audio
    from ser_meta.training.corpora import load_corpus

    rows = [row for row in load_corpus(corpus, root) if row["emotion"]]
    chance, truth, end, speaker = random.Random(1), [], 0.0, None
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        while end < 60 * minutes:
            row = chance.choice([row for row in rows if row.get("speaker") != speaker])
            samples = read_audio(row["audio"], RATE)
            file.write(samples)
            truth.append((end, end + len(samples) / RATE, row["emotion"]))
            end, speaker = truth[-1][1], row.get("speaker")
    return truth


def load(model: Path | None) -> Any:
    """The pipeline of a trained model, or of a base-size encoder with random weights."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor

    from ser_meta.modeling_ser_meta import SerMetaConfig, SerMetaModel, SerMetaProcessor, SpeechEmotionPipeline
    from ser_meta.modeling_ser_meta.processing_ser_meta import character_tokenizer

    if model is not None:
        parts = SerMetaModel.from_pretrained(model).eval(), SerMetaProcessor.from_pretrained(model)
    else:
        torch.manual_seed(0)
        tasks = {"emotion": {"labels": ["neutral", "happy", "angry", "sad"]}, "transcript": {"kind": "ctc"}}
        config = SerMetaConfig(speech_config=Wav2Vec2Config(), tasks=tasks)
        processor = SerMetaProcessor(Wav2Vec2FeatureExtractor(do_normalize=False), character_tokenizer())
        parts = SerMetaModel(config).eval(), processor
    return SpeechEmotionPipeline(model=parts[0], processor=parts[1])


def measure(recognise: Any, path: Path, truth: Truth, window: float, hop: float, batch_size: int) -> dict[str, Any]:
    """Memory, time, and how well the segments fit the truth."""
    before, started = peak_megabytes(), time.monotonic()
    result = recognise(str(path), window_seconds=window, hop_seconds=hop, batch_size=batch_size, tasks=["emotion"])
    seconds, audio = time.monotonic() - started, truth[-1][1]
    return {
        "parameters": recognise.model.num_parameters(),
        "minutes": round(audio / 60, 2),
        "window": window,
        "hop": hop,
        "batch_size": batch_size,
        "peak_megabytes_before": before,
        "peak_megabytes": peak_megabytes(),
        "seconds": round(seconds, 1),
        "times_real_time": round(seconds / audio, 4),
        **fit(truth, [(s["start"], s["end"], s["emotion"][0]["label"]) for s in result["segments"]], hop),
    }


def fit(truth: Truth, segments: Truth, tolerance: float) -> dict[str, Any]:
    """Changes of emotion in the truth and in the segments, and how many of each lie near one of the other.

    `label_by_time` is the share of the time for which the segments have the true label.
    """
    joins, found = changes(truth), changes(segments)
    overlaps = (
        max(0.0, min(end, until) - max(start, since))
        for start, end, label in truth
        for since, until, guess in segments
        if guess == label
    )
    return {
        "joins": len(joins),
        "joins_found_within_a_hop": share_near(joins, found, tolerance),
        "boundaries": len(found),
        "boundaries_within_a_hop_of_a_join": share_near(found, joins, tolerance),
        "label_by_time": round(sum(overlaps) / truth[-1][1], 4),
    }


def changes(stretches: Truth) -> list[float]:
    """Times at which the label changes."""
    return [after[0] for before, after in pairwise(stretches) if before[2] != after[2]]


def share_near(times: list[float], others: list[float], tolerance: float) -> float | None:
    """The share of times with one of the others no farther than the tolerance, in seconds; None without times."""
    near = [any(abs(time - other) <= tolerance for other in others) for time in times]
    return round(sum(near) / len(near), 4) if near else None


def peak_megabytes() -> float:
    """The most memory that this process has had so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


if __name__ == "__main__":
    typer.run(main)
