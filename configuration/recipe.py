"""The typed recipe: data, model and stages of a run. Its YAML files are in `recipes/`."""

import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException
from yaml import YAMLError

from .errors import UserError

RECIPES = Path(__file__).parent / "recipes"
VALIDATIONS = ("none", "random", "session", "speaker", "split")
SINGLE_CORPUS = ("corpus", "root", "options", "label_map", "quarantine")
FOLDS = ("speaker", "session", "corpus", "split")
SCHEDULES = ("linear", "cosine", "constant_with_warmup")
PRECISIONS = ("fp32", "bf16", "fp16")


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
        batch_size: utterances a device and step.
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
    batch_size: int = 4
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
        cache: folder that keeps what a wholly frozen encoder makes of the corpus, for stages that freeze all of it;
            null computes it in every step.
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
        stage.loss_weights = {task: weight for task, weight in stage.loss_weights.items() if weight}
    _check(recipe)
    return recipe


def read_settings(settings: list[str]) -> DictConfig:
    """Settings such as `stages.emotion.epochs=20`, each value read as YAML; `UserError` for one that is none."""
    try:
        return OmegaConf.from_dotlist(settings)
    except YAMLError as error:
        raise UserError(f"{' '.join(settings)} is no YAML: {' '.join(str(error).split())}: quote the value") from error


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Writes the resolved recipe as YAML, which `load_recipe` reads back equal."""
    OmegaConf.save(OmegaConf.structured(recipe), path)


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def _read(name_or_path: str) -> DictConfig:
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = RECIPES / f"{name_or_path}.yaml"
    if not path.is_file():
        raise UserError(f"no such recipe: {name_or_path}: give a YAML file, or one of {', '.join(recipe_names())}")
    try:
        recipe = OmegaConf.load(path)
    except Exception as error:  # YAML's own errors have no common name that OmegaConf exports
        raise UserError(f"recipe {path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(recipe, DictConfig):
        raise UserError(f"recipe {path} holds no mapping: start from one of {', '.join(recipe_names())}")
    extends = recipe.pop("extends", None)
    if extends is None:
        return recipe
    beside = path.parent / extends
    return _change(_read(str(beside) if beside.is_file() else extends), recipe)


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
    for key in ("epochs", "encoder_learning_rate", "head_learning_rate", "batch_size", "gradient_accumulation_steps"):
        _positive(f"{name}.{key}", getattr(stage, key))
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
    if not value > 0:
        raise UserError(f"{key}={value} must be above 0")
