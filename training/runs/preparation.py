"""From the plan of a run to what it needs of torch and datasets: recordings, processor, model, batches."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from datasets import Dataset
from transformers import set_seed

from ...configuration.errors import UserError
from ...configuration.recipe import ModelRecipe, Recipe, StageRecipe
from ...modeling_ser_meta.loading_ser_meta import commit_of
from ...modeling_ser_meta.modeling_ser_meta import SerMetaModel
from ...modeling_ser_meta.processing_ser_meta import SerMetaProcessor
from ...modeling_ser_meta.windows_ser_meta import LONGEST_PIECE
from ..batches.augmentation import Augmentation, SpeedPerturbation
from ..batches.collator import SpeechCollator
from ..batches.device_resampling import DeviceCollator
from ..batches.frozen_states import FrozenStates, FrozenStatesCollator, kept_depth
from ..batches.group_means import CenteringCollator, Group, group_means
from ..checking.duplicates import refuse_shared_recordings
from ..corpora.votes import certain_shares, learned_shares, voted_tasks, votes_of
from ..learning.narrowing import narrowed
from ..machine.processes import say
from ..planning.durations import recording_durations
from ..planning.plan import Plan, plan_run, shorten, utterances_of
from ..planning.starting import encoder_path
from ..planning.teachers import UNLABELLED, taught


@dataclass
class Preparation:
    """What a run is made of.

    Args:
        dataset: the whole corpus.
        sides: row numbers of the train, validation and test side, and of the `unlabelled` recordings of a student.
        test_fold: name of the fold that is the test side; None where nothing is tested.
        tasks: as in the model's config, the target first.
        means: with `model.center_by`, of every group's states, when they have been computed.
        left_out: by reason, how many rows of the corpus are on no side.
        too_long: how many utterances of the training side `data.longest` has taken from it.
        encoder_revision: the commit of the encoder on the Hub, where it is known, or what the recipe calls it.
        new_parts: of a model that starts from a trained one, those that start anew; None for one that starts from an
            encoder.
    """

    recipe: Recipe
    dataset: Dataset
    sides: dict[str, list[int]]
    test_fold: str | None
    tasks: dict[str, dict]
    means: dict[Group, torch.Tensor] | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    too_long: int = 0
    encoder_revision: str = "main"
    new_parts: list[str] | None = None

    def side(self, name: str) -> Dataset:
        """The rows of one side."""
        return self.dataset.select(self.sides[name])

    @cached_property
    def processor(self) -> SerMetaProcessor:
        """The encoder's, with a tokenizer for the training side's transcripts."""
        model = self.recipe.model
        has_text = "transcript" in self.tasks
        texts = [text for text in self.side("train")["transcript"] if text] if has_text else []
        with _encoder_told(model.encoder):
            return SerMetaProcessor.from_backbone_pretrained(
                encoder_path(model.encoder),
                texts,
                revision=model.revision,
                trim_decibels=self.recipe.data.trim_decibels,
            )

    @cached_property
    def durations(self) -> list[float]:
        """Seconds of every recording."""
        return recording_durations(self.dataset)

    def durations_of(self, side: str) -> list[float]:
        """Seconds of the recordings of one side."""
        return [self.durations[row] for row in self.sides[side]]

    @cached_property
    def shares(self) -> dict[str, np.ndarray]:
        """By task that is learned from them, what all rows have of each label, `(rows, labels)`, NaN where missing.

        Those are the raters' shares, or 1 and 0 where a row may have several labels.
        """
        data, voted = self.recipe.data, voted_tasks(self.dataset)
        found = {
            name: learned_shares(self.dataset, name, task["labels"], data.votes, data.ties)
            for name, task in self.tasks.items()
            if task["kind"] == "classification" and name in voted
        }
        for name, task in self.tasks.items():
            if task["kind"] == "multilabel":
                votes, alone = (of(self.dataset, name, task["labels"]) for of in (votes_of, certain_shares))
                found[name] = np.where(np.isnan(votes), alone, votes > 0)
        return {name: shares for name, shares in found.items() if shares is not None}

    @property
    def _target_has_shares(self) -> bool:
        target = self.recipe.model.target_task
        learned = self.recipe.data.votes == "shares" and target in self.shares
        return learned and self.tasks[target]["kind"] == "classification"

    @property
    def target_shares(self) -> np.ndarray:
        """What the training side has of each of the target's labels, `(rows, labels)`, 1 for a label alone."""
        target = self.recipe.model.target_task
        shares = self.shares.get(target)
        shares = certain_shares(self.dataset, target, self.tasks[target]["labels"]) if shares is None else shares
        return np.nan_to_num(shares[self.sides["train"]])

    @property
    def class_weights(self) -> list[float] | None:
        """Of the target's labels on the training side, 1 on the average of its utterances."""
        if self.recipe.model.class_weights is None:
            return None
        counts = self.target_shares.sum(axis=0)
        return (counts.sum() / (len(counts) * counts)).tolist()

    def new_model(self) -> SerMetaModel:
        """The pretrained encoder with new heads, or a trained model as far as it fits; the same for the same seed."""
        set_seed(self.recipe.seed)
        for task in self.tasks.values():
            if task["kind"] == "ctc":
                task["vocab_size"] = len(self.processor.tokenizer.get_vocab())
        encoder = self.recipe.model.encoder
        with _encoder_told(encoder):
            model = SerMetaModel.from_backbone_pretrained(
                encoder_path(encoder),
                tasks=self.tasks,
                class_weights=self.class_weights,
                scores_are_shares=self._target_has_shares,
                **_config_options(self.recipe.model),
            )
        if self.recipe.model.narrow:
            model = narrowed(model, self.recipe.model.narrow)
        if self.recipe.model.adapter is not None:
            self.encoder_revision = commit_of(encoder_path(encoder), self.recipe.model.revision)
            _add_adapter(model, self.recipe.model)
        if model.inherited is not None:
            self.new_parts = [part for part, kept in model.inherited.items() if not kept]
        return model

    def build_collator(self, model: SerMetaModel, stage: StageRecipe) -> SpeechCollator:
        """Makes a stage's batches; may first run the encoder over all recordings, which can take hours.

        With `recipe.cache` the encoder's frozen part is computed here, as far as it is not kept yet, and with
        `model.center_by` every group's mean, once for all stages.
        """
        collator = self._plain_collator(model, stage)
        if not model.config.center_by:
            return collator
        if self.means is None:  # the encoder stays as it is in all stages
            self.means = group_means(model, collator, self.dataset)
        return CenteringCollator(collator, model.config.center_by, self.means)

    def _plain_collator(self, model: SerMetaModel, stage: StageRecipe) -> SpeechCollator:
        speed = self._speed(model.encoder.shortest_input)
        collator = SpeechCollator(self.processor, self.tasks, speed, self._shares_by_utterance)
        depth = None if self.recipe.cache is None else kept_depth(stage, model, self.recipe.cache_layers)
        if depth is None:
            return DeviceCollator(collator, model.device) if self.recipe.data.resampler == "torchaudio" else collator
        rows = self.short_rows()
        durations = [self.durations[row] for row in rows]
        dataset, precision = self.dataset.select(rows), self.recipe.cache_precision
        states = FrozenStates(self.recipe.cache, model, collator, dataset, durations, depth, precision)
        states.prepare(speed.factors, speed.copies or [None])
        return FrozenStatesCollator(states, collator)

    @cached_property
    def _shares_by_utterance(self) -> dict[str, dict[str, np.ndarray]]:
        ids = self.dataset["utterance_id"]
        return {name: dict(zip(ids, shares, strict=True)) for name, shares in self.shares.items()}

    def _speed(self, shortest: int) -> SpeedPerturbation:
        """What is changed of the training's utterances."""
        data, seed = self.recipe.data, self.recipe.seed
        if data.augmentation.active:
            return Augmentation(data.augmentation, data.speed_factors, seed, shortest)
        return SpeedPerturbation(data.speed_factors, seed, shortest)

    def short_rows(self) -> list[int]:
        """The rows that are heard whole; what is longer than them and the training side is heard in pieces."""
        longest = max(LONGEST_PIECE, *self.durations_of("train"))
        return [row for row, seconds in enumerate(self.durations) if seconds <= longest]

    @property
    def learned(self) -> list[int]:
        """The rows that a stage's epochs go through: the training side, and of a student the unlabelled recordings."""
        return [*self.sides["train"], *self.sides.get(UNLABELLED, [])]

    def utterances(self) -> dict[str, list[str]]:
        """Ids of the utterances on each side."""
        return utterances_of(self.dataset, self.sides)


def prepare(recipe: Recipe, plan: Plan | None = None) -> Preparation:
    """Loads the corpus, splits it and finds the tasks' labels; writes nothing.

    Args:
        recipe: of the run.
        plan: of this recipe, if it is at hand.

    Raises:
        UserError: whatever of the recipe does not fit the corpus.
    """
    plan = plan or plan_run(recipe)
    recipe = taught(recipe)
    prepared = Preparation(recipe, plan.rows.dataset(), plan.sides, plan.test_fold, plan.tasks, left_out=plan.left_out)
    if recipe.data.longest is not None:
        prepared.sides = shorten(plan, prepared.durations).sides
        prepared.too_long = len(plan.sides["train"]) - len(prepared.sides["train"])
    if recipe.distillation is not None:
        unlabelled = prepared.sides[UNLABELLED]
        prepared.sides[UNLABELLED] = [row for row in unlabelled if prepared.durations[row] <= LONGEST_PIECE]
        if left := len(unlabelled) - len(prepared.sides[UNLABELLED]):
            say(f"distillation.unlabelled: {left} recordings of more than {LONGEST_PIECE:g} s are left out")
    refuse_shared_recordings(prepared.dataset, prepared.sides)
    return prepared


@contextmanager
def _encoder_told(encoder: str) -> Iterator[None]:
    """Turns what Transformers says of an encoder into a `UserError`."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        if "connect to" in reason:
            reason += " Where there is no network, give a folder that has it, as model.encoder=FOLDER"
        raise UserError(f"model.encoder={encoder} cannot be used: {reason}") from error


def _add_adapter(model: SerMetaModel, recipe: ModelRecipe) -> None:
    """Puts the recipe's adapter into a new model; `UserError` where it does not fit the encoder."""
    try:
        model.add_encoder_adapter(**vars(recipe.adapter))
    except (ImportError, ValueError) as error:
        raise UserError(f"model.adapter of {recipe.encoder}: {error}") from error


def _config_options(model: ModelRecipe) -> dict:
    own = {"encoder", "narrow", "auxiliary_tasks", "labels", "multilabel", "ranges", "class_weights", "adapter"}
    return {name: value for name, value in vars(model).items() if name not in own}
