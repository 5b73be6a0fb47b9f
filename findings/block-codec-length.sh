#!/usr/bin/env bash
# soundfile 0.14.0 (libsndfile 1.2.2): a WAV in GSM 6.10 or IMA ADPCM comes back longer than it was written.
# GSM has blocks of 320 samples in pairs: one second at 8 kHz gains 320 samples, and they are no silence but as loud as
# speech. IMA ADPCM gains what fills its last block. The fact chunk of the header has the true length of GSM, which the library
# writes and does not read; of IMA ADPCM it writes the filled-up one there.
# Seen: gsm 8000 -> 8320 samples, loudest sample behind the end 0.11; adpcm 8000 -> 8080.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q soundfile==0.14.0 numpy==2.4.6
env/bin/python - <<'PYTHON'
import numpy as np
import soundfile

tone = 0.1 * np.sin(2 * np.pi * 200 * np.arange(8000) / 8000)
lengths = {}
for codec in ("GSM610", "IMA_ADPCM"):
    soundfile.write("tone.wav", tone, 8000, subtype=codec)
    read, _ = soundfile.read("tone.wav")
    lengths[codec] = len(read)
    print(codec, len(tone), "->", len(read), "samples, loudest behind the end", np.abs(read[8000:]).max())
    if codec == "GSM610":
        assert np.abs(read[8000:]).max() > 0.05
assert lengths == {"GSM610": 8320, "IMA_ADPCM": 8080}
PYTHON
