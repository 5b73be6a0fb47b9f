"""The configuration of a ser-meta model: its speech encoder, its tasks, and how the paper's modules join them."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from math import inf
from os import PathLike
from typing import TYPE_CHECKING, Any

from transformers import CONFIG_MAPPING, AutoConfig, PretrainedConfig

from .settings_ser_meta import (
    LAYER_COUNT,
    LAYER_COUNTS,
    SPEECH_ENCODERS,
    adapter_faults,
    adapter_settings,
    choice_faults,
    setting_faults,
    task_name_faults,
)

if TYPE_CHECKING:  # never run: whatever class is loaded first, Transformers brings the files that its file names
    from .adapters_ser_meta import adapt  # noqa: F401
    from .audio_ser_meta import read_audio  # noqa: F401
    from .backends_ser_meta import network_of  # noqa: F401
    from .encoder_ser_meta import build_encoder  # noqa: F401
    from .familiarity_ser_meta import Familiarity  # noqa: F401
    from .families_ser_meta import MoonshineFrames  # noqa: F401
    from .features_ser_meta import features_of  # noqa: F401
    from .frames_ser_meta import EncoderOutput  # noqa: F401
    from .general_ser_meta import GeneralFrames  # noqa: F401
    from .graph_ser_meta import write_graph  # noqa: F401
    from .loading_ser_meta import load_backbone  # noqa: F401
    from .losses_ser_meta import classification_loss  # noqa: F401
    from .modeling_ser_meta import SerMetaModel  # noqa: F401
    from .modules_ser_meta import TaskHead  # noqa: F401
    from .padding_ser_meta import mask_of  # noqa: F401
    from .pipeline_ser_meta import SpeechEmotionPipeline  # noqa: F401
    from .processing_ser_meta import SerMetaProcessor  # noqa: F401
    from .segments_ser_meta import regions  # noqa: F401
    from .sound_files_ser_meta import open_sound  # noqa: F401
    from .stream_ser_meta import SpeechEmotionStream  # noqa: F401
    from .turns_ser_meta import turn_cutter  # noqa: F401
    from .windows_ser_meta import cut_recording  # noqa: F401

if __name__.startswith("transformers_modules.") and "SerMetaConfig" in globals():
    # Older releases of Transformers keep the code of local folders by the folders' last name, and run what has changed
    # once more in the same module, beside files that have not: half of one version and half of another.
    raise ImportError(
        "a model with another version of its code was loaded in this process from a folder of the same name: "
        "rename one of the folders, or load them in two processes"
    )

AUTO_MAP = {
    "AutoConfig": "configuration_ser_meta.SerMetaConfig",
    "AutoModel": "modeling_ser_meta.SerMetaModel",
    "AutoModelForAudioClassification": "modeling_ser_meta.SerMetaModel",
}
PIPELINE_TASK = "speech-emotion-recognition"
CUSTOM_PIPELINES = {
    PIPELINE_TASK: {
        "impl": "pipeline_ser_meta.SpeechEmotionPipeline",
        "pt": ["AutoModelForAudioClassification"],
        "type": "audio",
    }
}

BLANK = 0  # CTC's, and the tokenizer's padding
LATIN_CHARACTERS = 30  # blank, unknown, word boundary, apostrophe, A to Z
LABEL_NAMES = ("num_labels", "id2label", "label2id")
TASK_KINDS = ("classification", "ctc", "regression", "multilabel")
TASK_KEYS = {"classification": "labels", "ctc": "vocab_size", "regression": "range", "multilabel": "labels"}
TARGET_KINDS = ("classification", "multilabel")
LABEL_THRESHOLD = 0.5  # the score from which a label of a multilabel task is told, where none was fitted


class SerMetaConfig(PretrainedConfig):
    r"""Configuration of a [`SerMetaModel`].

    The label order of every task lives here alone; `id2label` is the target task's.

    Three settings matter most, as far as Whisper base, frozen, tells (examples/studies/results.md). `center_by` gave
    9 points of unweighted accuracy on RAVDESS. `layer_fusion="ari"` brought 11 points there and 9 on nEMO over the
    last layer alone. `coattention` brought 7 and 4 over the last layer, and none beside ARI. The others are for
    studies.

    Args:
        speech_config: configuration of the speech encoder, as its own class or as a dict with `model_type`
            (default: wav2vec2-base). It describes the whole encoder, also where the model has its lowest layers only.
        encoder_layers: how many of the encoder's Transformer layers the model has, from the lowest up; the others are
            never made or loaded. None for all (ours). What stands behind the whole encoder's last layer is left out
            with them: the norm of the families that normalise before a layer (Whisper, the large models) fits that
            layer's states alone, and so does SEW's upsampling. So the states are those of the whole encoder's same
            layers, to the bit; of these families the last one is then a running sum of large scale, which
            `standardize_states` brings to a common one.
        encoder_frames: of an encoder of another family than those known by name, how it makes frames of its inputs,
            `[stride, offset]`: `(inputs + offset) // stride`. `from_backbone_pretrained` measures it (ours).
        tasks: ordered mapping from a task's name to `{"kind": "classification", "labels": [...]}`,
            `{"kind": "ctc", "vocab_size": n}` (default: the Latin characters') or
            `{"kind": "regression", "range": [low, high]}`, the ends of the scale that its numbers are on, such as
            `[1, 5]` for a valence (ours), or `{"kind": "multilabel", "labels": [...], "thresholds": [...]}`, of which
            a recording may have several labels at once, each from its threshold on (default: 0.5; ours).
            `"reported": False` keeps a task out of predictions; the `speaker` task is not reported by default, since
            identity is a training signal only.
        task_order: the tasks' names in order (default: the order of `tasks`). A config file sorts the keys of a
            mapping, and the classifier's features stand in this order.
        target_task: the task that the auxiliary ones serve; a classification, or a multilabel task.
        hidden_tasks: auxiliary tasks whose answers were taken out before the model was published, such as `speaker`
            (ours). The co-attention reads what their heads hide in the middle, so that the target's answer is the
            same; they are in `task_order`, and not in `tasks`.
        layer_fusion: `"ari"` (the paper's section II-A4), `"weighted_sum"` (softmax-weighted sum of all layers, its
            Table III rival) or `"last_hidden"`.
        ari_weighting: `"matrix"` (a `d x d` map a layer), `"channel"`, `"scalar"` or `"softmax"` (our reading).
        ari_join: `"add"` or `"concat"` followed by a linear map `2d -> d` (our reading).
        ari_normalize: layer-normalise each joined state first, without parameters. For encoders whose layers
            normalise before rather than after (Whisper, the large models), where a raw state is a running sum of
            large scale (ours).
        standardize_states: centre and scale each layer's states by channel before they are joined, with statistics of
            the training side under the encoder as it was before training (ours).
        center_by: columns of a corpus, such as `["speaker"]`: states are centred by the mean of all recordings that
            have the same there, in the place of the training side's: the speaker normalisation of the field (ours).
            A recording of an unknown speaker needs some others of the same, without labels.
        coattention: whether the auxiliary tasks attend to the frames (the paper's section II-A5). Without it, or
            without auxiliary tasks, the target's classifier sees the pooled frames alone (section III-B).
        coattention_heads: attention heads (our reading); must divide the encoder's width.
        coattention_gradient: whether the target's loss reaches the auxiliary hidden vectors (our reading).
        coattention_pooled_frames: whether the pooled frames join what the target's classifier sees (our reading).
        frame_pooling: what the target's classifier sees of the frames, beside the co-attention or without it, any of
            `"mean"` (section III-B), `"deviation"`, `"attentive_mean"` and `"attentive_deviation"`, side by side
            (ours).
        head_hidden_size: width of every auxiliary task's hidden vector (ours).
        classifier_hidden_size: width between the target's two fully connected layers (section III-B; the width is
            ours); 0 for a single layer, as the paper's baseline has it (section IV-A).
        dropout: of the heads and the classifier (ours).
        target_loss: of the target in training, which may be learned from its raters' shares: `"cross_entropy"`, `"kl"`
            or `"focal"`; see `classification_loss` and `multilabel_loss`.
        focal_gamma: how much less the focal loss counts what the model is sure of.
        label_smoothing: share of each of the target's references that is spread over all labels in training (ours).
        smoothing_toward: over which labels: all alike, `"uniform"`, or, where the target is learned from shares, those
            that its `"raters"` chose, beside the one that most of them did (our reading).
        class_weights: factors of the target's loss in training, one a label in their order, for corpora in which some
            are rare (ours).
        initializer_range: standard deviation of the weights above the encoder at their start. The usual 0.02 suits a
            width of 768.
        calibration_temperature: by which the pipeline divides the target's logits, so that its scores are calibrated;
            fitted on a run's validation side (ours). Transformers keeps the plain name for the generation of text.
        scores_are_shares: whether the target was learned from the shares of its raters' votes: its scores are then the
            shares that it expects (ours).
        label_shares: how often the training has met each of the target's labels, in their order, with its class
            weights (ours): what another use's shares are set against, see [`SpeechEmotionPipeline`].
        familiarity: `{"means", "rank", "fitted_on", "n", "threshold"}` of the statistics that tell how far a recording
            lies from those that were learned from, see [`Familiarity`]; None where there are none (ours).
        adapter: of the encoder's layers, trained in the place of their weights, through `peft` (ours):
            `{"kind": "lora", "rank": 8, "alpha": 16, "dropout": 0.0, "targets": "attention", "layers": None}`, all of
            which may be left out. The kind is LoRA (arXiv 2106.09685) or `"dora"` (arXiv 2402.09353). The targets are
            the projections of the `"attention"`, `"all-linear"` layers, or a list of names such as `["q_proj",
            "v_proj"]`; the layers are numbers from 0 on. None for a plain encoder, as is one after `merge_adapter`.
        base_encoder: `{"name": ..., "revision": ...}` of the encoder on the Hub whose weights are not saved with the
            model, but what an adapter adds to them: see `save_adapter`.

    Raises:
        ValueError: a value outside its choices, more layers than the encoder has, a task without labels or range, or
            an `id2label` that contradicts `tasks`.
    """

    model_type = "ser_meta"
    sub_configs = {"speech_config": AutoConfig}
    has_no_defaults_at_init = False
    # the rest of what a model returns: a stock Trainer then gives its metrics the target's logits alone
    keys_to_ignore_at_inference = [
        "task_logits",
        "task_losses",
        "embeddings",
        "familiar",
        "coattentions",
        "frame_mask",
        "hidden_states",
        "attentions",
    ]

    def __init__(
        self,
        speech_config: PretrainedConfig | Mapping | None = None,
        tasks: Mapping[str, Mapping[str, Any]] | None = None,
        task_order: Sequence[str] | None = None,
        target_task: str = "emotion",
        layer_fusion: str = "ari",
        ari_weighting: str = "matrix",
        ari_join: str = "add",
        ari_normalize: bool = False,
        standardize_states: bool = False,
        center_by: Sequence[str] = (),
        coattention: bool = True,
        coattention_heads: int = 8,
        coattention_gradient: bool = True,
        coattention_pooled_frames: bool = False,
        frame_pooling: Sequence[str] = ("mean",),
        head_hidden_size: int = 256,
        classifier_hidden_size: int = 256,
        dropout: float = 0.1,
        target_loss: str = "cross_entropy",
        focal_gamma: float = 2.0,
        label_smoothing: float = 0.0,
        smoothing_toward: str = "uniform",
        class_weights: Sequence[float] | None = None,
        initializer_range: float = 0.02,
        calibration_temperature: float = 1.0,
        encoder_layers: int | None = None,
        encoder_frames: Sequence[int] | None = None,
        hidden_tasks: Sequence[str] = (),
        scores_are_shares: bool = False,
        adapter: Mapping[str, Any] | None = None,
        base_encoder: Mapping[str, str] | None = None,
        label_shares: Sequence[float] | None = None,
        familiarity: Mapping[str, Any] | None = None,
        **kwargs,
    ):
        self.label_shares = None if label_shares is None else [float(share) for share in label_shares]
        self.familiarity = None if familiarity is None else dict(familiarity)
        self.encoder_frames = None if encoder_frames is None else [int(number) for number in encoder_frames]
        self.speech_config = _speech_config(speech_config, known=encoder_frames is None)
        self.encoder_layers = encoder_layers
        tasks = tasks or _default_tasks(target_task)
        self.hidden_tasks = list(hidden_tasks)
        named = [*tasks, *self.hidden_tasks]
        self.task_order = list(task_order or named)
        if sorted(self.task_order) != sorted(named):
            raise ValueError(f"task_order={self.task_order} must name each of the tasks {named} once")
        _refuse(task_name_faults(self.task_order))
        self.tasks = {name: _task(name, tasks[name]) for name in self.task_order if name in tasks}
        self.target_task = target_task
        self.layer_fusion = layer_fusion
        self.ari_weighting = ari_weighting
        self.ari_join = ari_join
        self.ari_normalize = ari_normalize
        self.standardize_states = standardize_states
        self.center_by = list(center_by)
        self.coattention = coattention
        self.coattention_heads = coattention_heads
        self.coattention_gradient = coattention_gradient
        self.coattention_pooled_frames = coattention_pooled_frames
        self.frame_pooling = list(frame_pooling)
        self.head_hidden_size = head_hidden_size
        self.classifier_hidden_size = classifier_hidden_size
        self.dropout = dropout
        self.target_loss = target_loss
        self.focal_gamma = focal_gamma
        self.label_smoothing = label_smoothing
        self.smoothing_toward = smoothing_toward
        self.class_weights = None if class_weights is None else [float(weight) for weight in class_weights]
        self.initializer_range = initializer_range
        self.calibration_temperature = calibration_temperature
        self.scores_are_shares = scores_are_shares
        _refuse(setting_faults(vars(self)))
        if encoder_layers is not None and encoder_layers > layer_count(self.speech_config):
            raise ValueError(
                f"encoder_layers={encoder_layers} is more than the {layer_count(self.speech_config)} layers that the "
                "encoder has: choose fewer, or null for all"
            )
        _refuse(adapter_faults(adapter or {}, "adapter."))
        self.adapter = None if adapter is None else adapter_settings(adapter)
        self.base_encoder = None if base_encoder is None else dict(base_encoder)
        self._check_target_and_widths()

        labels = self.tasks[target_task]["labels"]
        given = named_labels(**{name: kwargs.pop(name, None) for name in LABEL_NAMES})
        if given not in (None, labels, len(labels)):
            raise ValueError(
                f"{'id2label' if isinstance(given, list) else 'num_labels'} is {given}, but tasks[{target_task!r}] "
                f"has the labels {labels}: change the labels in tasks, id2label follows"
            )
        if self.tasks[target_task]["kind"] == "multilabel":  # by which Transformers' own pipeline knows its scores
            kwargs.setdefault("problem_type", "multi_label_classification")
        kwargs.setdefault("pad_token_id", BLANK)
        super().__init__(
            id2label=dict(enumerate(labels)), label2id={label: index for index, label in enumerate(labels)}, **kwargs
        )

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any], **kwargs) -> "SerMetaConfig":
        """As Transformers'; settings given beside the dict are checked with it.

        `num_labels`, `id2label` or `label2id` rename the target's labels, or put others in their place: the weights of
        the classifier's last layer then do not fit, and `ignore_mismatched_sizes=True` starts it anew.
        """
        known = set(inspect.signature(cls.__init__).parameters) - {"self", "speech_config", "kwargs"}
        changed = {name: kwargs.pop(name) for name in list(kwargs) if name in known}
        labels = named_labels(**{name: kwargs.pop(name, None) for name in LABEL_NAMES})
        settings = {**config_dict, **changed}
        if labels is not None or {"tasks", "target_task"} & set(changed):
            settings = _with_labels(settings, labels, set(changed))
        return super().from_dict(settings, **kwargs)

    def save_pretrained(self, save_directory: str | PathLike, **options) -> None:
        """As Transformers', with what `trust_remote_code` needs: the code of this folder, and which class is whose.

        Every model is saved with its config. What a config was loaded with is not enough: each Auto class and each
        pipeline that loads it would leave its own entry alone.

        Raises:
            ValueError: `id2label` was changed to another number of labels than the model has.
        """
        self._rename_labels()
        self.auto_map, self.custom_pipelines = dict(AUTO_MAP), deepcopy(CUSTOM_PIPELINES)
        super().save_pretrained(save_directory, **options)

    def _rename_labels(self) -> None:
        """Takes over what somebody has set `id2label` to, as with any model of Transformers."""
        target = self.tasks[self.target_task]
        labels = [str(self.id2label[index]) for index in sorted(self.id2label)]
        if len(labels) != len(target["labels"]):
            raise ValueError(
                f"id2label has the labels {labels}, but the model has {target['labels']}: for others, load it with "
                "from_pretrained(..., id2label=..., ignore_mismatched_sizes=True)"
            )
        target["labels"] = labels
        self.label2id = {label: index for index, label in enumerate(labels)}

    @property
    def auxiliary_tasks(self) -> list[str]:
        """Names of all tasks but the target, in order, the hidden ones too."""
        return [name for name in self.task_order if name != self.target_task]

    @property
    def layers(self) -> int:
        """How many of the encoder's Transformer layers the model has."""
        return self.encoder_layers or layer_count(self.speech_config)

    @property
    def width(self) -> int:
        """Of the encoder's hidden states."""
        return encoder_width(self.speech_config)

    @property
    def reported_tasks(self) -> list[str]:
        """Names of the tasks that predictions show, in order."""
        return [name for name, task in self.tasks.items() if task["reported"]]

    def _check_target_and_widths(self) -> None:
        target = self.tasks.get(self.target_task)
        if target is None or target["kind"] not in TARGET_KINDS:
            raise ValueError(
                f"target_task={self.target_task!r} must name a classification or a multilabel task among the tasks "
                f"{list(self.tasks)}"
            )
        if len(target["labels"]) < 2:
            raise ValueError(f"tasks[{self.target_task!r}] needs two or more labels, not {target['labels']}")
        width = self.width
        if self.coattention and width % self.coattention_heads:
            raise ValueError(f"coattention_heads={self.coattention_heads} must divide the encoder's width {width}")
        weights = self.class_weights
        if weights is not None and (len(weights) != len(target["labels"]) or not all(0 < w < inf for w in weights)):
            raise ValueError(f"class_weights={weights} must be a number above 0 for each of {target['labels']}")
        if not 0 < self.calibration_temperature < inf:
            raise ValueError(f"calibration_temperature={self.calibration_temperature} must be above 0")


SerMetaConfig.register_for_auto_class()


def layer_count(speech_config: PretrainedConfig) -> int:
    """Transformer layers that an encoder of this configuration has."""
    return getattr(speech_config, LAYER_COUNTS.get(speech_config.model_type, LAYER_COUNT))


def encoder_width(speech_config: PretrainedConfig) -> int:
    """Width of the hidden states of an encoder of this configuration."""
    # older releases have Qwen2-Audio's by the other name alone
    return getattr(speech_config, "hidden_size", None) or speech_config.d_model


def with_lowest_layers(speech_config: PretrainedConfig, layers: int | None) -> PretrainedConfig:
    """The configuration of the same encoder with its lowest layers only; None leaves it as it is."""
    if layers is None:
        return speech_config
    lowest = deepcopy(speech_config)
    if hasattr(lowest, "num_timestamp_prediction_layers"):  # which Fun-ASR-Nano has above those for the transcription
        transcription = speech_config.num_hidden_layers - speech_config.num_timestamp_prediction_layers
        lowest.num_timestamp_prediction_layers = max(0, layers - transcription)
    setattr(lowest, LAYER_COUNTS.get(speech_config.model_type, LAYER_COUNT), layers)
    return lowest


def named_labels(
    num_labels: int | None = None, id2label: Mapping | None = None, label2id: Mapping[str, Any] | None = None
) -> list[str] | int | None:
    """What Transformers' three names for labels ask for: labels in order, their number alone, or nothing.

    Raises:
        ValueError: they contradict each other.
    """
    by_id = {int(index): str(label) for index, label in (id2label or {}).items()}
    by_label = {int(index): str(label) for label, index in (label2id or {}).items()}
    labels = [label for _, label in sorted((by_id or by_label).items())]
    if not labels:
        return num_labels
    if (by_label or by_id) != (by_id or by_label) or num_labels not in (None, len(labels)):
        raise ValueError(
            f"num_labels={num_labels}, id2label={id2label} and label2id={label2id} contradict each other: "
            "give id2label alone"
        )
    return labels


def _with_labels(settings: dict[str, Any], labels: list[str] | int | None, changed: set[str]) -> dict[str, Any]:
    """Settings of a config with other labels of the target, without what was measured on the former ones."""
    settings = {name: value for name, value in settings.items() if name not in LABEL_NAMES}
    target = settings.get("target_task", "emotion")
    tasks = {name: dict(task) for name, task in (settings.get("tasks") or _default_tasks(target)).items()}
    former = list(tasks.get(target, {}).get("labels") or ())
    if isinstance(labels, int):
        labels = former if labels == len(former) else [f"LABEL_{index}" for index in range(labels)]
    if labels is not None and target in tasks:
        tasks[target]["labels"] = labels
        if len(labels) != len(former):
            tasks[target].pop("thresholds", None)
            measured = {"class_weights": None, "calibration_temperature": 1.0, "scores_are_shares": False}
            measured |= {"label_shares": None, "familiarity": None}
            settings |= {name: value for name, value in measured.items() if name not in changed}
    if "tasks" in changed and "task_order" not in changed:
        settings["task_order"] = [*tasks, *settings.get("hidden_tasks", ())]
    return {**settings, "tasks": tasks}


def _default_tasks(target_task: str) -> dict:
    return {target_task: {"kind": "classification", "labels": ["neutral", "happy", "angry", "sad"]}}


def _speech_config(given: PretrainedConfig | Mapping | None, known: bool) -> PretrainedConfig:
    if not isinstance(given, PretrainedConfig):
        options = {"model_type": "wav2vec2", **(given or {})}
        model_type = options.pop("model_type")
        if known:
            _choice("speech_config.model_type", model_type, SPEECH_ENCODERS)
        if model_type not in CONFIG_MAPPING:
            raise ValueError(f"this release of Transformers does not have {model_type} yet: install a newer one")
        return CONFIG_MAPPING[model_type](**options)
    if known:
        _choice("speech_config.model_type", given.model_type, SPEECH_ENCODERS)
    return given


def _task(name: str, task: Mapping[str, Any]) -> dict[str, Any]:
    task = dict(task)
    kind = _choice(f"tasks[{name!r}]['kind']", task.get("kind", "classification"), TASK_KINDS)
    known = ("kind", TASK_KEYS[kind], *(["thresholds"] if kind == "multilabel" else []), "reported")
    unknown = sorted(set(task) - {*known})
    if unknown:
        raise ValueError(f"tasks[{name!r}] has unknown keys {unknown}: known for {kind} are {', '.join(known)}")
    checked = {"kind": kind, "reported": bool(task.get("reported", name != "speaker"))}
    if kind == "ctc":
        return {**checked, "vocab_size": _vocab_size(name, task.get("vocab_size", LATIN_CHARACTERS))}
    if kind == "regression":
        return {**checked, "range": _range(name, task.get("range"))}
    labels = [str(label) for label in task.get("labels") or ()]
    if not labels or len(set(labels)) < len(labels):
        raise ValueError(f"tasks[{name!r}] needs labels, each once, not {labels}")
    if kind == "multilabel":
        return {**checked, "labels": labels, "thresholds": _thresholds(name, labels, task.get("thresholds"))}
    return {**checked, "labels": labels}


def _thresholds(name: str, labels: Sequence[str], given: Sequence[float] | None) -> list[float]:
    thresholds = [LABEL_THRESHOLD] * len(labels) if given is None else [float(threshold) for threshold in given]
    if len(thresholds) != len(labels) or not all(0 < threshold < 1 for threshold in thresholds):
        raise ValueError(f"tasks[{name!r}] needs a threshold between 0 and 1 for each of {labels}, not {given}")
    return thresholds


def _range(name: str, ends: Sequence[float] | None) -> list[float]:
    numbers = isinstance(ends, list | tuple) and all(isinstance(end, int | float) for end in ends)
    if not numbers or len(ends) != 2 or not -inf < ends[0] < ends[1] < inf:
        raise ValueError(f"tasks[{name!r}] needs a range [low, high], not {ends}")
    return [float(end) for end in ends]


def _vocab_size(name: str, size: Any) -> int:
    if isinstance(size, bool) or not isinstance(size, int) or size < 2:
        raise ValueError(f"tasks[{name!r}] needs a vocab_size of 2 or more, the blank and a character, not {size}")
    return size


def _choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    _refuse(choice_faults(name, value, choices))
    return value


def _refuse(faults: Iterator[str]) -> None:
    for fault in faults:
        raise ValueError(fault)
