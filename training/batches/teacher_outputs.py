"""What a teacher makes of the recordings that its student learns from, computed once and kept on disk."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow
import torch
from accelerate.utils import send_to_device
from datasets import Dataset, Features, Value

from ...configuration.run_folder import make_folder
from ...modeling_ser_meta.modeling_ser_meta import SerMetaModel
from .collator import SpeechCollator
from .degradations import Degradation
from .frozen_states import origin_of
from .kept_files import COMPUTED_AT_ONCE, kept_file, read_or_compute
from .micro_batches import PaddedBound

LOGITS, FRAMES, LAYERS = "logits of ", "frames", "layers"


class Fused(NamedTuple):
    """What goes through a model's layer fusion.

    Args:
        states: of each layer, standardised where the model does that, `(batch, frames, width)`.
        frames: what the fusion makes of them, `(batch, frames, width)`.
    """

    states: Sequence[torch.Tensor]
    frames: torch.Tensor


@contextmanager
def fusion_heard(model: SerMetaModel) -> Iterator[list[Fused]]:
    """A list to which each forward pass adds what went through the layer fusion."""
    heard: list[Fused] = []
    hook = model.layer_fusion.register_forward_hook(lambda _, given, made: heard.append(Fused(given[0], made)))
    try:
        yield heard
    finally:
        hook.remove()


class TeacherOutputs:
    """A teacher's outputs for every utterance of a data set at every speed.

    Kept are the logits of some tasks in single precision, and in half precision frames and layers. There is one
    memory-mapped file for a speed, as of `FrozenStates`, under a name that depends on the teacher, the recordings and
    what is kept. An hour of speech takes 185 MB of frames of a base model, and as much of each layer.

    Args:
        folder: of the files.
        teacher: on the device where it computes.
        collator_at: gives for a speed factor what makes the teacher's inputs.
        dataset: whose utterances are to be known.
        durations: of its recordings, in seconds.
        tasks: whose logits are kept.
        layers: by number from 0, those whose states are kept.
        frames: whether the fused frames are.
    """

    def __init__(
        self,
        folder: Path,
        teacher: SerMetaModel,
        collator_at: Callable[[float], SpeechCollator],
        dataset: Dataset,
        durations: Sequence[float],
        *,
        tasks: Sequence[str],
        layers: Sequence[int] = (),
        frames: bool = False,
    ):
        self.folder, self.teacher, self.collator_at = folder, teacher, collator_at
        order = np.argsort(durations, kind="stable")
        self.dataset = dataset.select(order)
        self.bound = PaddedBound.usual(durations, COMPUTED_AT_ONCE)
        self.tasks, self.layers = list(tasks), list(layers)
        self.names = [*(f"{LOGITS}{task}" for task in self.tasks), *([FRAMES] * frames), *([LAYERS] * bool(layers))]
        self.rows = {name: row for row, name in enumerate(self.dataset["utterance_id"])}
        self.by_factor: dict[float, pyarrow.Table] = {}
        kept = [self.names, self.layers]
        self.origin = origin_of(teacher.state_dict(), collator_at(1.0).processor, kept, self.dataset)

    def prepare(self, factors: Sequence[float]) -> None:
        """Computes what is not kept yet for these speed factors, with a progress bar."""
        make_folder(self.folder)
        features = Features({name: Value("large_binary") for name in self.names})
        for factor in sorted({*factors}):
            path, collator = kept_file(self.folder, self.origin, factor), self.collator_at(factor)
            compute, words = partial(self._compute, collator=collator), f"the teacher, speed {factor:g}"
            self.by_factor[factor] = read_or_compute(path, self.dataset, compute, features, words)

    def of(self, utterance_id: str, factor: float) -> dict[str, np.ndarray]:
        """What is kept of an utterance, by name.

        Logits are `(labels,)` or `(frames, characters)`, frames `(frames, width)`, layers `(layers, frames, width)`.
        """
        table, row = self.by_factor[factor], self.rows[utterance_id]
        return {name: np.load(BytesIO(table[name][row].as_buffer())) for name in self.names}

    @torch.no_grad()
    def _compute(self, columns: dict[str, list], collator: SpeechCollator) -> dict[str, list[bytes]]:
        self.teacher.eval()
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        found: dict[str, list[bytes]] = {name: [] for name in self.names}
        for part in self.bound.parts(collator.seconds(rows)):
            for name, arrays in self._answers(collator.inputs(rows[part])).items():
                found[name] += map(_packed, arrays)
        return found

    def _answers(self, inputs: Mapping[str, Any]) -> dict[str, list[np.ndarray]]:
        """By name what the teacher makes of each recording of a batch."""
        inputs = send_to_device(dict(inputs), self.teacher.device)
        with fusion_heard(self.teacher) as heard:
            outputs = self.teacher(**inputs)
        lengths = outputs.frame_mask.sum(dim=1).tolist()
        answers = {}
        for task in self.tasks:
            logits = outputs.task_logits[task].float().cpu().numpy()
            answers[f"{LOGITS}{task}"] = _cut(logits, lengths) if logits.ndim == 3 else list(logits)
        if FRAMES in self.names:
            answers[FRAMES] = _cut(heard[0].frames.half().cpu().numpy(), lengths)
        if self.layers:
            states = torch.stack([heard[0].states[layer] for layer in self.layers], dim=2)
            answers[LAYERS] = [array.swapaxes(0, 1) for array in _cut(states.half().cpu().numpy(), lengths)]
        return answers


class TaughtCollator(SpeechCollator):
    """Another collator's batches, each utterance with what its teacher makes of it at the same speed, `teacher`.

    Where augmentation makes the student's recordings worse, the teacher has heard them as they were recorded, so that
    the student learns to answer as if it heard well (ours; as Li et al., Interspeech 2017, with parallel recordings).

    Args:
        collator: makes the rest of a batch.
        outputs: of all utterances that come.
    """

    def __init__(self, collator: SpeechCollator, outputs: Sequence[TeacherOutputs]):
        super().__init__(collator.processor, collator.tasks, collator.speed, collator.shares, collator.condition)
        self.collator, self.outputs = collator, outputs

    def lengths(self, dataset: Dataset) -> list[float]:
        """The other collator's."""
        return self.collator.lengths(dataset)

    def without_speed(self) -> SpeechCollator:
        """The other collator's: who is judged has no teacher."""
        return self.collator.without_speed()

    def heard_in(self, condition: Degradation) -> SpeechCollator:
        """The other collator's."""
        return self.collator.heard_in(condition)

    def state_means(self, row: dict[str, Any]) -> torch.Tensor | None:
        """The other collator's."""
        return self.collator.state_means(row)

    def inputs(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """The other collator's, with `teacher`: by name a tensor with a row an utterance, padded with zeros, and its
        `lengths` in frames."""
        found = [self._of(row["utterance_id"]) for row in rows]
        teacher = {name: _padded([answer[name] for answer in found]) for name in found[0]}
        framed = [name for name, array in found[0].items() if array.ndim > 1]
        if framed:
            axis = 1 if framed[0] == LAYERS else 0
            teacher["lengths"] = torch.tensor([answer[framed[0]].shape[axis] for answer in found])
        return {**self.collator.inputs(rows), "teacher": teacher}

    def _of(self, name: str) -> dict[str, np.ndarray]:
        outputs = next(outputs for outputs in self.outputs if name in outputs.rows)
        return outputs.of(name, self.speed.factor(name) if self.speed else 1.0)


def _packed(array: np.ndarray) -> bytes:
    packed = BytesIO()
    np.save(packed, array)
    return packed.getvalue()


def _cut(arrays: np.ndarray, lengths: Sequence[int]) -> list[np.ndarray]:
    return [array[:length] for array, length in zip(arrays, lengths, strict=True)]


def _padded(arrays: Sequence[np.ndarray]) -> torch.Tensor:
    """Arrays of other shapes in one tensor, zeros behind each."""
    shape = np.max([array.shape for array in arrays], axis=0)
    batch = torch.zeros(len(arrays), *shape.tolist())
    for row, array in zip(batch, arrays, strict=True):
        row[tuple(slice(size) for size in array.shape)] = torch.from_numpy(array.copy())
    return batch
