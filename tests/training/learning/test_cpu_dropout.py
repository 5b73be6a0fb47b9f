import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ser_meta.training.learning.cpu_dropout import fast_dropout

PROBABILITY = 0.1
KEPT = 1 - round(PROBABILITY * 2**16) / 2**16


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_so_many_are_dropped_and_the_others_scaled(dtype):
    frames = torch.ones(3, 101, 333, dtype=dtype)
    with fast_dropout():
        dropped = nn.Dropout(PROBABILITY)(frames)
    assert dropped.dtype == dtype and dropped.shape == frames.shape
    assert set(dropped.unique().tolist()) == {0.0, torch.tensor(1 / KEPT, dtype=dtype).item()}
    # the share of about 100,000 independent draws: five standard deviations are 0.005
    assert (dropped == 0).float().mean().item() == pytest.approx(PROBABILITY, abs=0.005)


def test_draws_do_not_depend_on_each_other():
    """Neighbours share a draw of 64 bits, and yet go together as often as chance has it."""
    with fast_dropout():
        dropped = nn.Dropout(0.5)(torch.ones(2**17)) == 0
    for distance in (1, 2, 3, 4, 2**16):
        together = (dropped[:-distance] == dropped[distance:]).float().mean().item()
        assert together == pytest.approx(0.5, abs=0.01)


def test_the_gradient_is_dropped_and_scaled_alike():
    frames = torch.ones(5, 7, requires_grad=True)
    with fast_dropout():
        dropped = nn.Dropout(0.5)(frames)
    dropped.sum().backward()
    assert torch.equal(frames.grad, dropped.detach()) and 0 < (frames.grad == 0).sum() < 35


def test_layers_that_are_repeated_in_the_backward_pass_drop_the_same():
    layer, frames = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5)), torch.randn(4, 8)
    gradients = []
    for repeated in (False, True):
        torch.manual_seed(1)
        with fast_dropout():
            output = checkpoint(layer, frames, use_reentrant=False) if repeated else layer(frames)
            gradients.append(torch.autograd.grad(output.square().sum(), layer[0].weight)[0])
    assert torch.equal(*gradients)


def test_nothing_is_dropped_in_evaluation_nor_anything_else_changed():
    frames = torch.randn(4, 8)
    with fast_dropout():
        assert torch.equal(nn.Dropout(0.5).eval()(frames), frames)
        assert torch.equal(nn.Dropout(0.0)(frames), frames)
        assert torch.equal(nn.Dropout(1.0)(frames), torch.zeros(4, 8))
        in_place = frames.clone()
        assert nn.Dropout(0.5, inplace=True)(in_place) is in_place and (in_place == 0).any()
        assert torch.equal(nn.functional.gelu(frames), nn.GELU()(frames))


def test_what_the_attention_drops_is_drawn_fast_too(monkeypatch):
    """Eager attention and the encoder's layers ask for it by name: torch's own is not reached once."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    from ser_meta.training.learning import cpu_dropout as module

    dimensions, fast = [], module.dropout

    def counted(frames, *given, **named):
        dimensions.append(frames.dim())
        return fast(frames, *given, **named)

    monkeypatch.setattr(module, "dropout", counted)
    config = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8,),
        conv_kernel=(10,),
        conv_stride=(20,),
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        apply_spec_augment=False,
    )
    model = Wav2Vec2Model._from_config(config, attn_implementation="eager").train()
    with fast_dropout():
        model(torch.randn(1, 800))
    assert 4 in dimensions and dimensions.count(3) >= 3  # of attention's weights; of features, activations and outputs
