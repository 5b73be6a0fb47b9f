"""States centred by the mean of all recordings of a speaker, or of another group that columns make (ours)."""

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from tqdm import tqdm

from ...configuration.errors import UserError
from ...modeling_ser_meta.audio_ser_meta import stream_audio
from ...modeling_ser_meta.encoder_ser_meta import EncoderOutput
from ...modeling_ser_meta.modeling_ser_meta import SerMetaModel
from ...modeling_ser_meta.windows_ser_meta import LONGEST_PIECE, WINDOW_SECONDS, cut_recording
from ..planning.durations import recording_durations
from .collator import SpeechCollator
from .degradations import Degradation
from .micro_batches import PaddedBound

BATCH = 16

Group = tuple[str, ...]


class CenteringCollator(SpeechCollator):
    """Another collator's batches, each utterance with the mean states of its group, `state_means`.

    Args:
        collator: makes the rest of a batch.
        columns: what is the same within a group.
        means: `(layers, width)` of every group.
    """

    def __init__(self, collator: SpeechCollator, columns: Sequence[str], means: dict[Group, torch.Tensor]):
        super().__init__(collator.processor, collator.tasks, collator.speed, collator.shares, collator.condition)
        self.collator, self.columns, self.means = collator, columns, means

    def lengths(self, dataset: Dataset) -> list[float]:
        """The other collator's."""
        return self.collator.lengths(dataset)

    def without_speed(self) -> "CenteringCollator":
        """The same, for utterances as they were recorded."""
        return CenteringCollator(self.collator.without_speed(), self.columns, self.means)

    def inputs(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """The other collator's, with `state_means`."""
        return {**self.collator.inputs(rows), "state_means": torch.stack([self.state_means(row) for row in rows])}

    def state_means(self, row: dict[str, Any]) -> torch.Tensor:
        """The mean of the row's group."""
        return self.means[_group(row, self.columns)]


@torch.no_grad()
def group_means(model: SerMetaModel, collator: SpeechCollator, dataset: Dataset) -> dict[Group, torch.Tensor]:
    """The mean hidden states `(layers, width)` of every group, over all true frames of its utterances.

    Labels are not looked at, so that a test speaker's own recordings may be among them.

    Raises:
        UserError: the dataset lacks one of the model's `center_by`, or an utterance a value of it.
    """
    columns = model.config.center_by
    _require_columns(dataset, columns)
    collate = collator.without_speed()
    frames = defaultdict(FrameMean)
    model.eval()
    for rows, inputs in tqdm(_batches(dataset, collate), "means to centre by", disable=not sys.stderr.isatty()):
        inputs = {name: tensor.to(model.device) for name, tensor in inputs.items()}
        for row, total, count in zip(rows, *sums(model.encode(**inputs)), strict=True):
            frames[_group(row, columns)].add(total, count)
    return {group: found.mean for group, found in frames.items()}


def collator_in(
    condition: Degradation, collator: SpeechCollator, model: SerMetaModel, dataset: Dataset
) -> SpeechCollator:
    """A collator's batches of this dataset in a condition; with `center_by` its groups' means are of that too."""
    columns = model.config.center_by
    plain = collator.collator if isinstance(collator, CenteringCollator) else collator
    heard = plain.without_speed().heard_in(condition)
    return CenteringCollator(heard, columns, group_means(model, heard, dataset)) if columns else heard


class FrameMean:
    """A mean over frames that come bit by bit."""

    def __init__(self):
        self.total, self.count = 0.0, 0

    def add(self, total: torch.Tensor, count: int) -> None:
        """Takes the sum over so many more frames."""
        self.total, self.count = self.total + total, self.count + count

    @property
    def mean(self) -> torch.Tensor:
        """As single precision."""
        return (self.total / self.count).float()


def sums(encoded: EncoderOutput) -> tuple[torch.Tensor, list[int]]:
    """Each utterance's sum over its true frames, `(batch, layers, width)` in double precision, and their number."""
    states, mask = torch.stack(encoded.hidden_states, dim=1), encoded.frame_mask
    totals = torch.einsum("blfw,bf->blw", states.float(), mask.float())
    return totals.cpu().double(), mask.sum(dim=1).tolist()


def describe_centering(columns: Sequence[str]) -> str | None:
    """In words for a protocol, what the states are centred by; None where they are not."""
    if not columns:
        return None
    return f"{' and '.join(columns)}, over all recordings of the same, test recordings too, without labels"


def _batches(dataset: Dataset, collator: SpeechCollator) -> Iterator[tuple[list[dict], Mapping[str, torch.Tensor]]]:
    """Rows with the encoder's inputs for them; a recording that a judgement hears in pieces comes in pieces."""
    durations = recording_durations(dataset)
    bound = PaddedBound.usual([seconds for seconds in durations if seconds <= LONGEST_PIECE], BATCH)
    short = [row for row, seconds in enumerate(durations) if seconds <= LONGEST_PIECE]
    for start in range(0, len(short), BATCH):
        places = short[start : start + BATCH]
        for part in bound.parts([durations[row] for row in places]):
            rows = [dataset[row] for row in places[part]]
            yield rows, collator.inputs(rows)
    processor = collator.processor
    for row in sorted({*range(len(dataset))} - {*short}):
        for samples in _pieces(collator.recording(dataset[row]), processor.sampling_rate):
            yield [dataset[row]], processor([samples], sampling_rate=processor.sampling_rate)


def _pieces(source: dict[str, Any], rate: int) -> Iterator[np.ndarray]:
    """Windows of a long recording, each `(samples,)`, without its pauses; hardly any frame is in two."""
    pieces = cut_recording(stream_audio(source, rate), rate, WINDOW_SECONDS, WINDOW_SECONDS)
    return (piece.samples for piece in pieces if not piece.silent)


def _group(row: dict[str, Any], columns: Iterable[str]) -> Group:
    """What is the same for all of a row's group."""
    return tuple(row[column] for column in columns)


def _require_columns(dataset: Dataset, columns: Iterable[str]) -> None:
    for column in columns:
        if column not in dataset.column_names:
            known = ", ".join(dataset.column_names)
            raise UserError(f"center_by: the corpus has no {column}: its columns are {known}")
        for name, value in zip(dataset["utterance_id"], dataset[column], strict=True):
            if value is None:
                raise UserError(f"center_by: utterance {name} has no {column}: leave it out, or give it one")
