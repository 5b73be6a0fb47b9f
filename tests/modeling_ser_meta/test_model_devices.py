"""The model on a GPU that is pretended, see `pretended_gpu.py`: the CPU's numbers, no stray tensor, few waits."""

import pytest
import torch
from pretended_gpu import PretendedGpu
from transformers import Wav2Vec2FeatureExtractor

from ser_meta.modeling_ser_meta import SerMetaProcessor, SpeechEmotionPipeline, losses_ser_meta, modules_ser_meta
from ser_meta.modeling_ser_meta.losses_ser_meta import characters_loss
from ser_meta.modeling_ser_meta.processing_ser_meta import character_tokenizer

LOSS = {"class_weights": [1.0, 2.0, 0.5, 1.0], "label_smoothing": 0.1}
RICH = {
    "standardize_states": True,
    "frame_pooling": ["mean", "deviation", "attentive_mean", "attentive_deviation"],
    "coattention_pooled_frames": True,
}


def on_gpu(value, gpu: PretendedGpu):
    """A batch with every tensor on the GPU."""
    if isinstance(value, dict):
        return {name: on_gpu(inner, gpu) for name, inner in value.items()}
    return value.to(gpu.device)


def own(waits: list[str]) -> list[str]:
    return [place for place in waits if "_ser_meta." in place]


@pytest.fixture
def ctc_on_gpu(monkeypatch):
    """As on CUDA, where torch has a kernel for it."""
    monkeypatch.setattr(losses_ser_meta, "ctc_device", lambda device: device)


def test_a_step_of_every_family_is_that_of_the_cpu(family, make_model, make_batch, ctc_on_gpu):
    model = make_model(family, still=True, **LOSS).train()
    batch = make_batch(model, labels=True)
    expected = model(**batch)
    expected.loss.backward()
    gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad()
    with PretendedGpu() as gpu:
        model.to(gpu.device)
        batch = on_gpu(batch, gpu)
        gpu.waits.clear()
        output = model(**batch)
        output.loss.backward()
        # the input's lengths, and the padding's
        assert len(own(gpu.waits)) <= 2, gpu.waits
        for name, logits in output.task_logits.items():
            assert logits.device.type == gpu.device
            torch.testing.assert_close(logits.cpu(), expected.task_logits[name], rtol=0, atol=1e-5)
        torch.testing.assert_close(output.loss.cpu(), expected.loss, rtol=1e-5, atol=1e-5)
        found = {name: weight.grad.cpu() for name, weight in model.named_parameters() if weight.grad is not None}
    torch.testing.assert_close(found, gradients, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "fusion", [{"ari_weighting": "softmax", "ari_join": "concat"}, {"layer_fusion": "weighted_sum"}]
)
def test_all_that_a_model_may_have_stays_on_the_gpu(fusion, make_model, make_batch, ctc_on_gpu):
    tasks = {
        "emotion": {"labels": ["neutral", "happy", "angry", "sad"]},
        "arousal": {"kind": "regression", "range": [1, 5]},
        "transcript": {"kind": "ctc"},
    }
    model = make_model(tasks=tasks, still=True, **LOSS, **RICH, **fusion).train()
    labels = make_batch(model, labels=True)["labels"]
    labels = {
        **{name: labels[name] for name in ("emotion", "transcript")},
        "arousal": torch.tensor([1, 2.5, torch.nan, 4]),
    }
    batch = {**make_batch(model), "state_means": torch.randn(4, 4, 32), "labels": labels}
    expected = model(**batch, output_hidden_states=True)
    with PretendedGpu() as gpu:
        model.to(gpu.device)
        output = model(**on_gpu(batch, gpu), output_hidden_states=True)
        output.loss.backward()
        for name, loss in expected.task_losses.items():
            torch.testing.assert_close(output.task_losses[name].cpu(), loss, rtol=1e-5, atol=1e-6)
        assert {state.device.type for state in output.hidden_states} == {gpu.device}


@pytest.mark.parametrize("kept", ["extract_features", "layer_states"])
def test_what_was_kept_goes_on_on_the_gpu(kept, make_model, make_batch):
    model = make_model(still=True)
    batch = make_batch(model)
    with torch.no_grad():
        expected = model(**batch, output_hidden_states=True)
        features, mask = model.encoder.features(batch["input_values"], batch["attention_mask"])
    states = {"extract_features": features, "layer_states": torch.stack(expected.hidden_states[:2], dim=1)}
    with PretendedGpu() as gpu, torch.no_grad():
        model.to(gpu.device)
        given = on_gpu({kept: states[kept], "attention_mask": mask.long()}, gpu)
        gpu.waits.clear()
        output = model(**given)
        assert len(own(gpu.waits)) <= 1, gpu.waits
        torch.testing.assert_close(output.logits.cpu(), expected.logits, rtol=0, atol=1e-6)


def test_ctc_of_a_gpu_without_a_kernel_for_it_is_computed_on_the_cpu():
    torch.manual_seed(0)
    logits = torch.randn(2, 20, 12)
    labels, lengths = torch.tensor([[3, 4, 5], [6, -100, -100]]), torch.tensor([20, 9])
    expected = logits.clone().requires_grad_()
    characters_loss(expected, labels, lengths).backward()
    with PretendedGpu() as gpu:  # as Apple's are
        assert losses_ser_meta.ctc_device(torch.device(gpu.device)).type == "cpu"
        computed = logits.to(gpu.device).requires_grad_()
        loss = characters_loss(computed, labels.to(gpu.device), lengths.to(gpu.device))
        loss.backward()
        assert loss.device.type == computed.grad.device.type == gpu.device
        torch.testing.assert_close(computed.grad.cpu(), expected.grad)


def test_the_pipeline_hears_on_the_gpu_as_on_the_cpu(make_model, tone):
    model = make_model()
    processor = SerMetaProcessor(Wav2Vec2FeatureExtractor(return_attention_mask=True), character_tokenizer())
    recordings = [{"array": tone(seconds), "sampling_rate": 16_000} for seconds in (0.5, 0.3)]
    options = {"model": model, "processor": processor, "batch_size": 2}
    expected = SpeechEmotionPipeline(**options)(recordings, return_embeddings=True)
    with PretendedGpu() as gpu:
        results = SpeechEmotionPipeline(**options, device=torch.device(gpu.device))(recordings, return_embeddings=True)
    for result, other in zip(results, expected, strict=True):
        assert result["transcript"] == other["transcript"]
        scores, others = ({entry["label"]: entry["score"] for entry in one["emotion"]} for one in (result, other))
        assert scores == pytest.approx(others, abs=1e-6)


def test_a_tensor_that_is_left_on_the_cpu_is_found(make_model, make_batch, monkeypatch):
    def on_cpu(lengths: torch.Tensor, size: int) -> torch.Tensor:
        return torch.arange(size)[None] < lengths[:, None]

    model = make_model("whisper")
    batch = make_batch(model)
    with PretendedGpu() as gpu:
        model.to(gpu.device)
        model(**on_gpu(batch, gpu))
        monkeypatch.setattr("ser_meta.modeling_ser_meta.encoder_ser_meta.mask_of", on_cpu)
        with pytest.raises(RuntimeError, match="same device"):
            model(**on_gpu(batch, gpu))


def test_a_wait_is_found(make_model, make_batch, monkeypatch):
    pool = modules_ser_meta.masked_mean

    def looking(frames: torch.Tensor, frame_mask: torch.Tensor) -> torch.Tensor:
        return pool(frames, frame_mask) if frame_mask.any() else frames[:, 0]

    model = make_model("whisper")
    batch = make_batch(model)
    with PretendedGpu() as gpu, torch.no_grad():
        model.to(gpu.device)
        given = on_gpu(batch, gpu)
        gpu.waits.clear()
        model(**given)
        before = len(gpu.waits)
        monkeypatch.setattr(modules_ser_meta, "masked_mean", looking)
        model(**given)
        assert len(gpu.waits) > 2 * before and "modules_ser_meta.forward" in gpu.waits
