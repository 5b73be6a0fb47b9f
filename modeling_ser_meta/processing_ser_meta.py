"""From recordings and transcripts to the model's inputs, and from its logits back to words and labels."""

import json
import logging
import math
import re
import tempfile
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import transformers
from transformers import (
    AutoConfig,
    BatchFeature,
    FeatureExtractionMixin,
    PretrainedConfig,
    ProcessorMixin,
    Wav2Vec2CTCTokenizer,
)
from transformers.utils import FEATURE_EXTRACTOR_NAME, TensorType

from .audio_ser_meta import trim_silence
from .features_ser_meta import (
    features_of,
    has_extractor,
    inputs_per_second,
    load_extractor,
    time_axis,
    usual_extractor,
)
from .settings_ser_meta import WAVEFORM_ENCODERS

if TYPE_CHECKING:  # never run: Transformers saves, with a processor, the files that this one names
    from .frames_ser_meta import FrameRule  # noqa: F401
    from .sound_files_ser_meta import open_sound  # noqa: F401

logger = logging.getLogger(__name__)

SPECIAL_TOKENS = ("<pad>", "<unk>", "|")  # CTC's blank, an unknown character, the word boundary
LATIN = "'ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_TAG = re.compile(r"\[[^\]]*\]|\{[^}]*\}|<[^>]*>|\([^)]*\)")
_APOSTROPHES = str.maketrans("\u2019\u2018\u02bc`", "''''")


def normalize_transcript(text: str) -> str:
    """Upper case, without tags such as `[LAUGHTER]` or `{LG}`, punctuation or doubled spaces.

    Whole tags go first, so that no letter of theirs remains; letters of any alphabet, with their marks, and
    apostrophes stay.
    """
    text = unicodedata.normalize("NFC", _TAG.sub(" ", text).upper()).translate(_APOSTROPHES)
    # the category of a letter starts with L, that of a mark which belongs to one with M
    return " ".join("".join(c if c == "'" or unicodedata.category(c)[0] in "LM" else " " for c in text).split())


def character_tokenizer(transcripts: Iterable[str] = ()) -> Wav2Vec2CTCTokenizer:
    """A character tokenizer for CTC: the Latin letters, the apostrophe, and any further characters of `transcripts`.

    Ids: blank 0, unknown 1, word boundary 2, then the characters, the Latin ones first.
    """
    found = set("".join(normalize_transcript(text) for text in transcripts)) - {" ", *LATIN}
    vocabulary = {token: index for index, token in enumerate((*SPECIAL_TOKENS, *LATIN, *sorted(found)))}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.json"
        path.write_text(json.dumps(vocabulary), encoding="utf-8")
        return Wav2Vec2CTCTokenizer(
            str(path), pad_token="<pad>", unk_token="<unk>", word_delimiter_token="|", bos_token=None, eos_token=None
        )


class SerMetaProcessor(ProcessorMixin):
    """Feature extractor and character tokenizer of a ser-meta model.

    Every recording is processed alone and padded afterwards, so that a batch never changes its features; the mask of
    true lengths is always returned.

    Args:
        feature_extractor: the speech encoder's own.
        tokenizer: characters of the transcripts, see [`character_tokenizer`].
        trim_decibels: cut silence off both ends of a recording, see [`trim_silence`]; None for none (ours). A stock
            pipeline, which knows the feature extractor only, does not.
    """

    if transformers.__version__.startswith("4."):  # later releases find the parts by the arguments' names
        attributes = ["feature_extractor", "tokenizer"]
        feature_extractor_class = "AutoFeatureExtractor"
        tokenizer_class = "Wav2Vec2CTCTokenizer"

    def __init__(
        self,
        feature_extractor: FeatureExtractionMixin,
        tokenizer: Wav2Vec2CTCTokenizer,
        trim_decibels: float | None = None,
    ):
        # a stock pipeline calls the feature extractor directly, and must get the true lengths too
        feature_extractor.return_attention_mask = True
        super().__init__(feature_extractor, tokenizer)
        self.trim_decibels = trim_decibels

    @classmethod
    def from_backbone_pretrained(
        cls,
        name_or_path: str,
        transcripts: Iterable[str] = (),
        *,
        revision: str = "main",
        trim_decibels: float | None = None,
    ) -> "SerMetaProcessor":
        """The processor of a pretrained speech encoder, with its own feature-extractor settings.

        Args:
            name_or_path: a Hub repository or a folder. Where it has no `preprocessor_config.json`, raw speech is
                normalised to zero mean and unit variance, the layer-norm (large) models' way, and a warning says so.
            transcripts: texts whose characters the tokenizer must know.
            revision: of the Hub repository.
            trim_decibels: see the class.

        Raises:
            OSError: the repository or its settings cannot be reached, and so nobody knows whether it has any.
            ValueError: an encoder of log-mel features without settings, which no others can stand in for.
        """
        if has_extractor(name_or_path, revision):
            feature_extractor = load_extractor(name_or_path, revision)
        else:
            source = {"revision": revision, "trust_remote_code": False}
            feature_extractor = _usual_extractor(name_or_path, AutoConfig.from_pretrained(name_or_path, **source))
        return cls(feature_extractor, character_tokenizer(transcripts), trim_decibels)

    @property
    def sampling_rate(self) -> int:
        """Of the recordings that the encoder takes, in Hz."""
        return self.feature_extractor.sampling_rate

    @property
    def model_input_names(self) -> list[str]:
        """Names of what `__call__` returns for recordings."""
        return [self.feature_extractor.model_input_names[0], "attention_mask"]

    def __call__(
        self,
        audio: np.ndarray | Sequence[np.ndarray],
        sampling_rate: int | None = None,
        text: str | Sequence[str | None] | None = None,
        half_seconds: bool = False,
        *,
        return_tensors: str | None = "pt",
        padding: bool | str = True,
        truncation: bool | str = False,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        return_attention_mask: bool = True,
    ) -> BatchFeature:
        """Prepares a batch.

        Args:
            audio: one recording `(samples,)`, or a list of them.
            sampling_rate: of the recordings, in Hz; must be the encoder's.
            text: their transcripts, or that of one recording; None where one is missing.
            half_seconds: pad the batch to a whole number of half seconds, so that few shapes occur: memory that is
                taken and freed in ever new sizes grows.
            return_tensors: `"pt"`, or `"np"` for NumPy's arrays.
            padding: a batch is padded to its longest recording; False is for recordings that are all of one length.
            truncation: of recordings: none, since what is cut off would not be heard.
            max_length: as `truncation`.
            pad_to_multiple_of: pads the batch further, to a multiple of so many samples or log-mel frames.
            return_attention_mask: always; without it padding would be taken for speech.

        Returns:
            `input_values` `(batch, samples)` or the encoder's `input_features`, float32; `attention_mask` with the
            true lengths; with `text` also `labels` `(batch, characters)`, -100 where missing or padded.

        Raises:
            ValueError: no sampling rate, or another than the encoder's; a recording that is no row of finite floats;
                a value that is not described here.
        """
        _refuse_lengths(truncation, max_length, return_attention_mask)
        if sampling_rate != self.sampling_rate:
            given = f"the recordings have {sampling_rate} Hz" if sampling_rate else "no sampling rate was given"
            raise ValueError(
                f"{given}, but the encoder needs {self.sampling_rate} Hz: resample them, and pass "
                f"sampling_rate={self.sampling_rate}"
            )
        recordings = list(audio) if len(audio) and np.ndim(audio[0]) else [audio]
        features = [self._features(_samples(recording, row)) for row, recording in enumerate(recordings)]
        half_second = inputs_per_second(self.feature_extractor) // 2 if half_seconds else 1
        batch = self._pad(features, math.lcm(half_second, pad_to_multiple_of or 1))
        if padding not in (True, "longest") and not batch["attention_mask"].all():
            raise ValueError(
                f"padding={padding!r}, but the recordings differ in length: a batch of them is padded to the longest, "
                "with padding=True, which never changes a result"
            )
        if text is not None:
            texts = [text] if isinstance(text, str) else list(text)
            if len(texts) != len(recordings):
                raise ValueError(
                    f"{len(texts)} transcripts for {len(recordings)} recordings: give each its own, or None"
                )
            batch["labels"] = self.encode_transcripts(texts)
        return _as_tensors(batch, return_tensors)

    def encode_transcripts(self, transcripts: Sequence[str | None]) -> torch.Tensor:
        """Characters `(batch, length)` of the normalised transcripts; what the vocabulary lacks is left out."""
        vocabulary = self.tokenizer.get_vocab()
        rows = [
            [vocabulary[c] for c in normalize_transcript(text or "").replace(" ", "|") if c in vocabulary]
            for text in transcripts
        ]
        labels = torch.full((len(rows), max(1, *map(len, rows))), -100)
        for row, characters in enumerate(rows):
            labels[row, : len(characters)] = torch.tensor(characters)
        return labels

    def decode_transcripts(self, ids: Sequence[Sequence[int]], ctc: bool = True) -> list[str]:
        """Texts of rows of character ids; negative ids are padding. With `ctc`, repeats collapse and blanks vanish."""
        blank, unknown = self.tokenizer.pad_token_id, self.tokenizer.unk_token_id
        rows = [[blank if i == unknown else int(i) for i in row if i >= 0] for row in ids]
        # special tokens are not skipped: blanks would go before repeats collapse, and HELLO would lose an L
        return [
            self.tokenizer.decode(row, group_tokens=ctc, skip_special_tokens=False).strip() if row else ""
            for row in rows
        ]

    def _features(self, recording: np.ndarray) -> torch.Tensor:
        if self.trim_decibels is not None:
            recording = trim_silence(recording, self.sampling_rate, self.trim_decibels)
        return features_of(self.feature_extractor, recording)

    def _pad(self, features: list[torch.Tensor], multiple: int) -> BatchFeature:
        name = self.model_input_names[0]
        time = time_axis(self.feature_extractor)
        lengths = torch.tensor([feature.shape[time] for feature in features])
        shape = list(features[0].shape)
        shape[time] = -(-int(lengths.max()) // multiple) * multiple
        batch = torch.full((len(features), *shape), float(self.feature_extractor.padding_value))
        for row, feature in zip(batch, features, strict=True):
            row.narrow(time, 0, feature.shape[time]).copy_(feature)
        mask = (torch.arange(shape[time]) < lengths[:, None]).long()
        return BatchFeature({name: batch, "attention_mask": mask})


def _refuse_lengths(truncation: bool | str, max_length: int | None, return_attention_mask: bool) -> None:
    if truncation not in (False, None, "do_not_truncate") or max_length is not None:
        raise ValueError(
            f"truncation={truncation!r}, max_length={max_length}: recordings are not cut here, and the rest lost: cut "
            "them first, or give them to the pipeline, which hears a long one piece by piece"
        )
    if not return_attention_mask:
        raise ValueError(
            "return_attention_mask=False: without the mask padding would be taken for speech: leave it out"
        )


def _as_tensors(batch: BatchFeature, return_tensors: str | None) -> BatchFeature:
    if return_tensors in ("np", TensorType.NUMPY):
        return BatchFeature({name: tensor.numpy() for name, tensor in batch.items()})
    if return_tensors not in ("pt", TensorType.PYTORCH, None):
        raise ValueError(f"return_tensors={return_tensors!r} must be pt or np")
    return batch


def _usual_extractor(name: str, config: PretrainedConfig) -> FeatureExtractionMixin:
    if config.model_type not in WAVEFORM_ENCODERS:
        raise ValueError(
            f"{name} has no {FEATURE_EXTRACTOR_NAME}, and a {config.model_type} cannot be used without: add that of "
            "the checkpoint which it was made from"
        )
    logger.warning(
        "%s has no %s: its raw speech is normalised to zero mean and unit variance, as large models want it; if this "
        "one does not, add the file",
        name,
        FEATURE_EXTRACTOR_NAME,
    )
    return usual_extractor()


def _samples(recording: np.ndarray, row: int) -> np.ndarray:
    """A recording of a batch as float32 `(samples,)`."""
    array = np.asarray(recording)
    if array.ndim != 1 or not array.size or array.dtype.kind != "f":
        raise ValueError(
            f"recording {row} of the batch has the shape {array.shape} and the type {array.dtype}: give one channel "
            "of float samples in -1..1, as read_audio returns them"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"recording {row} of the batch holds NaN or infinite samples: leave it out")
    return array.astype(np.float32, copy=False)


SerMetaProcessor.register_for_auto_class()
