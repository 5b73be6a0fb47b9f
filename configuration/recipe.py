"""The typed recipe: data, model and stages of a run."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from omegaconf import MISSING

from .degradations import AugmentationRecipe
from .written import Text

VALIDATIONS = ("none", "random", "session", "speaker", "split")
FOLDS = ("speaker", "session", "corpus", "split", "groups", "utterances", "emobox")
DEALT = ("groups", "utterances")  # folds of which there are as many as the recipe says
FIRST_FOLD = {"place": 0}
NO_FOLD = "none"  # as data.test_fold
VOTES = ("majority", "shares")
TIES = ("drop", "first", "all")
SCHEDULES = ("linear", "cosine", "constant_with_warmup")
CLASS_WEIGHTS = ("balanced",)
TRAINED_OF_ENCODER = ("all", "adapter")
RESAMPLERS = ("soxr", "torchaudio")
CACHE_PRECISIONS = ("auto", "fp32", "fp16")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
TEACHER = "teacher"  # as model.encoder: the teacher's own
DISTILLED = ("target", "tasks", "frames", "layers")  # what a student can learn from its teacher
CONVENIENCES = ("workers", "cache", "cache_layers", "report_to", "searched")  # settings that change no result


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
        emobox: a clone of https://github.com/emo-box/EmoBox: of the corpus are then read the utterances of its lists
            alone, with its classes as the emotion, and with its folds, which `folds: emobox` takes. Raters' votes are
            of other classes, and refused beside it.
        label_map: by task, from the corpus's label to the shared one. A name counts whatever its case, spaces and
            accents, and `*` in it stands for anything, as in `{"neu*": neutral, "hap*": happy, "*": null}`. A label
            goes by its own name first, then by one alike, then by the first pattern; one that none fits stays as it
            is. Null drops the utterance where the task is the target, and otherwise only makes the value a missing
            one. Votes for labels that become one are added, and those for null are taken away, after the majority has
            been found.
        quarantine: a file of `ser-meta check --quarantine`, whose utterances are on no side; null leaves none out.
        leave_out_missing: leave out the rows whose recording is not there, instead of refusing the corpus.
    """

    corpus: str = MISSING
    root: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    emobox: str | None = None
    label_map: dict[str, dict[str, str | None]] = field(default_factory=dict)
    quarantine: str | None = None
    leave_out_missing: bool = False


OF_A_CORPUS = tuple(setting.name for setting in fields(CorpusRecipe))


@dataclass
class DataRecipe(CorpusRecipe):
    """What is learned from, and who is on which side.

    Args:
        corpus, root, options, emobox, label_map, quarantine, leave_out_missing: those of a single corpus; see
            `CorpusRecipe`.
        corpora: several instead, each with those seven. Utterances, speakers and sessions then bear their corpus's
            name, as in `ravdess:01`, and a column `corpus` tells it.
        folds: what a fold is made of: `speaker`, `session`, with several corpora `corpus`, or `split`: the corpus's
            own sides, of which `train` is learned from and any but `train` and `validation` is a fold. `groups` deals
            the speakers into folds of like size and label shares, and keeps a session together. `utterances` (or
            `random`) deals these, whoever speaks them, and is speaker-dependent: for a corpus of one voice. `emobox`
            takes those of `emobox`, or of `corpus: emobox`; another corpus beside it is trained on in every fold.
        group_size: speakers, sessions or corpora in a fold.
        fold_count: how many `groups`, or parts of the `utterances`, there are; null for 5.
        test_fold: the test side: a fold's name, exactly as the corpus has it (`05`), or `{place: 0}`, its place among
            the sorted names, which is the default. `none` tests on nothing and learns from all. A bare number is a
            place too where no name has a digit in it, and 0 where none has that number.
        validation: how the validation side is taken from the training side: `none`, `random`, `session` or `speaker`;
            `split` takes the corpus's own.
        validation_fraction: its share, for `random` and `speaker`.
        allow_speaker_overlap: let a speaker stand on two sides.
        votes: what is learned where several people rated an utterance: the label that the `majority` chose, or the
            `shares` of all their votes, also of utterances without a consensus.
        ties: what becomes of an utterance whose votes are tied, and that has no label of the corpus's own: `drop`
            leaves it without one, `first` gives it the first of the tied labels by alphabet, and `all` learns the tied
            labels in equal shares.
        speed_factors: of the time domain spectral augmentation, one drawn an utterance and epoch; [1.0] for none.
        augmentation: noise, rooms, telephone lines and more, by chance; see `AugmentationRecipe`.
        resampler: brings the training's recordings to the encoder's rate and to their speed: `soxr`, one by one on the
            CPU, or `torchaudio`, whole batches on a CUDA GPU. What their results differ by lies 48 dB or more below
            the speech.
        trim_decibels: cut off both ends of a recording what is so much softer than its loudest part; null for none.
        longest: seconds; longer recordings are not trained on, and shorter ones are, whatever memory they take. Null
            trains on all, but refuses one that would take far more memory than a batch of the others.
    """

    corpus: str | None = None
    corpora: list[CorpusRecipe] = field(default_factory=list)
    folds: str = "speaker"
    group_size: int = 1
    fold_count: int | None = None
    test_fold: Text = field(default_factory=FIRST_FOLD.copy)
    validation: str = "none"
    validation_fraction: float = 0.2
    allow_speaker_overlap: bool = False
    votes: str = "majority"
    ties: str = "drop"
    speed_factors: list[float] = field(default_factory=lambda: [0.8, 1.0, 1.2])
    augmentation: AugmentationRecipe = field(default_factory=AugmentationRecipe)
    resampler: str = "soxr"
    trim_decibels: float | None = None
    longest: float | None = None

    def __post_init__(self):
        if self.folds == "random":  # as validation calls it
            self.folds = "utterances"
        if isinstance(self.test_fold, Mapping):
            self.test_fold = {key: _whole(value) for key, value in self.test_fold.items()}
        elif self.test_fold is not None:
            self.test_fold = str(self.test_fold)

    @property
    def sources(self) -> list[CorpusRecipe]:
        """The corpora, also where it is a single one."""
        return self.corpora or [CorpusRecipe(**{key: getattr(self, key) for key in OF_A_CORPUS})]

    @property
    def speakers_may_overlap(self) -> bool:
        """Whether a speaker may stand on two sides: where asked for, and where utterances are dealt whoever speaks."""
        return self.allow_speaker_overlap or self.folds == "utterances"


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


@dataclass
class AdapterRecipe:
    """An adapter of the encoder, trained in the place of its weights; see `SerMetaConfig.adapter`.

    Args:
        kind: `lora`, or `dora`.
        rank: of the matrices that are added to a weight.
        alpha: what they are multiplied by, times the rank; null for twice the rank.
        dropout: of what goes into them.
        targets: the projections of the `attention`, `all-linear` layers, or a list of names such as [q_proj, v_proj].
        layers: Transformer layers by number, from 0 on; null for all.
    """

    kind: str = "lora"
    rank: int = 8
    alpha: float | None = None
    dropout: float = 0.0
    targets: Any = "attention"
    layers: list[int] | None = None


@dataclass
class ModelRecipe:
    """The model; what is not named here is described at `SerMetaConfig`.

    Args:
        encoder: a Hub repository, a folder, or `demo-encoder`, which comes with the package; of a student also
            `teacher`: what fits of the teacher is then where it starts.
        revision: of the Hub repository.
        encoder_layers: how many of the encoder's layers are used, from the lowest up: the others take no time and no
            memory. Null for all; `ser-meta probe` suggests a number.
        narrow: settings of the encoder's configuration that are smaller here, such as `{encoder_ffn_dim: 1024}` of a
            Whisper encoder, `{intermediate_size: 1024}` of most others. Weights are kept where their shapes fit, and
            of a narrower feed-forward block its strongest neurons; what does not fit starts anew.
        auxiliary_tasks: columns of the corpus to learn beside the target; `transcript` is learned with CTC.
        labels: a task's labels in order, where they are not simply all that the corpus has.
        multilabel: tasks of which an utterance may have several labels at once, as a table has them in cells such as
            "angry;sad", or as 1 and 0 in columns such as `emotion:angry`.
        ranges: tasks that are numbers, each with the ends of the scale that the model answers in, such as
            `{valence: [1, 5]}`. Ratings of a corpus that states another scale of its own are brought to it.
        attention: the encoder's attention kernel; null lets Transformers choose.
        adapter: of the encoder; null for none. See `AdapterRecipe`.
        class_weights: `balanced` weighs each label of the target in the loss by how rare it is on the training side,
            utterances / (labels x utterances with it); null weighs every utterance alike.
    """

    encoder: str = MISSING
    revision: str = "main"
    encoder_layers: int | None = None
    narrow: dict[str, int] = field(default_factory=dict)
    target_task: str = "emotion"
    auxiliary_tasks: list[str] = field(default_factory=lambda: ["gender", "speaker", "style", "transcript"])
    labels: dict[str, list[str]] = field(default_factory=dict)
    multilabel: list[str] = field(default_factory=list)
    ranges: dict[str, list[float]] = field(default_factory=dict)
    attention: str | None = None
    adapter: AdapterRecipe | None = None
    layer_fusion: str = "ari"
    ari_weighting: str = "matrix"
    ari_join: str = "add"
    ari_normalize: bool = False
    standardize_states: bool = False
    center_by: list[str] = field(default_factory=list)
    coattention: bool = True
    coattention_heads: int = 8
    coattention_gradient: bool = True
    coattention_pooled_frames: bool = False
    frame_pooling: list[str] = field(default_factory=lambda: ["mean"])
    head_hidden_size: int = 256
    classifier_hidden_size: int = 256
    dropout: float = 0.1
    target_loss: str = "cross_entropy"
    focal_gamma: float = 2.0
    label_smoothing: float = 0.0
    smoothing_toward: str = "uniform"
    class_weights: str | None = None
    initializer_range: float = 0.02


@dataclass
class StageRecipe:
    """One training phase: its loss weights, its freeze mask, its learning rates.

    Args:
        loss_weights: by task; a task that is not named, or has the weight 0, is not trained in this stage.
        epochs: over the training side.
        encoder_learning_rate: of the speech encoder.
        head_learning_rate: of layer fusion, heads, co-attention and classifier.
        batch_size: utterances a device and step (default: 4). One that is padded far beyond the usual length, three
            times that of nine in ten, is computed in parts, with the same gradient.
        batch_duration: instead, the longest that a batch may last with its padding, in seconds at the recordings' own
            speed: then short utterances come in larger batches than long ones.
        gradient_accumulation_steps: batches before the weights move.
        schedule: of the learning rates: `linear`, `cosine` or `constant_with_warmup`.
        warmup: share of the steps in which they rise from 0.
        weight_decay: AdamW's.
        max_gradient_norm: gradients beyond are scaled down to it.
        encoder: what of the encoder is trained, as far as it is not frozen by what follows: `adapter`, the default
            with a `model.adapter`, or `all`. Nothing of it is with `freeze_layers: all`.
        freeze_feature_encoder: the convolutions.
        freeze_layers: Transformer layers from the bottom, with all below them: a number, `third` of them, or `all`.
        freeze_layer_fusion: keep the layer fusion (ARI) as it is (the paper's section IV-D).
        gradient_checkpointing: compute twice to keep less in memory.
        group_by_length: batches of alike lengths, drawn anew each epoch.
        balanced_batches: draw each epoch's utterances with replacement: every label of the target in turn, and an
            utterance by its share of that (ours; winners of the Interspeech 2025 challenge balance a second stage).
            The other way is `model.class_weights`: choose one.
        keep: the `last` checkpoint, or the `best` by the validation side's UA (by its loss without the target).
        early_stopping_patience: epochs without a better one after which the stage ends; null for never.
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
    encoder: str | None = None
    freeze_feature_encoder: bool = True
    freeze_layers: Any = 0
    freeze_layer_fusion: bool = False
    gradient_checkpointing: bool = False
    group_by_length: bool = True
    balanced_batches: bool = False
    keep: str = "last"
    early_stopping_patience: int | None = None


@dataclass
class DistillationRecipe:
    """What a student learns from a trained teacher, beside the labels, in every stage, whatever labels that has.

    Args:
        teacher: a ser-meta model's folder or its name on the Hub, a finished run, or a finished `ser-meta crossval`
            with `--keep-models`, in which each fold's student has that fold's teacher. It is never trained on what
            tests the student.
        loss_weights: of `target`, the teacher's probabilities of the target's labels; `tasks`, the same of the
            auxiliary tasks that both have; `frames`, what its layer fusion makes of each frame; `layers`, what goes
            into the fusion, of layers evenly chosen, where both encoders are of one width. One that is not named keeps
            its default, target 1, tasks 0.3 and frames 1: 0 takes it away. See `Distillation`.
        temperature: by which both sides' logits are divided before they are compared.
        unlabelled: a folder of further recordings, which have a teacher and no labels.
    """

    teacher: str | None = None
    loss_weights: dict[str, float] = field(default_factory=lambda: {"target": 1.0, "tasks": 0.3, "frames": 1.0})
    temperature: float = 2.0
    unlabelled: str | None = None


@dataclass
class BaselineRecipe:
    """Learning rates of Table I's baseline: a comparison is fair when each side has those that suit it.

    Args:
        encoder_learning_rate, head_learning_rate: null for those of the recipe's last stage.
    """

    encoder_learning_rate: float | None = None
    head_learning_rate: float | None = None


@dataclass
class Recipe:
    """A whole run.

    Args:
        data: see `DataRecipe`.
        model: see `ModelRecipe`.
        stages: by name, in the order in which they run; see `StageRecipe`.
        distillation: of a student; null for a model that learns from labels alone. See `DistillationRecipe`.
        baseline: what the recipe is compared with in Table I; see `BaselineRecipe`.
        seed: of everything that is drawn.
        precision: of the computation: `fp32`, `bf16`, `fp16`, or `auto`: bf16 where the device is made for it, and
            otherwise fp32.
        cache: folder that keeps what the frozen part of the encoder makes of the corpus; null computes it in every
            step.
        cache_layers: keep the states of frozen layers too, which differ after each first stage that trained them;
            false keeps the output of frozen convolutions alone.
        cache_precision: of the kept states: `fp32`, or `fp16` in half the room, whose error is told before they are
            computed; `auto` is `fp16` of an encoder that is frozen as a whole, whose rounding no layer enlarges.
        workers: processes that read recordings.
        report_to: experiment trackers that Transformers knows, such as `tensorboard`.
        adapter_only: keep and publish what the adapter adds to the encoder, and the parts above it, without the
            encoder's own weights, which whoever loads the model gets from the Hub. Otherwise the adapter is merged.
        searched: in words, which of these settings were chosen by a score, and on which recordings; every report tells
            it. What a recipe extends hands it down.
        yardstick: judge a logistic regression on a few acoustic statistics beside the model.
        degraded: conditions in which the test side is judged once more, such as `[telephone, "noise:10", reverb]`,
            with what each costs beside the recordings as they are; see `degradations.EXAMPLES`.
        judged_by: with `data.test_fold: none`, the folder of a finished `ser-meta crossval` of the same recipe, which
            the final model's report and card then name with its figures: such a model is not judged itself.
    """

    data: DataRecipe = field(default_factory=DataRecipe)
    model: ModelRecipe = field(default_factory=ModelRecipe)
    stages: dict[str, StageRecipe] = field(default_factory=dict)
    distillation: DistillationRecipe | None = None
    baseline: BaselineRecipe = field(default_factory=BaselineRecipe)
    seed: int = 1
    precision: str = "fp32"
    cache: str | None = None
    cache_layers: bool = True
    cache_precision: str = "auto"
    workers: int = 0
    report_to: list[str] = field(default_factory=list)
    adapter_only: bool = False
    searched: str | None = None
    yardstick: bool = False
    degraded: list[str] = field(default_factory=list)
    judged_by: str | None = None

    @property
    def of_study(self) -> "Recipe":
        """What the recipes of all trainings of a study have in common.

        A study goes through seeds and test folds, and one of students through the teachers of these.
        """
        common = replace(self, seed=0, data=replace(self.data, test_fold=FIRST_FOLD), judged_by=None)
        if self.distillation is None:
            return common
        encoder = TEACHER if self.model.encoder == self.distillation.teacher else self.model.encoder
        return replace(
            common,
            model=replace(self.model, encoder=encoder),
            distillation=replace(self.distillation, teacher=TEACHER),
        )

    @property
    def deciding(self) -> "Recipe":
        """The recipe with every setting at its default that changes no result."""
        return replace(self, **{name: getattr(Recipe(), name) for name in CONVENIENCES})
