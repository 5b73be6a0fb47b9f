#!/usr/bin/env bash
# PyAV 18.1.0 (FFmpeg 8.1): the same recording begins at another time by the file it is kept in. AAC in M4A begins where it
# did, as its container tells the encoder's delay; AAC in ADTS (.aac) begins 64 ms later at 16 kHz, an MP3 without its
# encoder's tag 69 ms later, AMR 5 ms later, and of WMA the first packet is not given, so that it begins 46 ms earlier. Times
# of segments that were marked in one of them are off in another.
# Seen: m4a 0 ms, aac 64 ms, mp3 without tag 69 ms, amr 5 ms, wma -46 ms.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q av==18.1.0 numpy==2.4.6 soxr==1.1.0
env/bin/python - <<'PYTHON'
from fractions import Fraction

import av
import numpy as np
import soxr

RATE = 16000
noise = np.random.default_rng(0).normal(0, 0.1, 4 * RATE)
speech = (soxr.resample(soxr.resample(noise, RATE, 6000), 6000, RATE) * np.hanning(len(noise))).astype("float32")


def write(name, codec, kind, rate, layout="mono", bit_rate=None, options=None):
    samples = soxr.resample(speech, RATE, rate)[None]
    with av.open(name, "w", format=kind, options=options or {}) as file:
        stream = file.add_stream(codec, rate=rate)
        stream.codec_context.layout = layout
        if bit_rate:
            stream.codec_context.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = rate
        kind = stream.codec_context.codec.audio_formats[0].name
        resampler, queue, done = av.AudioResampler(format=kind, layout=layout, rate=rate), av.AudioFifo(), 0
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            part.pts = None
            queue.write(part)
        stream.codec_context.open()
        while (part := queue.read(stream.codec_context.frame_size) or queue.read(0, partial=True)) is not None:
            part.pts, part.time_base = done, Fraction(1, rate)
            done += part.samples
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))


def read(name):
    with av.open(name) as file:
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=RATE)
        frames = [part for frame in file.decode(audio=0) for part in resampler.resample(frame)]
        frames += resampler.resample(None)
        return np.concatenate([frame.to_ndarray()[0] for frame in frames])


seen = {}
for name, form in {
    "m4a": ("aac", "ipod", 16000),
    "aac": ("aac", "adts", 16000),
    "mp3 without tag": ("libmp3lame", "mp3", 16000, "mono", None, {"write_xing": "0"}),
    "amr": ("libopencore_amrnb", "amr", 8000, "mono", 12200),
    "wma": ("wmav2", "asf", 44100, "stereo", 64000),
}.items():
    write("file", *form)
    heard = read("file")
    lag = int(np.argmax(np.correlate(heard[: 3 * RATE], speech[RATE : 2 * RATE], "valid"))) - RATE
    seen[name] = round(1000 * lag / RATE)
    print(name, seen[name], "ms")
assert seen == {"m4a": 0, "aac": 64, "mp3 without tag": 69, "amr": 5, "wma": -46}
PYTHON
