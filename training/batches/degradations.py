"""Recordings made worse on purpose: by rooms, noises, microphones, telephone lines and codecs."""

import hashlib
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import cache, lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile
from scipy.signal import butter, fftconvolve, sosfilt

from ...configuration.degradations import COLOURS, KINDS, AugmentationRecipe, Effect, effects_of
from ...configuration.errors import UserError
from ...modeling_ser_meta.audio_ser_meta import read_audio, recordings_in, resample

VERSION = 1  # raise it with every change of what is done to a recording: states that were kept are then computed anew
TELEPHONE_RATE, TELEPHONE_BAND = 8_000, (300, 3_400)  # Hz
GSM_BLOCK = 320  # samples: libsndfile's reader adds noise behind an odd number of frames
MP3_DELAY = 1_105  # samples of encoder and decoder, which a file of low bit rate has no room to tell
EXPONENTS = {"white": 0, "pink": 1, "brown": 2}  # by which power falls with the frequency
KEPT_NOISES = 32  # recordings of noise that stay decoded
ACTIVE_DECIBELS = 30  # below the loudest 20 ms: what is softer does not count as speech beside a noise (ours)


class Degradation(Protocol):
    """Makes utterances worse; `key` tells all that it depends on but the utterance, `name` what it is in words."""

    key: str
    name: str

    def __call__(self, samples: np.ndarray, rate: int, utterance_id: str) -> np.ndarray:
        """The utterance `(samples,)` made worse, of the same length."""


class Condition:
    """One condition for all utterances, such as `noise:10+telephone`.

    What is drawn, the noise or the room, depends on the condition and the utterance alone.

    Args:
        name: see `effects_of`.
    """

    def __init__(self, name: str):
        self.name, self.effects = name, effects_of(name)
        self.key = f"condition {name}{_noises(effect.variety for effect in self.effects)} {VERSION}"

    def __call__(self, samples: np.ndarray, rate: int, utterance_id: str) -> np.ndarray:
        """See `Degradation`."""
        return degrade(samples, rate, self.effects, f"{self.name} {utterance_id}")


class DrawnDegradation:
    """Effects drawn by a recipe's chances.

    Args:
        recipe: of the chances.
        name: what they are drawn by, beside the utterance.
    """

    def __init__(self, recipe: AugmentationRecipe, name: str):
        self.recipe, self.name = recipe, name

    @property
    def key(self) -> str:
        """See `Degradation`."""
        chances = {name: asdict(chance) for name, chance in self.recipe.chances.items() if chance.probability}
        return f"{self.name} {json.dumps(chances)}{_noises(self.recipe.noise.among)} {VERSION}"

    def effects(self, utterance_id: str) -> list[Effect]:
        """What is done to this utterance, in the order of `KINDS`."""
        chance, found = _generator(f"{self.name} {utterance_id}"), []
        for kind, each in self.recipe.chances.items():
            happens, amount = chance.random() < each.probability, chance.uniform(*each.between)
            variety = str(chance.choice(each.among)) if each.among else ""
            if happens:
                found.append(Effect(kind, amount, variety))
        return found

    def __call__(self, samples: np.ndarray, rate: int, utterance_id: str) -> np.ndarray:
        """See `Degradation`."""
        return degrade(samples, rate, self.effects(utterance_id), f"{self.name} {utterance_id}")


def degrade(samples: np.ndarray, rate: int, effects: list[Effect], draw: str) -> np.ndarray:
    """An utterance `(samples,)` after these effects; the same for the same `draw`."""
    chance = _generator(f"effects {draw}")
    for effect in effects:
        samples = DONE[effect.kind](samples, rate, effect, chance).astype(np.float32)
    return samples


def reverb(samples: np.ndarray, rate: int, effect: Effect, chance: np.random.Generator) -> np.ndarray:
    """A room whose echo falls by 60 dB in `amount` seconds: noise that fades, as in Polack's model (1988).

    Direct sound and echo have the same energy, and the recording keeps its own.
    """
    times = np.arange(round(effect.amount * rate)) / rate
    echo = chance.normal(size=len(times)) * 10 ** (-3 * times / effect.amount)
    response = echo / np.sqrt((echo**2).sum())
    response[0] += 1
    heard = fftconvolve(samples, response)[: len(samples)]
    return heard * _root_mean_square(samples) / max(_root_mean_square(heard), 1e-12)


def add_noise(samples: np.ndarray, rate: int, effect: Effect, chance: np.random.Generator) -> np.ndarray:
    """With noise of a colour, or from a folder, so far below the speech: below its parts that are not silent."""
    level = active_level(samples, rate)
    if not level:
        return samples
    if effect.variety in COLOURS:
        noise = coloured_noise(len(samples), effect.variety, chance)
    else:
        noise = _from_folder(effect.variety, len(samples), rate, chance)
    return samples + noise * level / max(_root_mean_square(noise), 1e-12) * 10 ** (-effect.amount / 20)


def coloured_noise(count: int, colour: str, chance: np.random.Generator) -> np.ndarray:
    """Noise `(count,)` whose power falls with the frequency as its colour says."""
    spectrum = np.fft.rfft(chance.normal(size=count))
    frequencies = np.maximum(np.arange(len(spectrum)), 1)
    return np.fft.irfft(spectrum / frequencies ** (EXPONENTS[colour] / 2), count)


def active_level(samples: np.ndarray, rate: int) -> float:
    """Root mean square of the 20 ms frames that are no more than 30 dB below the loudest."""
    size = min(round(0.02 * rate), len(samples))
    power = (samples[: len(samples) // size * size].reshape(-1, size).astype(np.float64) ** 2).mean(axis=1)
    return float(np.sqrt(power[power >= power.max() * 10 ** (-ACTIVE_DECIBELS / 10)].mean()))


def change_gain(samples: np.ndarray, rate: int, effect: Effect, chance: np.random.Generator) -> np.ndarray:
    """Louder or softer, in 16 bits as before."""
    return np.clip(np.round(samples * 10 ** (effect.amount / 20) * 2**15), -(2**15), 2**15 - 1) / 2**15


def clip(samples: np.ndarray, rate: int, effect: Effect, chance: np.random.Generator) -> np.ndarray:
    """With so many percent of the samples cut off at the loudest that is left."""
    most = np.quantile(np.abs(samples), 1 - effect.amount / 100)
    return np.clip(samples, -most, most)


def telephone(samples: np.ndarray, rate: int, effect: Effect, chance: np.random.Generator) -> np.ndarray:
    """Over a line of 300 to 3,400 Hz, coded in A-law (G.711) or GSM full rate (06.10)."""
    narrow = resample(samples.astype(np.float32), rate, TELEPHONE_RATE)
    narrow = sosfilt(butter(4, TELEPHONE_BAND, "bandpass", fs=TELEPHONE_RATE, output="sos"), narrow)
    padded = np.pad(narrow, (0, -len(narrow) % GSM_BLOCK))
    coding = {"alaw": "ALAW", "gsm": "GSM610"}[effect.variety]
    coded = _coded(padded, TELEPHONE_RATE, format="WAV", subtype=coding)[: len(narrow)]
    return _of_length(resample(coded, TELEPHONE_RATE, rate), len(samples))


def through_codec(samples: np.ndarray, rate: int, effect: Effect, chance: np.random.Generator) -> np.ndarray:
    """Through MP3 of a constant bit rate, or Opus of about that rate, as libsndfile writes and reads them."""
    if effect.variety == "mp3":
        least, most = (32, 320) if rate >= 32_000 else (8, 160) if rate >= 16_000 else (8, 64)
        level = (most - effect.amount) / (most - least)
        coded = _coded(samples, rate, format="MP3", compression_level=level, bitrate_mode="CONSTANT")
        return _of_length(coded[MP3_DELAY:] if len(coded) > len(samples) else coded, len(samples))
    coded = _coded(samples, rate, format="OGG", subtype="OPUS", compression_level=1 - (effect.amount - 6) / 250)
    return _of_length(coded, len(samples))


DONE: dict[str, Callable[[np.ndarray, int, Effect, np.random.Generator], np.ndarray]] = {
    "reverb": reverb,
    "noise": add_noise,
    "gain": change_gain,
    "clipping": clip,
    "telephone": telephone,
    "codec": through_codec,
}
assert tuple(DONE) == tuple(KINDS)


def _generator(draw: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(draw.encode()).digest()[:8], "big"))


def _root_mean_square(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def _coded(samples: np.ndarray, rate: int, **coding: object) -> np.ndarray:
    """Written and read again, in memory."""
    file = io.BytesIO()
    soundfile.write(file, np.clip(samples, -1, 1).astype(np.float32), rate, **coding)
    file.seek(0)
    return soundfile.read(file, dtype="float32")[0]


def _of_length(samples: np.ndarray, count: int) -> np.ndarray:
    return np.pad(samples[:count], (0, max(0, count - len(samples))))


@cache
def _noise_files(folder: str) -> list[Path]:
    files = [file for file in recordings_in(Path(folder).expanduser())[0] if file.is_file()]
    if not files:
        raise UserError(f"{folder} holds no sound files: all are links to what is not there")
    return files


@lru_cache(KEPT_NOISES)
def _noise(path: Path, rate: int) -> np.ndarray:
    return read_audio(str(path), rate)


def _from_folder(folder: str, count: int, rate: int, chance: np.random.Generator) -> np.ndarray:
    """A part of one of a folder's recordings, again and again where it is too short."""
    files = _noise_files(folder)
    noise = _noise(files[int(chance.integers(len(files)))], rate)
    return np.resize(np.roll(noise, -int(chance.integers(len(noise)))), count)


def _noises(varieties: Iterable[str]) -> str:
    """What tells the recordings in folders of noise apart from others: their names and sizes."""
    folders = [each for each in varieties if each and each not in COLOURS and Path(each).expanduser().is_dir()]
    files = [(path.name, path.stat().st_size) for folder in folders for path in _noise_files(folder)]
    return f" {files}" if files else ""
