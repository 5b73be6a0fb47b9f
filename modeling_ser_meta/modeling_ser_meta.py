"""The model of arXiv 2412.20707 around any Hugging Face speech encoder."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import AutoConfig, PreTrainedModel
from transformers.utils import ModelOutput

from .adapters_ser_meta import EncoderAdapters, adapt
from .configuration_ser_meta import SerMetaConfig
from .encoder_ser_meta import build_encoder
from .familiarity_ser_meta import Familiarity
from .frames_ser_meta import EncoderOutput, FrameRule
from .general_ser_meta import load_unknown
from .loading_ser_meta import (
    adapter_files,
    encoder_config,
    inherit,
    is_adapter_alone,
    is_trained_model,
    load_backbone,
    transformers_silent,
)
from .losses_ser_meta import characters_loss, classification_loss, concordance_loss, multilabel_loss
from .modules_ser_meta import (
    AugmentedResidualIntegration,
    CoAttention,
    FramePooling,
    LastHidden,
    StateStandardization,
    TaskHead,
    WeightedSum,
)
from .padding_ser_meta import mask_of
from .settings_ser_meta import SPEECH_ENCODERS

if TYPE_CHECKING:  # never run: Transformers saves, with a model, the files that this one names
    from .audio_ser_meta import read_audio  # noqa: F401
    from .backends_ser_meta import network_of  # noqa: F401
    from .families_ser_meta import MoonshineFrames  # noqa: F401
    from .features_ser_meta import features_of  # noqa: F401
    from .graph_ser_meta import write_graph  # noqa: F401
    from .pipeline_ser_meta import SpeechEmotionPipeline  # noqa: F401
    from .processing_ser_meta import SerMetaProcessor  # noqa: F401
    from .segments_ser_meta import regions  # noqa: F401
    from .sound_files_ser_meta import open_sound  # noqa: F401
    from .stream_ser_meta import SpeechEmotionStream  # noqa: F401
    from .turns_ser_meta import turn_cutter  # noqa: F401
    from .windows_ser_meta import cut_recording  # noqa: F401


@dataclass
class SerMetaOutput(ModelOutput):
    """What a [`SerMetaModel`] returns.

    Args:
        loss: sum of the unweighted task losses, when labels are given.
        logits: the target's, `(batch, labels)`.
        task_logits: by task, `(batch, labels)`, for CTC `(batch, frames, characters)`, for a regression its numbers
            `(batch,)`.
        task_losses: by task, each the mean over the labelled rows (a regression's: see `concordance_loss`), when
            labels are given.
        embeddings: what the target's classifier sees, `(batch, width)`.
        familiar: how familiar each recording is, `(batch,)` from 0 to 1, where the model can tell: [`Familiarity`].
        coattentions: weights of the frames, `(batch, heads, auxiliary tasks, frames)`.
        frame_mask: bool `(batch, frames)`, true where a frame belongs to the recording.
        hidden_states: of each Transformer layer `(batch, frames, width)`, when asked for.
        attentions: of each Transformer layer `(batch, heads, frames, frames)`, when asked for and kept.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    task_logits: dict[str, torch.Tensor] | None = None
    task_losses: dict[str, torch.Tensor] | None = None
    embeddings: torch.Tensor | None = None
    familiar: torch.Tensor | None = None
    coattentions: torch.Tensor | None = None
    frame_mask: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


class SerMetaModel(EncoderAdapters, PreTrainedModel):
    """A speech encoder with layer fusion, auxiliary task heads, co-attention and the target's classifier.

    Start one from a pretrained encoder with [`~SerMetaModel.from_backbone_pretrained`].
    """

    config_class = SerMetaConfig
    base_model_prefix = "ser_meta"
    main_input_name = "input_values"
    supports_gradient_checkpointing = True
    _keys_to_ignore_on_load_unexpected = [r"^familiarity\."]  # of a model that was given other labels
    _supports_sdpa = True
    _supports_flash_attn = True
    inherited: dict[str, bool] | None = None  # by part, of what a model started from that was trained already

    def __init__(self, config: SerMetaConfig, backbone: PreTrainedModel | None = None):
        super().__init__(config)
        rule = None if config.encoder_frames is None else FrameRule(*config.encoder_frames)
        self.encoder = build_encoder(config.speech_config, backbone, config.encoder_layers, rule)
        self.main_input_name = self.encoder.input_name
        width, layers = config.width, len(self.encoder.layers)
        self.standardization = StateStandardization(width, layers) if config.standardize_states else None
        self.layer_fusion = _layer_fusion(config, width, layers)
        self.heads = nn.ModuleDict({name: _head(config, width, name) for name in config.auxiliary_tasks})
        auxiliary = len(self.heads)
        attends = config.coattention and auxiliary > 0
        self.coattention = CoAttention(width, config.head_hidden_size, config.coattention_heads) if attends else None
        pools = config.coattention_pooled_frames or not attends
        self.frame_pooling = FramePooling(width, config.frame_pooling) if pools else None
        pooled = width * len(config.frame_pooling) if pools else 0
        features = pooled + (auxiliary * (width + config.head_hidden_size) if attends else 0)
        self.classifier = _classifier(config, features)
        self.familiarity = None if config.familiarity is None else _familiarity(config, features)
        self.post_init()
        if config.adapter is not None:
            adapt(self.encoder, config.adapter)

    @classmethod
    def from_backbone_pretrained(
        cls,
        name_or_path: str,
        tasks: Mapping,
        *,
        revision: str = "main",
        attention: str | None = None,
        **config_options,
    ) -> "SerMetaModel":
        """Starts a model from a pretrained speech encoder, above which everything is new, or from a trained model.

        Of a trained ser-meta model, encoder, layer fusion, co-attention, heads and classifier are kept as far as they
        fit: as their settings, labels and inputs are the same. The rest is new: the attribute `inherited` tells, by
        part, whether it was kept.

        Args:
            name_or_path: a Hub repository or a folder: an encoder alone, a checkpoint with other heads on it, or a
                ser-meta model.
            tasks: see [`SerMetaConfig`], as are the `config_options`.
            revision: of the Hub repository.
            attention: the encoder's attention kernel, such as `"eager"`; None lets Transformers choose.
        """
        if is_trained_model(name_or_path, revision):
            return cls._from_trained(name_or_path, tasks, revision, attention, config_options)
        found = AutoConfig.from_pretrained(name_or_path, revision=revision, trust_remote_code=False)
        speech_config = encoder_config(found)
        speech_config.dtype = torch.float32
        speech_config._name_or_path = ""  # it may be a folder of the machine that trains
        hub = {"revision": revision, "attn_implementation": attention}
        if speech_config.model_type not in SPEECH_ENCODERS:
            backbone, frames = load_unknown(name_or_path, speech_config, config_options.get("encoder_layers"), **hub)
            config = SerMetaConfig(speech_config=speech_config, encoder_frames=frames, tasks=tasks, **config_options)
            return cls(config, backbone=backbone)
        config = SerMetaConfig(speech_config=speech_config, tasks=tasks, **config_options)
        backbone = load_backbone(name_or_path, speech_config, config.encoder_layers, **hub)
        return cls(config, backbone=backbone)

    @classmethod
    def _from_trained(
        cls, name_or_path: str, tasks: Mapping, revision: str, attention: str | None, config_options: Mapping
    ) -> "SerMetaModel":
        trained = cls.from_pretrained(name_or_path, revision=revision, dtype=torch.float32)
        trained.merge_adapter()
        config = _config_above(trained.config, tasks, {**config_options, "adapter": None})
        model = cls._from_config(config, **({} if attention is None else {"attn_implementation": attention}))
        model.inherited = inherit(model, trained, name_or_path)
        if config_options.get("adapter") is not None:
            model.add_encoder_adapter(**config_options["adapter"])
        return model

    def forward(
        self,
        input_values: torch.Tensor | None = None,
        input_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        extract_features: torch.Tensor | None = None,
        layer_states: torch.Tensor | None = None,
        layers_below: int | None = None,
        state_means: torch.Tensor | None = None,
        labels: Mapping[str, torch.Tensor] | torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> SerMetaOutput | tuple:
        """Recognises a batch of recordings.

        Args:
            input_values: waveforms `(batch, samples)`, for encoders of raw speech.
            input_features: what the encoder's own feature extractor gives, for log-mel encoders:
                `(batch, mels, frames)` (Whisper) or `(batch, frames, features)` (wav2vec2-bert).
            attention_mask: `(batch, samples)` or `(batch, frames)`, 1 for true input; without it all of it is.
            extract_features: what the encoder's frozen convolutions gave for the recordings,
                `(batch, frames, channels)`, instead of the recordings themselves; `attention_mask` is then that of the
                encoder's frames.
            layer_states: what its frozen lower layers gave, or all of them, `(batch, layers, frames, width)`, instead.
            layers_below: how many layers made `layer_states`, where only the last of their states are given: a fusion
                that reads the last layer alone needs no others.
            state_means: what each recording's states are centred by, `(batch, layers, width)`, with `center_by`;
                without it by what the model holds, see [`SerMetaConfig`].
            labels: by task, class ids `(batch,)` or characters `(batch, length)`, -100 where missing or padded; shares
                of the classes, or what a multilabel task has of its labels, as floats `(batch, labels)`, a row of -100
                where missing; or numbers `(batch,)`, NaN where missing. A lone tensor is the target's.
            output_hidden_states: return the encoder's.
            output_attentions: return the encoder's, where it has them; not Whisper's, and only with
                `attn_implementation="eager"`.
            return_dict: false for a plain tuple.
        """
        encoded = self.encode(
            input_values,
            input_features,
            attention_mask,
            extract_features,
            layer_states,
            layers_below,
            bool(output_attentions),
        )
        states = encoded.hidden_states
        if self.standardization is not None:
            states = self.standardization(states, state_means)
        frames = self.layer_fusion(states)
        task_logits, vectors = {}, []
        for name, head in self.heads.items():
            task_logits[name], vector = head(frames, encoded.frame_mask)
            vectors.append(vector)
        embeddings, coattentions = self._target_features(frames, encoded.frame_mask, vectors)
        logits = self.classifier(embeddings)
        # a ModelOutput, not a dict: the stock pipeline takes its batches apart
        answers = {**task_logits, self.config.target_task: logits}
        task_logits = ModelOutput({name: answers[name] for name in self.config.tasks})
        task_losses = self._losses(task_logits, labels, encoded.frame_mask)
        output = SerMetaOutput(
            loss=sum(task_losses.values()) if task_losses else None,
            logits=logits,
            task_logits=task_logits,
            task_losses=task_losses,
            embeddings=embeddings,
            familiar=None if self.familiarity is None else self.familiarity(embeddings),
            coattentions=coattentions,
            frame_mask=encoded.frame_mask,
            hidden_states=encoded.hidden_states if output_hidden_states else None,
            attentions=encoded.attentions,
        )
        return output.to_tuple() if return_dict is False else output

    def encode(
        self,
        input_values: torch.Tensor | None = None,
        input_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        extract_features: torch.Tensor | None = None,
        layer_states: torch.Tensor | None = None,
        layers_below: int | None = None,
        output_attentions: bool = False,
    ) -> EncoderOutput:
        """What the speech encoder makes of a batch; the arguments are those of `forward`.

        Raises:
            ValueError: no input, or states of lower layers for a family that cannot go on above them.
        """
        if layer_states is not None:
            return self._encode_above(layer_states, layers_below, _frame_mask(layer_states[:, 0], attention_mask))
        if extract_features is not None:
            frame_mask = _frame_mask(extract_features, attention_mask)
            return self.encoder.from_features(extract_features.to(self.dtype), frame_mask, output_attentions)
        inputs = input_values if self.encoder.input_name == "input_values" else input_features
        if inputs is None:
            raise ValueError(f"{self.config.speech_config.model_type} needs {self.encoder.input_name}")
        return self.encoder(inputs.to(self.dtype), attention_mask, output_attentions)

    def _encode_above(
        self, layer_states: torch.Tensor, layers_below: int | None, frame_mask: torch.Tensor
    ) -> EncoderOutput:
        """What the encoder makes of its lower layers' states; the lowest given stands for those that are not."""
        states = layer_states.to(self.dtype).unbind(dim=1)
        states = (states[0],) * ((layers_below or len(states)) - len(states)) + states
        if len(states) == len(self.encoder.layers):
            return EncoderOutput(states, frame_mask)
        if not self.encoder.continues:
            raise ValueError(f"{self.config.speech_config.model_type} cannot go on from the states of lower layers")
        return self.encoder.from_layers(states, frame_mask)

    @classmethod
    def from_pretrained(cls, name_or_path: str | PathLike | None, *arguments, **options) -> "SerMetaModel":
        """As Transformers', from safetensors only; of `save_adapter`, with the adapter merged into its encoder.

        Raises:
            ValueError: the folder's weights are pickled: what unpickles can run any code.
        """
        if name_or_path is not None:
            _refuse_pickled_weights(Path(name_or_path, options.get("subfolder") or ""))
        options = {**options, "use_safetensors": True}
        if name_or_path is None or not is_adapter_alone(name_or_path, options):
            return super().from_pretrained(name_or_path, *arguments, **options)
        with transformers_silent():  # about the encoder's weights, which are not there
            loaded = super().from_pretrained(name_or_path, *arguments, **options)
        model, *info = loaded if isinstance(loaded, tuple) else (loaded,)
        model._complete_encoder(adapter_files(name_or_path, options))
        for report in info:
            report["missing_keys"] = [name for name in report["missing_keys"] if not name.startswith("encoder.")]
        return (model, *info) if info else model

    def freeze_feature_encoder(self) -> list[str]:
        """Freezes the convolutional front; returns the names of the frozen parameters."""
        return self.freeze(self.encoder.front)

    def freeze_layers(self, count: int) -> list[str]:
        """Freezes the first `count` Transformer layers and all that lies below them; returns the parameters' names.

        With all layers frozen, so is what stands behind the last one.

        Raises:
            ValueError: the encoder has fewer layers.
        """
        layers = self.encoder.layers
        if not 0 <= count <= len(layers):
            raise ValueError(f"cannot freeze {count} layers: the encoder has {len(layers)}")
        if not count:
            return []
        if count == len(layers):
            return self.freeze([self.encoder])
        above = [*layers[count:], *self.encoder.behind_layers]
        trained = {id(parameter) for module in above for parameter in module.parameters()}
        below = [parameter for parameter in self.encoder.parameters() if id(parameter) not in trained]
        return self._freeze_parameters(below)

    def train(self, mode: bool = True) -> "SerMetaModel":
        """Training mode for what is trained; what is frozen stays in evaluation mode, a fixed function.

        So do the frozen parts of a layer beside an adapter, such as a feed-forward block without one.
        """
        super().train(mode)
        if mode:
            for module in self.modules():
                parameters = list(module.parameters())
                if parameters and not any(parameter.requires_grad for parameter in parameters):
                    module.eval()
            if not any(parameter.requires_grad for parameter in self.encoder.layers[0].parameters()):
                self._eval_below_layers()
        return self

    def _eval_below_layers(self) -> None:
        """With frozen lower layers, SpecAugment and the dropout in front of the layers are off as well."""
        parts = [*self.encoder.layers, *self.encoder.behind_layers]
        within = {id(module) for part in parts for module in part.modules()}
        for module in self.encoder.modules():
            if id(module) not in within:
                module.training = False

    def freeze(self, modules: list[nn.Module]) -> list[str]:
        """Freezes modules of the model; returns the names of the frozen parameters."""
        return self._freeze_parameters([parameter for module in modules for parameter in module.parameters()])

    def _freeze_parameters(self, parameters: list[nn.Parameter]) -> list[str]:
        for parameter in parameters:
            parameter.requires_grad = False
        self.train(self.training)
        frozen = {id(parameter) for parameter in parameters}
        return [name for name, parameter in self.named_parameters() if id(parameter) in frozen]

    def _target_features(
        self, frames: torch.Tensor, frame_mask: torch.Tensor, vectors: list[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        if self.coattention is None:
            return self.frame_pooling(frames, frame_mask), None
        task_vectors = torch.stack(vectors, dim=1)
        if not self.config.coattention_gradient:
            task_vectors = task_vectors.detach()
        attended, weights = self.coattention(task_vectors, frames, frame_mask)
        features = [attended.flatten(1), task_vectors.flatten(1)]
        if self.frame_pooling is not None:
            features.append(self.frame_pooling(frames, frame_mask))
        return torch.cat(features, dim=-1), weights

    def _losses(
        self, task_logits: dict[str, torch.Tensor], labels: Mapping | torch.Tensor | None, frame_mask: torch.Tensor
    ) -> dict[str, torch.Tensor] | None:
        if labels is None:
            return None
        labels = labels if isinstance(labels, Mapping) else {self.config.target_task: labels}
        unknown = sorted(set(labels) - set(task_logits))
        if unknown:
            raise ValueError(f"labels for unknown tasks {unknown}: the model has {list(task_logits)}")
        known = {name: logits for name, logits in task_logits.items() if name in labels}
        return {name: self._task_loss(name, logits, labels[name], frame_mask) for name, logits in known.items()}

    def _task_loss(
        self, name: str, logits: torch.Tensor, labels: torch.Tensor, frame_mask: torch.Tensor
    ) -> torch.Tensor:
        task = self.config.tasks[name]
        if task["kind"] == "ctc":
            return characters_loss(logits, labels, frame_mask.sum(dim=-1))
        if task["kind"] == "regression":
            return concordance_loss(logits, labels, *task["range"])
        options = self._training_options(task["kind"]) if self.training and name == self.config.target_task else {}
        return (multilabel_loss if task["kind"] == "multilabel" else classification_loss)(logits, labels, **options)

    def _training_options(self, kind: str) -> dict[str, Any]:
        """How the target is learned; it is judged by its plain loss."""
        config = self.config
        options = {
            "kind": config.target_loss,
            "focal_gamma": config.focal_gamma,
            "label_smoothing": config.label_smoothing,
            "class_weights": config.class_weights,
        }
        return options if kind == "multilabel" else {**options, "smoothing_toward": config.smoothing_toward}

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, (AugmentedResidualIntegration, WeightedSum, StateStandardization, Familiarity)):
            module.reset_parameters()


SerMetaModel.register_for_auto_class("AutoModel")


def _refuse_pickled_weights(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    pickled = sorted(names & {"pytorch_model.bin", "pytorch_model.bin.index.json"})
    if pickled and not names & {"model.safetensors", "model.safetensors.index.json"}:
        raise ValueError(
            f"{folder / pickled[0]} is pickled, and a ser-meta model is read from safetensors only: if you trust the "
            "file, read it with torch.load(..., weights_only=True) and write it with safetensors.torch.save_file as "
            "model.safetensors beside it"
        )


def _frame_mask(frames: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
    if attention_mask is None:
        attention_mask = torch.ones(frames.shape[:2], device=frames.device)
    return mask_of(attention_mask.sum(dim=-1), frames.shape[1])


def _config_above(trained: SerMetaConfig, tasks: Mapping, options: Mapping) -> SerMetaConfig:
    """Of a model that starts from a trained one: the same encoder, with as many of its layers at most."""
    layers = options.get("encoder_layers") or trained.encoder_layers
    if trained.encoder_layers is not None and layers > trained.encoder_layers:
        raise ValueError(
            f"encoder_layers={layers} is more than the {trained.encoder_layers} layers that the trained model has: "
            "choose fewer, or null for all of them"
        )
    settings = {**options, "encoder_layers": layers}
    settings["encoder_frames"] = trained.encoder_frames
    return SerMetaConfig(speech_config=deepcopy(trained.speech_config), tasks=tasks, **settings)


def _layer_fusion(config: SerMetaConfig, width: int, layers: int) -> nn.Module:
    if layers == 1:  # there is nothing to join
        return LastHidden()
    if config.layer_fusion == "ari":
        return AugmentedResidualIntegration(
            width, layers, config.ari_weighting, config.ari_join, normalize=config.ari_normalize
        )
    return WeightedSum(layers) if config.layer_fusion == "weighted_sum" else LastHidden()


def _head(config: SerMetaConfig, width: int, name: str) -> TaskHead:
    if name in config.hidden_tasks:
        return TaskHead(width, config.head_hidden_size, 0, config.dropout, per_frame=False)
    task = config.tasks[name]
    outputs = 1 if task["kind"] == "regression" else task.get("vocab_size") or len(task["labels"])
    return TaskHead(width, config.head_hidden_size, outputs, config.dropout, task["kind"] == "ctc", task.get("range"))


def _familiarity(config: SerMetaConfig, features: int) -> Familiarity:
    known, labels = config.familiarity, config.tasks[config.target_task]["labels"]
    return Familiarity(known.get("means", len(labels)), features, known["rank"])


def _classifier(config: SerMetaConfig, features: int) -> nn.Module:
    labels = len(config.tasks[config.target_task]["labels"])
    if not config.classifier_hidden_size:
        return nn.Sequential(nn.Dropout(config.dropout), nn.Linear(features, labels))
    return nn.Sequential(
        nn.Dropout(config.dropout),
        nn.Linear(features, config.classifier_hidden_size),
        nn.ReLU(),
        nn.Dropout(config.dropout),
        nn.Linear(config.classifier_hidden_size, labels),
    )
