"""Encoders of families that are not known by name: taken as they are found, or refused with what failed."""

import pytest
import torch
from transformers import (
    CONFIG_MAPPING,
    ASTConfig,
    ASTFeatureExtractor,
    AutoFeatureExtractor,
    AutoModel,
    Wav2Vec2FeatureExtractor,
)

from ser_meta.modeling_ser_meta import SerMetaConfig, SerMetaModel, SerMetaProcessor
from ser_meta.modeling_ser_meta.general_ser_meta import examine

TASKS = {"emotion": {"labels": ["sad", "happy"]}, "gender": {"labels": ["female", "male"]}}
OPTIONS = {"tasks": TASKS, "coattention_heads": 4}
LASR = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "num_mel_bins": 40,
    "subsampling_conv_channels": 8,
    "conv_kernel_size": 5,
}
needs_lasr = pytest.mark.skipif("lasr_encoder" not in CONFIG_MAPPING, reason="this release has no such encoder")


def write(folder, config, extractor) -> str:
    torch.manual_seed(0)
    model = AutoModel.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.uniform_(0.5, 1.5)
            else:
                parameter.normal_(std=parameter[0].numel() ** -0.5)
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def lasr(tmp_path):
    from transformers import LasrFeatureExtractor

    return write(
        tmp_path / "lasr",
        CONFIG_MAPPING["lasr_encoder"](**LASR),
        LasrFeatureExtractor(feature_size=40, num_mel_bins=40),
    )


@needs_lasr
@torch.no_grad()
def test_an_unknown_encoder_is_taken_with_a_warning(lasr, tone, tmp_path, caplog):
    model = SerMetaModel.from_backbone_pretrained(lasr, **OPTIONS).eval()
    assert "lasr_encoder is no family that is known by name, and is used as it was found: 4 layers of width 32" in (
        caplog.text
    )
    assert "one frame for 4 of its input_features; batch independence was checked" in caplog.text
    processor = SerMetaProcessor.from_backbone_pretrained(lasr)
    recordings = [tone(seconds) for seconds in (0.9, 0.31, 0.5)]
    together = model(**processor(recordings, sampling_rate=16_000), output_hidden_states=True)
    stock = AutoModel.from_pretrained(lasr).eval()
    for row, recording in enumerate(recordings):
        inputs = processor(recording, sampling_rate=16_000)
        alone = model(**inputs, output_hidden_states=True)
        expected = stock(**inputs, output_hidden_states=True)
        torch.testing.assert_close(together.logits[row], alone.logits[0], rtol=0, atol=1e-4)
        frames = alone.frame_mask.shape[1]
        assert together.frame_mask[row].sum() == frames == expected.last_hidden_state.shape[1]
        states = (*expected.hidden_states[1:-1], expected.last_hidden_state)
        for state, same in zip(alone.hidden_states, states, strict=True):
            torch.testing.assert_close(state, same, rtol=0, atol=1e-5)

    model.save_pretrained(tmp_path / "model")
    loaded = SerMetaModel.from_pretrained(tmp_path / "model").eval()
    assert torch.equal(loaded(**processor(recordings, sampling_rate=16_000)).logits, together.logits)
    again = SerMetaModel.from_backbone_pretrained(str(tmp_path / "model"), **OPTIONS)
    assert again.config.encoder_frames == model.config.encoder_frames and all(again.inherited.values())


@needs_lasr
@torch.no_grad()
def test_the_lowest_layers_of_an_unknown_encoder(lasr, tone):
    whole = SerMetaModel.from_backbone_pretrained(lasr, **OPTIONS).eval()
    lowest = SerMetaModel.from_backbone_pretrained(lasr, encoder_layers=2, **OPTIONS).eval()
    inputs = SerMetaProcessor.from_backbone_pretrained(lasr)([tone(0.9), tone(0.4)], sampling_rate=16_000)
    output, expected = (model(**inputs, output_hidden_states=True) for model in (lowest, whole))
    assert len(output.hidden_states) == 2
    for state, same in zip(output.hidden_states, expected.hidden_states, strict=False):
        assert torch.equal(state[output.frame_mask], same[output.frame_mask])


@needs_lasr
def test_it_learns(lasr, tone):
    model = SerMetaModel.from_backbone_pretrained(lasr, **OPTIONS).train()
    inputs = SerMetaProcessor.from_backbone_pretrained(lasr)([tone(0.9), tone(0.4)], sampling_rate=16_000)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model(**inputs, labels={"emotion": torch.tensor([0, 1])}).loss.backward()
    assert all(parameter.grad.any() for parameter in model.encoder.parameters())
    for name, buffer in model.named_buffers():  # of its batch norms
        assert torch.equal(buffer, before[name]), name


def test_an_encoder_that_pads_every_recording_to_one_length_is_refused(tmp_path):
    layers = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    folder = write(
        tmp_path,
        ASTConfig(**layers, max_length=64, num_mel_bins=32),
        ASTFeatureExtractor(max_length=64, num_mel_bins=32),
    )
    # in older releases it takes no mask either
    failed = "its feature extractor has no rate: 64 frames of 8000 inputs, and no more of 16000|it takes no mask"
    message = rf"audio-spectrogram-transformer is no family that is known by name, and cannot be used: ({failed})"
    with pytest.raises(ValueError, match=message):
        SerMetaModel.from_backbone_pretrained(folder, **OPTIONS)


@pytest.mark.parametrize(
    ("family", "message"),
    [("bert", "it takes input_ids, neither a waveform nor features of one"), ("vit", "it takes pixel_values")],
)
def test_what_is_no_speech_encoder_is_refused(family, message, tmp_path):
    layers = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    folder = write(tmp_path, CONFIG_MAPPING[family](**layers), Wav2Vec2FeatureExtractor())
    with pytest.raises(ValueError, match=message):
        SerMetaModel.from_backbone_pretrained(folder, **OPTIONS)


@needs_lasr
def test_an_encoder_that_hears_padding_is_refused(lasr):
    backbone = AutoModel.from_pretrained(lasr)
    for layer in backbone.layers:  # its convolutions are no longer told where a recording ends
        layer.conv.register_forward_pre_hook(lambda module, args, kwargs: (args, {}), with_kwargs=True)
    message = r"states differ in a batch, in layer 1 by .*: padding reaches its true frames"
    with pytest.raises(ValueError, match=message):
        examine(backbone, AutoFeatureExtractor.from_pretrained(lasr))


def test_a_config_of_an_unknown_family_needs_its_frames(tmp_path):
    config = ASTConfig(hidden_size=32)
    with pytest.raises(ValueError, match=r"speech_config\.model_type='audio-spectrogram-transformer' must be one of"):
        SerMetaConfig(speech_config=config)
