"""What a model starts from: the speech encoder out of any checkpoint that holds one, or a trained ser-meta model."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from transformers import AutoModel, PretrainedConfig, PreTrainedModel
from transformers.models.moonshine.modeling_moonshine import MoonshineEncoder
from transformers.models.whisper.modeling_whisper import WhisperEncoder
from transformers.utils import cached_file

from .adapters_ser_meta import ADAPTER_FILES, ADAPTER_FOLDER
from .configuration_ser_meta import LATIN_CHARACTERS, with_lowest_layers
from .settings_ser_meta import SPEECH_ENCODERS

logger = logging.getLogger(__name__)

# of models with a decoder, the class of the encoder alone
ENCODER_CLASSES = {"whisper": WhisperEncoder, "moonshine": MoonshineEncoder}
# A full checkpoint holds the encoder under one of these prefixes; "model." Transformers takes off itself, and
# version 4 leaves out what does not have it
_PREFIXES = {r"^model\.encoder\.": "model.", r"^encoder\.": ""}
# and one of a language model that listens under this one
_LISTENING = {r"^(model\.)?audio_tower\.": ""}
_PREFIXES_OF = {
    **dict.fromkeys(ENCODER_CLASSES, _PREFIXES),
    **dict.fromkeys(("qwen2_audio_encoder", "voxtral_encoder", "fun_asr_nano_encoder"), _LISTENING),
}
_PARTS = ("audio_config", "encoder_config")  # what such a model calls its encoder's configuration
_ENCODER_LAYER = re.compile(r"(?:^|encoder\.)layers?\.(\d+)\.")


def load_backbone(
    name_or_path: str, config: PretrainedConfig, layers: int | None = None, **hub_options
) -> PreTrainedModel:
    """The pretrained speech encoder out of any checkpoint that holds one, in float32.

    Args:
        name_or_path: of the checkpoint.
        config: of the whole encoder.
        layers: how many of its layers are loaded, from the lowest up; None for all.
        hub_options: as of `from_pretrained`.

    Reads safetensors or an old `pytorch_model.bin` (weights only), sharded or not, in half precision or not, with the
    prefixes and extra heads of `...ForPreTraining`, `...ForCTC` and `...ForSequenceClassification`. One logged line
    says what the checkpoint lacks or has too much.
    """
    prepare_config(config)
    options = {
        "config": with_lowest_layers(config, layers),
        "dtype": torch.float32,
        "output_loading_info": True,
        **hub_options,
    }
    if prefixes := _PREFIXES_OF.get(config.model_type):
        options["key_mapping"] = prefixes
    with transformers_silent():
        encoder_class = ENCODER_CLASSES.get(config.model_type, AutoModel)
        backbone, info = encoder_class.from_pretrained(name_or_path, **options)
    missing, unexpected = sorted(info["missing_keys"]), sorted(info["unexpected_keys"])
    if layers is not None:
        unexpected = [name for name in unexpected if not _is_above(name, layers)]
        missing = [name for name in missing if not name.startswith(f"layers.{layers - 1}.final_layernorm.")]
    _report(name_or_path, missing, unexpected)
    return backbone


def encoder_config(config: PretrainedConfig) -> PretrainedConfig:
    """The configuration of a checkpoint's speech encoder, where it is one part of a larger model."""
    parts = [getattr(config, name, None) for name in _PARTS]
    known = [part for part in parts if getattr(part, "model_type", None) in SPEECH_ENCODERS]
    return known[0] if known and config.model_type not in SPEECH_ENCODERS else config


def prepare_config(config: PretrainedConfig) -> None:
    """Sets LayerDrop to 0 and drops the length adapter, in place."""
    for name in ("layerdrop", "encoder_layerdrop"):
        if hasattr(config, name):
            setattr(config, name, 0.0)
    if getattr(config, "add_adapter", False):
        config.add_adapter = False


def is_trained_model(name_or_path: str, revision: str) -> bool:
    """Whether a Hub repository or a folder holds a ser-meta model, and not an encoder."""
    config, _ = PretrainedConfig.get_config_dict(name_or_path, revision=revision)
    return config.get("model_type") == "ser_meta"


def commit_of(name_or_path: str, revision: str) -> str:
    """The commit that a revision of a Hub repository is now; the revision of a folder."""
    config = Path(cached_file(name_or_path, "config.json", revision=revision))
    return config.parent.name if config.parent.parent.name == "snapshots" else revision


def is_adapter_alone(name_or_path: str, options: Mapping[str, Any]) -> bool:
    """Whether a ser-meta model is saved without its encoder's own weights; `options` are of `from_pretrained`."""
    config = options.get("config")
    if not isinstance(config, PretrainedConfig):
        settings, _ = PretrainedConfig.get_config_dict(config or name_or_path, **_of_hub(options))
        return settings.get("base_encoder") is not None
    return getattr(config, "base_encoder", None) is not None


def adapter_files(name_or_path: str, options: Mapping[str, Any]) -> Path:
    """The folder with a saved model's adapter; `options` are of `from_pretrained`."""
    hub = _of_hub(options)
    hub["subfolder"] = str(PurePosixPath(hub.get("subfolder") or "", ADAPTER_FOLDER))
    config, _ = (Path(cached_file(name_or_path, name, **hub)) for name in ADAPTER_FILES)
    return config.parent


def _of_hub(options: Mapping[str, Any]) -> dict[str, Any]:
    """Where something is to be loaded from."""
    names = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token")
    return {name: options[name] for name in names if name in options}


def inherit(model: PreTrainedModel, trained: PreTrainedModel, name: str) -> dict[str, bool]:
    """Copies into a new model what fits of a trained one: see [`SerMetaModel.from_backbone_pretrained`].

    Returns:
        by part of the new model, such as `"layer_fusion"` or `"heads.gender.classifier"`, whether it was copied.
    """
    own = model.state_dict()
    fits = _parts_that_fit(trained.config, model.config)
    parts = {part: fit for part, fit in fits.items() if any(weight.startswith(f"{part}.") for weight in own)}
    kept = tuple(f"{part}." for part, fit in parts.items() if fit)
    weights = {weight: value for weight, value in trained.state_dict().items() if weight.startswith(kept)}
    model.load_state_dict(weights, strict=False)
    logger.info("%s: new in a model that starts from it: %s", name, [part for part, fit in parts.items() if not fit])
    return parts


def _parts_that_fit(trained: PretrainedConfig, new: PretrainedConfig) -> dict[str, bool]:
    """By part of a model, whether it would do in the new one what it did in the trained one."""

    def same(*settings: str) -> bool:
        return all(getattr(trained, name) == getattr(new, name) for name in settings)

    attends = [config.coattention and bool(config.auxiliary_tasks) for config in (trained, new)]
    of_tasks = ("auxiliary_tasks", "coattention", "coattention_pooled_frames", "head_hidden_size")
    features = same("frame_pooling") and (not any(attends) or same(*of_tasks))
    hidden = features and same("classifier_hidden_size", "target_task")
    answers = hidden and _same_outputs(trained, new, new.target_task)
    last = "classifier.4" if new.classifier_hidden_size else "classifier.1"
    heads = {}
    for task in new.auxiliary_tasks:
        dense = task in trained.auxiliary_tasks and same("head_hidden_size")
        heads[f"heads.{task}.dense"] = dense
        heads[f"heads.{task}.classifier"] = dense and task in trained.tasks and _same_outputs(trained, new, task)
    return {
        "encoder": True,
        "standardization": same("standardize_states", "layers"),
        "layer_fusion": same("layer_fusion", "ari_weighting", "ari_join", "ari_normalize", "layers"),
        **heads,
        "coattention": same("coattention", "coattention_heads", "head_hidden_size") and bool(trained.auxiliary_tasks),
        "frame_pooling": same("frame_pooling"),
        "classifier.1": hidden,
        last: answers,
    }


def _same_outputs(trained: PretrainedConfig, new: PretrainedConfig, task: str) -> bool:
    """Whether a task's last layer answers the same; of characters that is known for the Latin ones alone."""
    old, asked = trained.tasks[task], new.tasks[task]
    beside = ("reported", "thresholds")  # what a layer's outputs are made into
    answer: dict[str, Any] = {name: value for name, value in asked.items() if name not in beside}
    known = asked["kind"] != "ctc" or asked["vocab_size"] == LATIN_CHARACTERS
    return known and answer == {name: value for name, value in old.items() if name not in beside}


def _is_above(name: str, layers: int) -> bool:
    """Whether a tensor belongs to an encoder's layer above so many."""
    layer = _ENCODER_LAYER.search(name)
    return layer is not None and int(layer[1]) >= layers


class transformers_silent:
    """Transformers' own multi-line report about keys is replaced by our one line."""

    def __enter__(self):
        self.logger = logging.getLogger("transformers")
        self.level = self.logger.level
        self.logger.setLevel(logging.ERROR)

    def __exit__(self, *_):
        self.logger.setLevel(self.level)


def _report(name: str, missing: list[str], unexpected: list[str]) -> None:
    remarks = []
    if missing:
        remarks.append(f"lacks {len(missing)} tensors, newly initialised ({_shortened(missing)})")
    if unexpected:
        remarks.append(f"has {len(unexpected)} tensors that the encoder does not use ({_shortened(unexpected)})")
    if remarks:
        logger.warning("checkpoint %s %s", name, "; ".join(remarks))


def _shortened(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
