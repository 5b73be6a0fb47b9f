#!/usr/bin/env bash
# soundfile 0.14.0 (libsndfile 1.2.2): a FLAC stream whose header leaves the number of samples open (0, which the format
# allows and encoders write into a pipe) is said to have 2^63 - 1 frames, and cannot be read at once.
# Seen: info.frames 9223372036854775807; read: ValueError, the array is too big.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q soundfile==0.14.0 numpy==2.4.6
env/bin/python - <<'PYTHON'
from pathlib import Path

import numpy as np
import soundfile

soundfile.write("known.flac", np.zeros(8000), 8000)
content = bytearray(Path("known.flac").read_bytes())
# STREAMINFO: the total is the lower 36 bits of bytes 21 to 25; the checksum of the sound does not cover it
content[21] &= 0xF0
content[22:26] = bytes(4)
Path("unknown.flac").write_bytes(content)
frames = soundfile.info("unknown.flac").frames
print("frames", frames)
assert frames == 2**63 - 1
try:
    soundfile.read("unknown.flac")
except ValueError as error:
    print("read:", error)
else:
    raise SystemExit("it can be read now")
PYTHON
