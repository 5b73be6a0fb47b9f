"""Memory, time and timestamps over a long recording: a corpus's recordings strung together, heard by one pipeline.

python examples/benchmarks/long_recording.py ravdess /data/ravdess --model runs/ravdess/model --minutes 5 --minutes 60
python examples/benchmarks/long_recording.py ravdess /data/ravdess --model runs/ravdess/model --speaker 23 --speaker 24

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
from functools import partial
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
    speakers: Annotated[list[str] | None, typer.Option("--speaker", help="Only theirs; may be given again.")] = None,
    window: Annotated[float | None, typer.Option(help="Seconds of a window (default: the pipeline's).")] = None,
    hop: Annotated[float | None, typer.Option(help="Seconds between windows (default: the pipeline's).")] = None,
    tolerance: Annotated[float, typer.Option(help="Seconds from a join that count as found.")] = 1.0,
    batch_size: Annotated[int, typer.Option(help="Pieces at a time.")] = 4,
) -> None:
    """Prints one JSON object a length."""
    with tempfile.TemporaryDirectory() as folder:
        # strung together in another process: what a corpus needs in memory is not what is measured
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
            lengths = minutes or [5.0, 60.0]
            paths = [Path(folder) / f"{index}.wav" for index in range(len(lengths))]
            strung = partial(string_together, corpus, root, speakers)
            truths = list(other.map(strung, lengths, paths))
        recognise = load(model)
        options = {"window_seconds": window, "hop_seconds": hop, "batch_size": batch_size, "tasks": ["emotion"]}
        for path, truth in zip(paths, truths, strict=True):
            print(json.dumps(measure(recognise, path, truth, options, tolerance)), flush=True)


def string_together(corpus: str, root: str, speakers: list[str] | None, minutes: float, path: Path) -> Truth:
    """Writes recordings in random order, none twice, neighbours by different speakers, until they are long enough.

    Returns:
        start, end and emotion of each.
    """
    import soundfile

    from ser_meta.modeling_ser_meta.audio_ser_meta import read_audio
    from ser_meta.training.corpora import load_corpus

    rows = [row for row in load_corpus(corpus, root) if row["emotion"]]
    rows = [row for row in rows if not speakers or row.get("speaker") in speakers]
    random.Random(1).shuffle(rows)
    truth, end, speaker = [], 0.0, None
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        while rows and end < 60 * minutes:
            row = rows.pop(next((at for at, row in enumerate(rows) if row.get("speaker") != speaker), 0))
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


def measure(recognise: Any, path: Path, truth: Truth, options: dict[str, Any], tolerance: float) -> dict[str, Any]:
    """Memory, time, and how well the segments fit the truth."""
    before, started = peak_megabytes(), time.monotonic()
    result = recognise(str(path), **options)
    seconds, audio = time.monotonic() - started, truth[-1][1]
    return {
        "parameters": recognise.model.num_parameters(),
        "minutes": round(audio / 60, 2),
        **options,
        "peak_megabytes_before": before,
        "peak_megabytes": peak_megabytes(),
        "seconds": round(seconds, 2),
        "times_real_time": round(seconds / audio, 4),
        **fit(truth, [(s["start"], s["end"], s["emotion"][0]["label"]) for s in result["segments"]], tolerance),
    }


def fit(truth: Truth, segments: Truth, tolerance: float) -> dict[str, Any]:
    """Joins, where the emotion truly changes, and boundaries, where the segments' label does: how many are near.

    A missed join is the model's fault where it gives both recordings one label, and a misplaced boundary where it
    lies near a join of two recordings of the same emotion. `label_by_time` is the share of the time with the true
    label; a recording's label is the one that most of it has.
    """
    joins, found = changes(truth), changes(segments)
    ends = [end for _, end, _ in truth[:-1]]
    spent = [time_by_label(segments, start, end) for start, end, _ in truth]
    heard = [max(seconds, key=seconds.get, default=None) for seconds in spent]
    at_joins = [
        pair for pair, (one, other) in zip(pairwise(heard), pairwise(truth), strict=True) if one[2] != other[2]
    ]
    missed = [
        one == other for (one, other), join in zip(at_joins, joins, strict=True) if not near(join, found, tolerance)
    ]
    right = [label == emotion for label, (_, _, emotion) in zip(heard, truth, strict=True)]
    return {
        "tolerance": tolerance,
        "joins": len(joins),
        "joins_found": share_near(joins, found, tolerance),
        "joins_missed_with_one_label_for_both": sum(missed),
        "joins_missed_otherwise": len(missed) - sum(missed),
        "boundaries": len(found),
        "boundaries_at_a_join": share_near(found, joins, tolerance),
        "boundaries_where_a_recording_ends": share_near(found, ends, tolerance),
        "label_by_time": round(
            sum(each.get(of[2], 0) for each, of in zip(spent, truth, strict=True)) / truth[-1][1], 4
        ),
        "recordings": len(truth),
        "recordings_labelled_right": round(sum(right) / len(right), 4),
    }


def time_by_label(segments: Truth, since: float, until: float) -> dict[str, float]:
    """Seconds of each label between two times."""
    seconds: dict[str, float] = {}
    for start, end, label in segments:
        if min(end, until) > max(start, since):
            seconds[label] = seconds.get(label, 0) + min(end, until) - max(start, since)
    return seconds


def changes(stretches: Truth) -> list[float]:
    """Times at which the label changes: the middle of a pause between two of them."""
    return [(before[1] + after[0]) / 2 for before, after in pairwise(stretches) if before[2] != after[2]]


def near(time: float, others: list[float], tolerance: float) -> bool:
    """Whether one of the others is no farther than the tolerance, in seconds."""
    return any(abs(time - other) <= tolerance for other in others)


def share_near(times: list[float], others: list[float], tolerance: float) -> float | None:
    """The share of times with one of the others near; None without times."""
    return round(sum(near(time, others, tolerance) for time in times) / len(times), 4) if times else None


def peak_megabytes() -> float:
    """The most memory that this process has had so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


if __name__ == "__main__":
    typer.run(main)
