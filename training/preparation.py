"""From a recipe to what a run needs: the corpus on its sides, the tasks with their labels, the model."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from datasets import Dataset, Value
from transformers import set_seed

from ..configuration.errors import UserError
from ..configuration.recipe import ModelRecipe, Recipe, StageRecipe
from ..modeling_ser_meta.modeling_ser_meta import SerMetaModel
from ..modeling_ser_meta.processing_ser_meta import SerMetaProcessor
from .augmentation import SpeedPerturbation
from .centering import CenteringCollator, Group, check_centering, group_means
from .checking.duplicates import refuse_shared_recordings
from .collator import SpeechCollator, check_labels
from .corpora.mixture import load_corpora
from .durations import recording_durations
from .folds import assign_folds, find_fold, fold_names, require_emotions, split
from .frozen import FrozenStates, FrozenStatesCollator, kept_depth

PACKAGED_ENCODERS = {"demo-encoder": Path(__file__).parent / "demo_encoder"}
SIDES = ("train", "validation", "test")


@dataclass
class Preparation:
    """What a run is made of.

    Args:
        dataset: the whole corpus.
        sides: row numbers of the train, validation and test side.
        test_fold: name of the fold that is the test side.
        tasks: as in the model's config, the target first.
        means: with `model.center_by`, of every group's states, when they have been computed.
    """

    recipe: Recipe
    dataset: Dataset
    sides: dict[str, list[int]]
    test_fold: str
    tasks: dict[str, dict]
    means: dict[Group, torch.Tensor] | None = None

    def side(self, name: str) -> Dataset:
        """The rows of one side."""
        return self.dataset.select(self.sides[name])

    @cached_property
    def processor(self) -> SerMetaProcessor:
        """The encoder's, with a tokenizer for the training side's transcripts."""
        model = self.recipe.model
        has_text = "transcript" in self.tasks
        texts = [text for text in self.side("train")["transcript"] if text] if has_text else []
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

    @property
    def class_weights(self) -> list[float] | None:
        """Of the target's labels on the training side, 1 on the average of its utterances."""
        if self.recipe.model.class_weights is None:
            return None
        target = self.recipe.model.target_task
        counts = Counter(label for label in self.side("train")[target] if label is not None)
        labels = self.tasks[target]["labels"]
        return [counts.total() / (len(labels) * counts[label]) for label in labels]

    def new_model(self) -> SerMetaModel:
        """The pretrained encoder with new heads, the same for the same seed."""
        set_seed(self.recipe.seed)
        for task in self.tasks.values():
            if task["kind"] == "ctc":
                task["vocab_size"] = len(self.processor.tokenizer.get_vocab())
        encoder = self.recipe.model.encoder
        try:
            return SerMetaModel.from_backbone_pretrained(
                encoder_path(encoder),
                tasks=self.tasks,
                class_weights=self.class_weights,
                **_config_options(self.recipe.model),
            )
        except (OSError, ValueError) as error:
            raise UserError(f"model.encoder={encoder} cannot be used: {str(error).splitlines()[0]}") from error

    def collator(self, model: SerMetaModel, stage: StageRecipe) -> SpeechCollator:
        """Makes a stage's batches; with `recipe.cache`, from what the encoder's frozen part gave once."""
        collator = self._plain_collator(model, stage)
        if not model.config.center_by:
            return collator
        if self.means is None:  # one pass for all stages: the encoder stays as it is
            self.means = group_means(model, collator, self.dataset)
        return CenteringCollator(collator, model.config.center_by, self.means)

    def _plain_collator(self, model: SerMetaModel, stage: StageRecipe) -> SpeechCollator:
        factors = self.recipe.data.speed_factors
        speed = SpeedPerturbation(factors, self.recipe.seed, shortest=model.encoder.shortest_input)
        collator = SpeechCollator(self.processor, self.tasks, speed)
        depth = None if self.recipe.cache is None else kept_depth(stage, model, self.recipe.cache_layers)
        if depth is None:
            return collator
        states = FrozenStates(self.recipe.cache, model, collator, self.dataset, self.durations, depth)
        states.prepare(factors)
        return FrozenStatesCollator(states, collator)

    def utterances(self) -> dict[str, list[str]]:
        """Ids of the utterances on each side."""
        ids = self.dataset["utterance_id"]
        return {name: [ids[row] for row in self.sides[name]] for name in SIDES}


def prepare(recipe: Recipe) -> Preparation:
    """Loads the corpus, splits it and finds the tasks' labels; writes nothing.

    Raises:
        UserError: whatever of the recipe does not fit the corpus.
    """
    _check_encoder(recipe.model.encoder)
    check_centering(recipe)
    data = recipe.data
    dataset = load_rows(recipe)
    folds = assign_folds(dataset, by=data.folds, group_size=data.group_size)
    sides = split(
        dataset,
        folds,
        data.test_fold,
        validation=data.validation,
        seed=recipe.seed,
        fraction=data.validation_fraction,
        allow_speaker_overlap=data.allow_speaker_overlap,
    )
    tasks = _tasks(dataset, sides["train"], recipe.model)
    check_labels(dataset, tasks)
    prepared = Preparation(recipe, dataset, sides, find_fold(folds, data.test_fold), tasks)
    if data.longest is not None:
        sides["train"] = [row for row in sides["train"] if prepared.durations[row] <= data.longest]
    _check_sides(prepared)
    refuse_shared_recordings(dataset, sides)
    return prepared


def load_rows(recipe: Recipe) -> Dataset:
    """All utterances that a recipe learns from or is judged on."""
    return load_corpora(recipe.data.sources, recipe.model.target_task, recipe.model.ranges)


def find_folds(recipe: Recipe) -> list[str]:
    """The names of the folds that a recipe can be tested on, in order: an official split has one."""
    data = recipe.data
    return fold_names(assign_folds(load_rows(recipe), by=data.folds, group_size=data.group_size))


def encoder_path(encoder: str) -> str:
    """The folder of an encoder that comes with the package; any other name as it is."""
    return str(PACKAGED_ENCODERS.get(encoder, encoder))


def _check_encoder(encoder: str) -> None:
    looks_local = encoder.startswith((".", "/", "~")) or encoder.count("/") > 1
    if looks_local and not Path(encoder).is_dir():
        raise UserError(f"model.encoder={encoder} is no folder: give one, or the name of a Hub repository")


def _check_sides(prepared: Preparation) -> None:
    """Every label of the target can be learned, and something of it can be judged."""
    data, target = prepared.recipe.data, prepared.recipe.model.target_task
    if not prepared.sides["train"]:
        raise UserError(f"data.longest={data.longest} leaves nothing to train on: raise it")
    sides, labels = {"train": prepared.sides["train"]}, prepared.tasks[target]["labels"]
    if len(labels) == 1:
        raise UserError(
            f"every {target} is {labels[0]}, and there is nothing to tell apart: add others, or choose another "
            "model.target_task"
        )
    require_emotions(prepared.dataset, sides, labels, target)
    if not any(label is not None for label in prepared.side("test")[target]):
        raise UserError(f"no utterance of the test fold {prepared.test_fold} has a {target}: choose another fold")


def _tasks(dataset: Dataset, train: list[int], model: ModelRecipe) -> dict[str, dict]:
    return {name: _task(dataset, train, name, model) for name in [model.target_task, *model.auxiliary_tasks]}


def _task(dataset: Dataset, train: list[int], name: str, model: ModelRecipe) -> dict:
    if name not in dataset.column_names:
        raise UserError(f"the corpus has no {name} for a task: its columns are {', '.join(dataset.column_names)}")
    known = dataset.select(train)[name]
    if not any(label is not None for label in known):
        raise UserError(f"no utterance of the training side has a {name}: leave it out of model.auxiliary_tasks")
    if name == "transcript":
        return {"kind": "ctc"}
    if name in model.ranges:
        return {"kind": "regression", "range": list(model.ranges[name])}
    if dataset.features[name] != Value("string"):
        raise UserError(f"{name} holds numbers: give the ends of their scale, as model.ranges.{name}=[lowest,highest]")
    # a test speaker's identity is not something that training can know
    found = {label for label in (known if name == "speaker" else dataset[name]) if label is not None}
    return {"kind": "classification", "labels": list(model.labels.get(name) or sorted(found))}


def _config_options(model: ModelRecipe) -> dict:
    own = {"encoder", "auxiliary_tasks", "labels", "ranges", "class_weights"}
    return {name: value for name, value in vars(model).items() if name not in own}
