"""The formulas of the paper's modules, against plain loops."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from ser_meta.modeling_ser_meta import SerMetaModel
from ser_meta.modeling_ser_meta.modules_ser_meta import (
    AugmentedResidualIntegration,
    CoAttention,
    FramePooling,
    LastHidden,
    StateStandardization,
    TaskHead,
    WeightedSum,
    masked_mean,
)
from ser_meta.modeling_ser_meta.settings_ser_meta import FRAME_POOLINGS

LAYERS, ROWS, FRAMES, WIDTH = 5, 2, 7, 8
WEIGHTINGS = ("matrix", "channel", "scalar", "softmax")


@pytest.fixture
def states() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(ROWS, FRAMES, WIDTH, generator=generator) for _ in range(LAYERS)]


@pytest.fixture
def frame_mask() -> torch.Tensor:
    return torch.arange(FRAMES) < torch.tensor([[FRAMES], [4]])


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("join", ["add", "concat"])
@pytest.mark.parametrize("weighting", WEIGHTINGS)
@torch.no_grad()
def test_ari_starts_as_the_last_layer(weighting, join, normalize, states):
    fusion = AugmentedResidualIntegration(WIDTH, LAYERS, weighting, join, normalize)
    assert torch.equal(fusion(states), states[-1])


HALF = (torch.bfloat16, torch.float16)


@contextmanager
def lowered(dtype: torch.dtype, autocast: bool, module: torch.nn.Module) -> Iterator[torch.dtype]:
    """Half precision, by autocast or of the weights themselves; gives the dtype of the frames."""
    with torch.no_grad(), torch.autocast("cpu", dtype, enabled=autocast):
        module.to(torch.float32 if autocast else dtype)
        yield torch.float32 if autocast else dtype


@pytest.mark.parametrize("autocast", [True, False])
@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("join", ["add", "concat"])
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_ari_starts_as_the_last_layer_in_half_precision_too(weighting, join, dtype, autocast, states):
    fusion = AugmentedResidualIntegration(WIDTH, LAYERS, weighting, join)
    with lowered(dtype, autocast, fusion) as frames:
        states = [state.to(frames) for state in states]
        assert torch.equal(fusion(states), states[-1])


@pytest.mark.parametrize("autocast", [True, False])
@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_layers_are_summed_in_float32(weighting, dtype, autocast):
    """Each lower layer adds less than half precision can add to the last one; all of them together do not."""
    fusion = AugmentedResidualIntegration(WIDTH, LAYERS, weighting)
    layers = [torch.full((1, 1, WIDTH), 2.0**-9)] * (LAYERS - 1) + [torch.ones(1, 1, WIDTH)]
    with torch.no_grad():
        for name, parameter in fusion.named_parameters():
            parameter.copy_(torch.eye(WIDTH) if name == "weight" and parameter.dim() == 3 else torch.ones(()))
    with lowered(dtype, autocast, fusion) as frames:
        fused = fusion([state.to(frames) for state in layers])
    scale = 1 / (LAYERS - 1) if weighting == "softmax" else 1
    expected = torch.tensor(1 + scale * (LAYERS - 1) * 2.0**-9)
    assert fused.dtype == frames
    torch.testing.assert_close(fused.float(), expected.to(frames).float().expand_as(fused), rtol=0, atol=0)


@pytest.mark.parametrize("autocast", [True, False])
@pytest.mark.parametrize("dtype", HALF)
def test_pooling_in_half_precision(dtype, autocast):
    """1 / 7 is no number of half precision, and the square of 1,000 is beyond float16's largest."""
    pooling = FramePooling(WIDTH, ["mean", "deviation"])
    frames = torch.full((1, 7, WIDTH), 1000.0)
    frames[:, :, WIDTH // 2 :] *= torch.tensor([-1.0, 1, -1, 1, -1, 1, 0])[:, None]
    mask = torch.ones(1, 7, dtype=torch.bool)
    with lowered(dtype, autocast, pooling) as kind:
        mean, deviation = pooling(frames.to(kind), mask).split(WIDTH, dim=-1)
        assert torch.equal(masked_mean(frames.to(kind), mask), mean)
    steady, varied = torch.ones(WIDTH // 2), torch.full((WIDTH // 2,), (6 / 7) ** 0.5)
    tolerance = 1e-6 if autocast else torch.finfo(dtype).eps
    expected = torch.cat([1000 * steady, 0 * steady])
    torch.testing.assert_close(mean[0].float(), expected, rtol=tolerance, atol=1e-3)
    torch.testing.assert_close(deviation[0, WIDTH // 2 :].float(), 1000 * varied, rtol=tolerance, atol=0)


@pytest.mark.parametrize("dtype", HALF)
def test_states_are_standardized_in_float32(dtype):
    """A mean of 64 deviations: taken off in half precision, it would take much of what is left along."""
    standardization = StateStandardization(WIDTH, 1)
    standardization.mean.fill_(64.0)
    standardization.deviation.fill_(3.0)
    states = torch.full((1, 1, WIDTH), 65.0, dtype=dtype)
    (result,) = standardization.to(dtype)([states])
    assert result.dtype == dtype
    torch.testing.assert_close(result.float(), torch.full((1, 1, WIDTH), 1 / 3), rtol=2**-8, atol=0)


@pytest.mark.parametrize("join", ["add", "concat"])
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_every_ari_weight_learns_from_the_start(weighting, join, states):
    fusion = AugmentedResidualIntegration(WIDTH, LAYERS, weighting, join)
    target = torch.randn(ROWS, FRAMES, WIDTH, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.SGD(fusion.parameters(), lr=0.1)
    for _ in range(2):  # the softmax's weights follow its scale, which starts at zero
        optimizer.zero_grad()
        (fusion(states) - target).square().mean().backward()
        optimizer.step()
    assert all(parameter.grad.any() for parameter in fusion.parameters())


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("join", ["add", "concat"])
@pytest.mark.parametrize("weighting", WEIGHTINGS)
@torch.no_grad()
def test_ari_is_formula_three(weighting, join, normalize, states):
    torch.manual_seed(0)
    fusion = AugmentedResidualIntegration(WIDTH, LAYERS, weighting, join, normalize)
    for parameter in fusion.parameters():
        parameter.normal_()
    output = fusion(states)

    exponentials = [float(torch.exp(w)) for w in fusion.weight] if weighting == "softmax" else []
    for row in range(ROWS):
        for frame in range(FRAMES):
            total = torch.zeros(WIDTH)
            for layer in range(LAYERS - 1):
                h = states[layer][row, frame]
                if normalize:
                    h = (h - h.mean()) / (h.var(unbiased=False) + 1e-5).sqrt()
                for i in range(WIDTH):
                    if weighting == "matrix":
                        total[i] += sum(h[j] * fusion.weight[layer, j, i] for j in range(WIDTH))
                    elif weighting == "channel":
                        total[i] += h[i] * fusion.weight[layer, i]
                    elif weighting == "scalar":
                        total[i] += h[i] * fusion.weight[layer]
                    else:
                        total[i] += h[i] * fusion.scale * exponentials[layer] / sum(exponentials)
            last = states[-1][row, frame]
            if join == "add":
                expected = last + total
            else:
                both = torch.cat([last, total])
                expected = fusion.projection.weight @ both + fusion.projection.bias
            torch.testing.assert_close(output[row, frame], expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_weighted_sum_is_a_softmax_over_all_layers(states):
    fusion = WeightedSum(LAYERS)
    torch.testing.assert_close(fusion(states), torch.stack(states).mean(dim=0))
    fusion.weight.copy_(torch.tensor([0.3, -1.0, 2.0, 0.0, 0.7]))
    exponentials = [float(torch.exp(w)) for w in fusion.weight]
    expected = torch.zeros(ROWS, FRAMES, WIDTH)
    for exponential, state in zip(exponentials, states, strict=True):
        expected += exponential / sum(exponentials) * state
    torch.testing.assert_close(fusion(states), expected)


def test_the_last_hidden_is_the_last(states):
    assert LastHidden()(states) is states[-1]


@torch.no_grad()
def test_co_attention_is_scaled_dot_product_over_true_frames(states, frame_mask):
    torch.manual_seed(0)
    tasks, query_size, heads = 3, 6, 2
    attention = CoAttention(WIDTH, query_size, heads)
    vectors, frames = torch.randn(ROWS, tasks, query_size), states[0]
    attended, weights = attention(vectors, frames, frame_mask)
    assert weights.shape == (ROWS, heads, tasks, FRAMES)
    size = WIDTH // heads
    for row in range(ROWS):
        true = int(frame_mask[row].sum())
        for task in range(tasks):
            joined = torch.zeros(WIDTH)
            query = attention.query(vectors[row, task])
            for head in range(heads):
                part = slice(head * size, (head + 1) * size)
                scores = [query[part] @ attention.key(frames[row, t])[part] / size**0.5 for t in range(true)]
                exponentials = [torch.exp(score) for score in scores]
                for t in range(true):
                    weight = exponentials[t] / sum(exponentials)
                    torch.testing.assert_close(weights[row, head, task, t], weight)
                    joined[part] += weight * attention.value(frames[row, t])[part]
            torch.testing.assert_close(attended[row, task], attention.output(joined), rtol=1e-4, atol=1e-5)


def test_padded_frames_get_no_weight_and_no_gradient(states, frame_mask):
    frames = states[0].clone().requires_grad_()
    attention = CoAttention(WIDTH, 6, 2)
    attended, weights = attention(torch.randn(ROWS, 3, 6), frames, frame_mask)
    assert (weights[1, :, :, 4:] == 0).all() and (weights[1, :, :, :4] > 0).all()
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(ROWS, 2, 3))
    attended.square().sum().backward()
    assert not frames.grad[1, 4:].any() and frames.grad[1, :4].any()


@torch.no_grad()
def test_heads_pool_true_frames_only(states, frame_mask):
    frames = states[0]
    mean = masked_mean(frames, frame_mask)
    torch.testing.assert_close(mean[1], frames[1, :4].mean(dim=0))
    for per_frame in (False, True):
        head = TaskHead(WIDTH, 6, 3, dropout=0.0, per_frame=per_frame)
        logits, vector = head(frames, frame_mask)
        hidden = torch.nn.functional.gelu(head.dense(frames[1, :4] if per_frame else mean[1]))
        torch.testing.assert_close(vector[1], hidden.mean(dim=0) if per_frame else hidden)
        torch.testing.assert_close(logits[1, :4] if per_frame else logits[1], head.classifier(hidden))


@torch.no_grad()
def test_frames_are_pooled_by_each_statistic(states, frame_mask):
    pooling = FramePooling(WIDTH, FRAME_POOLINGS)
    pooled = pooling(states[0], frame_mask).unflatten(-1, (4, WIDTH))
    for row, frames in enumerate(states[0]):
        true = frames[frame_mask[row]]
        scores = torch.tensor([pooling.scorer[2](pooling.scorer[0](frame).tanh()).item() for frame in true]).exp()
        for weights, found in ((torch.ones(len(true)), pooled[row, :2]), (scores, pooled[row, 2:])):
            share = weights / weights.sum()
            mean = sum(part * frame for part, frame in zip(share, true, strict=True))
            variance = sum(part * (frame - mean) ** 2 for part, frame in zip(share, true, strict=True))
            torch.testing.assert_close(found, torch.stack([mean, variance.sqrt()]))


def test_a_single_frames_deviation_has_a_gradient(states):
    frames = states[0][:, :1].clone().requires_grad_()
    FramePooling(WIDTH, ("deviation",))(frames, torch.ones(ROWS, 1, dtype=torch.bool)).sum().backward()
    assert frames.grad.isfinite().all()


@torch.no_grad()
def test_the_classifier_sees_the_attended_and_the_hidden_vectors(make_model, make_batch):
    model = make_model(coattention_pooled_frames=True, frame_pooling=["deviation", "mean"])
    output = model(**make_batch(model), output_hidden_states=True)
    frames = model.layer_fusion(output.hidden_states)
    vectors = torch.stack([head(frames, output.frame_mask)[1] for head in model.heads.values()], dim=1)
    attended, weights = model.coattention(vectors, frames, output.frame_mask)
    parts = [attended.flatten(1), vectors.flatten(1), model.frame_pooling(frames, output.frame_mask)]
    torch.testing.assert_close(output.embeddings, torch.cat(parts, dim=-1))
    torch.testing.assert_close(output.coattentions, weights)


@torch.no_grad()
def test_without_co_attention_the_classifier_sees_the_mean_frame(make_model, make_batch):
    emotion = {"emotion": {"labels": ["calm", "angry"]}}
    for model in (make_model(coattention=False), make_model(tasks=emotion), make_model(classifier_hidden_size=0)):
        output = model(**make_batch(model), output_hidden_states=True)
        if model.coattention is None:
            mean = masked_mean(model.layer_fusion(output.hidden_states), output.frame_mask)
            torch.testing.assert_close(output.embeddings, mean)
            assert output.coattentions is None
        torch.testing.assert_close(output.logits, model.classifier(output.embeddings))


@pytest.mark.parametrize("flows", [True, False])
def test_whether_the_emotion_loss_reaches_the_auxiliary_vectors(flows, make_model, make_batch):
    model = make_model(coattention_gradient=flows)
    model(**make_batch(model), labels=torch.tensor([0, 1, 2, 3])).loss.backward()
    assert all((head.dense.weight.grad is not None) == flows for head in model.heads.values())
    assert model.coattention.query.weight.grad.any() and model.encoder.layers[0].attention.k_proj.weight.grad.any()


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("join", ["add", "concat"])
def test_missing_ari_weights_start_at_the_last_layer(weighting, join, make_model, states, tmp_path):
    model = make_model(ari_weighting=weighting, ari_join=join)
    weights = {name: t for name, t in model.state_dict().items() if not name.startswith("layer_fusion.")}
    model.save_pretrained(tmp_path, state_dict=weights)
    loaded, info = SerMetaModel.from_pretrained(tmp_path, output_loading_info=True)
    assert set(info["missing_keys"]) == {f"layer_fusion.{name}" for name, _ in model.layer_fusion.named_parameters()}
    wide = [state.repeat(1, 1, 4) for state in states[:4]]
    assert torch.equal(loaded.layer_fusion(wide), wide[-1])


def test_missing_heads_start_as_new_ones(make_model, tmp_path):
    model = make_model()
    weights = {name: t for name, t in model.state_dict().items() if not name.startswith(("heads.", "classifier."))}
    model.save_pretrained(tmp_path, state_dict=weights)
    loaded = SerMetaModel.from_pretrained(tmp_path)
    for name, parameter in [*loaded.heads.named_parameters(), *loaded.classifier.named_parameters()]:
        if name.endswith("bias"):
            assert not parameter.any(), name
        else:
            assert 0.01 < parameter.std() < 0.03, name
