"""Pictures of a run: the confusion matrix and the training curves, as PNG files."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, PercentFormatter

from ...configuration.report import RiskAndCoverage
from ..page.plots_style import INK, TASK_COLOURS, bare, plain, save

Curves = dict[str, list[tuple[float, float]]]

AP = "average_precision"  # as the Trainer's logs have it, after the task
MARKED_POINTS = 20  # a curve of no more points shows each of them
LEAST_LOSS = 0.01  # of a task as good as solved: what is less is drawn there, and the axis says so


def plot_confusion(
    confusion: Sequence[Sequence[float]],
    labels: Sequence[str],
    path: str | Path,
    title: str,
    reference: str = "reference",
) -> Path:
    """Draws a confusion matrix: colour and percent by row (the recall on the diagonal), the count beneath.

    Args:
        confusion: counts `(classes, classes)`, rows = reference, columns = prediction, in the order of `labels`; or
            sums of raters' shares, which are no whole numbers.
        labels: the classes' names; a row without utterances stays empty.
        path: of the PNG; its folder is made.
        title: above the picture.
        reference: what the rows are.

    Returns:
        The path.
    """
    counts = np.asarray(confusion)
    rows = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, rows, out=np.zeros(counts.shape), where=rows > 0)
    side, longest = max(4.2, 2.0 + 0.78 * len(labels)), max(map(len, labels))
    figure = Figure(figsize=(side + 0.9 + 0.08 * longest, side + 0.05 * longest), layout="compressed")
    axes = figure.add_subplot()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        _write_cell(axes, row, column, share, counts[row, column])
    _label_confusion(axes, [plain(label) for label in labels], rows[:, 0], plain(title), reference)
    bar = figure.colorbar(picture, ax=axes, fraction=0.045, pad=0.03, format=PercentFormatter(1, decimals=0))
    bar.set_label("share of the row", color=INK)
    bar.outline.set_visible(False)
    return save(figure, path)


def plot_risk(found: RiskAndCoverage, path: str | Path, title: str) -> Path:
    """Draws the error against the share of recordings that are answered, the surest first.

    Args:
        found: see there.
        path: of the PNG; its folder is made.
        title: above the picture.

    Returns:
        The path.
    """
    coverage, risk, score = ([each[key] for each in found["points"]] for key in ("coverage", "risk", "score"))
    figure = Figure(figsize=(5.4, 3.8), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(coverage, risk, "-o", color=TASK_COLOURS[1], markersize=3.5)
    for place in sorted({len(score) // 4, len(score) // 2, 3 * len(score) // 4} & set(range(len(score)))):
        axes.annotate(
            f"score {score[place]:.2f}",
            (coverage[place], risk[place]),
            (4, -11),
            textcoords="offset points",
            color=INK,
            fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
        )
    axes.set(xlim=(0, 1.02), ylim=(0, max(risk) * 1.15 + 0.01))
    axes.set_xlabel("share of the recordings that is answered, the surest first", color=INK)
    axes.set_ylabel("error among them", color=INK)
    axes.set_title(f"{plain(title)}: area under the curve {found['aurc']:.3f}", color=INK, fontsize=11)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    bare(axes)
    return save(figure, path)


def plot_training_curves(log_history_by_stage: Mapping[str, Sequence[Mapping[str, float]]], path: str | Path) -> Path:
    """Draws each stage's losses over the epochs and, where it was validated, its tasks' UA or AP beneath.

    A loss below 0.01, a task as good as solved, is drawn at 0.01, which the axis then calls "0.01 or less".

    Args:
        log_history_by_stage: stage -> a Trainer's `log_history`. Read are `loss` (the weighted sum), `loss_<task>`,
            `eval_<task>_ua` and `eval_<task>_average_precision`, each against `epoch`. A task without a loss in a
            stage is not trained there, and is left out of the latter.
        path: of the PNG; its folder is made.

    Returns:
        The path.
    """
    stages = {stage: curves_of(log) for stage, log in log_history_by_stage.items()}
    colours = _colours(name for curves in stages.values() for part in curves for name in part)
    validated = any(ua for _, ua in stages.values())
    height = 5.6 if validated else 3.4
    figure = Figure(figsize=(1.2 + 4.6 * len(stages), height), layout="constrained")
    grid = figure.subplots(2 if validated else 1, len(stages), squeeze=False, sharey="row", sharex="col")
    for column, (stage, (losses, ua)) in enumerate(stages.items()):
        grid[0, column].set_title(plain(stage), color=INK, fontsize=11)
        grid[0, column].set_yscale("log")
        _draw(grid[0, column], _drawable(losses), colours)
        if validated:
            _draw(grid[1, column], ua, colours)
        grid[-1, column].set_xlabel("epoch", color=INK)
    grid[0, 0].set_ylabel("training loss", color=INK)
    _label_losses(grid[0, 0].yaxis, [losses for losses, _ in stages.values()])
    if validated:
        grid[1, 0].set_ylabel(f"validation {judged_by(log_history_by_stage.values())}", color=INK)
        grid[1, 0].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    figure.legend(*_legend(grid), loc="outside right upper", frameon=False, labelcolor=INK, fontsize=9)
    return save(figure, path)


def _drawable(losses: Curves) -> Curves:
    return {name: [(epoch, max(loss, LEAST_LOSS)) for epoch, loss in points] for name, points in losses.items()}


def _label_losses(axis: Axis, curves: Iterable[Curves]) -> None:
    """Round numbers on a logarithmic axis; the lowest stands for less too, where less was drawn there."""
    less = any(loss < LEAST_LOSS for losses in curves for points in losses.values() for _, loss in points)
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(
        FuncFormatter(lambda loss, _: f"{loss:g}{' or less' if less and loss <= LEAST_LOSS else ''}")
    )
    axis.set_minor_locator(NullLocator())


def _write_cell(axes: Axes, row: int, column: int, share: float, count: int) -> None:
    if not count:
        return
    colour = "white" if share > 0.5 else INK
    weight = "bold" if row == column else "normal"
    axes.text(column, row - 0.12, f"{share:.0%}", ha="center", va="center", color=colour, fontsize=11, weight=weight)
    axes.text(column, row + 0.23, _amount(count), ha="center", va="center", color=colour, fontsize=7.5, alpha=0.85)


def _amount(count: float) -> str:
    """A count as it is, a sum of shares with one decimal."""
    return f"{count:.1f}" if isinstance(count, np.floating) else str(count)


def _label_confusion(axes: Axes, labels: Sequence[str], support: np.ndarray, title: str, reference: str) -> None:
    ticks = range(len(labels))
    axes.set_xticks(ticks, labels, rotation=35, ha="right", rotation_mode="anchor", color=INK)
    axes.set_yticks(ticks, [f"{label} ({_amount(n)})" for label, n in zip(labels, support, strict=True)], color=INK)
    axes.set_xlabel("predicted", color=INK)
    axes.set_ylabel(f"{reference} (utterances)", color=INK)
    axes.set_title(title, color=INK, fontsize=12, pad=10)
    axes.set_xticks(np.arange(len(labels) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(labels) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)


def curves_of(log: Sequence[Mapping[str, float]]) -> tuple[Curves, Curves]:
    """A stage's losses and, for the tasks that have one, the UA or the average precision."""
    keys = {key: None for entry in log for key in entry if key == "loss" or key.startswith("loss_")}
    if len(keys) == 2:
        keys.pop("loss", None)  # the sum of one task's loss is that loss
    losses = {"weighted sum" if key == "loss" else key.removeprefix("loss_"): _points(log, key) for key in keys}
    judged = {task: _points(log, f"eval_{task}_ua") or _points(log, f"eval_{task}_{AP}") for task in losses}
    return losses, {task: points for task, points in judged.items() if points}


def judged_by(logs: Iterable[Sequence[Mapping[str, float]]]) -> str:
    """What the second part of `curves_of` shows of such logs."""
    several = any(key.endswith(AP) for log in logs for entry in log for key in entry)
    return "UA or AP" if several else "UA"


def _points(log: Sequence[Mapping[str, float]], key: str) -> list[tuple[float, float]]:
    return [(entry["epoch"], entry[key]) for entry in log if key in entry]


def _colours(names: Iterable[str]) -> dict[str, str]:
    tasks = [name for name in dict.fromkeys(names) if name != "weighted sum"]
    colours = {name: TASK_COLOURS[index % len(TASK_COLOURS)] for index, name in enumerate(tasks)}
    return {"weighted sum": INK, **colours}


def _draw(axes: Axes, curves: Curves, colours: Mapping[str, str]) -> None:
    for name, points in curves.items():
        style = "--" if name == "weighted sum" else "-"
        marker = "o" if len(points) <= MARKED_POINTS else ""
        axes.plot(*zip(*points, strict=True), style, color=colours[name], label=plain(name), marker=marker, ms=3.5)
    bare(axes)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if not curves:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", va="center", color=INK)


def _legend(grid: np.ndarray) -> tuple[list, list[str]]:
    entries = {}
    for axes in grid.flat:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(name, handle)
    return list(entries.values()), list(entries)
