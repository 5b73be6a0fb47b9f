"""Adapters in the encoders of every family: they learn, they matter, and merged they give the same."""

import subprocess
import sys

import pytest
import torch

from ser_meta.modeling_ser_meta import SerMetaConfig, SerMetaModel
from ser_meta.modeling_ser_meta.adapters_ser_meta import OF_ADAPTER, adapted_modules, adapter_parameters

pytest.importorskip("peft")
TARGETS = ("attention", "all-linear")
WITHOUT_PEFT = """
import sys
sys.modules["peft"] = None
from ser_meta.modeling_ser_meta import SerMetaModel
print(SerMetaModel.from_pretrained(sys.argv[1]).config.adapter)
"""


@torch.no_grad()
def drawn(model: SerMetaModel) -> SerMetaModel:
    """Gives an adapter the weights of one that has learned."""
    torch.manual_seed(1)
    for weight in adapter_parameters(model.encoder):
        if weight.dim() == 2:
            weight.normal_(std=0.2)
    return model


def adapted(make_model, family="wav2vec2", changes=None, **settings) -> SerMetaModel:
    model = make_model(family, changes=changes)
    model.add_encoder_adapter(**{"rank": 4, **settings})
    return model


@pytest.mark.parametrize("targets", TARGETS)
def test_every_adapted_layer_learns(family, targets, make_model, make_batch):
    model = adapted(make_model, family, targets=targets).train()
    frozen = model.freeze_all_but_adapter()
    assert {name for name in frozen if OF_ADAPTER in name} == set()
    model(**make_batch(model, labels=True)).loss.backward()
    learning = {name for name, weight in model.encoder.named_parameters() if weight.grad is not None}
    assert learning == {name for name, _ in model.encoder.named_parameters() if OF_ADAPTER in name}
    for name, module in adapted_modules(model.encoder).items():
        assert module.lora_B["default"].weight.grad.any(), name


@torch.no_grad()
@pytest.mark.parametrize("kind", ["lora", "dora"])
@pytest.mark.parametrize("targets", TARGETS)
def test_an_adapter_starts_as_nothing_changes_the_output_and_merges(family, targets, kind, make_model, make_batch):
    plain = make_model(family)
    batch = make_batch(plain)
    before = plain(**batch).logits
    model = adapted(make_model, family, targets=targets, kind=kind)
    torch.testing.assert_close(model(**batch).logits, before, rtol=1e-5, atol=1e-5)
    after = drawn(model)(**batch).logits
    assert (after - before).abs().max() > 1e-2
    model.merge_adapter()
    torch.testing.assert_close(model(**batch).logits, after, rtol=1e-5, atol=1e-5)
    assert model.config.adapter is None and list(model.state_dict()) == list(plain.state_dict())


@torch.no_grad()
@pytest.mark.parametrize("family", ["wavlm", "wavlm-large"])
def test_each_projection_of_wavlm_changes_the_output(family, make_model, make_batch):
    model = drawn(adapted(make_model, family))
    batch = make_batch(model)
    expected = model(**batch).logits
    for name, module in adapted_modules(model.encoder).items():
        module.enable_adapters(False)
        assert not torch.allclose(model(**batch).logits, expected, rtol=0, atol=1e-5), name
        module.enable_adapters(True)


@torch.no_grad()
def test_padding_never_reaches_the_frames_of_an_adapted_encoder(family, make_model, make_inputs, join):
    model = drawn(adapted(make_model, family, targets="all-linear"))
    lengths = [9_999, 400, 6_400] if model.encoder.input_name == "input_values" else [62, 2, 41]
    lengths = [max(length, model.encoder.shortest_input) for length in lengths]
    alone = make_inputs(model, lengths)
    together = model(**join(model, alone)).logits
    for row, recording in zip(together, alone, strict=True):
        torch.testing.assert_close(row, model(**recording).logits[0], rtol=1e-5, atol=5e-5)


def test_gradient_checkpointing_above_an_adapter_changes_nothing(family, make_model, make_batch):
    model = make_model(family, still=True)
    model.add_encoder_adapter(rank=4)
    model.freeze_all_but_adapter()
    batch = make_batch(drawn(model).train(), labels=True)
    model(**batch).loss.backward()
    expected = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model(**batch).loss.backward()
    found = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    assert set(found) == set(expected)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def test_what_is_frozen_beside_an_adapter_is_a_fixed_function(make_model):
    model = adapted(make_model, layers=[2, 3])
    model.freeze_all_but_adapter()
    lower, upper = model.train().encoder.layers[:2], model.encoder.layers[2:]
    assert not any(module.training for layer in lower for module in layer.modules())
    assert all(layer.training and layer.attention.training for layer in upper)
    assert not any(module.training for layer in upper for module in layer.feed_forward.modules())
    assert set(model.freeze_layers(3)) >= {name for name, _ in model.named_parameters() if "layers.2." in name}
    trained = [name for name, weight in model.encoder.named_parameters() if weight.requires_grad]
    assert trained and all("layers.3." in name and OF_ADAPTER in name for name in trained)


@torch.no_grad()
def test_a_model_is_saved_and_loaded_with_its_adapter(make_model, make_batch, tmp_path):
    model = drawn(adapted(make_model, "wavlm", kind="dora", layers=[1, 3], targets=["q_proj", "output_dense"]))
    model.save_pretrained(tmp_path)
    loaded, info = SerMetaModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert loaded.config.adapter == model.config.adapter and all(
        weight.requires_grad for weight in loaded.parameters()
    )
    batch = make_batch(model)
    torch.testing.assert_close(loaded.eval()(**batch).logits, model(**batch).logits, rtol=0, atol=1e-6)
    names = [f"encoder.layers.{number}.{name}" for number in (1, 3) for name in ("attention.q_proj", "output_dense")]
    assert sorted(name.replace("feed_forward.", "") for name in adapted_modules(loaded.encoder)) == sorted(names)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_an_adapter_alone_finds_its_encoder_again(kind, make_model, make_batch, tmp_path):
    model = make_model("wavlm", encoder_layers=3)
    model.config.speech_config.save_pretrained(tmp_path / "encoder")
    model.encoder.backbone.save_pretrained(tmp_path / "encoder")
    model.add_encoder_adapter(kind=kind, targets="all-linear")
    batch = make_batch(drawn(model))
    expected = model(**batch).logits
    model.save_adapter(tmp_path / "model", str(tmp_path / "encoder"))
    assert model.config.adapter["kind"] == kind and model.config.base_encoder is None
    loaded, info = SerMetaModel.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert loaded.config.adapter is None and loaded.config.base_encoder is None
    torch.testing.assert_close(loaded.eval()(**batch).logits, expected, rtol=1e-5, atol=1e-5)
    loaded.save_pretrained(tmp_path / "whole")
    whole = SerMetaModel.from_pretrained(tmp_path / "whole").eval()
    torch.testing.assert_close(whole(**batch).logits, expected, rtol=1e-5, atol=1e-5)


def test_an_adapter_of_another_encoder_is_refused(make_model, tmp_path):
    model = adapted(make_model, targets=["q_proj"])
    make_model(changes={"num_hidden_layers": 3}).encoder.backbone.save_pretrained(tmp_path / "encoder")
    model.save_adapter(tmp_path / "model", str(tmp_path / "encoder"))
    with pytest.raises(ValueError, match="belongs to another encoder"):
        SerMetaModel.from_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match="no adapter to save"):
        make_model().save_adapter(tmp_path / "model", "encoder")


@torch.no_grad()
def test_a_model_starts_from_one_with_an_adapter(make_model, make_batch, tmp_path):
    model = drawn(adapted(make_model))
    model.save_pretrained(tmp_path)
    options = {"coattention_heads": 4, "head_hidden_size": 16, "adapter": {"kind": "dora"}}
    started = SerMetaModel.from_backbone_pretrained(str(tmp_path), model.config.tasks, **options)
    assert started.config.adapter["kind"] == "dora" and all(started.inherited.values())
    batch = make_batch(model)
    torch.testing.assert_close(started.eval()(**batch).logits, model(**batch).logits, rtol=1e-5, atol=1e-5)


def test_a_merged_model_loads_without_peft(make_model, tmp_path):
    model = drawn(adapted(make_model))
    model.merge_adapter()
    model.save_pretrained(tmp_path)
    done = subprocess.run([sys.executable, "-c", WITHOUT_PEFT, tmp_path], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "None", done.stderr


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"targets": ["q_proj", "v_prj"]}, r"targets=v_prj is in none of the layers \[0, 1, 2, 3\]: .* k_proj"),
        ({"layers": [1, 4]}, r"layers=\[1, 4\] names layer 4: the encoder has layers 0 to 3"),
        ({"rank": 0}, "rank=0 must be a whole number of 1 or more"),
        ({"kind": "ia3"}, "kind='ia3' must be one of lora, dora"),
        ({"targets": "attentions"}, "targets='attentions' must be one of attention, all-linear"),
        ({"r": 8}, "r is no setting of an adapter: there are kind, rank"),
    ],
)
def test_what_fits_no_encoder_is_refused(settings, fault, make_model):
    model = make_model()
    with pytest.raises(ValueError, match=fault):
        model.add_encoder_adapter(**settings)
    assert model.config.adapter is None


def test_there_is_one_adapter_at_a_time(make_model):
    model = adapted(make_model)
    with pytest.raises(ValueError, match="has an adapter: merge it first"):
        model.add_encoder_adapter()
    with pytest.raises(ValueError, match=r"adapter\.dropout=1 must be at least 0 and below 1"):
        SerMetaConfig(adapter={"dropout": 1})
