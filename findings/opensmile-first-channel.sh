#!/usr/bin/env bash
# opensmile 2.6.0: of a recording with several channels the first alone is analysed, without a word. A call with the agent on
# the left and the customer on the right gives the agent's features; where the left is silent, those of silence.
# Seen: level of (silence, noise) -120.0 dB, of (noise, silence) -20.0 dB; one row of 88 features each.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q opensmile==2.6.0 numpy==2.4.6
env/bin/python - <<'PYTHON'
import numpy as np
import opensmile

smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
noise = np.random.default_rng(0).normal(0, 0.1, 32000).astype("float32")
call = np.stack([np.zeros_like(noise), noise])
levels = []
for channels in (call, call[::-1].copy()):
    features = smile.process_signal(channels, 16000)
    levels.append(round(float(features["equivalentSoundLevel_dBp"].iloc[0]), 1))
    print(features.shape, "level", levels[-1], "dB")
assert levels == [-120.0, -20.0]
PYTHON
