"""Adapters of the speech encoder, through `peft`: small matrices beside the weights of its layers, trained instead.

    weight of a linear layer  W (outputs, inputs)     with the adapter   W + alpha / rank * B A
    A (rank, inputs), B (outputs, rank), B = 0 at first, so that an adapted encoder starts as what it was

`peft` is needed while there is an adapter: a merged model is a plain one.
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from os import PathLike
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from .configuration_ser_meta import encoder_width
from .settings_ser_meta import adapter_faults, adapter_settings

ADAPTER_FOLDER, ADAPTER_FILES = "adapter", ("adapter_config.json", "adapter_model.safetensors")  # as peft names them
OF_ADAPTER = "lora_"  # begins the names of what peft adds to a linear layer, LoRA's matrices and DoRA's magnitudes


class EncoderAdapters:
    """What a model does with an adapter of its encoder."""

    def add_encoder_adapter(self, **settings) -> None:
        """Puts a new adapter into the encoder, which gives what it gave until the adapter is trained.

        Args:
            settings: see `adapter` of [`SerMetaConfig`].

        Raises:
            ValueError: a wrong setting, no such layers or targets in the encoder, or an adapter that it has already.
        """
        if self.config.adapter is not None:
            raise ValueError("the encoder has an adapter: merge it first, with merge_adapter")
        if faults := list(adapter_faults(settings, "adapter.")):
            raise ValueError(faults[0])
        adapt(self.encoder, settings)
        self.config.adapter = adapter_settings(settings)
        self.train(self.training)

    def merge_adapter(self) -> None:
        """Adds the adapter, if there is one, to the encoder's weights: the model is then a plain one."""
        if self.config.adapter is not None:
            merge(self.encoder)
            self.config.adapter = None

    def save_adapter(self, folder: str | PathLike, name: str, revision: str = "main") -> None:
        """Saves the model without its encoder's own weights, which `from_pretrained` then takes from elsewhere.

        The adapter is in `adapter/` as peft has it; `model.safetensors` holds what stands above the encoder.

        Args:
            folder: of the model.
            name, revision: of the encoder on the Hub, or a folder, that the adapter was trained with.

        Raises:
            ValueError: there is no adapter.
        """
        config = self.config
        if config.adapter is None:
            raise ValueError("the encoder has no adapter to save: add one with add_encoder_adapter")
        above = {own: weight for own, weight in self.state_dict().items() if not own.startswith("encoder.")}
        adapter, config.adapter = config.adapter, None
        config.base_encoder = {"name": name, "revision": revision}
        try:
            self.save_pretrained(folder, state_dict=above)
        finally:
            config.adapter, config.base_encoder = adapter, None
        save_adapter(self.encoder, Path(folder, ADAPTER_FOLDER), name, revision)

    def freeze_all_but_adapter(self) -> list[str]:
        """Freezes the encoder's own weights, beside its adapter; returns the names of the frozen parameters."""
        kept = {id(parameter) for parameter in adapter_parameters(self.encoder)}
        return self._freeze_parameters([own for own in self.encoder.parameters() if id(own) not in kept])

    def _complete_encoder(self, adapter: Path) -> None:
        """Gives the encoder the weights that the config names, with the saved adapter merged into them."""
        config, base = self.config, self.config.base_encoder
        same = {"target_task": config.target_task, "encoder_layers": config.encoder_layers, "coattention": False}
        start = type(self).from_backbone_pretrained(base["name"], config.tasks, revision=base["revision"], **same)
        merge_saved(start.encoder, adapter)
        self.encoder.load_state_dict(start.encoder.state_dict())
        config.base_encoder = None


def adapt(encoder: nn.Module, settings: Mapping[str, Any]) -> None:
    """Puts a new adapter into the encoder's layers; all its weights stay as trainable as they were.

    Args:
        encoder: of `build_encoder`.
        settings: see `adapter_settings`.

    Raises:
        ImportError: there is no peft.
        ValueError: the encoder has no such layers, or a target is in none of them.
    """
    peft = _peft()
    settings = adapter_settings(settings)
    names = adapted_names(encoder, settings)
    trained = {id(parameter): parameter.requires_grad for parameter in encoder.parameters()}
    config = peft.LoraConfig(
        r=settings["rank"],
        lora_alpha=settings["alpha"],
        lora_dropout=settings["dropout"],
        use_dora=settings["kind"] == "dora",
        target_modules=names,
    )
    peft.inject_adapter_in_model(config, encoder.backbone)
    for parameter in encoder.parameters():
        parameter.requires_grad = trained.get(id(parameter), True)


def merge(encoder: nn.Module) -> None:
    """Adds the adapter to the weights, after which the encoder is as without one, but for what it has learned."""
    for name, module in adapted_modules(encoder).items():
        module.merge(safe_merge=True)
        parent, _, own = name.rpartition(".")
        setattr(encoder.backbone.get_submodule(parent), own, module.get_base_layer())
    del encoder.backbone.peft_config


def save_adapter(encoder: nn.Module, folder: Path, name: str, revision: str) -> None:
    """Writes the adapter as peft has it, for `PeftModel.from_pretrained` and Transformers' `load_adapter`.

    Args:
        encoder: with an adapter.
        folder: which is made.
        name, revision: of the encoder on the Hub that the adapter belongs to.
    """
    peft = _peft()
    config = deepcopy(encoder.backbone.peft_config["default"])
    config.base_model_name_or_path, config.revision, config.inference_mode = name, revision, True
    config.save_pretrained(folder)
    weights = peft.get_peft_model_state_dict(encoder.backbone, save_embedding_layers=False)
    saved = {f"base_model.model.{own}": weight.detach().cpu().contiguous() for own, weight in weights.items()}
    save_file(saved, folder / ADAPTER_FILES[1], metadata={"format": "pt"})


def merge_saved(encoder: nn.Module, folder: Path) -> None:
    """Adds to an encoder's weights the adapter that `save_adapter` has written.

    Raises:
        ImportError: there is no peft.
        ValueError: the adapter belongs to another encoder.
    """
    peft = _peft()
    weights = load_file(folder / ADAPTER_FILES[1])
    adapted = peft.get_peft_model(encoder.backbone, peft.LoraConfig.from_pretrained(folder))
    own = peft.get_peft_model_state_dict(encoder.backbone, save_embedding_layers=False)
    wanted = {f"base_model.model.{name}" for name in own}
    if wanted != set(weights):
        raise ValueError(f"the adapter in {folder} belongs to another encoder: {sorted(wanted ^ set(weights))[0]}")
    peft.set_peft_model_state_dict(adapted, weights)
    merge(encoder)


def adapted_modules(encoder: nn.Module) -> dict[str, nn.Module]:
    """The linear layers that have an adapter, by their names in the backbone."""
    layers = {}
    for name, module in encoder.backbone.named_modules():
        if any(own.startswith(OF_ADAPTER) for own, _ in module.named_children()):
            layers[name] = module
    return layers


def first_adapted_layer(encoder: nn.Module) -> int:
    """The number of the lowest layer with an adapter; that of all layers without one."""
    for number, layer in enumerate(encoder.layers):
        if any(f".{OF_ADAPTER}" in name for name, _ in layer.named_parameters()):
            return number
    return len(encoder.layers)


def adapter_parameters(encoder: nn.Module) -> Iterator[nn.Parameter]:
    """What an adapter has of its own; nothing without one."""
    for name, parameter in encoder.named_parameters():
        if f".{OF_ADAPTER}" in name:
            yield parameter


def adapted_names(encoder: nn.Module, settings: Mapping[str, Any]) -> list[str]:
    """The names in the backbone of the linear layers that an adapter's targets are.

    Raises:
        ValueError: see `adapt`.
    """
    count, targets = len(encoder.layers), settings["targets"]
    numbers = list(range(count)) if settings["layers"] is None else settings["layers"]
    if absent := [number for number in numbers if number >= count]:
        raise ValueError(f"layers={numbers} names layer {absent[0]}: the encoder has layers 0 to {count - 1}")
    names = {id(module): name for name, module in encoder.backbone.named_modules()}
    chosen = [(names[id(encoder.layers[number])], encoder.layers[number]) for number in numbers]
    linear = [(above, name, part) for above, layer in chosen for name, part in _linear_parts(layer)]
    found = {
        target: [f"{above}.{name}" for above, name, part in linear if _is_target(target, name, part, encoder)]
        for target in ([targets] if isinstance(targets, str) else targets)
    }
    for target, matched in found.items():
        if not matched:
            known = ", ".join(dict.fromkeys(name.rpartition(".")[2] for _, name, _ in linear))
            raise ValueError(f"targets={target} is in none of the layers {numbers}: this encoder has {known}")
    return list(dict.fromkeys(name for matched in found.values() for name in matched))


def _linear_parts(layer: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    for name, part in layer.named_modules():
        if isinstance(part, nn.Linear):
            yield name, part


def _is_target(target: str, name: str, part: nn.Linear, encoder: nn.Module) -> bool:
    if target == "all-linear":
        return True
    if target == "attention":  # not WavLM's gate, which maps a single head
        return "att" in name.rpartition(".")[0] and part.in_features == encoder_width(encoder.backbone.config)
    return name == target or name.endswith(f".{target}")


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise ImportError('an adapter needs peft: pip install "ser-meta[adapters]", or pip install peft') from error
    return peft


def call_projections(layers: Sequence[nn.Module]) -> None:
    """Has WavLM's attention call its projections where a library has wrapped them.

    The stock attention hands their weights to a function of torch. An adapter in a wrapped projection then has no part
    in the output, gets no gradient, and changes the output all at once when it is merged.
    """
    for layer in layers:
        attention = layer.attention
        attention.torch_multi_head_self_attention = MethodType(_attend, attention)


def _attend(
    attention: nn.Module,
    hidden_states: torch.Tensor,
    attention_mask: torch.Tensor | None,
    gated_position_bias: torch.Tensor,
    *asked: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """WavLM's attention of `(batch, frames, width)`; the mask is true for true frames, `(batch, frames)`, or None.

    Transformers 4 asks beside them whether the weights are wanted.
    """
    projections = attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj
    if all(type(projection) is nn.Linear for projection in projections):
        stock = type(attention).torch_multi_head_self_attention
        return stock(attention, hidden_states, attention_mask, gated_position_bias, *asked)
    heads = attention.num_heads
    query, key, value = (part(hidden_states).unflatten(-1, (heads, -1)).transpose(1, 2) for part in projections[:3])
    scores = query @ key.transpose(-1, -2) * attention.scaling + gated_position_bias.unflatten(0, (-1, heads))
    if attention_mask is not None:
        scores = scores.masked_fill(attention_mask.ne(1)[:, None, None], -torch.inf)
    weights = nn.functional.dropout(scores.softmax(dim=-1), attention.dropout, attention.training)
    return attention.out_proj((weights @ value).transpose(1, 2).flatten(2)), weights
