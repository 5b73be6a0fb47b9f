"""The pretrained speech encoder out of any checkpoint that holds one."""

import logging

import torch
from transformers import AutoModel, PretrainedConfig, PreTrainedModel, WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

logger = logging.getLogger(__name__)

# A full Whisper checkpoint holds the encoder under one of these prefixes; "model." Transformers takes off itself, and
# version 4 leaves out what does not have it
_WHISPER_PREFIXES = {r"^model\.encoder\.": "model.", r"^encoder\.": ""}


def load_backbone(name_or_path: str, config: PretrainedConfig, **hub_options) -> PreTrainedModel:
    """The pretrained speech encoder out of any checkpoint that holds one, in float32.

    Reads safetensors or an old `pytorch_model.bin` (weights only), sharded or not, in half precision or not, with the
    prefixes and extra heads of `...ForPreTraining`, `...ForCTC` and `...ForSequenceClassification`. One logged line
    says what the checkpoint lacks or has too much.
    """
    prepare_config(config)
    options = {"config": config, "dtype": torch.float32, "output_loading_info": True, **hub_options}
    with _transformers_silent():
        if isinstance(config, WhisperConfig):
            backbone, info = WhisperEncoder.from_pretrained(name_or_path, key_mapping=_WHISPER_PREFIXES, **options)
        else:
            backbone, info = AutoModel.from_pretrained(name_or_path, **options)
    _report(name_or_path, sorted(info["missing_keys"]), sorted(info["unexpected_keys"]))
    return backbone


def prepare_config(config: PretrainedConfig) -> None:
    """Sets LayerDrop to 0 and drops the length adapter, in place."""
    for name in ("layerdrop", "encoder_layerdrop"):
        if hasattr(config, name):
            setattr(config, name, 0.0)
    if getattr(config, "add_adapter", False):
        config.add_adapter = False


class _transformers_silent:
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
