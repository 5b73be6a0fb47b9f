"""Text to waveform with the espeak-ng library that `espeakng-loader` brings, through ctypes, in a process of its own.

The library keeps its state in globals and carries some of it from one utterance to the next: a voice's flutter goes on
where the last utterance left it. The noise of breathy voices (f3, f5, Alicia, victor, ...) is drawn at random, from a
seed that it takes from the clock unless it is given one. So every list of utterances gets a fresh process and a fixed
seed: the same list then has the same samples each time.
"""

import ctypes
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import BinaryIO

import numpy as np

from ...configuration.errors import UserError

SAMPLING_RATE = 22050
SYNCHRONOUS_RETRIEVAL = 2
BREATH_SEED = 1  # any number but 0, which means the clock
UTF8_SSML = 0x01 | 0x10
RATE, PITCH, PITCH_RANGE = 1, 3, 4
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


@dataclass
class Speech:
    """What to speak: `ssml` in `voice` (such as `en-us+f2`), `rate` in words a minute (80 to 450), `pitch` and
    `pitch_range` from 0 to 99, 50 being the voice's own."""

    ssml: str
    voice: str
    rate: int
    pitch: int
    pitch_range: int


def require_library() -> None:
    """Raises `UserError` where `espeakng-loader` is not installed."""
    if importlib.util.find_spec("espeakng_loader") is None:
        raise UserError('espeakng-loader, which speaks this corpus, is missing: pip install "ser-meta[demo]"')


def synthesize(speeches: Iterable[Speech]) -> Iterator[np.ndarray]:
    """Speak a list in a child process.

    Yields: float32 (samples,) in [-1, 1] at `SAMPLING_RATE`, one waveform a speech, in order.
    Raises: `UserError` where `espeakng-loader` is not installed, or espeak-ng fails (a voice it does not have).
    """
    require_library()
    with tempfile.TemporaryFile("w+") as requests, tempfile.TemporaryFile("w+") as complaints:
        requests.writelines(json.dumps(asdict(speech)) + "\n" for speech in speeches)
        requests.seek(0)
        command = [sys.executable, "-m", __name__]
        with subprocess.Popen(command, stdin=requests, stdout=subprocess.PIPE, stderr=complaints) as child:
            yield from _read_waveforms(child.stdout)
        if child.returncode:
            complaints.seek(0)
            raise UserError(f"espeak-ng failed: {complaints.read().strip().splitlines()[-1]}")


def _read_waveforms(stream: BinaryIO) -> Iterator[np.ndarray]:
    while header := stream.read(4):
        samples = np.frombuffer(stream.read(2 * int.from_bytes(header, "little")), np.int16)
        yield samples.astype(np.float32) / 32768


class Synthesizer:
    """The library, started once in its process."""

    def __init__(self, library_path: str, data_path: str):
        self._library = ctypes.CDLL(library_path)
        rate = self._library.espeak_Initialize(SYNCHRONOUS_RETRIEVAL, 0, data_path.encode(), 0)
        if rate != SAMPLING_RATE:
            raise UserError(f"espeak-ng answers {rate} to its start with {data_path}: reinstall espeakng-loader")
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(BREATH_SEED))
        self._chunks: list[np.ndarray] = []
        self._callback = CALLBACK(self._receive)  # kept: the library holds only a pointer to it
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples: ctypes.Array, count: int, events: int) -> int:
        if samples and count > 0:
            self._chunks.append(np.ctypeslib.as_array(samples, shape=(count,)).copy())
        return 0

    def speak(self, speech: Speech) -> np.ndarray:
        """Speak one text. Returns int16 (samples,). Raises `UserError` for a voice that the library does not have."""
        if self._library.espeak_SetVoiceByName(speech.voice.encode()) != 0:
            raise UserError(f"no voice {speech.voice}: reinstall espeakng-loader")
        for parameter, value in ((RATE, speech.rate), (PITCH, speech.pitch), (PITCH_RANGE, speech.pitch_range)):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._chunks.clear()
        text = speech.ssml.encode()
        self._library.espeak_Synth(text, ctypes.c_size_t(len(text) + 1), 0, 1, 0, UTF8_SSML, None, None)
        self._library.espeak_Synchronize()
        return np.concatenate([np.zeros(0, np.int16), *self._chunks])


def main() -> None:
    """The child: one JSON object a line on standard input; on standard output each one's length and samples."""
    import espeakng_loader

    synthesizer = Synthesizer(str(espeakng_loader.get_library_path()), str(espeakng_loader.get_data_path()))
    for line in sys.stdin:
        samples = synthesizer.speak(Speech(**json.loads(line)))
        sys.stdout.buffer.write(len(samples).to_bytes(4, "little") + samples.tobytes())


if __name__ == "__main__":
    main()
