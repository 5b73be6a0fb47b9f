#!/usr/bin/env bash
# torchaudio 2.11.0, soxr 1.1.0: with its default filter (6 zero crossings, Hann) torchaudio.functional.resample lets through
# what lies above the new rate's half. From 48 to 16 kHz a tone of 8.4 kHz comes back as one of 7.6 kHz, 10 dB softer. Of
# soxr's default nothing comes back. With 88 zero crossings, rolloff 0.956 and a Kaiser window of beta 11, torchaudio's filter
# is soxr's to 46 dB on white noise.
# Seen: tone of 8.4 kHz after resampling -10 dB with the default, -115 dB or less with that filter and with soxr.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q torch==2.13.0 numpy==2.4.6 soxr==1.1.0
# its compiled part asks for CUDA's libraries; resampling is written in Python, and needs none of it
env/bin/pip install -q --no-deps --target audio torchaudio==2.11.0
rm -r audio/torchaudio/lib
PYTHONPATH=audio env/bin/python - <<'PYTHON'
import numpy as np
import soxr
import torch
from torchaudio.functional import resample

SOXRS = dict(lowpass_filter_width=88, rolloff=0.956, resampling_method="sinc_interp_kaiser", beta=11.0)
tone = np.sin(2 * np.pi * 8400 * np.arange(96_000) / 48_000).astype(np.float32)
noise = np.random.default_rng(0).normal(scale=0.1, size=48_000).astype(np.float32)


def by_torchaudio(samples, **filter):
    return resample(torch.from_numpy(samples)[None], 48_000, 16_000, **filter)[0].numpy()


def decibels(part, whole):
    return 10 * np.log10(np.square(part[2_000:-2_000], dtype=float).mean() / np.square(whole, dtype=float).mean())


left = {
    "torchaudio's default": decibels(by_torchaudio(tone), tone),
    "that filter": decibels(by_torchaudio(tone, **SOXRS), tone),
    "soxr": decibels(soxr.resample(tone, 48_000, 16_000), tone),
}
for name, level in left.items():
    print(f"{name:22}{level:7.0f} dB of a tone of 8.4 kHz is left")
expected = soxr.resample(noise, 48_000, 16_000)
apart = decibels(expected - by_torchaudio(noise, **SOXRS), expected)
print(f"white noise by that filter and by soxr differ by {apart:.0f} dB")
assert left["torchaudio's default"] > -20 and left["that filter"] < -90 and left["soxr"] < -90 and apart < -45
PYTHON
