"""From a model's outputs to one table of predictions, from which alone metrics, slices and pictures are made."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas
import torch
from datasets import Dataset

from ...modeling_ser_meta.losses_ser_meta import MISSING
from ...modeling_ser_meta.modeling_ser_meta import SerMetaOutput
from ...modeling_ser_meta.processing_ser_meta import SerMetaProcessor, normalize_transcript

SEPARATOR = ";"  # between several labels at once


def reduce_outputs(outputs: SerMetaOutput, tasks: Mapping[str, Mapping]) -> dict[str, torch.Tensor]:
    """By task: scores `(batch, labels)`, which sum to 1 unless there may be several labels; numbers; characters.

    A regression's numbers are `(batch,)`; the characters of CTC `(batch, frames)`, -100 where a frame is not a true
    one.
    """
    reduced = {}
    for name, logits in outputs.task_logits.items():
        if tasks[name]["kind"] == "ctc":
            reduced[name] = logits.argmax(dim=-1).masked_fill(~outputs.frame_mask, MISSING)
        elif tasks[name]["kind"] == "regression":
            reduced[name] = logits.float()
        elif tasks[name]["kind"] == "multilabel":
            reduced[name] = logits.float().sigmoid()
        else:
            reduced[name] = logits.float().softmax(dim=-1)
    if outputs.familiar is not None:
        reduced["familiar"] = outputs.familiar
    return reduced


def predicted(
    reduced: Mapping[str, np.ndarray], tasks: Mapping[str, Mapping], processor: SerMetaProcessor
) -> dict[str, list]:
    """What was predicted, as columns: of a task T `T_predicted`, of one with labels `T_scores` too.

    Several labels at once are those above their thresholds, as in "angry;sad".

    Args:
        reduced: what `reduce_outputs` gave, for all of them.
        tasks: of the model's config.
        processor: the model's.
    """
    columns = {}
    for name, task in tasks.items():
        if task["kind"] == "ctc":
            columns[f"{name}_predicted"] = processor.decode_transcripts(reduced[name].tolist())
        elif task["kind"] == "regression":
            columns[f"{name}_predicted"] = reduced[name].astype("float64").tolist()
        else:
            columns[f"{name}_predicted"] = labels_of(reduced[name], task)
            columns[f"{name}_scores"] = list(reduced[name].astype(np.float64))
    if "familiar" in reduced:
        columns["familiar"] = reduced["familiar"].astype("float64").tolist()
    return columns


def labels_of(scores: np.ndarray, task: Mapping[str, Any]) -> list[str]:
    """The label of each row of scores `(rows, labels)`, or the labels that reach their thresholds."""
    if task["kind"] == "classification":
        return [task["labels"][index] for index in scores.argmax(axis=-1)]
    return [SEPARATOR.join(np.array(task["labels"])[row].tolist()) for row in scores >= task["thresholds"]]


def with_predictions(
    dataset: Dataset, columns: Mapping[str, list], tasks: Mapping[str, Mapping], processor: SerMetaProcessor
) -> pandas.DataFrame:
    """One row an utterance: its metadata, and for each task what was predicted.

    Args:
        dataset: the utterances, in the order of the predictions.
        columns: as `predicted` gives them.
        tasks: of the model's config.
        processor: the model's.

    Returns:
        the corpus's columns but the audio, which are the references too; for a classification T `T_predicted` and
        `T_scores` (in label order); for CTC `T_predicted`, and `T` itself normalised; for a regression `T_predicted`,
        and `T` itself as a number.
    """
    table = dataset.remove_columns("audio").to_pandas()
    for name, task in tasks.items():
        if name not in table:
            table[name] = None
        if task["kind"] == "ctc":
            table[name] = [_reference(text, processor) for text in table[name]]
        elif task["kind"] == "regression":
            table[name] = table[name].astype("float64")
        for column in (f"{name}_predicted", f"{name}_scores"):
            if column in columns:
                table[column] = columns[column]
    return table.assign(familiar=columns["familiar"]) if "familiar" in columns else table


def _reference(text: Any, processor: SerMetaProcessor) -> str | None:
    """The transcript as the tokenizer can write it."""
    if not isinstance(text, str):
        return None
    known = processor.tokenizer.get_vocab()
    return "".join(c for c in normalize_transcript(text) if c == " " or c in known)
