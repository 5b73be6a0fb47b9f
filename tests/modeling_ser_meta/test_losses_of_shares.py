"""Losses against the raters' shares, and of several labels at once, against loops written out."""

from math import exp, log

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from ser_meta.modeling_ser_meta.losses_ser_meta import (
    classification_loss,
    labelled_rows,
    majority,
    multilabel_loss,
)

MISSING = -100
KINDS = ("cross_entropy", "kl", "focal")


@pytest.fixture
def drawn() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and shares of five rows and four classes, the fourth without any rater."""
    generator = torch.Generator().manual_seed(0)
    votes = torch.tensor([[3, 0, 0, 0], [2, 1, 0, 0], [1, 1, 2, 4], [0, 0, 0, 0], [2, 0, 2, 1]]).double()
    shares = torch.where(votes.sum(1, keepdim=True) > 0, votes / votes.sum(1, keepdim=True).clamp(min=1), MISSING)
    return torch.randn(5, 4, generator=generator) * 3, shares.float()


def scores_of(logits: torch.Tensor) -> list[float]:
    powers = [exp(logit) for logit in logits.tolist()]
    return [power / sum(powers) for power in powers]


def cost(kind: str, p: list[float], q: list[float], gamma: float = 2.0) -> float:
    total = 0.0
    for share, score in zip(p, q, strict=True):
        if kind == "cross_entropy":
            total -= share * log(score)
        elif kind == "kl":
            total += share * log(share / score) if share else 0.0
        else:
            total -= share * (1 - score) ** gamma * log(score)
    return total


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("toward", ["uniform", "raters"])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weights", [None, [0.5, 1.0, 2.0, 1.5]])
def test_each_loss_is_its_formula(drawn, kind, toward, smoothing, weights):
    logits, shares = drawn
    expected = []
    for row in (0, 1, 2, 4):
        p = shares[row].tolist()
        if toward == "raters":
            most = [label for label in range(4) if p[label] == max(p)]
            sure = [1 / len(most) if label in most else 0.0 for label in range(4)]
            reference = [(1 - smoothing) * s + smoothing * share for s, share in zip(sure, p, strict=True)]
        else:
            reference = [(1 - smoothing) * share + smoothing / 4 for share in p]
        factor = 1.0 if weights is None else sum(share * weight for share, weight in zip(p, weights, strict=True))
        expected.append(factor * cost(kind, reference, scores_of(logits[row]), gamma=1.5))
    found = classification_loss(logits, shares, smoothing, weights, kind, toward, focal_gamma=1.5)
    assert found.item() == pytest.approx(sum(expected) / 4, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, [0.5, 1.0, 2.5]])
def test_an_id_is_a_share_of_one_to_the_bit(kind, smoothing, weights):
    ids = torch.tensor([0, 2, MISSING, 1, 1])
    shares = one_hot(ids.clamp(min=0), 3).float()
    shares[2] = MISSING
    logits = (torch.randn(5, 3, generator=torch.Generator().manual_seed(1)) * 5).requires_grad_()
    by_id = classification_loss(logits, ids, smoothing, weights, kind)
    (of_ids,) = torch.autograd.grad(by_id, logits)
    by_share = classification_loss(logits, shares, smoothing, weights, kind)
    (of_shares,) = torch.autograd.grad(by_share, logits)
    assert torch.equal(by_id, by_share) and torch.equal(of_ids, of_shares)
    if kind == "cross_entropy" and weights is None:  # and torch's own, which a hard label had before there were shares
        torchs = cross_entropy(logits, ids, reduction="none", label_smoothing=smoothing).sum() / 4
        (of_torchs,) = torch.autograd.grad(torchs, logits)
        assert torch.equal(torchs, by_id) and torch.equal(of_torchs, of_ids)


def test_kl_and_cross_entropy_pull_alike_and_differ_by_the_raters_entropy(drawn):
    logits, shares = drawn
    logits.requires_grad_()
    losses = [classification_loss(logits, shares, kind=kind) for kind in ("cross_entropy", "kl")]
    pulls = [torch.autograd.grad(loss, logits)[0] for loss in losses]
    torch.testing.assert_close(*pulls)
    entropy = torch.distributions.Categorical(probs=shares[[0, 1, 2, 4]]).entropy().mean()
    torch.testing.assert_close(losses[0] - losses[1], entropy)
    matched = shares[[1, 2, 4]].clamp(min=1e-30).log()
    assert classification_loss(matched, shares[[1, 2, 4]], kind="kl").item() == pytest.approx(0, abs=1e-6)


def test_a_row_that_nobody_rated_costs_nothing(drawn):
    logits, shares = drawn
    assert labelled_rows(shares).tolist() == [True, True, True, False, True]
    without = [0, 1, 2, 4]
    torch.testing.assert_close(
        classification_loss(logits, shares), classification_loss(logits[without], shares[without])
    )
    nobody = torch.full((2, 4), float(MISSING))
    assert classification_loss(logits[:2], nobody) == 0 and multilabel_loss(logits[:2], nobody) == 0
    assert not labelled_rows(torch.full((2, 4), torch.nan)).any()


def test_parts_weighed_by_their_rated_rows_are_the_whole(drawn):
    """As the trainer weighs the batches of a step, accumulated or on several processes."""
    logits, shares = drawn
    rated = labelled_rows(shares)
    parts = [slice(0, 2), slice(2, 4), slice(4, 5)]
    for loss in (classification_loss, multilabel_loss):
        whole = sum(loss(logits[part], shares[part]) * rated[part].sum() / rated.sum() for part in parts)
        torch.testing.assert_close(whole, loss(logits, shares))


def test_an_id_beyond_the_labels_is_an_error():
    with pytest.raises((RuntimeError, IndexError)):
        classification_loss(torch.zeros(2, 3), torch.tensor([0, 3]))


def test_tied_labels_share_the_majority():
    most = majority(torch.tensor([[0.4, 0.4, 0.2], [0.1, 0.2, 0.7]]))
    torch.testing.assert_close(most, torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]))


@pytest.mark.parametrize("kind", ["cross_entropy", "focal"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, [0.5, 1.0, 2.0]])
def test_several_labels_at_once_are_as_many_answers(kind, smoothing, weights):
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(2)) * 2
    labels = torch.tensor([[1, 0, 1], [0, 0, 0], [MISSING] * 3, [1, 1, 0]]).float()
    expected = 0.0
    for row in (0, 1, 3):
        for label in range(3):
            score = 1 / (1 + exp(-logits[row, label].item()))
            reference = labels[row, label].item() * (1 - smoothing) + smoothing / 2
            loss = -reference * log(score) - (1 - reference) * log(1 - score)
            if kind == "focal":
                loss *= (1 - (reference * score + (1 - reference) * (1 - score))) ** 2
            expected += loss * (1.0 if weights is None else weights[label]) / 3 / 3
    assert multilabel_loss(logits, labels, smoothing, weights, kind).item() == pytest.approx(expected, rel=1e-5)


def test_the_targets_settings_count_in_training_and_for_the_target_alone(make_model, make_batch):
    settings = {"target_loss": "focal", "focal_gamma": 1.5, "label_smoothing": 0.2, "smoothing_toward": "raters"}
    model = make_model(dropout=0.0, **settings)
    batch = make_batch(model, labels=True)
    for name in ("emotion", "gender"):
        labels = len(model.config.tasks[name]["labels"])
        batch["labels"][name] = torch.rand(4, labels, generator=torch.Generator().manual_seed(3)).softmax(dim=-1)
    for training in (True, False):
        output = model.train(training)(**batch)
        for name in ("emotion", "gender"):
            options = (0.2, None, "focal", "raters", 1.5) if training and name == "emotion" else ()
            expected = classification_loss(output.task_logits[name], batch["labels"][name], *options)
            torch.testing.assert_close(output.task_losses[name], expected)
