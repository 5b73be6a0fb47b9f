"""What is changed of a training utterance: its speed (the paper's section II-A1), and how well it is heard."""

import random

import numpy as np

from ...configuration.degradations import AugmentationRecipe
from ...modeling_ser_meta.audio_ser_meta import resample
from .degradations import Degradation, DrawnDegradation


class SpeedPerturbation:
    """Plays each utterance at a factor of its speed, drawn anew each epoch.

    The paper resamples to 80, 100 or 120 %; ours is a *speed factor*: 0.8 is slower, lower and longer. SpeechBrain's
    class of that name also drops frequency bands and chunks; the paper does not mention that, and neither do we.

    A draw depends on the seed, the epoch and the utterance alone: it is the same in any process, worker or batch, and
    after an interruption.

    Args:
        factors: to draw from, all alike.
        seed: of the draws.
        shortest: samples that the encoder needs; an utterance that would become shorter keeps its own speed.
    """

    def __init__(self, factors: list[float], seed: int, shortest: int = 1):
        self.factors = list(factors)
        self.seed = seed
        self.shortest = shortest
        self.epoch = 0
        self.copies: list[Degradation] = []

    def set_epoch(self, epoch: int) -> None:
        """The epoch that the next draws belong to, from 0."""
        self.epoch = epoch

    def factor(self, utterance_id: str) -> float:
        """The factor that this utterance gets in this epoch."""
        return random.Random(f"{self.seed} {self.epoch} {utterance_id}").choice(self.factors)

    def __call__(self, samples: np.ndarray, utterance_id: str) -> np.ndarray:
        """The utterance `(samples,)` at its speed: `1 / factor` times as long, its pitch `factor` times as high."""
        factor = self.heard_at(utterance_id, len(samples))
        return samples if factor == 1 else resample(samples, factor, 1.0)

    def heard_at(self, utterance_id: str, samples: int) -> float:
        """The factor at which this utterance, of so many samples, is played: 1 if it would become too short."""
        factor = self.factor(utterance_id)
        return 1.0 if samples / factor < self.shortest else factor

    def degradation(self, utterance_id: str) -> Degradation | None:
        """What else is done to this utterance in this epoch; None for nothing."""
        return None


class Augmentation(SpeedPerturbation):
    """Changes the speed of each utterance, and then makes it worse, anew each epoch.

    Args:
        recipe: what is done how often. With `copies` an utterance is heard as one of so many copies, which are the
            same for every seed; otherwise as a new one each epoch.
        factors, seed, shortest: see `SpeedPerturbation`.
    """

    def __init__(self, recipe: AugmentationRecipe, factors: list[float], seed: int, shortest: int = 1):
        super().__init__(factors, seed, shortest)
        self.recipe = recipe
        self.copies = [DrawnDegradation(recipe, f"copy {number}") for number in range(recipe.copies or 0)]

    def degradation(self, utterance_id: str) -> Degradation:
        """See `SpeedPerturbation`."""
        if self.copies:
            return random.Random(f"copy {self.seed} {self.epoch} {utterance_id}").choice(self.copies)
        return DrawnDegradation(self.recipe, f"{self.seed} {self.epoch}")
