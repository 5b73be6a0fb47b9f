"""A conversation as a PNG file: who speaks when, how it sounds, and each speaker's shares of the time spoken."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from .plots_style import FAINT, INK, TASK_COLOURS, bare, plain, save
from .predictions_table import UNCERTAIN, clock
from .timeline import draw_wave


def plot_conversation(
    blocks: Iterable[np.ndarray],
    sampling_rate: int,
    segments: Sequence[Mapping[str, Any]],
    speakers: Mapping[str, Mapping[str, Any]],
    labels: Sequence[str],
    path: str | Path,
    title: str,
) -> Path:
    """Draws the waveform; beneath it a lane for each speaker, whose bars have the colours of labels; and beneath that
    each speaker's shares in the parts of the conversation, as high as they spoke long.

    Args:
        blocks: of the recording, each `(samples,)`.
        sampling_rate: of the samples, in Hz.
        segments: `{"start", "end", "label", "score", "speaker"}`, in seconds; a label of None is uncertain.
        speakers: see `conversation.speaker_summaries`.
        labels: of the task, in the order of their colours.
        path: of the PNG; its folder is made.
        title: above the picture.

    Returns:
        The path.
    """
    colours = {label: TASK_COLOURS[number % len(TASK_COLOURS)] for number, label in enumerate(labels)}
    colours[UNCERTAIN] = FAINT
    heights = [1.4, 0.5 * len(speakers), *[0.8] * len(speakers)]
    figure = Figure(figsize=(10, 1.6 + sum(heights)), layout="constrained")
    wave, lanes, *shares = figure.subplots(len(heights), sharex=True, height_ratios=heights)
    end = draw_wave(wave, blocks, sampling_rate)
    wave.set_title(plain(title), color=INK, fontsize=11)
    _draw_turns(lanes, segments, list(speakers), colours)
    for axes, (speaker, summary) in zip(shares, speakers.items(), strict=True):
        _draw_shares(axes, speaker, summary["over_time"], colours)
        axes.set_ylim(0, max([1.0, *(part["seconds"] for of in speakers.values() for part in of["over_time"])]))
    lanes.set_xlim(0, end)
    shares[-1].set_xlabel(f"Time. {_key(speakers)}", color=INK)
    shares[-1].xaxis.set_major_locator(MaxNLocator(9, steps=[1, 1.5, 2, 3, 6, 10]))
    shares[-1].xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: clock(seconds).removesuffix(".0")))
    shown = {UNCERTAIN if segment["label"] is None else segment["label"] for segment in segments}
    patches = [Patch(color=colour, label=plain(label)) for label, colour in colours.items() if label in shown]
    figure.legend(handles=patches, loc="outside lower center", ncols=min(8, len(patches)), frameon=False, fontsize=9)
    for axes in (wave, lanes, *shares):
        bare(axes)
        axes.spines["left"].set_visible(False)
    return save(figure, path)


def _key(speakers: Mapping[str, Mapping[str, Any]]) -> str:
    """What the bars mean, all of which are of one length but for the last."""
    first = next(part for summary in speakers.values() for part in summary["over_time"])
    return (
        f"A bar stands for {first['end'] - first['start']:g} s, its height for how much of them is spoken; pale turns "
        "have a low score"
    )


def _draw_turns(
    axes: Axes, segments: Sequence[Mapping[str, Any]], speakers: Sequence[str], colours: Mapping[str, str]
) -> None:
    for lane, speaker in enumerate(speakers):
        own = [segment for segment in segments if segment["speaker"] == speaker]
        axes.broken_barh(
            [(segment["start"], segment["end"] - segment["start"]) for segment in own],
            (lane - 0.4, 0.8),
            facecolors=[
                (colours[UNCERTAIN if segment["label"] is None else segment["label"]], 0.3 + 0.7 * segment["score"])
                for segment in own
            ],
        )
    axes.set_ylim(len(speakers) - 0.5, -0.5)
    axes.set_yticks(range(len(speakers)), [plain(speaker) for speaker in speakers], color=INK)
    axes.tick_params(axis="y", length=0)


def _draw_shares(axes: Axes, speaker: str, parts: Sequence[Mapping[str, Any]], colours: Mapping[str, str]) -> None:
    starts = np.array([part["start"] for part in parts])
    widths = np.array([part["end"] for part in parts]) - starts
    spoken, below = np.array([part["seconds"] for part in parts]), np.zeros(len(parts))
    for label, colour in colours.items():
        height = spoken * [part["shares"].get(label, 0.0) for part in parts]
        axes.bar(starts, height, 0.92 * widths, below, color=colour, align="edge")
        below = below + height
    axes.set_yticks([])
    axes.set_ylabel(plain(speaker), color=INK, rotation=0, ha="right", va="center")
