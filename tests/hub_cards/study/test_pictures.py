import warnings

import numpy as np
import pytest
from matplotlib.font_manager import fontManager
from matplotlib.image import imread

from ser_meta.configuration.study_report import Difference
from ser_meta.hub_cards.page.plots_style import plain
from ser_meta.hub_cards.pictures.run import plot_confusion
from ser_meta.hub_cards.pictures.study import (
    plot_curves_of_runs,
    plot_differences,
    plot_folds,
    plot_layer_shares,
    plot_reliability,
)

BARS = (219, 231, 244)


def coloured(picture, colour):
    """The rows and columns of the pixels that have a colour."""
    return np.nonzero((np.abs(picture[..., :3] * 255 - colour) < 2).all(axis=-1))


def difference(name, low, middle, high):
    return Difference(
        encoder="wavlm",
        name="ours",
        against=name,
        ua={"difference": middle, "interval": [low, high]},
        wa={"difference": middle},
        mcnemar={"only_this": 0, "only_other": 0, "p": 1.0},
    )


@pytest.mark.parametrize("label", ["愤怒", "गुस्सा", "غضب", "😠"])
def test_no_label_is_drawn_as_boxes(label, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Matplotlib warns of every character that no font has
        plot_confusion([[3, 1], [0, 4]], [label, "sad"], tmp_path / "confusion.png", label)
        plot_folds({label: [0.5], "sad": [0.6]}, 0.55, tmp_path / "folds.png")


def test_a_character_without_a_font_is_spelled_out():
    private = "\ue123"
    assert plain(f"sad {private}") in (f"sad {private}", r"sad \ue123")
    assert plain("\U0010fffd") == r"\U0010fffd"  # of the last private plane: no font has it
    assert plain("żółć $5") == r"żółć \$5"


def test_an_installed_font_is_found_by_its_characters(tmp_path):
    cjk = [font.name for font in fontManager.ttflist if "CJK" in font.name]
    assert plain("愤怒") == ("愤怒" if cjk else r"\u6124\u6012")
    assert plain("ℵ") == "ℵ"  # which DejaVu or STIX has, both of them Matplotlib's own


def test_reliability_bars_reach_the_accuracy_of_their_bins(tmp_path):
    def drawn(accuracy):
        bins = [{"confidence": 0.5, "accuracy": accuracy, "n": 4}, {"confidence": 1.0, "accuracy": 1.0, "n": 2}]
        return imread(plot_reliability({"ece": 0.1, "bins": bins}, tmp_path / "plots" / "r.png", "emotion $"))

    low, high = (len(coloured(drawn(accuracy), BARS)[0]) for accuracy in (0.2, 0.9))
    last_alone = len(coloured(drawn(0.0), BARS)[0])
    assert high - last_alone == pytest.approx(4.5 * (low - last_alone), rel=0.1)


def test_the_interval_is_a_band_of_its_width(tmp_path):
    def width(*interval):
        picture = imread(plot_folds({"1": [0.2, 0.8], "2": [0.4]}, 0.5, tmp_path / "f.png", interval))
        return np.ptp(coloured(picture[120:], BARS)[1])

    assert width(0.3, 0.7) == pytest.approx(2 * width(0.4, 0.6), rel=0.05)


def test_layer_shares_are_as_dark_as_they_are_large(tmp_path):
    even = {"emotion": [0.25] * 4, "gender": [0.25] * 4}
    last = {"emotion": [0, 0, 0, 1.0], "gender": [0, 0, 0, 1.0]}
    dark = (8, 48, 107)
    pixels = [
        len(coloured(imread(plot_layer_shares(each, tmp_path / "l.png"))[:, :300], dark)[0]) for each in (even, last)
    ]
    assert pixels[0] > 10_000 > pixels[1]


def test_a_difference_is_drawn_on_its_side_of_zero(tmp_path):
    blue = (47, 111, 181)
    found = [difference("this", 0.01, 0.02, 0.03), difference("$that", -0.03, -0.02, -0.01)]
    rows, columns = coloured(imread(plot_differences(found, tmp_path / "d.png")), blue)
    middle = (rows.min() + rows.max()) / 2
    assert columns[rows < middle].min() > columns[rows > middle].max()
    without = coloured(imread(plot_differences(found, tmp_path / "w.png", measure="wa")), blue)
    assert 0 < len(without[0]) < len(rows)  # the squares alone, without the intervals' lines


def test_curves_have_a_panel_for_each_stage_and_loss(tmp_path):
    log = [{"loss": 2.0, "loss_gender": 1.0, "loss_style": 1.0, "epoch": 1}, {"train_loss": 1.0, "epoch": 1}]
    validated = [*log, {"eval_gender_ua": 0.5, "epoch": 1}]
    small = imread(plot_curves_of_runs({"a": {"metadata": log}, "b": {"metadata": log}}, tmp_path / "a.png"))
    large = imread(plot_curves_of_runs({"a": {"metadata": validated}}, tmp_path / "b.png"))
    assert large.shape[0] > 1.5 * small.shape[0] and large.shape[1] == pytest.approx(small.shape[1], rel=0.05)
