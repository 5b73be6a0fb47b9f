#!/usr/bin/env bash
# soundfile 0.14.0 (libsndfile 1.2.2): digital silence in A-law is not zero. The code has no zero, so that a muted line
# of a telephone call reads as a constant of 8/32768, about -72 dB of full scale. mu-law has a zero.
# A test for silence by `samples == 0`, or by a level without the mean taken off, fails on such files.
# Seen: ALAW [0.00024414], ULAW [0.].
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q soundfile==0.14.0 numpy==2.4.6
env/bin/python - <<'PYTHON'
import numpy as np
import soundfile

for codec, silence in (("ALAW", 8 / 32768), ("ULAW", 0.0)):
    soundfile.write("silence.wav", np.zeros(800), 8000, subtype=codec)
    values = np.unique(soundfile.read("silence.wav")[0])
    print(codec, values)
    assert values.tolist() == [silence]
PYTHON
