#!/usr/bin/env bash
# soundfile 0.14.0 (libsndfile 1.2.2): the same samples written twice as Ogg Vorbis or Ogg Opus are two different files,
# since each stream draws a serial number. As FLAC and MP3 they are the same bytes.
# Finding duplicates in a corpus by a hash of the files, or caching by one, therefore misses equal recordings.
# Seen: VORBIS and OPUS differ while the decoded samples are equal; FLAC and MP3 are the same bytes.
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

noise = np.random.default_rng(0).normal(0, 0.1, 16000)
same = {}
for container, codec in (("OGG", "VORBIS"), ("OGG", "OPUS"), ("FLAC", "PCM_16"), ("MP3", "MPEG_LAYER_III")):
    for name in ("one", "two"):
        soundfile.write(name, noise, 16000, format=container, subtype=codec)
    assert np.array_equal(soundfile.read("one")[0], soundfile.read("two")[0])
    same[codec] = Path("one").read_bytes() == Path("two").read_bytes()
    print(codec, "same bytes:", same[codec])
assert same == {"VORBIS": False, "OPUS": False, "PCM_16": True, "MPEG_LAYER_III": True}
PYTHON
