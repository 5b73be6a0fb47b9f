"""What the settings of a model may be; read by the recipes too, before torch is loaded."""

from collections.abc import Iterable, Iterator, Mapping
from math import inf
from typing import Any

WAVEFORM_ENCODERS = (
    "wav2vec2",
    "hubert",
    "wavlm",
    "data2vec-audio",
    "unispeech",
    "unispeech-sat",
    "sew",
    "sew-d",
    "wav2vec2-conformer",
)
WHISPER_ENCODERS = ("whisper", "qwen2_audio_encoder", "voxtral_encoder")
SPEECH_ENCODERS = (
    *WAVEFORM_ENCODERS,
    "moonshine",
    "wav2vec2-bert",
    *WHISPER_ENCODERS,
    "parakeet_encoder",
    "fun_asr_nano_encoder",
)
# what a family's config calls its Transformer layers; of the others it is the name below
LAYER_COUNTS = {**dict.fromkeys(WHISPER_ENCODERS, "encoder_layers"), "moonshine": "encoder_num_hidden_layers"}
LAYER_COUNT = "num_hidden_layers"
FRAME_POOLINGS = ("mean", "deviation", "attentive_mean", "attentive_deviation")
CHOICES = {
    "layer_fusion": ("ari", "weighted_sum", "last_hidden"),
    "ari_weighting": ("matrix", "channel", "scalar", "softmax"),
    "ari_join": ("add", "concat"),
    "target_loss": ("cross_entropy", "kl", "focal"),
    "smoothing_toward": ("uniform", "raters"),
}
LEAST = {"coattention_heads": 1, "head_hidden_size": 1, "classifier_hidden_size": 0}
SHARES = ("dropout", "label_smoothing")
ADAPTERS = ("lora", "dora")
ADAPTER_TARGETS = ("attention", "all-linear")
ADAPTER = {"kind": "lora", "rank": 8, "alpha": None, "dropout": 0.0, "targets": "attention", "layers": None}

# What stands beside a task's results: in a result of the pipeline, a row of a file, a piece of a recording, a segment
RESULTS = (
    *("file", "segments", "abstained", "embeddings", "start", "end", "audio", "utterance_id", "duration"),
    *("samples", "span", "heard", "windowed", "stretch", "silent", "is_last", "familiar", "abstained_because"),
)
# The heads are a torch.nn.ModuleDict and the logits a ModelOutput: neither takes the name of an attribute of its own
ATTRIBUTES = """
T_destination add_module apply bfloat16 buffers call_super_init children clear compile copy cpu cuda double
dump_patches eval extra_repr float forward fromkeys get get_buffer get_extra_state get_parameter get_submodule half
ipu items keys load_state_dict modules move_to_end mtia named_buffers named_children named_modules named_parameters
parameters pop popitem register_backward_hook register_buffer register_forward_hook register_forward_pre_hook
register_full_backward_hook register_full_backward_pre_hook register_load_state_dict_post_hook
register_load_state_dict_pre_hook register_module register_parameter register_state_dict_post_hook
register_state_dict_pre_hook requires_grad_ set_extra_state set_submodule setdefault share_memory smart_apply
state_dict to to_empty to_tuple train training type update values xpu zero_grad
"""


def task_name_faults(names: Iterable[str]) -> Iterator[str]:
    """What is wrong with the names of tasks: each is a key of results and of modules."""
    for name in names:
        if name in RESULTS or name in ATTRIBUTES.split():
            yield f"no task can be called {name!r}: results or modules have something else of that name: rename it"
        elif not isinstance(name, str) or not name or "." in name or name.startswith("_"):
            yield f"no task can be called {name!r}: rename it, with a letter first and without a dot"


def nameless_labels(task: str, count: int) -> list[str]:
    """What stands in a published model for labels that nobody is to know, such as the speakers' names."""
    return [f"{task} {number}" for number in range(1, count + 1)]


def setting_faults(settings: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """What is wrong with a model's settings, whatever its encoder and its labels are; each begins with `where`."""
    for name, choices in CHOICES.items():
        yield from choice_faults(f"{where}{name}", settings[name], choices)
    pooling = list(settings["frame_pooling"])
    for statistic in pooling:
        yield from choice_faults(f"{where}frame_pooling", statistic, FRAME_POOLINGS)
    if not pooling or len(set(pooling)) < len(pooling):
        yield f"{where}frame_pooling={pooling} must name at least one statistic, and each once"
    for name, least in LEAST.items():
        value = settings[name]
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            yield f"{where}{name}={value} must be a whole number of {least} or more"
    layers = settings["encoder_layers"]
    if layers is not None and (isinstance(layers, bool) or not isinstance(layers, int) or layers < 1):
        yield f"{where}encoder_layers={layers} must be a whole number of 1 or more, or null for all layers"
    for name in SHARES:
        if not 0 <= settings[name] < 1:
            yield f"{where}{name}={settings[name]} must be at least 0 and below 1"
    if not 1 <= settings["focal_gamma"] < inf:
        yield f"{where}focal_gamma={settings['focal_gamma']} must be a number of 1 or more"
    if not 0 < settings["initializer_range"] < inf:
        yield f"{where}initializer_range={settings['initializer_range']} must be a number above 0"
    center_by = list(settings["center_by"])
    if center_by and not settings["standardize_states"]:
        yield f"{where}center_by={center_by} needs standardize_states=true"
    if settings["target_task"] in center_by:
        yield f"{where}center_by={center_by} must not name the target: its groups would give it away"


def adapter_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an adapter in full, `alpha` too: without one it is twice the rank."""
    settings = {**ADAPTER, **given}
    return {**settings, "alpha": settings["alpha"] or 2 * settings["rank"]}


def adapter_faults(settings: Mapping[str, Any], where: str) -> Iterator[str]:
    """What is wrong with the settings of an adapter, whatever its encoder is; each begins with `where`."""
    if unknown := sorted(set(settings) - set(ADAPTER)):
        yield f"{where}{unknown[0]} is no setting of an adapter: there are {', '.join(ADAPTER)}"
        return
    settings = {**ADAPTER, **settings}
    yield from choice_faults(f"{where}kind", settings["kind"], ADAPTERS)
    rank, alpha, layers, targets = (settings[name] for name in ("rank", "alpha", "layers", "targets"))
    if not _is_whole(rank) or rank < 1:
        yield f"{where}rank={rank} must be a whole number of 1 or more"
    if alpha is not None and not 0 < alpha < inf:
        yield f"{where}alpha={alpha} must be a number above 0, or null for twice the rank"
    if not 0 <= settings["dropout"] < 1:
        yield f"{where}dropout={settings['dropout']} must be at least 0 and below 1"
    if layers is not None and not (layers and all(_is_whole(layer) and layer >= 0 for layer in layers)):
        yield f"{where}layers={layers} must be numbers of layers, from 0 on, or null for all"
    if isinstance(targets, str):
        yield from choice_faults(f"{where}targets", targets, ADAPTER_TARGETS)
    elif not targets or not all(isinstance(target, str) for target in targets):
        yield f"{where}targets={targets} must be {', '.join(ADAPTER_TARGETS)}, or a list of names of linear layers"


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def choice_faults(name: str, value: Any, choices: tuple[str, ...]) -> Iterator[str]:
    """That a value is none of its choices."""
    if value not in choices:
        yield f"{name}={value!r} must be one of {', '.join(choices)}"
