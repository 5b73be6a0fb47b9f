"""What a guarded process does with one damaged input, and what has to be true of a result."""

import io
import tempfile
from typing import Any

import numpy as np
import soundfile

from ser_meta.modeling_ser_meta.audio_ser_meta import AudioError, read_audio, stream_audio
from ser_meta.modeling_ser_meta.sound_files_ser_meta import FILLED_UP, open_sound

RATE = 16_000
LOUDEST = 1_000.0  # of a result, where full scale is 1


def read_recording(content: bytes) -> float:
    """Seconds of a recording that was read from bytes and, block by block, from disk, to the same samples."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        streamed = _or_error(lambda: np.concatenate(list(stream_audio(file.name, RATE))))
    samples = _or_error(lambda: read_audio(content, RATE))
    assert type(samples) is type(streamed), (samples, streamed)
    if isinstance(samples, AudioError):
        raise samples
    np.testing.assert_array_equal(samples, streamed)
    assert samples.dtype == np.float32 and samples.ndim == 1 and samples.size
    assert np.isfinite(samples).all() and np.abs(samples).max() <= LOUDEST
    frames, rate = _decoded(content)
    assert abs(len(samples) - frames * RATE / rate) <= 1, (len(samples), frames, rate)
    return len(samples) / RATE


def _or_error(read: Any) -> Any:
    try:
        return read()
    except AudioError as error:
        return error


def _decoded(content: bytes) -> tuple[int, float]:
    """Frames that the file holds, counted without a look at what its header claims, and their rate.

    Where libsndfile gives what fills up a last block, or cannot open it or go on, it is our own count.
    """
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            frames = 0
            while len(block := file.read(100_000)):
                frames += len(block)
            if file.subtype not in FILLED_UP:
                return frames, file.samplerate
    except soundfile.LibsndfileError:
        pass
    opened = open_sound(io.BytesIO(content), "it")
    return sum(map(len, opened.blocks())), opened.samplerate
