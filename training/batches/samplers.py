"""Which utterances stand together in a batch: by number, or by how long they last."""

from collections.abc import Iterator, Sequence
from math import ceil

import numpy as np
import torch
from torch.utils.data import Sampler

from ...configuration.errors import UserError

STEPS_IN_POOL = 12


class LengthGroupedUtterances(Sampler[int]):
    """Shuffled utterances, such that those of one step are about as long; the order depends on seed and epoch alone.

    Lengths are sorted within a pool of a few steps only, and the steps are shuffled: where length tells of a label, as
    between speech and song, long runs of one label would throw the training off.

    Args:
        lengths: of the utterances, in any unit.
        step: utterances of one step.
        seed: of the draws.
        weights: how often each utterance is drawn beside the others, with replacement; None for each once.
    """

    def __init__(self, lengths: list[float], step: int, seed: int, weights: Sequence[float] | None = None):
        self.lengths, self.step, self.seed, self.weights = torch.tensor(lengths), step, seed, weights
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """The epoch that the next iteration belongs to, from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = _generator(self.seed, self.epoch)
        pools = _drawn(len(self), self.weights, generator).split(STEPS_IN_POOL * self.step)
        steps = [step for pool in pools for step in pool[self.lengths[pool].argsort()].split(self.step)]
        # an incomplete step comes last, so that all others keep their bounds
        complete = [step for step in steps if len(step) == self.step]
        order = torch.randperm(len(complete), generator=generator).tolist()
        rest = [step for step in steps if len(step) < self.step]
        return iter(torch.cat([complete[index] for index in order] + rest).tolist())


class WeightedUtterances(Sampler[int]):
    """As many utterances as there are, drawn with replacement by weights anew each epoch.

    Args:
        weights: how often each utterance is drawn beside the others.
        seed: of the draws, with the epoch.
    """

    def __init__(self, weights: Sequence[float], seed: int):
        self.weights, self.seed, self.epoch = weights, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """The epoch that the next iteration belongs to, from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.weights)

    def __iter__(self) -> Iterator[int]:
        return iter(_drawn(len(self), self.weights, _generator(self.seed, self.epoch)).tolist())


def balancing_weights(shares: np.ndarray) -> list[float]:
    """Weights, one an utterance, with which a label is drawn evenly, and then an utterance by its share of that label.

    Args:
        shares: what each utterance has of each label, `(utterances, labels)`. One without any label is drawn as often
            as others are on average.
    """
    counts = shares.sum(axis=0)
    weights = (shares / np.where(counts > 0, counts, 1)).sum(axis=1)
    labelled = shares.sum(axis=1) > 0
    return np.where(labelled, weights, weights[labelled].mean()).tolist()


class DurationBoundedBatches(Sampler[list[int]]):
    """Batches that last at most so many seconds with their padding; they depend on seed and epoch alone (ours).

    Every epoch has as many batches, a multiple of what a step takes on all processes: the Trainer plans its steps
    ahead. An epoch that needs fewer has some of its largest batches halved.

    Args:
        lengths: of the utterances, in seconds.
        longest: seconds of a batch: of its longest utterance, times its utterances.
        seed: of the draws.
        epochs: for which the number of batches must do.
        multiple: batches of one step: of all processes, and all that accumulate.
        alike: take utterances of alike lengths together, from pools of a few steps as `LengthGroupedUtterances` does.

    Raises:
        UserError: an utterance is longer than a batch, or there are fewer utterances than batches.
    """

    def __init__(
        self, lengths: list[float], longest: float, seed: int, epochs: int, multiple: int = 1, alike: bool = True
    ):
        self.lengths, self.longest, self.seed, self.alike = torch.tensor(lengths), longest, seed, alike
        self.epoch = 0
        if max(lengths) > longest:
            raise UserError(
                f"batch_duration={longest:g} is shorter than the longest utterance, which lasts {max(lengths):.1f} s: "
                "raise it, or leave out long recordings with data.longest"
            )
        utterances_of_a_step = multiple * longest * len(lengths) / sum(lengths)
        self.pool = max(1, round(STEPS_IN_POOL * utterances_of_a_step)) if alike else len(lengths)
        most = max(len(self._batches(_generator(seed, epoch))) for epoch in range(epochs))
        self.count = ceil(most / multiple) * multiple
        if self.count > len(lengths):
            raise UserError(
                f"{len(lengths)} utterances are too few for steps of {multiple} batches: lower "
                "gradient_accumulation_steps, or train on fewer processes"
            )

    def set_epoch(self, epoch: int) -> None:
        """The epoch that the next iteration belongs to, from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[list[int]]:
        generator = _generator(self.seed, self.epoch)
        batches = self._batches(generator)
        while len(batches) < self.count:
            batches.sort(key=len)
            largest = batches.pop()
            batches += [largest[: len(largest) // 2], largest[len(largest) // 2 :]]
        order = torch.randperm(len(batches), generator=generator).tolist()
        return iter([batches[index] for index in order])

    def _batches(self, generator: torch.Generator) -> list[list[int]]:
        batches = []
        for pool in torch.randperm(len(self.lengths), generator=generator).split(self.pool):
            batches += self._fill(pool[self.lengths[pool].argsort()] if self.alike else pool)
        return batches

    def _fill(self, rows: torch.Tensor) -> list[list[int]]:
        """Batches of these rows, in their order, each as large as may be."""
        batches, batch, padded_to = [], [], 0.0
        for row, length in zip(rows.tolist(), self.lengths[rows].tolist(), strict=True):
            padded_to = max(padded_to, length)
            if batch and padded_to * (len(batch) + 1) > self.longest:
                batches.append(batch)
                batch, padded_to = [], length
            batch.append(row)
        return [*batches, batch]


def _drawn(count: int, weights: Sequence[float] | None, generator: torch.Generator) -> torch.Tensor:
    """Utterances in random order: each once, or by weights with replacement."""
    if weights is None:
        return torch.randperm(count, generator=generator)
    return torch.multinomial(torch.tensor(weights, dtype=torch.float64), count, replacement=True, generator=generator)


def _generator(seed: int, epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed(hash((seed, epoch)) % 2**63)
