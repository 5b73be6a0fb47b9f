"""What the frozen part of an encoder makes of a corpus, computed once and kept on disk."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow
import torch
from datasets import Dataset, Features, Value
from torch import nn

from ...configuration.errors import UserError
from ...configuration.recipe import StageRecipe
from ...configuration.run_folder import make_folder
from ...modeling_ser_meta.adapters_ser_meta import first_adapted_layer
from ...modeling_ser_meta.audio_ser_meta import read_audio
from ...modeling_ser_meta.modeling_ser_meta import SerMetaModel
from ...modeling_ser_meta.processing_ser_meta import SerMetaProcessor
from ..checking.recordings import digests
from ..corpora.recordings import recordings, recordings_of
from ..machine.processes import is_main_process, say, wait_for_all_processes
from .augmentation import SpeedPerturbation
from .collator import SpeechCollator
from .degradations import Degradation
from .frame_counts import frame_counts
from .kept_files import COMPUTED_AT_ONCE, kept_file, read_or_compute
from .micro_batches import PaddedBound

ROUNDED = 4  # utterances by which it is told what half precision does
# Raise it with every change of what an encoder hears or gives: of reading, resampling, mixing down and trimming (in
# sound_files_ser_meta.py and audio_ser_meta.py), speed perturbation (augmentation.py), features and padding
# (processing_ser_meta.py, padding_ser_meta.py), or of what is kept here. States that were computed before are then no
# longer taken. What makes recordings worse has a VERSION of its own, in degradations.py.
HEARING = 3
HEARD_WITH = ("soundfile", "soxr", "transformers")  # whose other versions may read, resample or compute otherwise
FEATURES = Features({"states": Value("large_binary"), "seconds": Value("float64")})
CONVOLUTIONS = 0  # a depth: no layer is frozen, but the convolutions in front of them are


def frozen_layers(stage: StageRecipe, layers: int) -> int:
    """Transformer layers, of so many, that a stage freezes."""
    return {"third": layers // 3, "all": layers}.get(stage.freeze_layers, stage.freeze_layers)


def trains_adapter_alone(stage: StageRecipe, model: SerMetaModel) -> bool:
    """Whether the encoder's own weights stay as they are in a stage because it has an adapter."""
    return model.config.adapter is not None and stage.encoder != "all"


def kept_depth(stage: StageRecipe, model: SerMetaModel, keep_layers: bool) -> int | None:
    """How deep the part is that a stage freezes and whose output can be kept.

    Args:
        keep_layers: also above the convolutions. SEW, SEW-D, wav2vec2-conformer, wav2vec2-bert, Fun-ASR-Nano and
            families that are not known by name cannot go on above some of their layers: of the first three the
            convolutions' output is kept instead, the others have none.

    Returns:
        the number of its layers, 0 for the convolutions alone, None for nothing.
    """
    encoder, layers = model.encoder, len(model.encoder.layers)
    frozen = frozen_layers(stage, layers)
    if trains_adapter_alone(stage, model):
        frozen = max(frozen, first_adapted_layer(encoder))
    if frozen and keep_layers:
        if encoder.continues or frozen == layers:
            return frozen
        family = model.config.speech_config.model_type
        say(f"{family} cannot go on above {frozen} frozen layers: at most its convolutions' output is kept")
    fixed = frozen or stage.freeze_feature_encoder or trains_adapter_alone(stage, model)
    return CONVOLUTIONS if encoder.front and fixed else None


class Rendition(NamedTuple):
    """How a whole corpus is heard: at a speed, and perhaps worse than it was recorded.

    Args:
        factor: of the speed.
        degradation: what makes it worse.
    """

    factor: float = 1.0
    degradation: Degradation | None = None

    @property
    def key(self) -> str:
        """All that it depends on but the recordings."""
        return f"{self.factor}" if self.degradation is None else f"{self.factor} {self.degradation.key}"

    @property
    def words(self) -> str:
        """For a progress bar."""
        worse = "" if self.degradation is None else f", {self.degradation.name}"
        return f"speed {self.factor:g}{worse}"

    def __call__(self, samples: np.ndarray, rate: int, utterance_id: str, shortest: int) -> np.ndarray:
        """An utterance `(samples,)` heard so."""
        played = SpeedPerturbation([self.factor], seed=0, shortest=shortest)(samples, utterance_id)
        return played if self.degradation is None else self.degradation(played, rate, utterance_id)


class FrozenStates:
    """What the frozen part of an encoder gives for every utterance at every speed (ours).

    Of frozen convolutions their output is kept, of frozen layers the states of each, or of the last alone where the
    model's fusion reads no other. By default they are in single precision, those of an encoder that is frozen as a
    whole in half: rounded states changed Whisper's losses by 0.00003 in four steps, a rounded output of its
    convolutions by 0.002. Half precision rounds the states of Whisper base on RAVDESS's speech by 0.02 % (layer 6) to
    0.06 % (layer 1) of a channel's standard deviation, and in the worst channel by 0.4 %.

    A GPU computes them without TensorFloat-32, which would round convolutions as coarsely.

    There is one memory-mapped file for a speed and a copy or condition, under a name that depends on the frozen
    weights, the processor's settings, the recordings' bytes, the depth, the speed, what makes them worse, and the
    versions of what reads and computes: stages, folds, seeds and rows of an ablation share them.
    An hour of speech takes, at each speed, 370 MB of the output of a base model's convolutions, and 2.2 GB of the
    states of its first four layers.

    Args:
        folder: of the files.
        model: its encoder computes what is not there yet, on the device where it is.
        collator: reads the recordings.
        dataset: the whole corpus, without what is heard in pieces.
        durations: of its recordings, in seconds: alike ones are computed together.
        depth: see `kept_depth`.
        precision: `fp32`, `fp16`, or `auto` for the default.
    """

    def __init__(
        self,
        folder: str | Path,
        model: SerMetaModel,
        collator: SpeechCollator,
        dataset: Dataset,
        durations: list[float],
        depth: int,
        precision: str = "auto",
    ):
        self.folder = Path(folder).expanduser()
        self.model = model
        self.collator = collator
        order = np.argsort(durations, kind="stable")
        self.dataset = dataset.select(order)
        self.durations = np.asarray(durations)[order]
        self.bound = PaddedBound.usual(durations, COMPUTED_AT_ONCE)
        self.depth = depth
        config = model.config
        last_alone = config.layer_fusion == "last_hidden" and not config.standardize_states
        self.states = 1 if depth == CONVOLUTIONS or last_alone else depth
        self.width = config.width if depth else getattr(config.speech_config, "conv_dim", [config.width])[-1]
        whole = depth == len(model.encoder.layers)
        self.dtype = np.dtype(np.float16 if precision == "fp16" or (precision == "auto" and whole) else np.float32)
        self.shortest = model.encoder.shortest_input
        self.origin = self._origin()
        self.rows = {name: row for row, name in enumerate(self.dataset["utterance_id"])}
        self.kept: dict[str, pyarrow.Table] = {}

    def prepare(self, factors: Iterable[float], degradations: Iterable[Degradation | None] = (None,)) -> None:
        """Computes what is not kept yet for these speed factors and degradations, with a progress bar.

        Raises:
            UserError: the disk is too small for it.
        """
        wanted = [Rendition(), *(Rendition(factor, worse) for worse in degradations for factor in sorted({*factors}))]
        wanted = {rendition.key: rendition for rendition in wanted}
        make_folder(self.folder)
        if is_main_process():
            self._check_room([each for each in wanted.values() if not self._path(each).exists()])
        wait_for_all_processes()
        for key, rendition in wanted.items():
            compute, words = partial(self._compute, rendition=rendition), f"frozen encoder, {rendition.words}"
            self.kept[key] = read_or_compute(self._path(rendition), self.dataset, compute, FEATURES, words)

    def of(self, utterance_id: str, factor: float, degradation: Degradation | None = None) -> np.ndarray:
        """An utterance's states at a speed: `(states, frames, width)`, read from the file where it is used."""
        table = self.kept[Rendition(factor, degradation).key]
        packed = table["states"][self.rows[utterance_id]].as_buffer()
        return np.frombuffer(packed, dtype=self.dtype).reshape(self.states, -1, self.width)

    def seconds(self, utterance_id: str) -> float:
        """What the model hears of an utterance at its own speed, where the processor cuts silent ends off."""
        return self.kept[Rendition().key]["seconds"][self.rows[utterance_id]].as_py()

    def _check_room(self, missing: list["Rendition"]) -> None:
        """Says how much the files will take, and refuses where that does not fit."""
        if not missing:
            return
        needed = sum(self._size(rendition.factor) for rendition in missing)
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            halved = "cache_precision=fp16, " if self.dtype == np.float32 else ""
            alone = "cache_layers=false, " if self.depth else ""
            raise UserError(
                f"what the frozen encoder gives takes {needed / 1e9:.1f} GB in cache={self.folder}, where "
                f"{free / 1e9:.1f} GB are free: choose another folder, {alone}{halved}fewer data.speed_factors or "
                "copies, or cache=null"
            )
        room = f"{needed / 1e9:.2f} GB to compute into {self.folder}, {free / 1e9:.1f} GB are free"
        say(f"frozen encoder: {room}{f'; {self._rounding()}' if self.dtype == np.float16 else ''}")

    @torch.no_grad()
    def _rounding(self) -> str:
        """In words, what half precision does to the states of a few recordings of usual length."""
        self.model.encoder.eval()
        place = len(self.dataset) // 2
        rows = self.dataset.select(range(place, min(place + ROUNDED, len(self.dataset))))
        rate = self.collator.processor.sampling_rate
        heard = [read_audio(recording, rate) for recording in recordings(rows)]
        states, frame_mask = self._states_of(heard)
        frames = states.transpose(1, 2)[frame_mask].double()  # (frames, states, width)
        error = (frames - frames.half().double()).square().mean(dim=0).sqrt() / frames.std(dim=0).clamp(min=1e-12)
        return (
            f"half precision rounds them by {error.median():.1e} of a channel's standard deviation, in the worst "
            f"channel by {error.max():.1e}; cache_precision=fp32 does not"
        )

    def _size(self, factor: float) -> int:
        """Bytes that a speed takes, at most."""
        frames = frame_counts(self.model, self.collator.processor, (self.durations / factor).tolist())
        return int(frames.sum()) * self.states * self.width * self.dtype.itemsize

    def _path(self, rendition: "Rendition") -> Path:
        return kept_file(self.folder, self.origin, rendition.key)

    @torch.no_grad()
    def _compute(self, rows: dict[str, list], rendition: "Rendition") -> dict[str, list]:
        processor = self.collator.processor
        self.model.encoder.eval()
        recordings = [
            rendition(read_audio(heard, processor.sampling_rate), processor.sampling_rate, name, self.shortest)
            for heard, name in zip(recordings_of(rows), rows["utterance_id"], strict=True)
        ]
        parts = self.bound.parts([len(samples) / processor.sampling_rate for samples in recordings])
        packed = [state for part in parts for state in self._packed(recordings[part], rows["utterance_id"][part])]
        trimmed = processor.trim_decibels is not None
        seconds = self.collator.seconds_heard(recordings_of(rows)) if trimmed else [None] * len(packed)
        return {"states": packed, "seconds": seconds}

    def _packed(self, recordings: list[np.ndarray], names: list[str]) -> list[bytes]:
        """The states of recordings that are computed together."""
        states, frame_mask = self._states_of(recordings)
        states = states.cpu().numpy().astype(self.dtype)
        if not np.isfinite(states).all():
            raise UserError(f"the encoder's states exceed half precision at {names[0]}: set cache_precision=fp32")
        lengths = frame_mask.sum(dim=1).tolist()
        return [state[:, :length].tobytes() for state, length in zip(states, lengths, strict=True)]

    def _states_of(self, recordings: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
        """States `(batch, states, frames, width)` of recordings, and their frame mask."""
        processor = self.collator.processor
        inputs = processor(recordings, sampling_rate=processor.sampling_rate).to(self.model.device)
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return self._states(inputs[self.model.encoder.input_name], inputs["attention_mask"])

    def _states(self, inputs: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """States `(batch, states, frames, width)` and their frame mask."""
        if self.depth == CONVOLUTIONS:
            features, frame_mask = self.model.encoder.features(inputs, attention_mask)
            return features[:, None], frame_mask
        encoded = self.model.encoder(inputs, attention_mask)
        return torch.stack(encoded.hidden_states[self.depth - self.states : self.depth], dim=1), encoded.frame_mask

    def _origin(self) -> str:
        """A digest of all that the states depend on but the speed."""
        tensors = frozen_tensors(self.model.encoder, self.depth)
        kept = [self.depth, self.states, self.dtype.name]
        return origin_of(tensors, self.collator.processor, kept, self.dataset)


def origin_of(
    tensors: Mapping[str, torch.Tensor], processor: SerMetaProcessor, kept: list[Any], dataset: Dataset
) -> str:
    """A digest of all that a network's outputs for recordings depend on but their speed: its tensors, what it hears of
    them, what is `kept` of it, and their bytes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    # saving a processor notes where its code is in the feature extractor, which changes nothing
    of_features = {**processor.feature_extractor.to_dict(), "processor_class": None, "auto_map": None}
    of_features.pop("_processor_class", None)  # what transformers 4 calls it meanwhile
    versions = [HEARING, *map(version, HEARD_WITH)]
    settings = [of_features, processor.trim_decibels, *kept, versions]
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    for name in digests(recordings(dataset)):
        digest.update(name.encode())
    return digest.hexdigest()


def frozen_tensors(encoder: nn.Module, depth: int) -> dict[str, torch.Tensor]:
    """Weights and buffers of the part of an encoder below a depth, by name."""
    tensors = encoder.state_dict(keep_vars=True)
    if depth == len(encoder.layers):
        return tensors
    if depth == CONVOLUTIONS:
        kept = _tensors_of(encoder.front)
        return {name: tensor for name, tensor in tensors.items() if id(tensor) in kept}
    above = _tensors_of([*encoder.layers[depth:], *encoder.behind_layers])
    return {name: tensor for name, tensor in tensors.items() if id(tensor) not in above}


def _tensors_of(modules: Iterable[nn.Module]) -> set[int]:
    return {id(tensor) for module in modules for tensor in module.state_dict(keep_vars=True).values()}


class FrozenStatesCollator(SpeechCollator):
    """Batches of what a frozen part gave, with the same labels and the same draws of speed as of recordings.

    Args:
        states: of the corpus, prepared for the factors of `speed`.
        collator: the one for recordings.
    """

    def __init__(self, states: FrozenStates, collator: SpeechCollator):
        super().__init__(collator.processor, collator.tasks, collator.speed, collator.shares, collator.condition)
        self.states = states

    def lengths(self, dataset: Dataset) -> list[float]:
        """The same as of recordings, without listening again for silent ends: so the batches are the same."""
        if self.processor.trim_decibels is None:
            return super().lengths(dataset)
        return [self.states.seconds(name) for name in dataset["utterance_id"]]

    def without_speed(self) -> "FrozenStatesCollator":
        """The same, for utterances as they were recorded."""
        return FrozenStatesCollator(self.states, super().without_speed())

    def heard_in(self, condition: Degradation) -> "FrozenStatesCollator":
        """The same, for utterances in a condition, whose states are kept too."""
        self.states.prepare([1.0], [condition])
        return FrozenStatesCollator(self.states, super().heard_in(condition))

    def inputs(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """`extract_features` or `layer_states` as the model takes them, and the frames' `attention_mask`."""
        names = [row["utterance_id"] for row in rows]
        factors = [self.speed.factor(name) if self.speed else 1.0 for name in names]
        found = [
            self.states.of(name, factor, self.degradation(name)) for name, factor in zip(names, factors, strict=True)
        ]
        lengths = np.array([states.shape[1] for states in found])
        padded = np.zeros((len(found), self.states.states, lengths.max(), self.states.width), self.states.dtype)
        for row, states in zip(padded, found, strict=True):
            row[:, : states.shape[1]] = states
        inputs, mask = torch.from_numpy(padded), np.arange(lengths.max()) < lengths[:, None]
        return {**self._named(inputs), "attention_mask": torch.from_numpy(mask).long()}

    def _named(self, inputs: torch.Tensor) -> dict[str, Any]:
        depth = self.states.depth
        if depth == CONVOLUTIONS:
            return {"extract_features": inputs[:, 0]}
        return {"layer_states": inputs, **({} if inputs.shape[1] == depth else {"layers_below": depth})}
