"""The demo's corpus: synthetic speech by espeak-ng, spoken where it is needed."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import soundfile
import soxr
from filelock import FileLock

from ...configuration.errors import UserError
from ...configuration.run_folder import moved_into_place, read_json, write_json
from .espeak_sentences import PAUSE, improvised, scripted
from .espeak_synthesis import SAMPLING_RATE, Speech, require_library, synthesize
from .espeak_voices import GROUPS, NATURAL_PITCH, Speaker, speakers
from .recordings import require_files
from .rows import Rows, gather

LICENSE = "CC0-1.0"
LANGUAGE = "en"
SPEECH = "synthetic"
VERSION = 4  # of what is spoken: a folder of another version is not reused
MANIFEST = "manifest.json"
LOCK = ".lock"
OUTPUT_RATE = 16000
WORDS_A_MINUTE = 230
STYLES = {"scripted": scripted, "improvised": improvised}


@dataclass(frozen=True)
class Delivery:
    """How an utterance is spoken, relative to the speaker's plain way."""

    rate: float = 0.0  # natural logarithm of the factor
    pitch: float = 0.0  # natural logarithm of the factor
    pitch_range: float = 50.0  # espeak-ng's units: 50 is plain
    tilt: float = 0.0  # dB an octave
    level: float = 0.0  # dB
    lilt: float = 0.0  # pitch goes up and down from word to word, by this part
    fall: float = 0.0  # pitch sinks from the first word to the last, by this part
    stress: float = 0.0  # probability that a long word is emphasised
    pause: float = 0.0  # probability of a pause after a word
    exclamation: float = 0.0  # probability of an exclamation's tune


EMOTIONS = {
    "neutral": Delivery(fall=0.05, stress=0.05, exclamation=0.1),
    "happy": Delivery(0.06, 0.22, 70.0, 0.8, 3.0, lilt=0.20, stress=0.1, exclamation=0.5),
    "angry": Delivery(0.12, 0.10, 58.0, 2.2, 6.0, fall=0.10, stress=0.8, exclamation=0.5),
    "sad": Delivery(-0.16, -0.08, 35.0, -1.6, -4.0, fall=0.18, pause=0.16),
}
JITTER = Delivery(0.07, 0.07, 8.0, 0.7, 2.0, lilt=0.04, fall=0.05, stress=0.1, pause=0.05, exclamation=0.1)

EMOTION_SPREAD = 0.8  # of the jitter: who shows an emotion is more alike than who speaks in any manner


@dataclass(frozen=True)
class Utterance:
    """One utterance to make: what is said, by whom and how."""

    utterance_id: str
    words: list[str]
    style: str
    emotion: str | None
    speaker: Speaker
    delivery: Delivery


def load(root: str | Path, voices: str = "demo", utterances: int = 1920, seed: int = 0) -> Rows:
    """Speaks a corpus into `root`, or reads the one that was spoken there with the same options.

    The same options give the same samples on the same machine. Of several processes that ask at once, one speaks.

    This is synthetic speech, and its emotions are only what `EMOTIONS` says: tempo, pitch and its movement, loudness,
    spectral tilt and pauses, after what is known of acted emotions, with much overlap. It shows that the training
    works; it says nothing about people. What is said is drawn independently of emotion, style and speaker.

    Args:
        root: a folder of this corpus's own; FLAC files and `manifest.json` are written there.
        voices: `demo` (120 speakers in sessions 1 to 5, twelve of each gender; no session shares a voice with
            another), `tuning` (24 other speakers, on which the demo's settings were chosen) or `pretraining` (400
            speakers from yet other voices, spoken in any manner, without an emotion).
        utterances: how many; emotions, styles and speakers take turns.
        seed: of sentences, manners of speaking and noise; the speakers are always the same.

    Raises:
        UserError: an unknown group of voices, a number below 1, a folder that holds a corpus of other options, or
            `espeakng-loader` is not installed.
    """
    if voices not in GROUPS:
        raise UserError(f"espeak: unknown voices {voices!r}: choose one of {', '.join(GROUPS)}")
    if utterances < 1:
        raise UserError(f"espeak: utterances={utterances} must be 1 or more")
    folder = Path(root).expanduser()
    options = {"version": VERSION, "voices": voices, "utterances": utterances, "seed": seed}
    if not (folder / MANIFEST).is_file():
        require_library()
        folder.mkdir(parents=True, exist_ok=True)
        # processes at the same time: one speaks, the others wait and read
        with FileLock(folder / LOCK):
            if not (folder / MANIFEST).is_file():
                _speak(folder, options)
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("options") != options:
        found = manifest.get("options") if isinstance(manifest, dict) else "nothing known"
        raise UserError(f"espeak: {folder} holds a corpus of {found}, not of {options}: choose another folder")
    try:
        rows = [row | {"audio": folder / row["audio"]} for row in manifest["rows"]]
    except (KeyError, TypeError) as error:
        raise UserError(f"espeak: {folder / MANIFEST} is damaged: remove the folder, it is spoken anew") from error
    require_files([row["audio"] for row in rows], "espeak")
    return gather(rows)


def _speak(folder: Path, options: dict) -> None:
    """Writes every recording, and the manifest last, so that a folder with a manifest is complete."""
    planned = plan(options["voices"], options["utterances"], options["seed"])
    rows = []
    for utterance, waveform in zip(planned, recordings(planned, options["seed"]), strict=True):
        file = Path(utterance.speaker.name) / f"{utterance.utterance_id}.flac"
        (folder / file.parent).mkdir(exist_ok=True)
        with moved_into_place(folder / file) as aside:
            soundfile.write(aside, waveform, OUTPUT_RATE)
        rows.append({"audio": str(file), **_metadata(utterance)})
    write_json(folder / MANIFEST, {"options": options, "rows": rows})


def _metadata(utterance: Utterance) -> dict[str, str | None]:
    return {
        "utterance_id": utterance.utterance_id,
        "emotion": utterance.emotion,
        "speaker": utterance.speaker.name,
        "gender": utterance.speaker.gender,
        "style": utterance.style,
        "transcript": " ".join(word for word in utterance.words if word != PAUSE),
        "session": utterance.speaker.session,
        "language": LANGUAGE,
    }


def plan(voices: str, utterances: int, seed: int) -> list[Utterance]:
    """The corpus as a list: speakers, emotions and styles take turns, all else is drawn."""
    generator = np.random.default_rng([seed, *voices.encode()])
    group = speakers(voices)
    emotions = [None] if voices == "pretraining" else list(EMOTIONS)
    planned = []
    for number in range(utterances):
        turn, position = divmod(number, len(group))
        style = list(STYLES)[turn // len(emotions) % 2]
        emotion = emotions[turn % len(emotions)]
        planned.append(
            Utterance(
                utterance_id=f"{voices}-{number:06d}",
                words=STYLES[style](generator),
                style=style,
                emotion=emotion,
                speaker=group[position],
                delivery=_any_delivery(generator) if emotion is None else _emotional_delivery(emotion, generator),
            )
        )
    return planned


def _jitter(delivery: Delivery, generator: np.random.Generator, spread: float = 1.0) -> Delivery:
    names = [field.name for field in fields(Delivery)]
    drawn = {name: generator.normal(getattr(delivery, name), spread * getattr(JITTER, name)) for name in names}
    return Delivery(**drawn)


def _emotional_delivery(emotion: str, generator: np.random.Generator) -> Delivery:
    return _jitter(EMOTIONS[emotion], generator, EMOTION_SPREAD)


def _any_delivery(generator: np.random.Generator) -> Delivery:
    """Each property by itself anywhere between its lowest and highest in `EMOTIONS`, with the usual jitter."""
    values = {}
    for field in fields(Delivery):
        usual = [getattr(delivery, field.name) for delivery in EMOTIONS.values()]
        values[field.name] = generator.uniform(min(usual), max(usual))
    return _jitter(Delivery(**values), generator)


def speech(utterance: Utterance, generator: np.random.Generator) -> Speech:
    """An utterance as espeak-ng is asked for it: delivery and style as SSML."""
    speaker, delivery = utterance.speaker, utterance.delivery
    pitch = speaker.pitch * np.exp(delivery.pitch) / (NATURAL_PITCH[speaker.variant] * speaker.formants)
    rate = WORDS_A_MINUTE * np.exp(delivery.rate) / speaker.formants
    return Speech(
        ssml=_markup(utterance, generator),
        voice=f"{speaker.accent}+{speaker.variant}",
        rate=int(np.clip(rate, 80, 450)),
        pitch=int(np.clip(50 + 67 * np.log2(pitch), 0, 99)),
        pitch_range=int(np.clip(delivery.pitch_range, 0, 99)),
    )


def _markup(utterance: Utterance, generator: np.random.Generator) -> str:
    delivery, spoken = utterance.delivery, []
    hesitation = 0.12 if utterance.style == "improvised" else 0.0
    direction = generator.choice([-1, 1])
    for number, word in enumerate(utterance.words):
        if word == PAUSE:
            spoken.append(f'<break time="{generator.integers(80, 250)}ms"/>')
            continue
        place = number / max(1, len(utterance.words) - 1) - 0.5
        pitch = 100 * (direction * (-1) ** number * delivery.lilt - delivery.fall * place)
        pace = 100 * np.exp(generator.normal(0, hesitation))
        text = f'<prosody pitch="{pitch:+.0f}%" rate="{pace:.0f}%">{word}</prosody>'
        if len(word) > 3 and generator.random() < delivery.stress:
            text = f'<emphasis level="strong">{text}</emphasis>'
        spoken.append(text)
        if generator.random() < delivery.pause:
            spoken.append(f'<break time="{generator.integers(60, 200)}ms"/>')
    return f"<speak>{' '.join(spoken)}{'!' if generator.random() < delivery.exclamation else '.'}</speak>"


def record(waveform: np.ndarray, utterance: Utterance, generator: np.random.Generator) -> np.ndarray:
    """What a microphone hears of an utterance: formants, tilt and level, in a room with noise.

    Args: `waveform` (samples,) as espeak-ng speaks it. Returns: (samples,) at 16 kHz, float32 below full scale.
    """
    waveform = soxr.resample(_trim(waveform), SAMPLING_RATE * utterance.speaker.formants, OUTPUT_RATE)
    spectrum = np.fft.rfft(waveform)
    frequencies = np.fft.rfftfreq(len(waveform), 1 / OUTPUT_RATE).clip(100, OUTPUT_RATE / 2)
    spectrum *= (frequencies / 1000) ** (utterance.delivery.tilt / (20 * np.log10(2)))
    waveform = np.fft.irfft(spectrum, len(waveform))
    waveform *= 10 ** (utterance.delivery.level / 20) / np.sqrt(np.mean(waveform**2))
    noise = generator.normal(0, 10 ** (generator.uniform(-36, -24) / 20), len(waveform))
    heard = (waveform + noise) * 0.04 * 10 ** (generator.normal(0, 3) / 20)
    return (heard / max(1.0, np.abs(heard).max() / 0.99)).astype(np.float32)


def _trim(waveform: np.ndarray) -> np.ndarray:
    """Cut silence at both ends, but for 30 ms."""
    loud = np.flatnonzero(np.abs(waveform) > 0.02 * np.abs(waveform).max())
    margin = SAMPLING_RATE * 30 // 1000
    return waveform[max(0, loud[0] - margin) : loud[-1] + margin]


def recordings(planned: list[Utterance], seed: int) -> Iterator[np.ndarray]:
    """Speak and record a plan, in order: float32 (samples,) at 16 kHz each."""
    generator = np.random.default_rng([seed, 1])
    spoken = synthesize([speech(utterance, generator) for utterance in planned])
    for utterance, waveform in zip(planned, spoken, strict=True):
        yield record(waveform, utterance, generator)
