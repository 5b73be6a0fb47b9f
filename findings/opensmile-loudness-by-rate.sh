#!/usr/bin/env bash
# opensmile 2.6.0: the loudness of eGeMAPS depends on the sampling rate of the file, at the same level and the same sound.
# The pitch stays. Features of telephone recordings and of studio ones cannot be put together without resampling first, and
# nothing warns.
# Seen: one sound at 8, 16 and 48 kHz: loudness 1.13, 1.91, 3.46; F0 29.4 semitones each; level -14.0 dB each.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q opensmile==2.6.0 soxr==1.1.0 numpy==2.4.6
env/bin/python - <<'PYTHON'
import numpy as np
import opensmile
import soxr

smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
sound = 0.2 * np.sign(np.sin(2 * np.pi * 150 * np.arange(32000) / 16000)).astype("float32")
measured = []
for rate in (8000, 16000, 48000):
    features = smile.process_signal(soxr.resample(sound, 16000, rate), rate).iloc[0]
    names = "loudness_sma3_amean", "F0semitoneFrom27.5Hz_sma3nz_amean", "equivalentSoundLevel_dBp"
    measured.append([float(features[name]) for name in names])
    print(rate, "Hz: loudness %.2f, F0 %.1f semitones, level %.1f dB" % tuple(measured[-1]))
loudness, pitch, level = zip(*measured)
assert max(loudness) / min(loudness) > 2.5 and np.ptp(pitch) < 0.1 and np.ptp(level) < 0.1
PYTHON
