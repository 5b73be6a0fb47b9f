import pytest
import torch
from torch.nn.functional import cosine_similarity

from ser_meta.modeling_ser_meta import SerMetaConfig, SerMetaModel
from ser_meta.modeling_ser_meta.modeling_ser_meta import SerMetaOutput
from ser_meta.training.batches.teacher_outputs import Fused, fusion_heard
from ser_meta.training.learning.distillation import Distillation, at_rate, distance, layers_to_learn
from ser_meta.training.learning.narrowing import narrowed

LENGTHS = torch.tensor([5, 3])
MASK = torch.arange(5) < LENGTHS[:, None]


@pytest.fixture
def drawn():
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(*shape, generator=generator)


def test_probabilities_are_compared_at_a_temperature(drawn):
    tasks = {"emotion": {"kind": "classification"}, "age": {"kind": "regression", "range": [0, 10]}}
    own, its, age = drawn(2, 3), drawn(2, 3), torch.tensor([2.0, 9.0])
    outputs = SerMetaOutput(task_logits={"emotion": own, "age": torch.tensor([4.0, 9.0])}, frame_mask=MASK)
    teacher = {"logits of emotion": its, "logits of age": age}
    found = Distillation({"target": 1, "tasks": 1}, 3.0, tasks, "emotion").losses(outputs, Fused([], own), teacher)
    asked, given = (its / 3).softmax(-1), (own / 3).softmax(-1)
    expected = 9 * (asked * (asked / given).log()).sum(-1).mean()
    assert found["target"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert found["tasks"].item() == pytest.approx((0.4**2 + 0) / 2)


def test_several_labels_at_once_are_compared_one_by_one(drawn):
    own, its = drawn(2, 3), drawn(2, 3)
    outputs = SerMetaOutput(task_logits={"emotion": own}, frame_mask=MASK)
    learned = Distillation({"target": 1}, 2.0, {"emotion": {"kind": "multilabel"}}, "emotion")
    asked, given = (its / 2).sigmoid(), (own / 2).sigmoid()
    expected = asked * (asked / given).log() + (1 - asked) * ((1 - asked) / (1 - given)).log()
    found = learned.losses(outputs, Fused([], own), {"logits of emotion": its})["target"]
    assert found.item() == pytest.approx(4 * expected.sum(-1).mean().item(), rel=1e-4)


def test_frames_are_compared_where_they_are_true(drawn):
    frames, others = drawn(2, 5, 4), drawn(2, 5, 4)
    found = distance(frames, others, MASK)
    for row, length in enumerate(LENGTHS.tolist()):
        own, its = frames[row, :length], others[row, :length]
        assert found[row].item() == pytest.approx(((own - its).square().sum() / its.square().sum()).item(), rel=1e-5)
    assert torch.equal(distance(others, others, MASK), torch.zeros(2))


def test_frames_of_other_widths_are_compared_by_their_cosines(drawn):
    frames, others = drawn(2, 5, 3), drawn(2, 5, 4)
    found = distance(frames, others, MASK)
    for row, length in enumerate(LENGTHS.tolist()):
        apart = [
            (
                cosine_similarity(frames[row, i], frames[row, j], dim=0)
                - cosine_similarity(others[row, i], others[row, j], dim=0)
            )
            ** 2
            for i in range(length)
            for j in range(length)
        ]
        assert found[row].item() == pytest.approx(torch.stack(apart).mean().item(), rel=1e-4)


def test_frames_of_another_rate_are_interpolated():
    frames = torch.arange(10.0).view(1, 10, 1)
    fitted = at_rate(frames, torch.tensor([10]), torch.ones(1, 5, dtype=torch.bool))
    assert fitted.flatten().tolist() == [0.5, 2.5, 4.5, 6.5, 8.5]
    assert torch.equal(at_rate(frames, torch.tensor([10]), torch.ones(1, 10, dtype=torch.bool)), frames)


def test_layers_are_evenly_chosen():
    assert layers_to_learn(2, 6) == [2, 5] and layers_to_learn(3, 12) == [3, 7, 11]
    assert layers_to_learn(6, 6) == [0, 1, 2, 3, 4, 5] and layers_to_learn(4, 2) == [0, 0, 1, 1]


@pytest.fixture
def model(encoder_folder):
    tasks = {"emotion": {"labels": ["a", "b"]}, "gender": {"labels": ["f", "m"]}}
    return SerMetaModel.from_backbone_pretrained(str(encoder_folder), tasks=tasks, coattention_heads=4).eval()


def test_what_goes_through_the_fusion_is_heard(model):
    with fusion_heard(model) as heard:
        outputs = model(torch.randn(2, 8_000), output_hidden_states=True)
    assert all(map(torch.equal, heard[0].states, outputs.hidden_states))
    assert torch.equal(heard[0].frames, model.layer_fusion(outputs.hidden_states))
    model(torch.randn(1, 8_000))
    assert len(heard) == 1


def test_a_narrower_model_keeps_its_strongest_neurons(model):
    with torch.no_grad():
        for layer in model.encoder.layers:  # half of the neurons add nothing
            layer.feed_forward.output_dense.weight[:, ::2] = 0
    narrow = narrowed(model, {"intermediate_size": model.config.speech_config.intermediate_size // 2}).eval()
    assert isinstance(narrow.config, SerMetaConfig) and narrow.num_parameters() < model.num_parameters()
    noise = torch.randn(2, 8_000)
    assert torch.allclose(narrow(noise).logits, model(noise).logits, atol=1e-6)
