import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread

from ser_meta.hub_cards.pictures.run import plot_confusion, plot_training_curves
from ser_meta.hub_cards.pictures.study import plot_layer_shares

LABELS = ["neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"]


def inside(picture):
    """Whether nothing is drawn in the outermost pixels: labels that are cut off reach them."""
    frame = np.concatenate([picture[:5].reshape(-1, 4), picture[-5:].reshape(-1, 4), picture[:, :5].reshape(-1, 4)])
    return (frame == 1).all()


def history(epochs, tasks, validated=()):
    log = [
        {"loss": 2.0 / epoch, **{f"loss_{task}": 1.0 / epoch for task in tasks}, "epoch": epoch}
        for epoch in range(1, epochs + 1)
    ]
    log += [
        {"eval_loss": 1.0, **{f"eval_{task}_ua": 0.1 * epoch for task in validated}, "epoch": epoch}
        for epoch in range(1, epochs + 1)
    ]
    return [*log, {"train_loss": 1.2, "train_runtime": 3.0, "epoch": epochs}]


def colours(picture):
    red, green, blue = np.moveaxis((picture[..., :3] * 255).round().astype(int), -1, 0)
    return {(c >> 16, c >> 8 & 255, c & 255) for c in np.unique(red << 16 | green << 8 | blue).tolist()}


@pytest.mark.parametrize("labels", [LABELS, ["a very long label of a class", "b"], ["$", "a_b", "$x^", "żółć"]])
def test_confusion_is_drawn_whole_for_any_labels(tmp_path, labels):
    counts = np.eye(len(labels), dtype=int) * 1234
    path = plot_confusion(counts.tolist(), labels, tmp_path / "plots" / "confusion.png", "title of $5")
    picture = imread(path)
    assert min(picture.shape[:2]) > 400
    assert inside(picture)


def test_confusion_colours_by_row(tmp_path):
    small_class = imread(plot_confusion([[2, 0], [0, 2000]], ["a", "b"], tmp_path / "small.png", ""))
    same_shares = imread(plot_confusion([[9, 0], [0, 9]], ["a", "b"], tmp_path / "same.png", ""))
    dark = (8, 48, 107)  # the colour of a whole row in one cell
    assert dark in colours(small_class)
    share = [(np.abs(picture[..., :3] * 255 - dark).max(axis=-1) < 2).mean() for picture in (small_class, same_shares)]
    assert share[0] == pytest.approx(share[1], rel=0.1)


def test_the_row_of_a_class_without_utterances_stays_empty(tmp_path, drawn):
    with np.errstate(all="raise"):
        plot_confusion([[3, 1], [0, 0]], ["a", "b"], tmp_path / "confusion.png", "title")
    axes = drawn[-1].axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), [[0.75, 0.25], [0, 0]])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b"]


def test_validation_adds_a_row(tmp_path):
    without = plot_training_curves({"metadata": history(3, ["gender"])}, tmp_path / "plots" / "a.png")
    validated = {"metadata": history(3, ["gender"]), "emotion": history(3, ["gender", "emotion"], ["emotion"])}
    with_ua = plot_training_curves(validated, tmp_path / "b.png")
    pictures = imread(without), imread(with_ua)
    assert pictures[1].shape[0] > 1.4 * pictures[0].shape[0]
    assert pictures[1].shape[1] > 1.4 * pictures[0].shape[1]
    assert all(map(inside, pictures))


def test_a_task_keeps_its_colour_from_stage_to_stage(tmp_path):
    gender, emotion = (200, 68, 47), (47, 111, 181)
    both = {"metadata": history(3, ["gender"]), "emotion": history(3, ["gender", "emotion"])}
    found = colours(imread(plot_training_curves(both, tmp_path / "both.png")))
    assert {gender, emotion} <= found
    alone = colours(imread(plot_training_curves({"metadata": history(3, ["gender"])}, tmp_path / "one.png")))
    assert gender in alone
    assert emotion not in alone


def test_the_ua_of_a_task_that_a_stage_does_not_train_is_left_out(tmp_path):
    untrained = {"metadata": history(3, ["gender", "style"], ["emotion"])}
    silent = {"metadata": history(3, ["gender", "style"])}
    pictures = [imread(plot_training_curves(log, tmp_path / "a.png")) for log in (untrained, silent)]
    assert np.array_equal(*pictures)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are written."""
    figures, write = [], FigureCanvasAgg.print_figure

    def keep(canvas, *arguments, **options):
        figures.append(canvas.figure)
        return write(canvas, *arguments, **options)

    monkeypatch.setattr(FigureCanvasAgg, "print_figure", keep)
    return figures


def test_a_loss_near_nothing_stays_in_the_picture_and_the_axis_says_so(tmp_path, drawn):
    log = [{"loss": 1.0, "loss_gender": 1.0, "loss_style": loss, "epoch": e} for e, loss in ((1, 0.02), (2, 0.0))]
    plot_training_curves({"metadata": log}, tmp_path / "a.png")
    plot_training_curves({"metadata": history(3, ["gender"])}, tmp_path / "b.png")
    axes, ordinary = (figure.axes[0] for figure in drawn)
    style = next(line for line in axes.lines if line.get_label() == "style")
    assert style.get_ydata().tolist() == [0.02, 0.01] and axes.get_ylim()[0] < 0.01
    written = [[label.get_text() for label in each.get_yticklabels()] for each in (axes, ordinary)]
    assert "0.01 or less" in written[0] and not any("less" in label for label in written[1])


def test_the_layers_have_a_title(tmp_path, drawn):
    plot_layer_shares({"emotion": [0.25, 0.75]}, tmp_path / "layers.png")
    assert "each layer" in drawn[0].axes[0].get_title()


def test_an_empty_history_says_so_instead_of_failing(tmp_path):
    picture = imread(plot_training_curves({"metadata": []}, tmp_path / "empty.png"))
    assert picture[..., :3].min() < 0.3
