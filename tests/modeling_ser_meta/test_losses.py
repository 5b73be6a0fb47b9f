"""The task losses, against torch's own and by hand."""

import pytest
import torch
from torch.nn.functional import cross_entropy, ctc_loss, log_softmax

from ser_meta.modeling_ser_meta.losses_ser_meta import characters_loss, classification_loss, ctc_device, labelled_rows

MISSING = -100


def test_the_loss_is_the_unweighted_sum(make_model, make_batch):
    model = make_model()
    batch = make_batch(model, labels=True)
    output = model(**batch)
    assert list(output.task_losses) == list(model.config.tasks)
    torch.testing.assert_close(output.loss, sum(output.task_losses.values()))
    expected = cross_entropy(output.logits[[0, 1, 3]], batch["labels"]["emotion"][[0, 1, 3]])
    torch.testing.assert_close(output.task_losses["emotion"], expected)


@torch.no_grad()
def test_a_missing_label_costs_only_its_own_tasks_row(make_model, make_batch):
    model = make_model()
    batch = make_batch(model, labels=True)
    before = model(**batch).task_losses
    batch["labels"]["gender"] = torch.tensor([1, MISSING, 0, 1])
    output = model(**batch)
    expected = cross_entropy(output.task_logits["gender"][[0, 2, 3]], torch.tensor([1, 0, 1]))
    torch.testing.assert_close(output.task_losses["gender"], expected)
    for name in set(before) - {"gender"}:
        assert torch.equal(output.task_losses[name], before[name])


def test_labels_that_are_all_missing_add_nothing(make_model, make_batch):
    model = make_model()
    batch = make_batch(model, labels=True)
    batch["labels"] = {name: torch.full_like(labels, MISSING) for name, labels in batch["labels"].items()}
    output = model(**batch)
    assert output.loss == 0 and all(loss == 0 for loss in output.task_losses.values())
    output.loss.backward()
    assert all(not p.grad.any() for p in model.parameters() if p.grad is not None)


@torch.no_grad()
def test_a_task_without_labels_has_no_loss(make_model, make_batch):
    model = make_model()
    batch = make_batch(model, labels=True)
    batch["labels"] = {"gender": batch["labels"]["gender"]}
    output = model(**batch)
    assert list(output.task_losses) == ["gender"] and output.loss == output.task_losses["gender"]
    batch["labels"] = torch.tensor([0, 1, 2, 3])  # a lone tensor is the target's
    assert list(model(**batch).task_losses) == ["emotion"]
    batch.pop("labels")
    assert model(**batch).loss is None and model(**batch).task_losses is None
    with pytest.raises(ValueError, match=r"unknown tasks \['mood'\]"):
        model(**batch, labels={"mood": torch.tensor([0, 1, 2, 3])})


def test_ctc_is_computed_where_torch_has_a_kernel():
    """Apple's GPUs have none."""
    assert ctc_device(torch.device("mps")) == torch.device("cpu")
    assert ctc_device(torch.device("cpu")) == torch.device("cpu")
    assert ctc_device(torch.device("cuda", 1)) == torch.device("cuda", 1)


def test_characters_loss_is_torchs_per_utterance():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 20, 30, generator=generator)
    lengths = torch.tensor([20, 13, 6, 20])
    labels = torch.full((4, 9), MISSING)
    labels[0, :9] = torch.randint(2, 30, (9,), generator=generator)
    labels[1, :2] = torch.tensor([7, 7])
    labels[2, :8] = torch.randint(2, 30, (8,), generator=generator)  # eight characters, six frames
    expected = []
    for row, length in ((0, 9), (1, 2)):
        scores = log_softmax(logits[row, : lengths[row]], dim=-1)
        whole = ctc_loss(scores, labels[row, :length], lengths[row], torch.tensor(length), reduction="sum")
        expected.append(whole / length)
    # the too long target adds 0 to the mean of the three labelled rows, the empty one is none of them
    torch.testing.assert_close(characters_loss(logits, labels, lengths), sum(expected) / 3)
    torch.testing.assert_close(characters_loss(logits[1:2], labels[1:2], lengths[1:2]), expected[1])


def test_padding_does_not_change_the_characters_loss():
    logits = torch.randn(2, 20, 30, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[4, 5, 6, 6], [8, 9, MISSING, MISSING]])
    lengths = torch.tensor([20, 11])
    wider = torch.nn.functional.pad(labels, (0, 5), value=MISSING)
    longer = torch.cat([logits, torch.full((2, 4, 30), 9.0)], dim=1)
    torch.testing.assert_close(characters_loss(longer, wider, lengths), characters_loss(logits, labels, lengths))


def test_half_precision_logits_give_a_finite_loss():
    logits = (torch.randn(2, 20, 30, generator=torch.Generator().manual_seed(0)) * 50).to(torch.float16)
    loss = characters_loss(logits, torch.tensor([[4, 5], [6, 7]]), torch.tensor([20, 9]))
    assert loss.dtype == torch.float32 and loss.isfinite()
    assert classification_loss(logits[:, 0] * 100, torch.tensor([0, 1])).isfinite()


def test_which_rows_are_labelled():
    assert labelled_rows(torch.tensor([0, MISSING, 2])).tolist() == [True, False, True]
    assert labelled_rows(torch.tensor([[3, MISSING], [MISSING, MISSING]])).tolist() == [True, False]


def test_class_weights_count_in_training_and_for_the_target_alone(make_model, make_batch):
    logits, labels = torch.randn(4, 3), torch.tensor([0, 2, MISSING, 1])
    right = log_softmax(logits, dim=-1)[[0, 1, 3], [0, 2, 1]]
    expected = -(torch.tensor([0.5, 2.5, 1.0]) * right).sum() / 3
    torch.testing.assert_close(classification_loss(logits, labels, class_weights=[0.5, 1.0, 2.5]), expected)
    smoothed = [
        weight * classification_loss(logits[[row]], labels[[row]], 0.2)
        for row, weight in ((0, 0.5), (1, 2.5), (3, 1.0))
    ]
    torch.testing.assert_close(classification_loss(logits, labels, 0.2, [0.5, 1.0, 2.5]), sum(smoothed) / 3)
    given = [1, 1, 2, 1]
    model = make_model(still=True, class_weights=given)
    batch = make_batch(model, labels=True)
    for training in (True, False):
        output = model.train(training)(**batch)
        for name in ("emotion", "gender"):
            used = given if training and name == "emotion" else None
            expected = classification_loss(output.task_logits[name], batch["labels"][name], class_weights=used)
            torch.testing.assert_close(output.task_losses[name], expected)


def test_smoothed_labels_count_in_training_and_for_the_target_alone(make_model, make_batch):
    model = make_model(label_smoothing=0.2, dropout=0.0)
    batch = make_batch(model, labels=True)
    logits, labels = torch.randn(4, 3), torch.tensor([0, 2, MISSING, 1])
    known = log_softmax(logits[[0, 1, 3]], dim=-1)
    right = known[torch.arange(3), labels[[0, 1, 3]]]
    expected = -(0.8 * right + 0.2 * known.mean(dim=-1)).mean()
    torch.testing.assert_close(classification_loss(logits, labels, 0.2), expected)
    model.train()
    for name, smoothed in (("emotion", 0.2), ("gender", 0.0)):
        output = model(**batch)
        expected = classification_loss(output.task_logits[name], batch["labels"][name], smoothed)
        torch.testing.assert_close(output.task_losses[name], expected)
    output = model.eval()(**batch)
    torch.testing.assert_close(
        output.task_losses["emotion"], classification_loss(output.logits, batch["labels"]["emotion"])
    )
