#!/usr/bin/env bash
# soundfile 0.14.0 (libsndfile 1.2.2): of a chained Ogg file, one stream behind the other, as RFC 3533 allows and recorders
# and `cat` make it, only the first stream is there: its length is told as the whole, the rest is not read, and nothing
# warns. FFmpeg, through PyAV 18.1.0, hears all of it.
# Seen, Vorbis and Opus, 3 s and 2 s joined: soundfile 3.0 s, FFmpeg 5.0 s.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q soundfile==0.14.0 numpy==2.4.6 av==18.1.0
env/bin/python - <<'PYTHON'
from pathlib import Path

import av
import numpy as np
import soundfile

RATE = 48_000
for subtype in ("VORBIS", "OPUS"):
    joined = b""
    for seconds in (3, 2):
        tone = 0.1 * np.sin(2 * np.pi * 220 * np.arange(seconds * RATE) / RATE)
        soundfile.write("part.ogg", tone, RATE, subtype=subtype)
        joined += Path("part.ogg").read_bytes()
    Path("joined.ogg").write_bytes(joined)
    told, read = soundfile.info("joined.ogg").frames / RATE, len(soundfile.read("joined.ogg")[0]) / RATE
    with av.open("joined.ogg") as container:
        heard = sum(frame.samples for frame in container.decode(audio=0)) / RATE
    print(f"{subtype}: soundfile tells {told:.1f} s and reads {read:.1f} s, FFmpeg {heard:.1f} s")
    assert round(told, 1) == round(read, 1) == 3.0 and round(heard, 1) == 5.0
PYTHON
