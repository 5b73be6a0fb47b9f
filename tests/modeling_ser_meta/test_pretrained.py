"""Encoder checkpoints as they stand on the Hub: every file format, naming and head that is about."""

import json
import os
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    Data2VecAudioForCTC,
    HubertConfig,
    HubertForCTC,
    MoonshineConfig,
    MoonshineForConditionalGeneration,
    ParakeetCTCConfig,
    ParakeetForCTC,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    SeamlessM4TFeatureExtractor,
    SEWForCTC,
    UniSpeechSatForSequenceClassification,
    VoxtralConfig,
    VoxtralForConditionalGeneration,
    Wav2Vec2BertForCTC,
    Wav2Vec2ConformerForCTC,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2ForPreTraining,
    Wav2Vec2Model,
    WavLMForSequenceClassification,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperModel,
)
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from ser_meta.modeling_ser_meta import SerMetaModel, SerMetaProcessor

TASKS = {"emotion": {"labels": ["sad", "happy"]}, "gender": {"labels": ["female", "male"]}}
LAYERS = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 64}
COUNTED = ("hidden_layers", "attention_heads")
CHECKPOINTS = {
    "wav2vec2-pretraining": ("wav2vec2", Wav2Vec2ForPreTraining),
    "wav2vec2-ctc": ("wav2vec2-large", Wav2Vec2ForCTC),
    "mms-ctc": ("mms", Wav2Vec2ForCTC),
    "hubert-ctc": ("hubert", HubertForCTC),
    "wavlm-classification": ("wavlm", WavLMForSequenceClassification),
    "data2vec-audio-ctc": ("data2vec-audio", Data2VecAudioForCTC),
    "unispeech-sat-classification": ("unispeech-sat", UniSpeechSatForSequenceClassification),
    "sew-ctc": ("sew", SEWForCTC),
    "wav2vec2-conformer-ctc": ("wav2vec2-conformer", Wav2Vec2ConformerForCTC),
    "wav2vec2-bert-ctc": ("wav2vec2-bert", Wav2Vec2BertForCTC),
}


@pytest.fixture
def load(caplog, capfd):
    """Starts a model from a folder: the model, our log lines, and what Transformers printed on stderr."""

    def load(folder, **options) -> tuple[SerMetaModel, list[str], str]:
        caplog.clear()
        capfd.readouterr()
        model = SerMetaModel.from_backbone_pretrained(str(folder), TASKS, coattention_heads=4, **options)
        return model, [record.getMessage() for record in caplog.records], capfd.readouterr().err

    return load


@pytest.fixture
def make_checkpoint(make_speech_config):
    def make(family: str, model_class, **changes) -> torch.nn.Module:
        torch.manual_seed(3)
        config = make_speech_config(family, vocab_size=20, **changes)
        model = model_class(config)
        with torch.no_grad():  # not what a new model starts with: norms' weights of 1, biases of 0
            for parameter in model.parameters():
                if parameter.dim() == 1:
                    parameter.uniform_(0.5, 1.5)
        return model

    return make


def old_names(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    parts = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    renamed = {}
    for name, tensor in weights.items():
        for new, old in parts.items():
            name = name.replace(new, old)
        renamed[name] = tensor
    return renamed


def assert_backbone_equals(model: SerMetaModel, original: torch.nn.Module) -> None:
    expected, loaded = original.state_dict(), model.encoder.backbone.state_dict()
    assert set(loaded) == set(expected)
    for name, tensor in loaded.items():
        assert torch.equal(tensor, expected[name].to(tensor.dtype)), name
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def backbone_of(checkpoint: torch.nn.Module) -> torch.nn.Module:
    return getattr(checkpoint, checkpoint.base_model_prefix)


def assert_one_line_about_heads(folder, lines: list[str], printed: str, checkpoint: torch.nn.Module) -> None:
    heads = [name for name in checkpoint.state_dict() if not name.startswith(checkpoint.base_model_prefix + ".")]
    (line,) = lines
    assert line.startswith(f"checkpoint {folder} has {len(heads)} tensors that the encoder does not use (")
    assert "lacks" not in line and "\n" not in line
    assert "newly" not in printed and "UNEXPECTED" not in printed and "MISSING" not in printed


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_old_bin_files_with_other_heads(name, make_checkpoint, load, tmp_path):
    checkpoint = make_checkpoint(*CHECKPOINTS[name])
    weights = old_names(checkpoint.state_dict())
    assert any(key.endswith("weight_g") for key in weights) or name in ("data2vec-audio-ctc", "wav2vec2-bert-ctc")
    torch.save(weights, tmp_path / "pytorch_model.bin")
    checkpoint.config.save_pretrained(tmp_path)
    model, lines, printed = load(tmp_path)
    assert_backbone_equals(model, backbone_of(checkpoint))
    assert_one_line_about_heads(tmp_path, lines, printed, checkpoint)


@pytest.fixture
def make_listener():
    """Makes a tiny language model that listens, or a model that writes down, with an encoder of four layers in it."""

    def make(family: str) -> torch.nn.Module:
        text = {**LAYERS, "num_hidden_layers": 1, "num_key_value_heads": 4, "vocab_size": 100, "pad_token_id": 0}
        torch.manual_seed(3)
        if family == "qwen2_audio_encoder":
            whisper = {"d_model": 32, "encoder_layers": 4, "encoder_attention_heads": 4, "encoder_ffn_dim": 64}
            audio = {"model_type": family, "num_mel_bins": 40, **whisper}
            config = Qwen2AudioConfig(audio_config=audio, text_config={"model_type": "qwen2", **text})
            return Qwen2AudioForConditionalGeneration(config)
        if family == "voxtral_encoder":
            audio = {"model_type": family, "num_mel_bins": 40, **LAYERS}
            config = VoxtralConfig(audio_config=audio, text_config={"model_type": "llama", **text})
            return VoxtralForConditionalGeneration(config)
        if family == "moonshine":
            counts = {f"{part}_num_{what}": 4 for part in ("encoder", "decoder") for what in COUNTED}
            sizes = {"hidden_size": 32, "intermediate_size": 64, "vocab_size": 40}
            return MoonshineForConditionalGeneration(MoonshineConfig(**counts, **sizes))
        encoder = {**LAYERS, "conv_kernel_size": 5, "num_mel_bins": 40, "subsampling_conv_channels": 8}
        return ParakeetForCTC(ParakeetCTCConfig(vocab_size=20, pad_token_id=0, encoder_config=encoder))

    return make


@pytest.mark.parametrize("layers", [None, 2])
@pytest.mark.parametrize("family", ["qwen2_audio_encoder", "voxtral_encoder", "parakeet_encoder", "moonshine"])
def test_the_encoder_of_a_larger_model(family, layers, make_listener, load, tmp_path):
    whole = make_listener(family)
    whole.save_pretrained(tmp_path)
    model, (line,), _ = load(tmp_path, encoder_layers=layers)
    assert model.config.speech_config.model_type == family and len(model.encoder.layers) == (layers or 4)
    assert "tensors that the encoder does not use" in line and "lacks" not in line
    (encoder,) = (part for part in whole.modules() if type(part) is type(model.encoder.backbone))
    expected = encoder.state_dict()
    for name, tensor in model.encoder.backbone.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("kind", ["safetensors", "fp16", "sharded", "old names"])
def test_safetensors(kind, make_checkpoint, load, tmp_path):
    checkpoint = make_checkpoint("wav2vec2", Wav2Vec2ForCTC)
    if kind == "fp16":
        checkpoint.half()
    weights = old_names(checkpoint.state_dict()) if kind == "old names" else checkpoint.state_dict()
    shards = {"max_shard_size": "20KB"} if kind == "sharded" else {}
    checkpoint.save_pretrained(tmp_path, state_dict=weights, **shards)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 2) == (kind == "sharded")
    model, lines, printed = load(tmp_path)
    assert_backbone_equals(model, backbone_of(checkpoint))
    assert_one_line_about_heads(tmp_path, lines, printed, checkpoint)


def test_sharded_bin_files_in_half_precision(make_checkpoint, load, tmp_path):
    checkpoint = make_checkpoint("hubert", HubertForCTC).half()
    weights = old_names(checkpoint.state_dict())
    files = {name: f"pytorch_model-0000{index % 2 + 1}-of-00002.bin" for index, name in enumerate(weights)}
    for file in set(files.values()):
        torch.save({name: weights[name] for name in weights if files[name] == file}, tmp_path / file)
    index = {"metadata": {"total_size": 1}, "weight_map": files}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    checkpoint.config.save_pretrained(tmp_path)
    model, lines, printed = load(tmp_path)
    assert_backbone_equals(model, backbone_of(checkpoint))
    assert_one_line_about_heads(tmp_path, lines, printed, checkpoint)


def test_an_encoder_alone_loads_without_a_word(make_checkpoint, load, tmp_path):
    checkpoint = make_checkpoint("wav2vec2", Wav2Vec2Model)
    checkpoint.save_pretrained(tmp_path)
    model, lines, printed = load(tmp_path)
    assert_backbone_equals(model, checkpoint)
    assert lines == [] and "newly" not in printed
    model.save_pretrained(tmp_path / "ours")
    assert str(tmp_path) not in (tmp_path / "ours" / "config.json").read_text()  # no path of this machine


def test_what_a_checkpoint_lacks_is_said_in_one_line(make_checkpoint, load, make_batch, tmp_path):
    checkpoint = make_checkpoint("wav2vec2", Wav2Vec2ForCTC)
    weights = {name: tensor for name, tensor in checkpoint.state_dict().items() if ".layers.3." not in name}
    lacking = len(checkpoint.state_dict()) - len(weights)
    torch.save(old_names(weights), tmp_path / "pytorch_model.bin")
    checkpoint.config.save_pretrained(tmp_path)
    model, (line,), printed = load(tmp_path)
    assert line.startswith(f"checkpoint {tmp_path} lacks {lacking} tensors, newly initialised (encoder.layers.3.")
    assert "; has 2 tensors that the encoder does not use (lm_head.bias, lm_head.weight)" in line
    assert "\n" not in line and "newly" not in printed
    assert torch.equal(model.encoder.layers[3].layer_norm.weight, torch.ones(32))
    assert model.eval()(**make_batch(model)).logits.isfinite().all()


@pytest.mark.parametrize("model_class", [WhisperModel, WhisperForConditionalGeneration, WhisperEncoder])
@pytest.mark.parametrize("kind", ["safetensors", "bin", "fp16"])
def test_whisper_checkpoints_with_and_without_the_decoder(model_class, kind, make_checkpoint, load, tmp_path):
    checkpoint = make_checkpoint("whisper", model_class)
    encoder = {WhisperModel: lambda: checkpoint.encoder, WhisperEncoder: lambda: checkpoint}.get(
        model_class, lambda: checkpoint.model.encoder
    )()
    if kind == "bin":
        torch.save(checkpoint.state_dict(), tmp_path / "pytorch_model.bin")
        checkpoint.config.save_pretrained(tmp_path)
    else:
        (checkpoint.half() if kind == "fp16" else checkpoint).save_pretrained(tmp_path)
    model, lines, printed = load(tmp_path)
    assert_backbone_equals(model, encoder)
    assert "lacks" not in str(lines) and "newly" not in printed
    assert len(lines) == (0 if model_class is WhisperEncoder else 1)


def test_the_real_encoder(shared, caplog):
    folder = shared / "weights" / "whisper-base-encoder"
    model = SerMetaModel.from_backbone_pretrained(str(folder), TASKS)
    assert not caplog.records
    loaded = model.encoder.backbone.state_dict()
    for name, tensor in load_file(folder / "model.safetensors").items():
        assert torch.equal(loaded.pop(name), tensor.float()), name
    assert not loaded


def test_settings_that_the_model_does_not_want_are_off(make_checkpoint, load, tmp_path):
    checkpoint = make_checkpoint("wav2vec2", Wav2Vec2ForCTC, add_adapter=True, layerdrop=0.1)
    checkpoint.save_pretrained(tmp_path)
    model, (line,), _ = load(tmp_path)
    config = model.config.speech_config
    assert config.layerdrop == 0 and not config.add_adapter
    assert "lacks" not in line and "adapter" in line
    assert len(model.encoder.layers) == 4


def test_the_attention_kernel_can_be_chosen(make_checkpoint, load, make_batch, tmp_path):
    make_checkpoint("wav2vec2", Wav2Vec2Model).save_pretrained(tmp_path)
    model, _, _ = load(tmp_path, attention="eager")
    output = model(**make_batch(model), output_attentions=True)
    assert len(output.attentions) == 4
    assert SerMetaModel.from_backbone_pretrained(str(tmp_path), TASKS, coattention_heads=4)


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_bin_file_that_carries_code_is_refused(make_checkpoint, load, tmp_path):
    checkpoint = make_checkpoint("wav2vec2", Wav2Vec2Model)
    weights = {**checkpoint.state_dict(), "masked_spec_embed": Harmful(tmp_path / "harm")}
    torch.save(weights, tmp_path / "pytorch_model.bin")
    checkpoint.config.save_pretrained(tmp_path)
    with pytest.raises((pickle.UnpicklingError, OSError, ValueError, RuntimeError)):
        load(tmp_path)
    assert not (tmp_path / "harm").exists()


def test_another_kind_of_model_is_named(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_size": 32}))
    message = (
        r"bert is no family that is known by name, and .* has no feature extractor's settings: give a speech encoder"
    )
    with pytest.raises(ValueError, match=message):
        SerMetaModel.from_backbone_pretrained(str(tmp_path), TASKS)


@pytest.mark.parametrize("normalize", [True, False])
def test_feature_extractor_settings_come_along(normalize, tmp_path):
    Wav2Vec2FeatureExtractor(do_normalize=normalize, sampling_rate=8_000).save_pretrained(tmp_path)
    processor = SerMetaProcessor.from_backbone_pretrained(str(tmp_path))
    assert processor.feature_extractor.do_normalize is normalize and processor.sampling_rate == 8_000
    samples = np.arange(1_000, dtype=np.float32)
    features = processor(samples, sampling_rate=8_000)["input_values"][0]
    expected = (samples - samples.mean()) / samples.std() if normalize else samples
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("extractor", [WhisperFeatureExtractor(feature_size=128), SeamlessM4TFeatureExtractor()])
def test_log_mel_settings_come_along(extractor, tmp_path):
    extractor.save_pretrained(tmp_path)
    loaded = SerMetaProcessor.from_backbone_pretrained(str(tmp_path)).feature_extractor
    assert type(loaded) is type(extractor) and loaded.feature_size == extractor.feature_size


def test_without_settings_raw_speech_is_normalised_with_a_warning(tmp_path, caplog):
    HubertConfig().save_pretrained(tmp_path)
    assert SerMetaProcessor.from_backbone_pretrained(str(tmp_path)).feature_extractor.do_normalize
    assert "has no preprocessor_config.json: its raw speech is normalised" in caplog.text


def test_without_settings_nothing_stands_in_for_log_mel_features(tmp_path):
    WhisperConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"has no preprocessor_config\.json, and a whisper cannot be used without"):
        SerMetaProcessor.from_backbone_pretrained(str(tmp_path))


def test_settings_that_cannot_be_reached_are_no_missing_ones(tmp_path):
    """Nothing is fetched in the tests: as without a network, and as with a name that is misspelt."""
    for name in ("someone/wavlm-base", str(tmp_path / "nothing")):
        with pytest.raises((OSError, ValueError)):
            SerMetaProcessor.from_backbone_pretrained(name)


def test_settings_that_are_damaged_are_no_missing_ones(tmp_path):
    HubertConfig().save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"do_normalize": fal')
    with pytest.raises(OSError, match="JSON"):
        SerMetaProcessor.from_backbone_pretrained(str(tmp_path))


def test_a_model_of_ours_with_pickled_weights_is_refused(make_model, tmp_path):
    model = make_model("wav2vec2")
    model.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    SerMetaModel.from_pretrained(tmp_path)  # the safetensors beside it are what is read
    (tmp_path / "model.safetensors").unlink()
    for name in ("pytorch_model.bin", "pytorch_model.bin.index.json"):
        (tmp_path / name).touch()
        with pytest.raises(ValueError, match=rf"{tmp_path}/{name} is pickled.*safetensors.torch.save_file"):
            SerMetaModel.from_pretrained(tmp_path)
        (tmp_path / name).unlink()
    with pytest.raises(OSError, match=r"model\.safetensors"):
        SerMetaModel.from_pretrained(tmp_path)
