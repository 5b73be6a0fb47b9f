"""Pictures of a study: folds, calibration, layers, learning and the differences between models, as PNG files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from ...configuration.report import Calibration, Measures
from ...configuration.study_report import Difference
from ..page.plots_style import FAINT, INK, TASK_COLOURS, bare, plain, save
from ..wording import NAMES
from .run import curves_of, judged_by

OURS, LIGHT = TASK_COLOURS[1], "#dbe7f4"
BIN_WIDTH = 1 / 15  # of the calibration's bins


def plot_reliability(calibration: Calibration, path: str | Path, title: str) -> Path:
    """Draws how often the model is right at each confidence, and how many utterances have it.

    Args:
        calibration: of 15 equal bins those with utterances.
        path: of the PNG; its folder is made.
        title: above the picture.

    Returns:
        The path.
    """
    bins = calibration["bins"]
    confidence, accuracy, n = (np.array([each[key] for each in bins]) for key in ("confidence", "accuracy", "n"))
    left = np.minimum(np.floor(confidence / BIN_WIDTH), 14) * BIN_WIDTH
    figure = Figure(figsize=(4.8, 5.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
    upper.plot([0, 1], [0, 1], "--", color=INK, linewidth=1, label="right as often as it says")
    upper.bar(left, accuracy, BIN_WIDTH, align="edge", color=LIGHT, edgecolor=OURS, linewidth=0.8)
    upper.plot(confidence, accuracy, "o", color=OURS, markersize=4, label="measured, by bin of confidence")
    upper.set_title(f"{plain(title)}: expected calibration error {calibration['ece']:.3f}", color=INK, fontsize=11)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, labelcolor=INK, fontsize=8.5)
    upper.set(xlim=(0, 1), ylim=(0, 1.02))
    upper.set_ylabel("share that is right", color=INK)
    lower.bar(left, n, BIN_WIDTH, align="edge", color=OURS, edgecolor="white", linewidth=0.8)
    lower.set_ylabel("utterances", color=INK)
    lower.set_xlabel("confidence (the best score)", color=INK)
    for axes in (upper, lower):
        bare(axes)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    upper.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return save(figure, path)


def plot_folds(
    folds: Mapping[str, Sequence[float]],
    pooled: float,
    path: str | Path,
    interval: Sequence[float] | None = None,
    speakers: int | None = None,
    measure: str = "UA",
) -> Path:
    """Draws a measure fold by fold, a dot a seed, against that of all folds together with its 95 % interval.

    Args:
        folds: name -> a fraction a seed, drawn from top to bottom.
        pooled: the measure of all test utterances together.
        path: of the PNG; its folder is made.
        interval: `[low, high]` of `pooled`.
        speakers: that the interval stands on.
        measure: its name.

    Returns:
        The path.
    """
    figure = Figure(figsize=(6.4, 1.5 + 0.34 * len(folds)), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(pooled, color=INK, linewidth=1.2, label="all test utterances")
    if interval:
        over = f"{speakers} speakers" if speakers else "speakers"
        axes.axvspan(*interval, color=LIGHT, label=f"their 95 % interval over {over}", zorder=0)
    for place, values in enumerate(folds.values()):
        axes.plot([min(values), max(values)], [place, place], color=OURS, linewidth=1.5, alpha=0.5)
        axes.plot(values, [place] * len(values), "o", color=OURS, markersize=6, alpha=0.85)
    axes.plot([], [], "o", color=OURS, label="one fold, one seed")
    axes.set_yticks(range(len(folds)), [plain(name) for name in folds], color=INK)
    axes.set_ylim(len(folds) - 0.4, -0.6)
    axes.set_xlabel(measure, color=INK)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    bare(axes)
    axes.grid(axis="y", visible=False)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, labelcolor=INK, fontsize=8.5)
    return save(figure, path)


def plot_layer_shares(shares: Mapping[str, Sequence[float]], path: str | Path) -> Path:
    """Draws how much each task reads of each of the encoder's layers.

    Args:
        shares: task -> a share a layer, from the first to the last; they sum to 1.
        path: of the PNG; its folder is made.

    Returns:
        The path.
    """
    table = np.array(list(shares.values()))
    tasks, layers = table.shape
    figure = Figure(figsize=(2.2 + 0.62 * layers, 1.5 + 0.5 * tasks), layout="constrained")
    axes = figure.add_subplot()
    picture = axes.imshow(table, cmap="Blues", vmin=0, vmax=table.max(), aspect="auto")
    for (row, column), share in np.ndenumerate(table):
        colour = "white" if share > 0.6 * table.max() else INK
        axes.text(column, row, f"{share:.0%}", ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(layers), range(1, layers + 1), color=INK)
    axes.set_yticks(range(tasks), [plain(task) for task in shares], color=INK)
    axes.set_title("How much of what a task reads comes from each layer", color=INK, fontsize=11, pad=10)
    axes.set_xlabel("layer of the encoder", color=INK)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(picture, ax=axes, format=PercentFormatter(1, decimals=0), pad=0.02)
    bar.outline.set_visible(False)
    return save(figure, path)


def plot_probe(alone: Sequence[Measures], together: Sequence[Measures], suggested: int, path: str | Path) -> Path:
    """Draws the UA of each layer alone and of the lowest layers together, each with its 95 % interval.

    Args:
        alone, together: measures with `ua` and perhaps `interval`, from the first layer to the last.
        suggested: the number of layers that is marked.
        path: of the PNG; its folder is made.

    Returns:
        The path.
    """
    figure = Figure(figsize=(max(5.2, 1.6 + 0.42 * len(alone)), 4.0), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(suggested, color=FAINT, linewidth=7, alpha=0.6, zorder=0, label=f"suggested: {suggested}")
    series = {
        "the layer with all below it": (together, OURS, -0.06),
        "the layer alone": (alone, TASK_COLOURS[0], 0.06),
    }
    for name, (measured, colour, beside) in series.items():
        places = np.arange(1, len(measured) + 1) + beside
        values = [each["ua"] for each in measured]
        bounds = [each.get("interval", {}).get("ua", [each["ua"]] * 2) for each in measured]
        axes.vlines(places, *zip(*bounds, strict=True), color=colour, linewidth=1.2, alpha=0.5)
        axes.plot(places, values, "o-", color=colour, markersize=5, linewidth=1.4, label=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=25))
    axes.set_xlim(0.5, len(alone) + 0.5)
    axes.set_xlabel("layer of the encoder", color=INK)
    axes.set_ylabel("UA of a linear probe", color=INK)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10]))  # whole percents
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    bare(axes)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, labelcolor=INK, fontsize=8.5)
    return save(figure, path)


def plot_curves_of_runs(curves: Mapping[str, Mapping[str, Sequence[Mapping[str, float]]]], path: str | Path) -> Path:
    """Draws small multiples: a panel for each stage's loss or validated UA or AP, a faint line a run and their mean.

    Args:
        curves: run -> stage -> a Trainer's `log_history`, as of `plot_training_curves`.
        path: of the PNG; its folder is made.

    Returns:
        The path.
    """
    rows = _panels(curves)
    columns = max(map(len, rows.values()))
    figure = Figure(figsize=(0.8 + 2.3 * columns, 0.4 + 2.0 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes_of_row, (name, panels) in zip(grid, rows.items(), strict=True):
        axes_of_row[0].set_ylabel(plain(name), color=INK)
        for axes, (title, lines) in zip(axes_of_row, panels.items(), strict=False):
            _draw_panel(axes, title, lines)
        for axes in axes_of_row[len(panels) :]:
            axes.set_visible(False)
    figure.supxlabel("epoch", color=INK, fontsize=10)
    return save(figure, path)


def plot_differences(differences: Sequence[Difference], path: str | Path, measure: str = "ua") -> Path:
    """Draws the differences between models with their 95 % intervals (a forest plot), in percentage points.

    Args:
        differences: drawn from top to bottom.
        path: of the PNG; its folder is made.
        measure: a field of `Difference`, such as `ua`.

    Returns:
        The path.
    """
    figure = Figure(figsize=(7.2, 1.3 + 0.36 * len(differences)), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(0, color=INK, linewidth=1)
    for place, each in enumerate(differences):
        found = getattr(each, measure)
        low, high = found.get("interval", [found["difference"]] * 2)
        axes.plot([low, high], [place, place], color=OURS, linewidth=2)
        axes.plot(found["difference"], place, "s", color=OURS, markersize=6)
    encoders = {each.encoder for each in differences}
    axes.set_yticks(range(len(differences)), [_comparison(each, len(encoders) > 1) for each in differences], color=INK)
    axes.set_ylim(len(differences) - 0.4, -0.6)
    axes.set_xlabel(f"difference of {NAMES[measure]} in percentage points{_over(differences, measure)}", color=INK)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:+.3g}" if value else "0"))
    bare(axes)
    axes.grid(axis="y", visible=False)
    return save(figure, path)


def _over(differences: Sequence[Difference], measure: str) -> str:
    if not any("interval" in getattr(each, measure) for each in differences):
        return ""
    speakers = differences[0].speakers
    return f", 95 % interval over {speakers} speakers" if speakers else ", 95 % interval over speakers"


def _panels(curves: Mapping[str, Mapping[str, Sequence]]) -> dict[str, dict[str, list]]:
    """Row (a stage's losses, what it was judged by) -> panel -> the runs' lines, each a list of `(epoch, value)`."""
    rows: dict[str, dict[str, list]] = {}
    for stages in curves.values():
        for stage, log in stages.items():
            for what, found in zip(("training loss", f"validation {judged_by([log])}"), curves_of(log), strict=True):
                for name, points in found.items():
                    rows.setdefault(f"{stage}\n{what}", {}).setdefault(name, []).append(points)
    return rows


def _draw_panel(axes: Axes, title: str, lines: Sequence[Sequence[tuple[float, float]]]) -> None:
    colour = INK if title == "weighted sum" else OURS
    for points in lines:
        axes.plot(*zip(*points, strict=True), color=colour, linewidth=0.8, alpha=0.35)
    if len({len(points) for points in lines}) == 1:
        epochs, values = np.mean(lines, axis=0).T
        axes.plot(epochs, values, color=colour, linewidth=1.8)
    axes.set_title(plain(title), color=INK, fontsize=9)
    axes.tick_params(labelsize=8, color=FAINT)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.margins(y=0.12)
    bare(axes)


def _comparison(each: Difference, several_encoders: bool) -> str:
    words = f"{each.name} against {each.against}"
    return plain(f"{each.encoder}: {words}" if several_encoders else words)
