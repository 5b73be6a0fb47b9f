"""What every supported family of speech encoders must do."""

import json

import numpy as np
import pytest
import torch
from draws import DRAWS_ALIKE

from ser_meta.modeling_ser_meta import SerMetaConfig, SerMetaModel

# families whose layers drop their attention weights
NO_ATTENTIONS = ("whisper", "qwen2_audio_encoder", "voxtral_encoder", "moonshine", "parakeet_encoder")
TASK_SIZES = {"transcript": 30, "style": 2, "emotion": 4, "gender": 2, "speaker": 3}


def assert_equal_outputs(first, second):
    torch.testing.assert_close(first.logits, second.logits, rtol=0, atol=1e-5)
    assert list(first.task_logits) == list(second.task_logits)
    for name, logits in first.task_logits.items():
        torch.testing.assert_close(logits, second.task_logits[name], rtol=0, atol=1e-5)


def test_config_round_trip(family, make_model, tmp_path):
    config = make_model(family, random=False, ari_weighting="channel", dropout=0.25).config
    assert SerMetaConfig.from_dict(config.to_dict()).to_dict() == config.to_dict()
    config.save_pretrained(tmp_path)
    loaded = SerMetaConfig.from_pretrained(tmp_path)
    assert loaded.to_dict() == {**config.to_dict(), "transformers_version": loaded.to_dict()["transformers_version"]}
    assert list(loaded.tasks) == list(config.tasks)
    assert type(loaded.speech_config) is type(config.speech_config)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "ser_meta"


@torch.no_grad()
def test_save_and_load_give_equal_outputs(family, make_model, make_batch, tmp_path):
    model = make_model(family)
    model.save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.bin"))
    loaded, info = SerMetaModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    batch = make_batch(model)
    assert_equal_outputs(loaded.eval()(**batch), model(**batch))


@torch.no_grad()
def test_output_shapes(family, make_model, make_batch):
    model = make_model(family)
    batch = make_batch(model, labels=True)
    output = model(**batch, output_hidden_states=True)
    rows, frames = output.frame_mask.shape
    assert rows == 4 and output.frame_mask.dtype == torch.bool
    lengths = model.encoder.frame_lengths(batch["attention_mask"].sum(dim=1))
    squeezed = family.startswith("sew")  # it works on pairs of frames
    assert (output.frame_mask.sum(dim=1) == (lengths + 1) // 2 * 2 if squeezed else lengths).all()
    assert output.logits.shape == (4, 4)
    shapes = {name: tuple(logits.shape) for name, logits in output.task_logits.items()}
    assert shapes == {n: (4, frames, k) if n == "transcript" else (4, k) for n, k in TASK_SIZES.items()}
    assert torch.equal(output.task_logits["emotion"], output.logits)
    assert output.embeddings.shape == (4, 4 * (32 + 16))
    assert output.coattentions.shape == (4, 4, 4, frames)
    assert [tuple(state.shape) for state in output.hidden_states] == [(4, frames, 32)] * len(model.encoder.layers)
    assert output.loss.shape == () and set(output.task_losses) == set(TASK_SIZES)
    assert model(**batch).hidden_states is None


@torch.no_grad()
def test_a_mask_of_ones_equals_no_mask(family, make_model, make_inputs):
    model = make_model(family)
    batch = make_inputs(model, [8_000 if model.encoder.input_name == "input_values" else 50])[0]
    without = {name: value for name, value in batch.items() if name != "attention_mask"}
    assert_equal_outputs(model(**batch), model(**without))


def test_gradients_reach_every_trained_parameter(family, make_model, make_batch, monkeypatch):
    model = make_model(family).train()
    torch.manual_seed(0)
    monkeypatch.setattr("numpy.random.rand", lambda *_: np.array([0.5]))  # SpecAugment takes its usual number of spans
    model(**make_batch(model, labels=True)).loss.backward()
    trained = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert not [name for name, grad in trained.items() if grad is None or not grad.isfinite().all()]
    assert not [name for name, grad in trained.items() if not grad.any()]


def test_what_is_frozen_stays_and_the_rest_trains(family, make_model, make_batch):
    model = make_model(family)
    front = model.freeze_feature_encoder()
    assert bool(front) == (not family.startswith(("wav2vec2-bert", "fun_asr_nano"))) and not any(
        "layers.0." in n and "conv" not in n and "subsampling" not in n for n in front
    )
    below = model.freeze_layers(1)
    frozen = {*front, *below}
    model.train()
    assert frozen == {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    for name in frozen:
        module = model.get_submodule(name.rpartition(".")[0])
        assert not module.training, name
    first, *upper = model.encoder.layers
    assert not any(module.training for module in first.modules())
    assert all(module.training for layer in upper for module in layer.modules())
    assert model.layer_fusion.training and model.classifier.training

    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    model(**make_batch(model, labels=True)).loss.backward()
    optimizer.step()
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == set(before) - frozen


def test_the_frozen_part_is_a_fixed_function(family, make_model, make_batch):
    model = make_model(family)
    model.freeze_layers(1)
    batch = make_batch(model)
    expected = model(**batch, output_hidden_states=True).hidden_states[0]
    model.train()
    assert torch.equal(model(**batch, output_hidden_states=True).hidden_states[0], expected)


def loss_and_gradients(model, batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """In training mode, with the same draws of dropout and SpecAugment each time."""
    model.train()
    model.zero_grad()
    torch.manual_seed(0)
    np.random.seed(0)
    loss = model(**batch).loss
    loss.backward()
    return loss, {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


def assert_trains_equally(model, batch, kept):
    """`kept` takes the place of the recordings in `batch`."""
    expected, gradients = loss_and_gradients(model, batch)
    loss, found = loss_and_gradients(model, {**kept, "labels": batch["labels"]})
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-6)
    assert set(found) == set(gradients)
    for name, gradient in gradients.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def test_training_on_kept_convolutions_changes_nothing(family, make_model, make_batch):
    model = make_model(family)
    if not model.encoder.front:
        pytest.skip(f"{family} has no convolutions in front")
    model.freeze_feature_encoder()
    batch = make_batch(model, labels=True)
    features, frame_mask = model.encoder.features(batch[model.encoder.input_name], batch["attention_mask"])
    assert not features.requires_grad
    # behind the end of a recording there is nothing in what is kept
    kept = {"extract_features": features * frame_mask[..., None], "attention_mask": frame_mask.long()}
    assert_trains_equally(model, batch, kept)


@DRAWS_ALIKE
@pytest.mark.parametrize("count", [1, 2])
def test_training_on_kept_layers_changes_nothing(family, count, make_model, make_batch):
    model = make_model(family)
    model.freeze_layers(count)
    batch = make_batch(model, labels=True)
    recordings = {name: tensor for name, tensor in batch.items() if name != "labels"}
    encoded = model.train().encode(**recordings)
    assert not any(state.requires_grad for state in encoded.hidden_states[:count])
    states = torch.stack(encoded.hidden_states[:count], dim=1) * encoded.frame_mask[:, None, :, None]
    kept = {"layer_states": states, "attention_mask": encoded.frame_mask.long()}
    if model.encoder.continues or count == len(model.encoder.layers):
        assert_trains_equally(model, batch, kept)
    else:
        with pytest.raises(ValueError, match="cannot go on from the states of lower layers"):
            model(**kept)


@torch.no_grad()
@pytest.mark.parametrize("family", ["wav2vec2", "hubert", "wavlm", "wavlm-large", "sew", "whisper"])
def test_what_is_kept_of_a_recording_is_the_same_alone_and_in_a_batch(family, make_model, make_inputs, join):
    model = make_model(family)
    lengths = [6_400, 400, 9_999] if model.encoder.input_name == "input_values" else [41, 2, 62]
    alone = make_inputs(model, lengths)
    batch = join(model, alone)
    features, frame_mask = model.encoder.features(batch[model.encoder.input_name], batch["attention_mask"])
    for row, mask, recording in zip(features, frame_mask, alone, strict=True):
        expected, _ = model.encoder.features(recording[model.encoder.input_name], recording["attention_mask"])
        torch.testing.assert_close(row[mask], expected[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", ["wav2vec2", "wavlm", "wav2vec2-large", "whisper"])
def test_gradient_checkpointing_goes_on_above_kept_layers(family, make_model, make_batch):
    model = make_model(family, still=True)
    model.freeze_layers(1)
    batch = make_batch(model, labels=True)
    encoded = model.encode(**{name: tensor for name, tensor in batch.items() if name != "labels"})
    kept = {"layer_states": encoded.hidden_states[0].detach()[:, None], "attention_mask": encoded.frame_mask.long()}
    model.gradient_checkpointing_enable({"use_reentrant": False})
    assert_trains_equally(model, batch, kept)


def test_ctc_is_finite_for_empty_and_too_long_targets(family, make_model, make_batch):
    model = make_model(family).train()
    output = model(**make_batch(model, labels=True))
    assert output.task_losses["transcript"] > 0
    output.loss.backward()
    assert output.loss.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_gradient_checkpointing_changes_nothing(family, make_model, make_batch):
    model = make_model(family, still=True)
    model.freeze_layers(1)
    model.train()
    batch = make_batch(model, labels=True)

    loss, gradients = loss_and_gradients(model, batch)
    model.gradient_checkpointing_enable({"use_reentrant": False})  # re-entrant gives no gradients above frozen layers
    checkpointed_loss, checkpointed = loss_and_gradients(model, batch)
    torch.testing.assert_close(checkpointed_loss, loss)
    assert set(checkpointed) == set(gradients)
    for name, gradient in gradients.items():
        torch.testing.assert_close(checkpointed[name], gradient, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_output_attentions(family, make_model, make_batch):
    model = make_model(family)
    batch = make_batch(model)
    assert model(**batch).attentions is None
    model.set_attn_implementation("eager")
    output = model(**batch, output_attentions=True)
    if family in NO_ATTENTIONS:
        assert output.attentions is None
        return
    frames = output.frame_mask.shape[1] // (2 if family.startswith("sew") else 1)
    shapes = [tuple(weights.shape) for weights in output.attentions]
    assert shapes == [(4, 4, frames, frames)] * len(model.encoder.layers)
    if not family.startswith("sew"):
        padded = ~output.frame_mask[:, None, None].expand(-1, 4, frames, -1)
        for weights in output.attentions:
            assert weights[padded].abs().max() < 1e-6
    assert_equal_outputs(output, model(**batch))


@torch.no_grad()
def test_half_precision(family, make_model, make_batch, tmp_path):
    model = make_model(family)
    model.save_pretrained(tmp_path)
    half = SerMetaModel.from_pretrained(tmp_path, dtype=torch.bfloat16).eval()
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}
    batch = make_batch(model)
    torch.testing.assert_close(half(**batch).logits.float(), model(**batch).logits, rtol=0.1, atol=0.15)


def test_layers_are_counted(make_model):
    model = make_model()
    assert model.freeze_layers(0) == []
    with pytest.raises(ValueError, match="cannot freeze 5 layers: the encoder has 4"):
        model.freeze_layers(5)
    assert set(model.freeze_layers(4)) == {f"encoder.{name}" for name, _ in model.encoder.named_parameters()}
