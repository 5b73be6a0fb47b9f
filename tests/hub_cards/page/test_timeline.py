import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from ser_meta.hub_cards.page.predictions_table import segment_rows
from ser_meta.hub_cards.page.timeline import _draw_lanes, plot_timeline

SEGMENTS = [
    {"start": 0.0, "end": 40.0, "label": "calm", "score": 0.9},
    {"start": 40.0, "end": 62.5, "label": "$fear_", "score": 0.4},
]


def test_a_segment_without_an_answer_says_why():
    ranking = {"emotion": [{"label": "calm", "score": 0.6}]}
    heard = {"start": 0.0, "end": 4.0, "abstained": True, "abstained_because": "unfamiliar", **ranking}
    (row,) = segment_rows({"segments": [heard]})
    assert (row["label"], row["because"]) == (None, "unfamiliar")
    axes = Figure().add_subplot()
    _draw_lanes(axes, [*SEGMENTS, row], ["calm", None])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["calm", "unfamiliar"]


@pytest.mark.parametrize("seconds", [0.3, 62.5, 4_000.0])
def test_a_picture_of_any_length(tmp_path, seconds):
    samples = np.random.default_rng(0).normal(scale=0.1, size=round(seconds * 100)).astype(np.float32)
    blocks = (samples[start : start + 999] for start in range(0, len(samples), 999))
    path = plot_timeline(blocks, 100, SEGMENTS, ["calm", "$fear_", "joy"], tmp_path / "new" / "a.png", "a $ b.wav")
    with Image.open(path) as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20)}
        assert picture.width > 1_000
    assert any(red > green + 60 for red, green, _ in colours)  # the first label's lane
