"""The typed recipe: data, model and stages of a run. Its YAML files are in `recipes/`."""

import difflib
import math
import os.path
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, GrammarParseError, MissingMandatoryValue, OmegaConfBaseException

from .errors import UserError

RECIPES = Path(__file__).parent / "recipes"
VALIDATIONS = ("none", "random", "session", "speaker", "split")
SINGLE_CORPUS = ("corpus", "root", "options", "label_map", "quarantine")
FOLDS = ("speaker", "session", "corpus", "split")
SCHEDULES = ("linear", "cosine", "constant_with_warmup")
DEEPEST = 20  # lists and mappings inside each other
LARGEST_SEED = 2**32 - 1  # NumPy's
PRECISIONS = ("fp32", "bf16", "fp16")
DEFAULT_BATCH_SIZE = 4  # the paper's section III-B


@dataclass
class CorpusRecipe:
    """One corpus, and how its labels read in a set that several corpora share.

    Two corpora with the six emotions that both have, each judged by what was learned on the other:

        data:
          corpora:
            - corpus: ravdess
              root: /data/ravdess
              label_map: {emotion: {calm: neutral, disgust: null}}
            - corpus: nemo
              root: /data/nemo
              label_map: {emotion: {anger: angry, fear: fearful, happiness: happy, sadness: sad}}
          folds: corpus

    Args:
        corpus: a name that `load_corpus` knows.
        root: the corpus's folder or table.
        options: of the corpus's loader.
        label_map: by task, from the corpus's label to the shared one. A label that is not named stays as it is. Null
            drops the utterance where the task is the target, and otherwise only makes the value a missing one.
        quarantine: a file of `ser-meta check --quarantine`, whose utterances are on no side; null leaves none out.
    """

    corpus: str = MISSING
    root: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    label_map: dict[str, dict[str, str | None]] = field(default_factory=dict)
    quarantine: str | None = None


@dataclass
class DataRecipe:
    """What is learned from, and who is on which side.

    Args:
        corpus, root, options, label_map, quarantine: of a single corpus; see `CorpusRecipe`.
        corpora: several instead, each with those five. Utterances, speakers and sessions then bear their corpus's
            name, as in `ravdess:01`, and a column `corpus` tells it.
        folds: what a fold is made of: `speaker`, `session`, with several corpora `corpus`, or `split`: the corpus's
            own sides, of which `train` is learned from and any but `train` and `validation` is a fold.
        group_size: speakers in a fold.
        test_fold: the test side: a fold's name, or its place among the sorted names, from 0.
        validation: how the validation side is taken from the training side: `none`, `random`, `session` or `speaker`;
            `split` takes the corpus's own.
        validation_fraction: its share, for `random` and `speaker`.
        allow_speaker_overlap: let a speaker stand on two sides.
        speed_factors: of the time domain spectral augmentation, one drawn an utterance and epoch; [1.0] for none.
        trim_decibels: cut off both ends of a recording what is so much softer than its loudest part; null for none.
        longest: seconds; longer recordings are not trained on, since memory grows with the longest; null for none.
    """

    corpus: str | None = None
    root: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    label_map: dict[str, dict[str, str | None]] = field(default_factory=dict)
    quarantine: str | None = None
    corpora: list[CorpusRecipe] = field(default_factory=list)
    folds: str = "speaker"
    group_size: int = 1
    test_fold: Any = 0
    validation: str = "none"
    validation_fraction: float = 0.2
    allow_speaker_overlap: bool = False
    speed_factors: list[float] = field(default_factory=lambda: [0.8, 1.0, 1.2])
    trim_decibels: float | None = None
    longest: float | None = None

    @property
    def sources(self) -> list[CorpusRecipe]:
        """The corpora, also where it is a single one."""
        return self.corpora or [CorpusRecipe(*(getattr(self, key) for key in SINGLE_CORPUS))]


@dataclass
class ModelRecipe:
    """The model; what is not named here is described at `SerMetaConfig`.

    Args:
        encoder: a Hub repository, a folder, or `demo-encoder`, which comes with the package.
        revision: of the Hub repository.
        auxiliary_tasks: columns of the corpus to learn beside the target; `transcript` is learned with CTC.
        labels: a task's labels in order, where they are not simply all that the corpus has.
        ranges: tasks that are numbers, each with the ends of the scale that the model answers in, such as
            `{valence: [1, 5]}`. Ratings of a corpus that states another scale of its own are brought to it.
        attention: the encoder's attention kernel; null lets Transformers choose.
    """

    encoder: str = MISSING
    revision: str = "main"
    target_task: str = "emotion"
    auxiliary_tasks: list[str] = field(default_factory=lambda: ["gender", "speaker", "style", "transcript"])
    labels: dict[str, list[str]] = field(default_factory=dict)
    ranges: dict[str, list[float]] = field(default_factory=dict)
    attention: str | None = None
    layer_fusion: str = "ari"
    ari_weighting: str = "matrix"
    ari_join: str = "add"
    ari_normalize: bool = False
    standardize_states: bool = False
    coattention: bool = True
    coattention_heads: int = 8
    coattention_gradient: bool = True
    coattention_pooled_frames: bool = False
    frame_pooling: list[str] = field(default_factory=lambda: ["mean"])
    head_hidden_size: int = 256
    classifier_hidden_size: int = 256
    dropout: float = 0.1
    label_smoothing: float = 0.0
    initializer_range: float = 0.02


@dataclass
class StageRecipe:
    """One training phase: its loss weights, its freeze mask, its learning rates.

    Args:
        loss_weights: by task; a task that is not named, or has the weight 0, is not trained in this stage.
        epochs: over the training side.
        encoder_learning_rate: of the speech encoder.
        head_learning_rate: of layer fusion, heads, co-attention and classifier.
        batch_size: utterances a device and step (default: 4).
        batch_duration: instead, the longest that a batch may last with its padding, in seconds at the recordings' own
            speed: then short utterances come in larger batches than long ones.
        gradient_accumulation_steps: batches before the weights move.
        schedule: of the learning rates.
        warmup: share of the steps in which they rise from 0.
        weight_decay: AdamW's.
        max_gradient_norm: gradients beyond are scaled down to it.
        freeze_feature_encoder: the convolutions.
        freeze_layers: Transformer layers from the bottom, with all below them: a number, `third` of them, or `all`.
        freeze_layer_fusion: keep the layer fusion (ARI) as it is (the paper's section IV-D).
        gradient_checkpointing: compute twice to keep less in memory.
        group_by_length: batches of alike lengths, drawn anew each epoch.
        keep: the `last` checkpoint, or the `best` by the validation side's UA.
        early_stopping_patience: epochs without a better validation UA after which the stage ends; null for never.
    """

    loss_weights: dict[str, float] = MISSING
    epochs: float = MISSING
    encoder_learning_rate: float = MISSING
    head_learning_rate: float = MISSING
    batch_size: int | None = None
    batch_duration: float | None = None
    gradient_accumulation_steps: int = 1
    schedule: str = "linear"
    warmup: float = 0.1
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0
    freeze_feature_encoder: bool = True
    freeze_layers: Any = 0
    freeze_layer_fusion: bool = False
    gradient_checkpointing: bool = False
    group_by_length: bool = True
    keep: str = "last"
    early_stopping_patience: int | None = None


@dataclass
class Recipe:
    """A whole run.

    Args:
        data: see `DataRecipe`.
        model: see `ModelRecipe`.
        stages: by name, in the order in which they run; see `StageRecipe`.
        seed: of everything that is drawn.
        precision: of the computation: `fp32`, `bf16` or `fp16`.
        cache: folder that keeps what the frozen part of the encoder makes of the corpus; null computes it in every
            step.
        cache_layers: keep the states of frozen layers too, which differ after each first stage that trained them;
            false keeps the output of frozen convolutions alone.
        workers: processes that read recordings.
        report_to: experiment trackers that Transformers knows, such as `tensorboard`.
        yardstick: judge a logistic regression on a few acoustic statistics beside the model.
    """

    data: DataRecipe = field(default_factory=DataRecipe)
    model: ModelRecipe = field(default_factory=ModelRecipe)
    stages: dict[str, StageRecipe] = field(default_factory=dict)
    seed: int = 1
    precision: str = "fp32"
    cache: str | None = None
    cache_layers: bool = True
    workers: int = 0
    report_to: list[str] = field(default_factory=list)
    yardstick: bool = False


def load_recipe(name_or_path: str, overrides: list[str] | None = None) -> Recipe:
    """Reads a recipe, applies `key=value` overrides and checks it.

    Args:
        name_or_path: a YAML file, or the name of one that comes with the package. Its top-level `extends` names a
            recipe that it changes: one that comes with the package, or a file beside it.
        overrides: such as `stages.emotion.epochs=20`.

    Raises:
        UserError: no such recipe, an unknown key, a value of the wrong type or outside its choices.
    """
    try:
        given = read_settings(overrides or [])
        merged = OmegaConf.merge(OmegaConf.structured(Recipe), _change(_read(name_or_path), given))
        recipe = OmegaConf.to_object(merged)
    except ConfigKeyError as error:
        raise UserError(_unknown_key(error)) from error
    except MissingMandatoryValue as error:
        raise UserError(
            f"recipe {name_or_path}: {error.full_key} has no value: set it, as {error.full_key}=..."
        ) from error
    except (OmegaConfBaseException, TypeError) as error:  # the latter for a list where a mapping belongs
        key = getattr(error, "full_key", None) or ""
        raise UserError(f"recipe {name_or_path}: {key} {str(error).splitlines()[0]}") from error
    for stage in recipe.stages.values():
        if stage.batch_duration is None:
            stage.batch_size = DEFAULT_BATCH_SIZE if stage.batch_size is None else stage.batch_size
        stage.loss_weights = {task: weight for task, weight in stage.loss_weights.items() if weight}
    _check(recipe)
    return recipe


def read_settings(settings: list[str]) -> DictConfig:
    """Settings such as `stages.emotion.epochs=20`, each value read as YAML; `UserError` for one that is none."""
    try:
        read = OmegaConf.from_dotlist(settings)
    except (yaml.YAMLError, GrammarParseError) as error:
        raise UserError(f"{' '.join(settings)} is no YAML: {' '.join(str(error).split())}: quote the value") from error
    _refuse_interpolations(OmegaConf.to_container(read), "the settings")
    return read


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Writes the resolved recipe as YAML, which `load_recipe` reads back equal."""
    OmegaConf.save(OmegaConf.structured(recipe), path)


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def _read(name_or_path: str, changes: tuple[Path, ...] = ()) -> DictConfig:
    """A recipe as it is written, on top of what it extends; `changes` are the files that extend this one."""
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = RECIPES / f"{name_or_path}.yaml"
    if not os.path.isfile(path):
        raise UserError(f"no such recipe: {name_or_path}: give a YAML file, or one of {', '.join(recipe_names())}")
    if path.resolve() in changes:
        raise UserError(f"recipe {path} extends itself: let one of its chain extend another recipe, or none")
    try:
        _check_form(path)
        recipe = OmegaConf.load(path)
    except UserError:
        raise
    except Exception as error:  # YAML's own errors have no common name that OmegaConf exports
        raise UserError(f"recipe {path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(recipe, DictConfig):
        raise UserError(f"recipe {path} holds no mapping: start from one of {', '.join(recipe_names())}")
    _refuse_interpolations(OmegaConf.to_container(recipe), f"recipe {path}")
    extends = recipe.pop("extends", None)
    if extends is None:
        return recipe
    if not isinstance(extends, str):
        raise UserError(f"recipe {path}: extends={extends} must be the name of a recipe, or a file")
    beside = path.parent / extends
    extended = str(beside) if os.path.isfile(beside) else extends
    return _change(_read(extended, (*changes, path.resolve())), recipe)


def _check_form(path: Path) -> None:
    """Refuses YAML of which little stands for gigabytes or minutes: lists that repeat lists, and deep nesting."""
    depth = 0
    with path.open(encoding="utf-8") as file:
        for event in yaml.parse(file, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent):
                raise UserError(f"recipe {path} repeats parts of itself by * aliases: write them out")
            if depth > DEEPEST:
                raise UserError(f"recipe {path} is nested more than {DEEPEST} levels deep: no recipe needs that")


def _refuse_interpolations(value: Any, where: str) -> None:
    """Refuses `${...}`: `${oc.env:TOKEN}` would write a secret of the environment into what is saved and published."""
    if isinstance(value, str) and "${" in value:
        raise UserError(f"{where}: {value} is to be computed from something else: write the value itself")
    for part in [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []:
        _refuse_interpolations(part, where)


def _change(recipe: DictConfig, change: DictConfig) -> DictConfig:
    """A recipe with some settings changed; a list of corpora takes the place of a single one with all that is its."""
    if OmegaConf.select(change, "data.corpora"):
        for key in SINGLE_CORPUS:
            if OmegaConf.select(recipe, f"data.{key}") is not None:
                del recipe.data[key]
    return OmegaConf.merge(recipe, change)


def _unknown_key(error: ConfigKeyError) -> str:
    key, known = str(error.key), [str(name) for name in getattr(error.object_type, "__dataclass_fields__", ())]
    close = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"
    return f"unknown recipe key {error.full_key}: {hint}"


def _check(recipe: Recipe) -> None:
    _check_corpora(recipe.data)
    _choice("data.folds", recipe.data.folds, FOLDS)
    _choice("data.validation", recipe.data.validation, VALIDATIONS)
    _choice("precision", recipe.precision, PRECISIONS)
    if recipe.data.validation == "split" and recipe.data.folds != "split":
        raise UserError("data.validation=split needs the corpus's own sides: set data.folds=split too")
    _positive("data.group_size", recipe.data.group_size)
    _within("seed", recipe.seed, 0, LARGEST_SEED)
    _within("workers", recipe.workers, 0, 1_000)
    for factor in recipe.data.speed_factors or [0]:
        _positive("data.speed_factors", factor)
    if not recipe.stages:
        raise UserError(
            "the recipe has no stages: name at least one, with its loss_weights, epochs and learning rates"
        )
    tasks = [recipe.model.target_task, *recipe.model.auxiliary_tasks]
    for task in recipe.model.labels:
        _choice("model.labels", task, tuple(tasks))
    for task, scale in recipe.model.ranges.items():
        _check_range(task, scale, recipe.model)
    for name, stage in recipe.stages.items():
        _check_stage(f"stages.{name}", stage, tasks, recipe.data.validation)


def _check_corpora(data: DataRecipe) -> None:
    beside = [f"data.{key}" for key in SINGLE_CORPUS if getattr(data, key)]
    if data.corpora and beside:
        raise UserError(
            f"data.corpora lists the corpora, but {', '.join(beside)} is set beside it: "
            "move it into the list, or leave the list empty"
        )
    if not (data.corpora or data.corpus):
        raise UserError("data.corpus has no value: set it, as data.corpus=..., or list several in data.corpora")


def _check_range(task: str, scale: list[float], model: ModelRecipe) -> None:
    _choice("model.ranges", task, tuple(name for name in model.auxiliary_tasks if name != "transcript"))
    if task in model.labels:
        raise UserError(f"{task} has both model.labels and model.ranges: labels are for classes, ranges for numbers")
    if len(scale) != 2 or not scale[0] < scale[1]:
        raise UserError(f"model.ranges.{task}={scale} must be the lowest and the highest value, such as [1, 5]")


def _check_stage(name: str, stage: StageRecipe, tasks: list[str], validation: str) -> None:
    for task, weight in stage.loss_weights.items():
        _choice(f"{name}.loss_weights", task, tuple(tasks))
        _positive(f"{name}.loss_weights.{task}", weight)
    if not stage.loss_weights:
        raise UserError(f"{name}.loss_weights is empty: name at least one of {', '.join(tasks)}")
    if stage.batch_size is not None and stage.batch_duration is not None:
        raise UserError(
            f"{name} has both batch_size={stage.batch_size} and batch_duration={stage.batch_duration:g}: "
            "set one of them to null"
        )
    size = "batch_size" if stage.batch_duration is None else "batch_duration"
    for key in ("epochs", "encoder_learning_rate", "head_learning_rate", size, "gradient_accumulation_steps"):
        _positive(f"{name}.{key}", getattr(stage, key))
    _positive(f"{name}.max_gradient_norm", stage.max_gradient_norm)
    _within(f"{name}.warmup", stage.warmup, 0, 1)
    _within(f"{name}.weight_decay", stage.weight_decay, 0, 1_000)
    _choice(f"{name}.schedule", stage.schedule, SCHEDULES)
    _choice(f"{name}.keep", stage.keep, ("last", "best"))
    if stage.freeze_layers not in ("third", "all") and not (
        isinstance(stage.freeze_layers, int) and stage.freeze_layers >= 0
    ):
        raise UserError(f"{name}.freeze_layers={stage.freeze_layers!r} must be a number of layers, third or all")
    if validation == "none" and (stage.keep == "best" or stage.early_stopping_patience):
        raise UserError(f"{name} picks an epoch by the validation side, but data.validation is none: choose another")


def _choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UserError(f"{key}={value!r} must be one of {', '.join(choices)}")


def _positive(key: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise UserError(f"{key}={value} must be a number above 0")


def _within(key: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UserError(f"{key}={value} must be from {low:g} to {high:g}")
