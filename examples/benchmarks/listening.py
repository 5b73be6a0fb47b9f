"""`ser-meta listen`: how soon a turn's answer comes, what a second of sound costs, and memory over hours of it.

python examples/benchmarks/listening.py runs/ravdess/model /data/ravdess --threads 2 --minutes 5   # at its pace
python examples/benchmarks/listening.py runs/ravdess/model /data/ravdess --busy --minutes 5        # a busy machine
python examples/benchmarks/listening.py runs/ravdess/model /data/ravdess --threads 1 --hours 3     # as fast as it goes

With --minutes the recordings of a folder, with pauses between them, are sent in blocks of 20 ms at the pace at which
they were spoken. A turn's answer is late by the time from when its last sample was sent, by its `end`, to when its
line came; the lines are compared with what `ser-meta predict --turns found` says of the sound as a file. Where others
use the machine too, their work counts in that: with --busy the sound is heard here, and time goes on by the processor
time that it takes, as on one free core. With --hours blocks are sent as fast as they are taken: what a second of sound
takes of one core, and memory as it goes on.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Annotated, Any

import numpy as np
import typer

RATE = 16_000
BLOCK = 320  # samples: 20 ms
MEMORY_EVERY = 600.0  # seconds of sound


def main(
    model: Annotated[str, typer.Argument(help="A ser-meta model: folder, or owner/name on the Hub.")],
    recordings: Annotated[Path, typer.Argument(help="A folder of recordings of single utterances.")],
    minutes: Annotated[float, typer.Option(help="Of sound at its own pace; 0 for none.")] = 0.0,
    hours: Annotated[float, typer.Option(help="Of sound as fast as it is taken; 0 for none.")] = 0.0,
    pause: Annotated[float, typer.Option(help="Mean seconds between two recordings.")] = 1.5,
    threads: Annotated[int, typer.Option(help="Of torch.")] = 2,
    busy: Annotated[bool, typer.Option("--busy", help="Count processor time, of one core.")] = False,
    seed: Annotated[int, typer.Option(help="Of the recordings' order and the pauses.")] = 0,
) -> None:
    """Prints one JSON object a measurement."""
    with tempfile.TemporaryDirectory() as folder:
        if minutes:
            sound = talk(recordings, pause, seed, 60 * minutes)
            found = delay_on_a_core(model, sound) if busy else measure_delay(model, sound, threads, Path(folder))
            print(json.dumps(found), flush=True)
        if hours:
            print(json.dumps(measure_cost(model, recordings, pause, seed, hours, threads, Path(folder))), flush=True)


def talk(folder: Path, pause: float, seed: int, seconds: float) -> np.ndarray:
    """So many seconds of recordings in random order with pauses of a quiet room between them, 16-bit `(samples,)`."""
    from ser_meta.modeling_ser_meta.audio_ser_meta import read_audio
    from ser_meta.training.prediction.inputs import find_recordings

    chance, paths, parts, found = np.random.default_rng(seed), find_recordings([str(folder)]), [], 0
    for place in chance.permutation(len(paths)):
        length = round(chance.uniform(0.5, 1.5) * pause * RATE)
        parts += [np.zeros(length, np.float32), read_audio(paths[place], RATE)]
        found += sum(map(len, parts[-2:]))
        if found >= seconds * RATE:
            break
    samples = np.concatenate(parts)[: round(seconds * RATE)]
    samples = samples + chance.normal(scale=3e-4, size=len(samples))
    return (samples.clip(-1, 1) * 32767).astype("<i2")


class Listener:
    """`ser-meta listen` in a process of its own; its lines, and when each came."""

    def __init__(self, model: str, threads: int):
        command = [sys.executable, "-m", "ser_meta.training", "listen", model, "--raw-rate", str(RATE)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self.lines: list[tuple[float, dict[str, Any]]] = []
        self.reading = Thread(target=self._read)
        self.reading.start()

    def send(self, samples: np.ndarray) -> None:
        """Waits until they are taken."""
        self.process.stdin.write(samples.tobytes())
        self.process.stdin.flush()

    def finish(self) -> list[tuple[float, dict[str, Any]]]:
        """All lines."""
        self.process.stdin.close()
        self.reading.join()
        if self.process.wait():
            raise SystemExit("ser-meta listen failed")
        return self.lines

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append((time.monotonic(), json.loads(line)))


def measure_delay(model: str, sound: np.ndarray, threads: int, folder: Path) -> dict[str, Any]:
    """Seconds from a turn's end to its line, at the pace of speech."""
    listener = Listener(model, threads)
    listener.send(sound[: 30 * RATE])  # the model is loaded, and has heard something
    while not listener.lines and listener.process.poll() is None:
        time.sleep(0.1)
    time.sleep(5)
    start = time.monotonic() - 30
    for place in range(30 * RATE, len(sound), BLOCK):
        time.sleep(max(0.0, start + (place + BLOCK) / RATE - time.monotonic()))  # a block comes when it is full
        listener.send(sound[place : place + BLOCK])
    lines = listener.finish()
    turns = [(at, line) for at, line in lines if line.get("final")]
    late = [at - (start + line["end"]) for at, line in turns[:-1] if line["end"] > 35]
    return {
        "measured": "delay",
        "threads": threads,
        **summary(late),
        "behind": sum("behind" in line for _, line in lines),
        **compare(model, sound, [line for _, line in turns], folder),
    }


def delay_on_a_core(model: str, sound: np.ndarray) -> dict[str, Any]:
    """The same where a block is heard as soon as it is there and the one before is done, by processor time."""
    import torch

    from ser_meta.training.prediction.recognition import load_pipeline

    torch.set_num_threads(1)
    recognise = load_pipeline(model, {}, 1, None)
    list(recognise.stream(RATE).turns([sound[: 60 * RATE]]))  # warm
    stream, free, late, used = recognise.stream(RATE), 0.0, [], 0.0
    for place in range(0, len(sound), BLOCK):
        block = sound[place : place + BLOCK]
        before = time.process_time()
        turns = stream.feed(block)
        took = time.process_time() - before
        used += took
        free = max(free, (place + len(block)) / RATE) + took
        late += [free - turn["end"] for turn in turns]
    cost = {"processor_s_per_s": round(used / (len(sound) / RATE), 3)}
    return {"measured": "delay by processor time", "threads": 1, **summary(late), **cost}


def summary(late: list[float]) -> dict[str, Any]:
    """Of seconds: how many, their median and their 95th percentile."""
    quantiles = {"median_s": statistics.median(late), "p95_s": float(np.quantile(late, 0.95))}
    return {"turns": len(late), **{name: round(value, 3) for name, value in quantiles.items()}}


def measure_cost(
    model: str, recordings: Path, pause: float, seed: int, hours: float, threads: int, folder: Path
) -> dict[str, Any]:
    """Processor seconds a second of sound, and memory as time goes on, over ten minutes of sound again and again."""
    import psutil

    sound, sent, memory = talk(recordings, pause, seed, 600.0), 0, []
    listener = Listener(model, threads)
    process = psutil.Process(listener.process.pid)
    listener.send(sound[: 60 * RATE])  # when so much is taken, the model is loaded
    before = sum(process.cpu_times()[:2])
    for block in endless(sound, round(hours * 3600 * RATE)):
        listener.send(block)
        sent += len(block)
        if sent / RATE >= MEMORY_EVERY * (len(memory) + 1):
            memory.append(round(process.memory_info().rss / 2**20))
    used = sum(process.cpu_times()[:2]) - before
    turns = [line for _, line in listener.finish() if line.get("final")]
    return {
        "measured": "cost",
        "threads": threads,
        "hours": hours,
        "turns": len(turns),
        "processor_s_per_s": round(used / (sent / RATE), 3),
        "memory_mib_first_half": max(memory[: max(1, len(memory) // 2)]),
        "memory_mib_second_half": max(memory[len(memory) // 2 :]),
    }


def endless(sound: np.ndarray, samples: int) -> Iterator[np.ndarray]:
    """Blocks of a tenth of a second of a sound that begins anew at its end."""
    block = RATE // 10
    for place in range(0, samples, block):
        at = place % (len(sound) - block)
        yield sound[at : at + min(block, samples - place)]


def compare(model: str, sound: np.ndarray, turns: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
    """How far the lines are from what is said of the same sound as a file."""
    import soundfile

    soundfile.write(folder / "talk.wav", sound, RATE)
    command = [sys.executable, "-m", "ser_meta.training", "predict", model, folder / "talk.wav", "--turns", "found"]
    done = subprocess.run([*command, "--json"], capture_output=True, check=True)
    segments = json.loads(done.stdout)["segments"]
    starts = {segment["turn"]: segment["start"] for segment in reversed(segments)}
    same = [starts[number] for number in sorted(starts)] == [turn["start"] for turn in turns]
    pairs = [(one, other) for one in segments for other in turns if one["start"] == other["start"]]
    pairs = [(one, other) for one, other in pairs if one["end"] == other["end"] and "confidence" in one]
    apart = [abs(one["confidence"] - other["confidence"]) for one, other in pairs]
    return {"turns_as_in_the_file": same, "scores_differ_by_at_most": float(f"{max(apart, default=0.0):.1e}")}


if __name__ == "__main__":
    typer.run(main)
