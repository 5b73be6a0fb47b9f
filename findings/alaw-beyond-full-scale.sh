#!/usr/bin/env bash
# soundfile 0.14.0 (libsndfile 1.2.2): float samples a little beyond full scale are clipped when written as 16-bit PCM,
# and become another sound when written as A-law or mu-law: the value wraps around, in A-law with the other sign.
# Resampled or amplified speech overshoots by such amounts, so an augmentation to a telephone's codec must clip first.
# Seen: 1.2 is read back as 1.0 (PCM_16), -0.168 (ALAW), 0.211 (ULAW).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q soundfile==0.14.0 numpy==2.4.6
env/bin/python - <<'PYTHON'
import numpy as np
import soundfile

seen = {}
for codec in ("PCM_16", "ALAW", "ULAW"):
    soundfile.write("loud.wav", np.array([1.2]), 8000, subtype=codec)
    seen[codec] = round(float(soundfile.read("loud.wav")[0][0]), 3)
    print(codec, "1.2 ->", seen[codec])
assert seen == {"PCM_16": 1.0, "ALAW": -0.168, "ULAW": 0.211}
PYTHON
