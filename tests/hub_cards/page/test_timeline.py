import numpy as np
import pytest
from PIL import Image

from ser_meta.hub_cards.page.timeline import plot_timeline

SEGMENTS = [
    {"start": 0.0, "end": 40.0, "label": "calm", "score": 0.9},
    {"start": 40.0, "end": 62.5, "label": "$fear_", "score": 0.4},
]


@pytest.mark.parametrize("seconds", [0.3, 62.5, 4_000.0])
def test_a_picture_of_any_length(tmp_path, seconds):
    samples = np.random.default_rng(0).normal(scale=0.1, size=round(seconds * 100)).astype(np.float32)
    blocks = (samples[start : start + 999] for start in range(0, len(samples), 999))
    path = plot_timeline(blocks, 100, SEGMENTS, ["calm", "$fear_", "joy"], tmp_path / "new" / "a.png", "a $ b.wav")
    with Image.open(path) as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20)}
        assert picture.width > 1_000
    assert any(red > green + 60 for red, green, _ in colours)  # the first label's lane
