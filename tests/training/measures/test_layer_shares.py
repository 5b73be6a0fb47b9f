import pytest
import torch
from transformers import Wav2Vec2Config

from ser_meta.modeling_ser_meta import SerMetaConfig, SerMetaModel
from ser_meta.training.measures.layer_shares import layer_shares

TASKS = {"emotion": {"labels": ["calm", "sad"]}, "gender": {"labels": ["female", "male"]}}


def model_with(**settings) -> SerMetaModel:
    torch.manual_seed(0)
    layers = {"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 8}
    front = {"conv_dim": (4,), "conv_kernel": (10,), "conv_stride": (5,), "num_feat_extract_layers": 1}
    positions = {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 4}
    encoder = Wav2Vec2Config(**layers, **front, **positions)
    return SerMetaModel(SerMetaConfig(encoder, TASKS, coattention_heads=2, head_hidden_size=4, **settings))


@pytest.mark.parametrize(
    "fusion",
    [
        {"layer_fusion": "last_hidden"},
        {},
        {"ari_join": "concat"},
        {"coattention": False, "frame_pooling": ["mean", "deviation"]},
    ],
)
def test_at_the_start_every_task_reads_the_last_layer(fusion):
    shares = layer_shares(model_with(**fusion))
    assert shares == {"emotion": pytest.approx([0, 0, 1]), "gender": pytest.approx([0, 0, 1])}


def test_a_weighted_sum_reads_all_layers_alike_at_the_start():
    shares = layer_shares(model_with(layer_fusion="weighted_sum", coattention=False))
    assert shares["gender"] == pytest.approx([1 / 3] * 3) and shares["emotion"] == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize("join", ["add", "concat"])
@pytest.mark.parametrize("weighting", ["matrix", "channel", "scalar", "softmax"])
def test_a_share_is_how_far_a_layer_moves_what_the_task_reads(weighting, join):
    model = model_with(ari_weighting=weighting, ari_join=join)
    with torch.no_grad():
        for parameter in model.layer_fusion.parameters():
            parameter.copy_(torch.randn(parameter.shape))
    still = [torch.zeros(8, 8) for _ in range(3)]
    base = model.layer_fusion(still)
    moved = [
        # the frames of one layer are the unit vectors, one after another
        (model.layer_fusion([torch.eye(8) if layer == one else state for layer, state in enumerate(still)]) - base)
        @ model.heads["gender"].dense.weight.T
        for one in range(3)
    ]
    norms = torch.stack([change.norm() for change in moved])
    assert layer_shares(model)["gender"] == pytest.approx((norms / norms.sum()).tolist(), rel=1e-5)
