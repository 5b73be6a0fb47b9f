#!/usr/bin/env bash
# lhotse 1.33.0 with soundfile 0.14.0: a GSM 6.10 WAV, as telephone systems record it, is taken into a manifest, with a length,
# and cannot be loaded from there: the library reads by ranges, and libsndfile cannot seek in it. mu-law WAV works.
# (lhotse imports urllib3 without asking for it.)
# Seen: g711.wav 24000 samples; gsm.wav 24320 samples in the manifest (24000 were written), load_audio: AudioLoadingError.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q lhotse==1.33.0 urllib3==2.8.0 soundfile==0.14.0 torch==2.13.0 numpy==2.4.6
env/bin/python - <<'PYTHON'
import numpy as np
import soundfile
from lhotse import Recording

tone = 0.1 * np.sin(2 * np.pi * 200 * np.arange(24000) / 8000)
soundfile.write("g711.wav", tone, 8000, subtype="ULAW")
soundfile.write("gsm.wav", tone, 8000, subtype="GSM610")
loaded = {}
for name in ("g711.wav", "gsm.wav"):
    recording = Recording.from_file(name)
    try:
        loaded[name] = recording.load_audio().shape[1]
    except Exception as error:
        loaded[name] = type(error).__name__
    print(name, recording.num_samples, "samples in the manifest, load_audio:", loaded[name])
assert loaded == {"g711.wav": 24000, "gsm.wav": "AudioLoadingError"}
PYTHON
