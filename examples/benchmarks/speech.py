"""What the benchmarks hear and with which encoders: speech as long as conversations have it, encoders of base size."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

RATE = 16_000
MEAN, DEVIATION, SHORTEST, LONGEST = 4.5, 3.0, 0.6, 30.0  # seconds, close to IEMOCAP's
EMOTIONS = ("angry", "happy", "neutral", "sad")
WORDS = ("KIDS", "ARE", "TALKING", "BY", "THE", "DOOR")
SPEAKERS, TEST_SPEAKER = 10, "test"
TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": (16, 16, 16),
    "conv_kernel": (10, 8, 8),
    "conv_stride": (5, 8, 8),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "do_stable_layer_norm": True,
    "feat_extract_norm": "layer",
}
SIZES = {"base": {}, "large": LARGE, "tiny": TINY}
TASKS = {
    "emotion": {"labels": list(EMOTIONS)},
    "gender": {"labels": ["female", "male"]},
    "speaker": {"labels": [f"s{number}" for number in range(SPEAKERS)]},
    "style": {"labels": ["improvised", "scripted"]},
    "transcript": {"kind": "ctc"},
}


@dataclass
class Corpus:
    """What both sides learn from: a table of recordings, an encoder's folder, and a folder for the cache."""

    table: Path
    encoder: Path
    cache: Path


def utterance_lengths(count: int, seed: int = 0, longest: float = LONGEST) -> np.ndarray:
    """Seconds `(count,)`, log-normal, cut off at both ends."""
    spread = np.sqrt(np.log(1 + (DEVIATION / MEAN) ** 2))
    drawn = np.random.default_rng(seed).lognormal(np.log(MEAN) - spread**2 / 2, spread, count)
    return drawn.clip(SHORTEST, longest)


def write_speech(
    folder: Path, count: int, source: Path | None = None, seed: int = 0, longest: float = LONGEST
) -> Path:
    """Writes `count` utterances to learn from, and a short one an emotion to test on; returns their table.

    Args:
        folder: of the recordings and the table.
        count: utterances of the training side.
        source: a folder of recordings, which are joined and cut to the lengths; None for noise.
        seed: of the lengths, and of the recordings' order.
        longest: seconds of an utterance.
    """
    import soundfile

    folder.mkdir(parents=True, exist_ok=True)
    lengths = [*utterance_lengths(count, seed, longest), *(1.0 for _ in EMOTIONS)]
    pieces = cut(noise(seed) if source is None else recordings(source, seed), lengths)
    rows = []
    for number, samples in enumerate(pieces):
        soundfile.write(folder / f"{number:05}.wav", samples, RATE)
        rows.append(metadata(number, count, len(samples) / RATE))
    table = folder / "speech.csv"
    pd.DataFrame(rows).to_csv(table, index=False)
    return table


def corpus_durations(corpus: Corpus) -> list[float]:
    """Seconds of the utterances to learn from."""
    import soundfile

    rows = pd.read_csv(corpus.table)
    names = rows[rows["speaker"] != TEST_SPEAKER]["audio"]
    return [soundfile.info(corpus.table.parent / name).duration for name in names]


def cut(stream: Iterator[np.ndarray], lengths: list[float]) -> Iterator[np.ndarray]:
    """Pieces of so many seconds, one after the other, from a stream of recordings `(samples,)` that does not end."""
    held = np.zeros(0, dtype=np.float32)
    for seconds in lengths:
        samples = round(seconds * RATE)
        while len(held) < samples:
            held = np.concatenate([held, next(stream)])
        yield held[:samples]
        held = held[samples:]


def recordings(folder: Path, seed: int) -> Iterator[np.ndarray]:
    """The recordings of a folder in random order, over and over."""
    from ser_meta.modeling_ser_meta.audio_ser_meta import read_audio
    from ser_meta.training.prediction.inputs import find_recordings

    paths, chance = find_recordings([str(folder)]), np.random.default_rng(seed)
    while True:
        for index in chance.permutation(len(paths)):
            yield read_audio(paths[index], RATE)


def noise(seed: int) -> Iterator[np.ndarray]:
    """White noise that swells and fades."""
    chance = np.random.default_rng(seed)
    while True:
        yield chance.normal(scale=0.1, size=RATE).astype(np.float32) * np.hanning(RATE).astype(np.float32)


def metadata(number: int, count: int, seconds: float) -> dict[str, str]:
    """An utterance's row, with as many words as one says in that time; the test speaker has those beyond `count`."""
    words = max(1, int(2 * seconds))
    return {
        "audio": f"{number:05}.wav",
        "emotion": EMOTIONS[number % len(EMOTIONS)],
        "speaker": f"s{number % SPEAKERS}" if number < count else TEST_SPEAKER,
        "gender": ("female", "male")[number % 2],
        "style": ("scripted", "improvised")[number // 2 % 2],
        "transcript": " ".join(WORDS[place % len(WORDS)] for place in range(words)),
    }


def write_encoder(folder: Path, family: str, size: str = "base") -> Path:
    """An encoder of the family's base checkpoint's shape with random weights, and its feature extractor.

    Without LayerDrop, which would spare the peer a tenth of its layers, and ours none.
    """
    import torch
    from transformers import AutoConfig, AutoModel, Wav2Vec2FeatureExtractor

    torch.manual_seed(0)
    AutoModel.from_config(AutoConfig.for_model(family, layerdrop=0.0, **SIZES[size])).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(folder)
    return folder


def write_model(folder: Path, encoder: Path, layers: int | None = None) -> Path:
    """A model of ours around an encoder, its heads drawn so that not every recording gets the same label."""
    import torch

    from ser_meta.modeling_ser_meta import SerMetaModel, SerMetaProcessor

    torch.manual_seed(0)
    model = SerMetaModel.from_backbone_pretrained(str(encoder), tasks=TASKS, encoder_layers=layers)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("encoder") and parameter.dim() > 1:
                parameter.normal_(std=parameter.shape[-1] ** -0.5)
    model.save_pretrained(folder)
    SerMetaProcessor.from_backbone_pretrained(str(encoder)).save_pretrained(folder)
    return folder


def write_stock_classifier(folder: Path, encoder: Path) -> Path:
    """Transformers' own classifier on an encoder."""
    from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

    AutoModelForAudioClassification.from_pretrained(encoder, num_labels=len(EMOTIONS)).save_pretrained(folder)
    AutoFeatureExtractor.from_pretrained(encoder).save_pretrained(folder)
    return folder
