"""A model with the lowest layers of an encoder only: `encoder_layers`."""

import pytest
import torch
from safetensors.torch import load_file

from ser_meta.modeling_ser_meta import SerMetaConfig, SerMetaModel

TASKS = {"emotion": {"labels": ["sad", "happy"]}, "gender": {"labels": ["female", "male"]}}
OPTIONS = {"tasks": TASKS, "coattention_heads": 4}
FINAL_NORMS = {
    "wav2vec2-large": "encoder.backbone.encoder.layer_norm.weight",
    "wavlm-large": "encoder.backbone.encoder.layer_norm.weight",
    "wav2vec2-conformer": "encoder.backbone.encoder.layer_norm.weight",
    "sew": "encoder.backbone.encoder.upsample.projection.weight",
    "whisper": "encoder.backbone.layer_norm.weight",
}


@pytest.fixture
def checkpoint(make_model, tmp_path):
    """Writes a family's whole encoder as it stands on the Hub; the model whose encoder it is, and the folder."""

    def write(family: str, **options) -> tuple[SerMetaModel, str]:
        whole = make_model(family, **options)
        whole.encoder.backbone.save_pretrained(tmp_path / "encoder")
        return whole, str(tmp_path / "encoder")

    return write


@torch.no_grad()
def test_the_states_are_those_of_the_whole_encoders_same_layers(family, checkpoint, make_batch, tmp_path, caplog):
    whole, folder = checkpoint(family)
    layers = len(whole.encoder.layers) // 2
    model = SerMetaModel.from_backbone_pretrained(folder, encoder_layers=layers, **OPTIONS).eval()
    assert not [line for line in caplog.messages if line.startswith("checkpoint")]  # nothing is missing or too much
    batch = make_batch(model)
    expected = whole(**batch, output_hidden_states=True)
    output = model(**batch, output_hidden_states=True)
    assert len(model.encoder.layers) == len(output.hidden_states) == layers
    for state, same in zip(output.hidden_states, expected.hidden_states, strict=False):
        assert torch.equal(state[output.frame_mask], same[expected.frame_mask])

    model.save_pretrained(tmp_path / "model")
    above = {id(parameter) for layer in whole.encoder.layers[layers:] for parameter in layer.parameters()}
    upper = {name for name, parameter in whole.named_parameters() if id(parameter) in above}
    assert upper and not upper & set(load_file(tmp_path / "model" / "model.safetensors"))
    loaded, info = SerMetaModel.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert torch.equal(loaded.eval()(**batch).logits, output.logits)
    assert loaded.config.speech_config.to_dict() == model.config.speech_config.to_dict()


@pytest.mark.parametrize("family", FINAL_NORMS)
def test_what_stands_behind_the_whole_encoder_goes_with_its_last_layer(family, make_model):
    weight = FINAL_NORMS[family]
    assert weight in make_model(family).state_dict()
    assert weight in make_model(family, encoder_layers=4).state_dict()  # all of them
    assert weight not in make_model(family, encoder_layers=3).state_dict()


@pytest.mark.parametrize("fusion", ["ari", "weighted_sum", "last_hidden"])
def test_fusion_and_freezing_count_the_layers_that_there_are(fusion, make_model, make_batch):
    model = make_model("whisper", encoder_layers=3, layer_fusion=fusion, standardize_states=True)
    weight = getattr(model.layer_fusion, "weight", None)
    assert len(model.standardization.mean) == 3 and len(model.encoder.layers) == 3
    assert weight is None or len(weight) == (2 if fusion == "ari" else 3)
    model.train()(**make_batch(model, labels=True)).loss.backward()
    assert not [name for name, p in model.named_parameters() if p.requires_grad and not p.grad.any()]
    with pytest.raises(ValueError, match="cannot freeze 4 layers: the encoder has 3"):
        model.freeze_layers(4)
    assert set(model.freeze_layers(3)) == {f"encoder.{n}" for n, _ in model.encoder.named_parameters()}


@torch.no_grad()
@pytest.mark.parametrize("fusion", ["ari", "weighted_sum", "last_hidden"])
def test_one_layer_is_joined_with_nothing(fusion, make_model, make_batch):
    model = make_model(encoder_layers=1, layer_fusion=fusion)
    assert not list(model.layer_fusion.parameters())
    assert model(**make_batch(model)).logits.isfinite().all()


@pytest.mark.parametrize("layers", [0, -1, True, 1.5, "third"])
def test_a_number_of_layers(layers, make_speech_config):
    with pytest.raises(ValueError, match=f"encoder_layers={layers} must be a whole number of 1 or more"):
        SerMetaConfig(speech_config=make_speech_config("whisper"), encoder_layers=layers)


def test_more_layers_than_there_are_are_refused(family, make_speech_config):
    config = make_speech_config(family)
    layers = SerMetaConfig(speech_config=config, coattention_heads=4).layers
    with pytest.raises(ValueError, match=rf"encoder_layers=5 is more than the {layers} layers that the encoder has"):
        SerMetaConfig(speech_config=config, encoder_layers=5)


def test_a_trained_model_keeps_its_layers_or_fewer(checkpoint, tmp_path):
    _, folder = checkpoint("whisper", still=True)
    options = {**OPTIONS, "standardize_states": True}
    trained = SerMetaModel.from_backbone_pretrained(folder, encoder_layers=3, **options)
    torch.nn.init.normal_(trained.layer_fusion.weight)
    trained.save_pretrained(tmp_path / "trained")
    again = SerMetaModel.from_backbone_pretrained(str(tmp_path / "trained"), **options)
    assert again.config.encoder_layers == 3 and all(again.inherited.values())
    assert torch.equal(again.layer_fusion.weight, trained.layer_fusion.weight)

    fewer = SerMetaModel.from_backbone_pretrained(str(tmp_path / "trained"), encoder_layers=2, **options)
    assert [part for part, kept in fewer.inherited.items() if not kept] == ["standardization", "layer_fusion"]
    for name, weight in fewer.encoder.state_dict().items():
        assert torch.equal(weight, trained.encoder.state_dict()[name])
    with pytest.raises(ValueError, match="encoder_layers=4 is more than the 3 layers that the trained model has"):
        SerMetaModel.from_backbone_pretrained(str(tmp_path / "trained"), encoder_layers=4, **options)
