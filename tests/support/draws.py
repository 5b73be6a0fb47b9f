"""What the versions of Transformers draw otherwise."""

import inspect

import pytest
from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2Encoder

# Transformers 5.4 still does, 5.23 does not
DRAWS_ALIKE = pytest.mark.skipif(
    "self.config.layerdrop > 0" not in inspect.getsource(Wav2Vec2Encoder.forward),
    reason="draws LayerDrop's number for every layer that it runs, so that the dropouts behind them are others",
)
