"""What a frozen encoder makes of a corpus, computed once and kept on disk: then training the heads costs little."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import torch
from datasets import Dataset, Features, Value
from filelock import FileLock

from ..configuration.errors import UserError
from ..modeling_ser_meta.audio_ser_meta import read_audio
from ..modeling_ser_meta.modeling_ser_meta import SerMetaModel
from .augmentation import SpeedPerturbation
from .checking.recordings import digest as digest_of
from .checking.recordings import read_bytes
from .collator import SpeechCollator

COMPUTED_AT_ONCE = 16  # utterances of alike lengths
WRITTEN_AT_ONCE = 64
FEATURES = Features({"states": Value("large_binary")})


class LayerStates:
    """Every layer's hidden states of every utterance at every speed, from an encoder that is wholly frozen (ours).

    They are kept in half precision, one memory-mapped file for a speed, under a name that depends on the encoder's
    weights, the processor's settings, the recordings' bytes and the speed: stages, folds, seeds and rows of an
    ablation share them. A corpus of 1.5 hours takes 5 GB at three speeds with six layers of 512.

    Args:
        folder: of the files.
        model: its encoder computes what is not there yet, on the device where it is.
        collator: reads the recordings.
        dataset: the whole corpus.
        durations: of its recordings, in seconds: alike ones are computed together.
    """

    def __init__(
        self,
        folder: str | Path,
        model: SerMetaModel,
        collator: SpeechCollator,
        dataset: Dataset,
        durations: list[float],
    ):
        self.folder = Path(folder).expanduser()
        self.model = model
        self.collator = collator
        self.dataset = dataset.select(np.argsort(durations, kind="stable"))
        self.shape = (len(model.encoder.layers), -1, model.config.speech_config.hidden_size)
        self.origin = self._origin()
        self.rows = {name: row for row, name in enumerate(self.dataset["utterance_id"])}
        self.by_factor: dict[float, pyarrow.ChunkedArray] = {}

    def prepare(self, factors: Iterable[float]) -> None:
        """Computes what is not kept yet for these speed factors, with a progress bar."""
        for factor in sorted({1.0, *factors}):
            self.by_factor[factor] = self._read_or_compute(factor).data["states"]

    def of(self, utterance_id: str, factor: float) -> np.ndarray:
        """An utterance's states at a speed: float16 `(layers, frames, width)`, read from the file where it is used."""
        packed = self.by_factor[factor][self.rows[utterance_id]].as_buffer()
        return np.frombuffer(packed, dtype=np.float16).reshape(self.shape)

    def frames(self, utterance_id: str) -> int:
        """Frames of an utterance at its own speed."""
        return self.of(utterance_id, 1.0).shape[1]

    def _read_or_compute(self, factor: float) -> Dataset:
        name = hashlib.sha256(f"{self.origin} {factor}".encode()).hexdigest()[:24]
        speed = SpeedPerturbation([factor], seed=0, shortest=self.model.encoder.shortest_input)
        self.folder.mkdir(parents=True, exist_ok=True)
        # trainings at the same time: one computes, the others wait and read
        with FileLock(self.folder / f"{name}.lock"):
            return self.dataset.map(
                lambda rows: self._compute(rows, speed),
                batched=True,
                batch_size=COMPUTED_AT_ONCE,
                writer_batch_size=WRITTEN_AT_ONCE,
                remove_columns=self.dataset.column_names,
                features=FEATURES,
                cache_file_name=str(self.folder / f"{name}.arrow"),
                load_from_cache_file=True,
                new_fingerprint=name,
                desc=f"frozen encoder, speed {factor:g}",
            )

    @torch.inference_mode()
    def _compute(self, rows: dict[str, list], speed: SpeedPerturbation) -> dict[str, list]:
        processor, encoder = self.collator.processor, self.model.encoder.eval()
        recordings = [
            speed(read_audio(audio, processor.sampling_rate), name)
            for audio, name in zip(rows["audio"], rows["utterance_id"], strict=True)
        ]
        inputs = processor(recordings, sampling_rate=processor.sampling_rate).to(self.model.device)
        encoded = encoder(inputs[encoder.input_name], inputs["attention_mask"])
        states = torch.stack(encoded.hidden_states, dim=1).half().cpu().numpy()
        if not np.isfinite(states).all():
            raise UserError(f"the encoder's states exceed half precision at {rows['utterance_id'][0]}: set cache=null")
        lengths = encoded.frame_mask.sum(dim=1).tolist()
        packed = [state[:, :length].tobytes() for state, length in zip(states, lengths, strict=True)]
        return {"states": packed}

    def _origin(self) -> str:
        """A digest of all that the states depend on but the speed."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.encoder.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy())
        processor = self.collator.processor
        # saving a processor notes where its code is in the feature extractor, which changes nothing
        of_features = {**processor.feature_extractor.to_dict(), "processor_class": None, "auto_map": None}
        settings = [of_features, processor.trim_decibels]
        digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
        for audio in self.dataset["audio"]:
            digest.update(digest_of(read_bytes(audio)).encode())
        return digest.hexdigest()


class LayerStatesCollator(SpeechCollator):
    """Batches of what a frozen encoder gave, with the same labels and the same draws of speed as of recordings.

    Args:
        states: of the corpus, prepared for the factors of `speed`.
        collator: the one for recordings.
    """

    def __init__(self, states: LayerStates, collator: SpeechCollator):
        super().__init__(collator.processor, collator.tasks, collator.speed)
        self.states = states

    def lengths(self, dataset: Dataset) -> list[float]:
        """Frames of each utterance."""
        return [float(self.states.frames(name)) for name in dataset["utterance_id"]]

    def without_speed(self) -> "LayerStatesCollator":
        """The same, for utterances as they were recorded."""
        return LayerStatesCollator(self.states, super().without_speed())

    def _inputs(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """`layer_states` `(batch, layers, frames, width)`, float16, and the frames' `attention_mask`."""
        names = [row["utterance_id"] for row in rows]
        found = [self.states.of(name, self.speed.factor(name) if self.speed else 1.0) for name in names]
        lengths = np.array([states.shape[1] for states in found])
        layers, _, width = found[0].shape
        padded = np.zeros((len(found), layers, lengths.max(), width), dtype=np.float16)
        for row, states in zip(padded, found, strict=True):
            row[:, : states.shape[1]] = states
        mask = np.arange(lengths.max()) < lengths[:, None]
        return {"layer_states": torch.from_numpy(padded), "attention_mask": torch.from_numpy(mask).long()}
