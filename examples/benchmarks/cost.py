"""What a large corpus will cost, from what was measured on a small one: days of training, and disk for what is kept.

python examples/benchmarks/cost.py device.json --hours 1000 --devices 1 --devices 8
"""

import json
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated

import typer

FRAMES = 50 * 3600  # an hour has, in these encoders
STAGES = ("stage 1", "stage 2")
SHAPES = {"base": (12, 768), "large": (24, 1024)}  # layers, of which the second stage freezes a third, and their width
CONVOLUTIONS = 512 * 4  # bytes of a frame of their output
KEPT, NOTHING_KEPT, FILLING = "frozen part kept", "nothing kept", "filling"


@dataclass
class Assumptions:
    """What is not measured.

    Args:
        hours: of audio in the corpus.
        speeds: at which every utterance is kept.
        epochs: of each stage.
        efficiency: of several devices: the share of so many times one device's speed that is left (gradients are
            exchanged after every step; 0.9 is usual for models of this size on one machine, and not measured here).
        disk: gigabytes a second that all devices together read.
        layers, width: of the measured encoders.
    """

    hours: float
    speeds: int
    epochs: float
    efficiency: float
    disk: float
    layers: int = SHAPES["base"][0]
    width: int = SHAPES["base"][1]


def frame_bytes(stage: str, given: Assumptions) -> int:
    """Bytes that are kept of a frame: in the second stage the states of the lowest third of the layers."""
    return given.layers // 3 * given.width * 4 if stage == "stage 2" and given.layers >= 3 else CONVOLUTIONS


def stage_cost(rates: dict[str, float], stage: str, kept: bool, devices: int, given: Assumptions) -> dict[str, float]:
    """Days and terabytes of one stage.

        speed    = rate x devices x (efficiency if devices > 1 else 1)        hours of audio a second
        speed    = min(speed, disk / gigabytes of an hour)                   where the frozen part is kept
        filling  = hours x speeds / filling's rate                           seconds, once; else 0
        training = hours x epochs / speed                                    seconds
        disk     = hours x speeds x gigabytes of an hour                     where the frozen part is kept

    Assumed beside `given`: speed does not depend on the corpus's size (batches are alike, and the sampler's work is
    negligible); lengths are distributed as in what was measured; one device fills while the others wait; evaluation
    and checkpoints are not counted; what is kept is read from disk each epoch, and nothing of it stays in memory.

    Args:
        rates: measured hours of audio a second, by what was measured.
        stage: `stage 1` or `stage 2`.
        kept: whether the output of the frozen part is.
        devices: that train together.
        given: see `Assumptions`.
    """
    together = devices * (given.efficiency if devices > 1 else 1.0)
    speed = rates[f"{stage}, {KEPT if kept else NOTHING_KEPT}"] * together
    gigabytes, filling = FRAMES * frame_bytes(stage, given) / 1e9, 0.0
    if kept:
        speed = min(speed, given.disk / gigabytes)
        filling = given.hours * given.speeds / rates[f"{stage}, {FILLING}"]
    return {
        "days": (filling + given.hours * given.epochs / speed) / 86_400,
        "days of it filling": filling / 86_400,
        "terabytes": given.hours * given.speeds * gigabytes / 1000 if kept else 0.0,
    }


def measured_stages(rates: dict[str, float]) -> list[str]:
    """Those of the stages that were measured."""
    return [stage for stage in STAGES if f"{stage}, {KEPT}" in rates]


def main(
    measured: Annotated[Path, typer.Argument(help="What device.py wrote, the .json.")],
    hours: Annotated[float, typer.Option(help="Of audio in the corpus.")] = 1000.0,
    devices: Annotated[list[int] | None, typer.Option(help="That train together; may be given again.")] = None,
    speeds: Annotated[int, typer.Option(help="Speed factors of the recipe.")] = 3,
    epochs: Annotated[float, typer.Option(help="Of each stage.")] = 10.0,
    efficiency: Annotated[float, typer.Option(help="Of several devices, beside one.")] = 0.9,
    disk: Annotated[float, typer.Option(help="Gigabytes a second that can be read.")] = 2.0,
) -> None:
    """Extrapolates to a large corpus.

    Example: python examples/benchmarks/cost.py device.json --hours 1000 --devices 1 --devices 8
    """
    results = json.loads(measured.read_text(encoding="utf-8"))
    rows, settings = results["rows"], results["settings"]
    layers, width = SHAPES.get(settings["size"], SHAPES["base"])
    given = Assumptions(hours, speeds, epochs, efficiency, disk, settings.get("encoder_layers") or layers, width)
    print("| encoder | stage | devices | days | days of it filling | disk, TB |\n|---|---|---|---|---|---|")
    for encoder in dict.fromkeys(row["encoder"] for row in rows):
        rates = {row["what"]: row["hours"] for row in rows if row["encoder"] == encoder}
        for stage, kept, count in product(measured_stages(rates), (False, True), devices or [1, 2, 4, 8]):
            cost = " | ".join(f"{value:.3g}" for value in stage_cost(rates, stage, kept, count, given).values())
            print(f"| {encoder} | {stage}, {KEPT if kept else NOTHING_KEPT} | {count} | {cost} |")
    print(f"\n{given}")


if __name__ == "__main__":
    typer.run(main)
