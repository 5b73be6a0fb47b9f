"""Long recordings in a judgement: heard as `ser-meta predict` hears them, in pieces between their pauses."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from datasets import Dataset
from torch.nn.functional import one_hot

from ...modeling_ser_meta.losses_ser_meta import labelled_rows
from ...modeling_ser_meta.modeling_ser_meta import SerMetaModel
from ...modeling_ser_meta.pipeline_ser_meta import SpeechEmotionPipeline
from ...modeling_ser_meta.processing_ser_meta import SerMetaProcessor
from ...modeling_ser_meta.windows_ser_meta import LONGEST_PIECE
from ..machine.processes import processes
from ..measures.predictions import labels_of
from ..measures.temperature import TINY
from .collator import SpeechCollator

AT_ONCE = 16  # pieces, of 4 s at most


def is_long(seconds: Sequence[float]) -> np.ndarray:
    """Which recordings are judged in pieces, as bool `(recordings,)`: those that the pipeline cuts."""
    return np.asarray(seconds) > LONGEST_PIECE


def describe_pieces(seconds: Sequence[float]) -> str | None:
    """In words for a protocol, how many recordings of these durations are heard in pieces; None for none."""
    count = int(is_long(seconds).sum())
    if not count:
        return None
    return f"{count} of {len(seconds)} last more than {LONGEST_PIECE:g} s, heard in pieces as by predict"


def predict_long(
    model: SerMetaModel, processor: SerMetaProcessor, collator: SpeechCollator, dataset: Dataset
) -> dict[str, list]:
    """The columns of predictions of long recordings, as `predicted` has them; on all processes there are.

    Each has the pipeline's verdict: of a classification the mean of the pieces' scores, the target's at the model's
    temperature; of a regression the mean; the transcripts of the pieces one after the other.
    """
    pipeline = SpeechEmotionPipeline(model=model.eval(), processor=processor, device=model.device)
    tasks, state = model.config.tasks, processes()
    told = None if model.familiarity is None else 0.0
    heard = []
    for row in range(state.process_index, len(dataset), state.num_processes):
        pipeline.call_count = 0  # from the eleventh call on it advises batches, which these are
        with centred_by(model, collator.state_means(dataset[row])):
            heard.append(
                (
                    row,
                    pipeline(
                        collator.recording(dataset[row]), tasks=list(tasks), batch_size=AT_ONCE, least_familiar=told
                    ),
                )
            )
    results = [result for _, result in sorted(gather_object(heard), key=lambda pair: pair[0])]
    columns = {"familiar": [result["familiar"] for result in results]} if model.familiarity is not None else {}
    for name, task in tasks.items():
        columns[f"{name}_predicted"] = [result[name] for result in results]
        if "labels" in task:
            columns[f"{name}_scores"] = [_in_order(ranked, task["labels"]) for ranked in columns[f"{name}_predicted"]]
            columns[f"{name}_predicted"] = labels_of(np.stack(columns[f"{name}_scores"]), task)
    return columns


def losses_of(columns: Mapping[str, list], collator: SpeechCollator, dataset: Dataset) -> dict[str, np.ndarray]:
    """By task with labels, each row's loss by its scores, NaN where it has none; of other tasks it is not known."""
    labels = collator.labels(dataset.remove_columns("audio").to_list())
    return {
        name: _losses(labels[name], np.stack(columns[f"{name}_scores"]), task["kind"])
        if "labels" in task
        else np.full(len(dataset), np.nan)
        for name, task in collator.tasks.items()
    }


@contextmanager
def centred_by(model: SerMetaModel, means: torch.Tensor | None) -> Iterator[None]:
    """Meanwhile the model centres its states by these means `(layers, width)`; None for its own."""
    if means is None:
        yield
        return
    buffer = model.standardization.mean
    own = buffer.clone()
    buffer.copy_(means)
    try:
        yield
    finally:
        buffer.copy_(own)


def _in_order(ranked: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> np.ndarray:
    scores = {entry["label"]: entry["score"] for entry in ranked}
    return np.array([scores[label] for label in labels])


def _losses(labels: torch.Tensor, scores: np.ndarray, kind: str) -> np.ndarray:
    known = labelled_rows(labels)
    shares = labels if labels.dim() == 2 else one_hot(labels * known, scores.shape[1])
    shares, logs = shares.double().numpy(), np.log(scores + TINY)
    if kind == "multilabel":
        losses = -(shares * logs + (1 - shares) * np.log(1 - scores + TINY)).mean(axis=1)
    else:
        losses = -(shares * logs).sum(axis=1)
    return np.where(known.numpy(), losses, np.nan)
