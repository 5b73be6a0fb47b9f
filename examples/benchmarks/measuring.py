"""How the benchmarks measure: both sides by turns, medians, and a table that says on what."""

import json
import multiprocessing
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm


@dataclass
class Row:
    """One line of a table: ours against a peer.

    Args:
        what: was measured.
        ours, peer: medians, in `unit`.
        unit: such as `utterances/s`.
        ratio: of ours to the peer's: the median over the rounds, each of which measures both.
        lowest, highest: ratio of a round.
        target: what the ratio is to be, such as `at least 1.8`.
        remark: what else there is to say.
    """

    what: str
    ours: float
    peer: float
    unit: str
    ratio: float
    lowest: float
    highest: float
    target: str
    remark: str = ""


def alternate(sides: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Measures every side once a round, in turn; what a measurement returns, by side and round."""
    values = {name: [] for name in sides}
    with tqdm(total=rounds * len(sides), disable=not sys.stderr.isatty()) as bar:
        for _ in range(rounds):
            for name, measure in sides.items():
                bar.set_description(name)
                values[name].append(measure())
                bar.update()
    return values


def compare(what: str, ours: list[float], peer: list[float], unit: str, target: str, remark: str = "") -> Row:
    """The row of two sides that were measured by turns."""
    ratios = [mine / theirs for mine, theirs in zip(ours, peer, strict=True)]
    medians = statistics.median(ours), statistics.median(peer), statistics.median(ratios)
    return Row(what, medians[0], medians[1], unit, medians[2], min(ratios), max(ratios), target, remark)


def seconds_of(work: Callable[[], Any]) -> float:
    """How long a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def start_torch(threads: int) -> None:
    """Sets torch's threads in this process, and has Transformers tell of errors only."""
    import torch
    from transformers.utils import logging

    torch.set_num_threads(threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def in_new_process(work: Callable[..., Any], *arguments: Any) -> Any:
    """What a call returns in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
        return other.submit(work, *arguments).result()


def write_results(rows: list[Row], settings: Mapping[str, Any], output: Path) -> None:
    """Writes `output`.json and `output`.md, and prints the latter."""
    lines = ["| what | ours | peer | unit | ratio (range) | target |", "|---|---|---|---|---|---|"]
    for row in rows:
        ratio = f"{row.ratio:.3g} ({row.lowest:.3g}-{row.highest:.3g})"
        what = f"{row.what}; {row.remark}" if row.remark else row.what
        lines.append(f"| {what} | {row.ours:.4g} | {row.peer:.4g} | {row.unit} | {ratio} | {row.target} |")
    write_page(lines, [asdict(row) for row in rows], settings, output)


def write_page(lines: list[str], rows: list[dict[str, Any]], settings: Mapping[str, Any], output: Path) -> None:
    """Writes a table's rows as JSON, and its lines as Markdown with what it was measured on beneath; prints these."""
    facts = {**settings, **machine()}
    output.parent.mkdir(parents=True, exist_ok=True)
    results = json.dumps({"settings": facts, "rows": rows}, indent=2, default=str)
    output.with_suffix(".json").write_text(results + "\n", encoding="utf-8")
    page = "\n".join([*lines, "", "; ".join(f"{name} {value}" for name, value in facts.items()), ""])
    output.with_suffix(".md").write_text(page, encoding="utf-8")
    print(page)


def peak_megabytes() -> float:
    """The most memory that this process has had so far."""
    status = Path("/proc/self/status")
    if status.is_file():  # what getrusage says there of a new process is at least what its parent has had
        (peak,) = (line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def machine() -> dict[str, str]:
    """What runs, and on what."""
    from importlib.metadata import version

    libraries = {name: version(name) for name in ("torch", "transformers", "onnxruntime") if _installed(name)}
    return {"machine": processor(), **_gpu(), "Python": platform.python_version(), **libraries}


def processor() -> str:
    """The processor's name, where the system tells it."""
    facts = Path("/proc/cpuinfo")
    names = [line for line in facts.read_text().splitlines() if "model name" in line] if facts.is_file() else []
    return names[0].split(":")[1].strip() if names else platform.machine()


def _gpu() -> dict[str, str]:
    import torch

    return {"GPU": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}


def _installed(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None
