#!/usr/bin/env bash
# soxr 1.1.0: resampling int16 samples adds dither, float32 samples none. Silence of exact zeros comes back as -1, 0 and 1,
# so that a recording which was digitally silent before is none after; results differ from the float ones by up to 1.5 steps.
# Seen: int16 zeros -> [-1 0 1], float32 zeros -> [0].
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q soxr==1.1.0 numpy==2.4.6
env/bin/python - <<'PYTHON'
import numpy as np
import soxr

for kind in ("int16", "float32"):
    resampled = soxr.resample(np.zeros(48000, dtype=kind), 48000, 16000)
    print(kind, "zeros ->", np.unique(resampled))
    assert (resampled != 0).any() == (kind == "int16")
PYTHON
