"""What a recipe must not say, whatever the corpus."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from ..modeling_ser_meta.settings_ser_meta import adapter_faults, setting_faults, task_name_faults
from .degradations import augmentation_faults, condition_faults
from .errors import UserError
from .recipe import (
    CACHE_PRECISIONS,
    CLASS_WEIGHTS,
    DEALT,
    DISTILLED,
    FOLDS,
    NO_FOLD,
    OF_A_CORPUS,
    PRECISIONS,
    RESAMPLERS,
    SCHEDULES,
    TEACHER,
    TIES,
    TRAINED_OF_ENCODER,
    VALIDATIONS,
    VOTES,
    CorpusRecipe,
    DataRecipe,
    ModelRecipe,
    Recipe,
    StageRecipe,
)

LARGEST_SEED = 2**32 - 1  # NumPy's


def refuse(faults: Iterable[str], where: str = "") -> None:
    """Raises `UserError` for faults, if there are any: in one line, and each with a number where there are several."""
    faults = list(dict.fromkeys(faults))
    if len(faults) > 1:
        told = "; ".join(f"({number}) {fault}" for number, fault in enumerate(faults, start=1))
        faults = [f"{len(faults)} faults: {told}"]
    if faults:
        raise UserError(f"{where}{faults[0]}")


def recipe_faults(recipe: Recipe) -> Iterator[str]:
    """What is wrong with a recipe, fault by fault."""
    yield from _data_faults(recipe.data)
    yield from _choice("precision", recipe.precision, PRECISIONS)
    yield from _choice("cache_precision", recipe.cache_precision, CACHE_PRECISIONS)
    yield from check_seed(recipe.seed)
    yield from _within("workers", recipe.workers, 0, 1_000)
    yield from _model_faults(recipe.model)
    for key, rate in asdict(recipe.baseline).items():
        if rate is not None:
            yield from _positive(f"baseline.{key}", rate)
    if not recipe.stages:
        yield "the recipe has no stages: name at least one, with its loss_weights, epochs and learning rates"
    for name, stage in recipe.stages.items():
        yield from _stage_faults(f"stages.{name}", stage, recipe.model, recipe.data.validation)
    if recipe.model.smoothing_toward == "raters" and recipe.data.votes != "shares":
        yield "model.smoothing_toward=raters needs what the raters said: set data.votes=shares"
    yield from _centering_faults(recipe)
    yield from _adapter_faults(recipe)
    yield from _resampler_faults(recipe)
    yield from augmentation_faults(recipe.data.augmentation, recipe.cache is not None)
    yield from condition_faults("degraded", list(recipe.degraded))
    yield from _distillation_faults(recipe)
    if recipe.judged_by is not None and recipe.data.test_fold != NO_FOLD:
        yield (
            f"judged_by={recipe.judged_by} is for a final model: set data.test_fold={NO_FOLD}, or leave judged_by out"
        )


def require_trained_target(recipe: Recipe) -> None:
    """Raises `UserError` for a recipe of which no stage trains the target, as the first stage alone does not."""
    target = recipe.model.target_task
    if not any(target in stage.loss_weights for stage in recipe.stages.values()):
        *_, last = recipe.stages
        raise UserError(
            f"no stage trains model.target_task={target}: give it a weight, as stages.{last}.loss_weights.{target}=1"
        )


def check_seed(seed: int) -> Iterator[str]:
    """The fault of a seed, if it has one."""
    yield from _within("seed", seed, 0, LARGEST_SEED)


def corpus_faults(source: CorpusRecipe) -> Iterator[str]:
    """What of one corpus does not go together: EmoBox has classes of its own, and raters chose among the corpus's."""
    if source.emobox is None:
        return
    if source.corpus == "emobox":
        yield "data.emobox is for a corpus read by its own name: data.corpus=emobox has EmoBox's folds, leave it out"
    for option, value in (("votes", True), ("label", "perceived")):
        if source.options.get(option) == value:
            yield f"data.emobox has classes and no votes: leave out options.{option}={str(value).lower()}"


def _data_faults(data: DataRecipe) -> Iterator[str]:
    beside = [f"data.{key}" for key in OF_A_CORPUS if getattr(data, key)]
    if data.corpora and beside:
        yield (
            f"data.corpora lists the corpora, but {', '.join(beside)} is set beside it: "
            "move it into the list, or leave the list empty"
        )
    if not (data.corpora or data.corpus):
        yield "data.corpus has no value: set it, as data.corpus=..., or list several in data.corpora"
    yield from _choice("data.folds", data.folds, FOLDS)
    yield from _choice("data.validation", data.validation, VALIDATIONS)
    yield from _choice("data.votes", data.votes, VOTES)
    yield from _choice("data.ties", data.ties, TIES)
    if data.validation == "split" and data.folds not in ("split", "emobox"):
        yield "data.validation=split needs the corpus's own sides: set data.folds=split too"
    if not 0 < data.validation_fraction < 1:
        yield f"data.validation_fraction={data.validation_fraction} must be between 0 and 1"
    yield from _fold_faults(data)
    for source in data.sources:
        yield from corpus_faults(source)
    if data.votes != "majority" and any(source.emobox for source in data.sources):
        yield (
            f"data.votes={data.votes} learns from raters' votes, and data.emobox has one class an utterance: set "
            "data.votes=majority, or leave data.emobox out"
        )
    if not data.speed_factors:
        yield "data.speed_factors=[] is empty: [1.0] is the speed of the recordings"
    for factor in data.speed_factors:
        yield from _positive("data.speed_factors", factor)
    for key in ("trim_decibels", "longest"):
        if (value := getattr(data, key)) is not None:
            yield from _positive(f"data.{key}", value)


def _fold_faults(data: DataRecipe) -> Iterator[str]:
    yield from _positive("data.group_size", data.group_size)
    if data.folds == "emobox" and not any(source.emobox or source.corpus == "emobox" for source in data.sources):
        yield "data.folds=emobox needs EmoBox's lists: set data.emobox to a clone of https://github.com/emo-box/EmoBox"
    if data.fold_count is not None and data.folds not in DEALT:
        yield f"data.fold_count={data.fold_count} needs data.folds={' or '.join(DEALT)}, not {data.folds}"
    if data.fold_count is not None and data.fold_count < 2:
        yield f"data.fold_count={data.fold_count} must be at least 2"
    asked = data.test_fold
    place = asked.get("place") if isinstance(asked, dict) and len(asked) == 1 else None
    is_place = isinstance(place, int) and place >= 0
    if not (is_place if isinstance(asked, dict) else asked):
        yield f"data.test_fold={asked} must be a fold's name, none, or a place from 0 on, as data.test_fold.place=0"


def _model_faults(model: ModelRecipe) -> Iterator[str]:
    tasks = (model.target_task, *model.auxiliary_tasks)
    for task in sorted({task for task in tasks if tasks.count(task) > 1}):
        yield f"model.auxiliary_tasks={list(model.auxiliary_tasks)} names {task} twice, or the target: name each once"
    yield from task_name_faults(tasks)
    yield from setting_faults(vars(model), "model.")
    if model.adapter is not None:
        yield from adapter_faults(vars(model.adapter), "model.adapter.")
    if model.class_weights is not None:
        yield from _choice("model.class_weights", model.class_weights, CLASS_WEIGHTS)
    for setting, size in model.narrow.items():
        yield from _positive(f"model.narrow.{setting}", size)
    for task, labels in model.labels.items():
        yield from _choice("model.labels", task, tasks)
        if not labels or len(set(labels)) < len(labels):
            yield f"model.labels.{task}={list(labels)} must be labels, each once: leave it out to take the corpus's"
    if model.target_task in model.multilabel and model.target_loss == "kl":
        yield "model.target_loss=kl is of shares, and model.multilabel names the target: choose cross_entropy or focal"
    for task in model.multilabel:
        yield from _choice("model.multilabel", task, tuple(name for name in tasks if name != "transcript"))
        if task in model.ranges:
            yield f"{task} has both model.multilabel and model.ranges: take it out of one of them"
    for task, scale in model.ranges.items():
        yield from _choice("model.ranges", task, tuple(name for name in model.auxiliary_tasks if name != "transcript"))
        if task in model.labels:
            yield f"{task} has both model.labels and model.ranges: labels are for classes, ranges for numbers"
        if len(scale) != 2 or not -math.inf < scale[0] < scale[1] < math.inf:
            yield f"model.ranges.{task}={scale} must be the lowest and the highest value, such as [1, 5]"


def _centering_faults(recipe: Recipe) -> Iterator[str]:
    """Means of the encoder's states would no longer be theirs where it changes."""
    trained = [name for name, stage in recipe.stages.items() if stage.freeze_layers != "all"]
    if recipe.model.center_by and trained:
        yield (
            f"model.center_by={list(recipe.model.center_by)} needs an encoder that stays as it is: "
            f"set stages.{trained[0]}.freeze_layers=all"
        )


def _adapter_faults(recipe: Recipe) -> Iterator[str]:
    """Stages and adapter that do not fit together."""
    stages = {f"stages.{name}": stage for name, stage in recipe.stages.items()}
    if recipe.model.adapter is None:
        if recipe.adapter_only:
            yield "adapter_only=true needs a model.adapter, such as model.adapter.rank=8"
        for name, stage in stages.items():
            if stage.encoder == "adapter":
                yield f"{name}.encoder=adapter needs a model.adapter, such as model.adapter.rank=8"
        return
    if all(stage.freeze_layers == "all" for stage in stages.values()):
        yield "model.adapter is trained in no stage, each of which has freeze_layers=all: take one of the two away"
    for name, stage in stages.items():
        if recipe.adapter_only and stage.encoder == "all" and stage.freeze_layers != "all":
            yield (
                f"adapter_only=true keeps the adapter alone, but {name}.encoder=all trains the encoder too: "
                "set one of them otherwise"
            )


def _distillation_faults(recipe: Recipe) -> Iterator[str]:
    """A student without a teacher, or whose teacher tells it nothing."""
    taught = recipe.distillation
    if taught is None or taught.teacher is None:
        if recipe.model.encoder == TEACHER:
            yield f"model.encoder={TEACHER} needs a teacher: use ser-meta distill, or set distillation.teacher"
        elif taught is not None:
            yield "distillation.teacher has no value: use ser-meta distill, or name a model, a run or a study"
    if taught is None:
        return
    for part, weight in taught.loss_weights.items():
        if part not in DISTILLED:
            yield from _choice("distillation.loss_weights", part, DISTILLED)
        elif weight:
            yield from _positive(f"distillation.loss_weights.{part}", weight)
    if not any(taught.loss_weights.values()):
        yield f"distillation.loss_weights has no weight above 0: give one of {', '.join(DISTILLED)} one"
    yield from _positive("distillation.temperature", taught.temperature)
    drawn = [name for name, stage in recipe.stages.items() if stage.balanced_batches]
    if taught.unlabelled is not None and drawn:
        yield (
            f"stages.{drawn[0]}.balanced_batches draws by labels, which distillation.unlabelled has none of: take one "
            "of the two away"
        )


def _resampler_faults(recipe: Recipe) -> Iterator[str]:
    """Other processes that read have no part in the GPU, and what is kept is read by any machine."""
    yield from _choice("data.resampler", recipe.data.resampler, RESAMPLERS)
    if recipe.data.resampler == "torchaudio" and (recipe.workers or recipe.cache is not None):
        yield "data.resampler=torchaudio works in the training's own process: set workers=0 and cache=null"


def _stage_faults(name: str, stage: StageRecipe, model: ModelRecipe, validation: str) -> Iterator[str]:
    tasks = (model.target_task, *model.auxiliary_tasks)
    for task, weight in stage.loss_weights.items():
        if task in tasks:
            yield from _positive(f"{name}.loss_weights.{task}", weight)
        else:
            yield from _choice(f"{name}.loss_weights", task, tasks)
    if not stage.loss_weights:
        yield f"{name}.loss_weights is empty: name at least one of {', '.join(tasks)}"
    if stage.batch_size is not None and stage.batch_duration is not None:
        yield (
            f"{name} has both batch_size={stage.batch_size} and batch_duration={stage.batch_duration:g}: "
            "set one of them to null"
        )
    if stage.balanced_batches and model.class_weights is not None:
        yield (
            f"{name}.balanced_batches=true and model.class_weights={model.class_weights} are two ways to the same, "
            "which together would count rare labels twice: set one of them to false or null"
        )
    if stage.balanced_batches and stage.batch_duration is not None:
        yield f"{name}.balanced_batches=true draws batches of one size: set {name}.batch_duration=null"
    size = "batch_size" if stage.batch_duration is None else "batch_duration"
    for key in ("epochs", "encoder_learning_rate", "head_learning_rate", size, "gradient_accumulation_steps"):
        yield from _positive(f"{name}.{key}", getattr(stage, key))
    yield from _positive(f"{name}.max_gradient_norm", stage.max_gradient_norm)
    yield from _within(f"{name}.warmup", stage.warmup, 0, 1)
    yield from _within(f"{name}.weight_decay", stage.weight_decay, 0, 1_000)
    yield from _choice(f"{name}.schedule", stage.schedule, SCHEDULES)
    yield from _choice(f"{name}.keep", stage.keep, ("last", "best"))
    if stage.encoder not in (None, *TRAINED_OF_ENCODER):
        yield (
            f"{name}.encoder={stage.encoder!r} must be one of {', '.join(TRAINED_OF_ENCODER)}; to train nothing "
            f"of it, set {name}.freeze_layers=all"
        )
    layers = stage.freeze_layers
    if layers not in ("third", "all") and (type(layers) is not int or layers < 0):
        yield f"{name}.freeze_layers={layers!r} must be a number of layers, third or all"
    if stage.early_stopping_patience is not None:
        yield from _positive(f"{name}.early_stopping_patience", stage.early_stopping_patience)
    if validation == "none" and (stage.keep == "best" or stage.early_stopping_patience is not None):
        yield f"{name} picks an epoch by the validation side, but data.validation is none: choose another"


def _choice(key: str, value: str, choices: tuple[str, ...]) -> Iterator[str]:
    if value not in choices:
        yield f"{key}={value!r} must be one of {', '.join(choices)}"


def _positive(key: str, value: float) -> Iterator[str]:
    if not 0 < value < math.inf:
        yield f"{key}={value} must be a number above 0"


def _within(key: str, value: float, low: float, high: float) -> Iterator[str]:
    if not low <= value <= high:
        yield f"{key}={value} must be from {low:g} to {high:g}"
