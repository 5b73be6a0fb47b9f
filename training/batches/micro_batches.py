"""Batches that no single recording makes large: one that is padded too far is computed in several micro-batches."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from transformers.trainer_pt_utils import nested_concat

from ...modeling_ser_meta.losses_ser_meta import MISSING
from ..planning.lengths import TIMES, usual_length
from .collator import SpeechCollator


@dataclass(frozen=True)
class PaddedBound:
    """How large a micro-batch may be with its padding.

    What grows with a recording's length is counted in seconds; attention's weights grow with its square, and at
    `crossover` seconds they take as much memory as all the rest. So an utterance that is padded to `t` seconds counts
    `t (1 + t / crossover)`.

    Args:
        most: what all utterances of a micro-batch together may count.
        crossover: in seconds; infinite where nothing grows with the square.
    """

    most: float
    crossover: float = inf

    @classmethod
    def usual(cls, seconds: Sequence[float], utterances: float, crossover: float = inf) -> "PaddedBound":
        """The bound that fits a corpus: a batch of so many utterances, each three times the usual length (ours).

        Nine of ten recordings are at most of the usual length.
        """
        return cls(utterances * cls(inf, crossover).count(TIMES * usual_length(seconds)), crossover)

    def count(self, seconds: float, utterances: float = 1) -> float:
        """What so many utterances count that are padded to so many seconds."""
        return utterances * seconds * (1 + seconds / self.crossover)

    def longest(self) -> float:
        """The seconds of the longest recording that stays within the bound alone."""
        if self.crossover == inf:
            return self.most
        half = self.crossover / 2
        return (half**2 + self.most * self.crossover) ** 0.5 - half

    def parts(self, seconds: Sequence[float]) -> list[slice]:
        """The micro-batches of a batch, as slices of it: neighbours stay together while they are within the bound.

        A recording that is beyond it is alone.
        """
        if self.count(max(seconds), len(seconds)) <= self.most:
            return [slice(0, len(seconds))]
        bounds, longest = [0], 0.0
        for place, length in enumerate(seconds):
            longest = max(longest, length)
            if place > bounds[-1] and self.count(longest, place + 1 - bounds[-1]) > self.most:
                bounds.append(place)
                longest = length
        return [slice(start, end) for start, end in zip(bounds, [*bounds[1:], len(seconds)], strict=True)]


class BoundedBatches:
    """A collator's batches with their utterances' ids; one beyond the bound comes in micro-batches.

    Args:
        collator: makes the inputs and the labels.
        bound: of a micro-batch.
    """

    def __init__(self, collator: SpeechCollator, bound: PaddedBound):
        self.collator, self.bound = collator, bound

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """The collator's batch and `utterance_ids`; `micro_batches` hold the inputs where there are several."""
        common = {"labels": self.collator.labels(rows), "utterance_ids": [row["utterance_id"] for row in rows]}
        parts = self.bound.parts(self.collator.seconds(rows))
        inputs = [self.collator.inputs(rows[part]) for part in parts]
        return {**common, **inputs[0]} if len(inputs) == 1 else {**common, "micro_batches": inputs}


def micro_batches(batch: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The micro-batches of a batch of `BoundedBatches`, each as a batch of its own."""
    if "micro_batches" not in batch:
        yield dict(batch)
        return
    start = 0
    for inputs in batch["micro_batches"]:
        rows = slice(start, start + len(inputs["attention_mask"]))
        labels = {name: values[rows] for name, values in batch["labels"].items()}
        yield {**inputs, "labels": labels, "utterance_ids": batch["utterance_ids"][rows]}
        start = rows.stop


def joined(found: Sequence[Any]) -> Any:
    """What was found of each micro-batch as that of the batch; frames that a shorter one lacks are missing ones.

    Each is a tensor with a row an utterance, or a mapping or tuple of such.
    """
    whole = found[0]
    for part in found[1:]:
        whole = nested_concat(whole, part, padding_index=MISSING)
    return whole
