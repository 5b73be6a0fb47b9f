"""A recording's emotion over time, as a PNG file."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from .plots_style import FAINT, INK, TASK_COLOURS, bare, plain, save
from .predictions_table import clock

BIN_SECONDS = 0.01  # of the waveform's envelope while it is read
BINS = 1500  # of the envelope that is drawn


def plot_timeline(
    blocks: Iterable[np.ndarray],
    sampling_rate: int,
    segments: Sequence[Mapping[str, Any]],
    labels: Sequence[str],
    path: str | Path,
    title: str,
    start: float = 0.0,
) -> Path:
    """Draws the waveform, and beneath it a lane for each label with its segments; a paler bar is a lower score.

    Of the waveform the extremes are pale and the root mean square is dark: of an hour, the extremes are a mere block.

    Args:
        blocks: of the recording, each `(samples,)`; read once, and only their envelope is kept.
        sampling_rate: of the samples, in Hz.
        segments: `{"start", "end", "label", "score"}`, in seconds; a label of None is uncertain and has the last lane.
        labels: the lanes, from top to bottom.
        path: of the PNG; its folder is made.
        title: above the picture.
        start: where in its recording the first block begins, in seconds: the segments' times are of the recording.

    Returns:
        The path.
    """
    rows = [*labels, *([None] if any(segment["label"] is None for segment in segments) else [])]
    figure = Figure(figsize=(10, 2.2 + 0.32 * len(rows)), layout="constrained")
    wave, lanes = figure.subplots(2, sharex=True, height_ratios=[1.6, 0.4 * len(rows)])
    end = draw_wave(wave, blocks, sampling_rate, start)
    wave.set_title(plain(title), color=INK, fontsize=11)
    _draw_lanes(lanes, segments, rows)
    lanes.set_xlim(start, end)
    lanes.set_xlabel("time", color=INK)
    lanes.xaxis.set_major_locator(MaxNLocator(9, steps=[1, 1.5, 2, 3, 6, 10]))
    lanes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: clock(seconds).removesuffix(".0")))
    for axes in (wave, lanes):
        bare(axes)
        axes.spines["left"].set_visible(False)
    return save(figure, path)


def draw_wave(axes: Axes, blocks: Iterable[np.ndarray], sampling_rate: int, start: float = 0.0) -> float:
    """Draws a recording's waveform, see `plot_timeline`; returns where it ends, in seconds."""
    times, low, high, level = _envelope(blocks, sampling_rate)
    times = times + start
    axes.fill_between(times, low, high, color=FAINT, linewidth=0)
    axes.fill_between(times, -level, level, color=INK, linewidth=0)
    axes.set_yticks([])
    return float(times[-1])


def _draw_lanes(axes: Axes, segments: Sequence[Mapping[str, Any]], labels: Sequence[str | None]) -> None:
    for lane, label in enumerate(labels):
        colour = FAINT if label is None else TASK_COLOURS[lane % len(TASK_COLOURS)]
        mine = [segment for segment in segments if segment["label"] == label]
        axes.broken_barh(
            [(segment["start"], segment["end"] - segment["start"]) for segment in mine],
            (lane - 0.4, 0.8),
            facecolors=[(colour, 0.25 + 0.75 * segment["score"]) for segment in mine],
        )
    axes.set_ylim(len(labels) - 0.5, -0.5)
    because = sorted({segment["because"] for segment in segments if segment["label"] is None})
    names = [plain(" or ".join(because) if label is None else label) for label in labels]
    axes.set_yticks(range(len(labels)), names, color=INK)
    axes.tick_params(axis="y", length=0)


def _envelope(blocks: Iterable[np.ndarray], sampling_rate: int) -> tuple[np.ndarray, ...]:
    """Times, lowest and highest samples, and root mean squares, of at most `BINS` stretches."""
    step = max(1, round(BIN_SECONDS * sampling_rate))
    found, samples = [], 0
    for block in blocks:
        starts = np.arange(0, len(block), step)
        if len(block):
            lowest, highest = np.minimum.reduceat(block, starts), np.maximum.reduceat(block, starts)
            squares = np.add.reduceat(np.square(block, dtype=np.float64), starts)
            counts = np.diff(starts, append=len(block))
            found.append(np.stack([(samples + starts) / sampling_rate, lowest, highest, squares, counts]))
        samples += len(block)
    times, low, high, squares, counts = np.concatenate(found, axis=1)
    starts = np.unique(np.linspace(0, len(times), BINS, endpoint=False).astype(int))
    times = np.append(times[starts][:-1], samples / sampling_rate) if len(starts) > 1 else np.array([0.0])
    level = np.sqrt(np.add.reduceat(squares, starts) / np.add.reduceat(counts, starts))
    return times, np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts), level
