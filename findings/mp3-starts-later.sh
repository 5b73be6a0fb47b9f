#!/usr/bin/env bash
# The same MP3 begins at another time by the library that reads it: soundfile 0.14.0 leaves out the encoder's delay and the
# padding, pedalboard 0.9.26 and praat-parselmouth 0.4.7 keep them. Times of segments that were marked in one of them are off
# by 66 to 69 ms at 16 kHz in another.
# Seen, for 32000 samples: soundfile 32000, lag 0; pedalboard 33408, lag 1105; parselmouth 32783, lag 1056.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q soundfile==0.14.0 pedalboard==0.9.26 praat-parselmouth==0.4.7 numpy==2.4.6
env/bin/python - <<'PYTHON'
import numpy as np
import parselmouth
import soundfile
from pedalboard.io import AudioFile

click = np.zeros(32000, dtype="float32")
click[16000:16200] = np.random.default_rng(0).normal(0, 0.3, 200)
soundfile.write("click.mp3", click, 16000)
with AudioFile("click.mp3") as opened:
    by_pedalboard = opened.read(opened.frames)[0]
read = {
    "soundfile": soundfile.read("click.mp3", dtype="float32")[0],
    "pedalboard": by_pedalboard,
    "parselmouth": parselmouth.Sound("click.mp3").values[0],
}
seen = {}
for name, samples in read.items():
    lag = int(np.argmax(np.correlate(samples, click, "full"))) - (len(click) - 1)
    seen[name] = (len(samples), lag)
    print(name, "samples %d, lag %d" % seen[name])
assert seen == {"soundfile": (32000, 0), "pedalboard": (33408, 1105), "parselmouth": (32783, 1056)}
PYTHON
