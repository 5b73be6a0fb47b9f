#!/usr/bin/env bash
# torch 2.13.0: a TorchFunctionMode is not on within backward(), although backward() is called inside its block: backward()
# is a function of torch itself, and a mode is put aside while it answers a call. So what gradient checkpointing repeats
# there misses the mode. With a mode that puts another dropout in the place of torch's, the repeated layer drops other
# entries than the first one did, and the gradient is wrong without a word.
# Seen: 2 calls of dropout in two blocks with checkpointing, of which the mode answers 1; without checkpointing 1 of 1.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q torch==2.13.0 numpy==2.4.6
env/bin/python - <<'PYTHON'
import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint


class Counting(TorchFunctionMode):
    """Counts the calls of dropout that it sees."""

    seen = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.seen += func is functional.dropout
        return func(*args, **(kwargs or {}))


class Layer(nn.Module):
    """Counts how often it is computed."""

    def __init__(self):
        super().__init__()
        self.linear, self.dropout, self.computed = nn.Linear(8, 8), nn.Dropout(0.5), 0

    def forward(self, frames):
        self.computed += 1
        return self.dropout(self.linear(frames))


for repeated in (False, True):
    layer, frames = Layer(), torch.randn(4, 8)
    with Counting() as mode:
        output = checkpoint(layer, frames, use_reentrant=False) if repeated else layer(frames)
        output.square().sum().backward()
    print(f"checkpointing {repeated}: dropout called {layer.computed} times, the mode saw {mode.seen}")
    assert (layer.computed, mode.seen) == (1 + repeated, 1)
PYTHON
