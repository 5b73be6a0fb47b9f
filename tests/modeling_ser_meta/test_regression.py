"""Tasks that are numbers: the concordance loss against the coefficient written out, and the head on its scale."""

from math import nan

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2FeatureExtractor

from ser_meta.modeling_ser_meta import SerMetaConfig, SerMetaModel, SerMetaProcessor, SpeechEmotionPipeline
from ser_meta.modeling_ser_meta.losses_ser_meta import concordance_loss, labelled_rows
from ser_meta.modeling_ser_meta.processing_ser_meta import character_tokenizer

TASKS = {
    "emotion": {"labels": ["neutral", "happy", "angry", "sad"]},
    "valence": {"kind": "regression", "range": [1, 5]},
    "gender": {"labels": ["female", "male"]},
}


def concordance_by_hand(values: np.ndarray, labels: np.ndarray) -> float:
    correlation = np.corrcoef(values, labels)[0, 1]
    apart = (values.mean() - labels.mean()) ** 2
    return 2 * correlation * values.std() * labels.std() / (values.var() + labels.var() + apart)


def test_the_loss_is_the_coefficient_written_out():
    chance = np.random.default_rng(0)
    labels = chance.uniform(1, 7, 40)
    values = 0.5 * labels + chance.normal(size=40)
    loss = concordance_loss(torch.tensor(values), torch.tensor(labels), 1, 7)
    assert loss.item() == pytest.approx(1 - concordance_by_hand(values, labels), abs=1e-6)
    # the scale is only a unit
    assert concordance_loss(torch.tensor(values), torch.tensor(labels), 0, 100).item() == pytest.approx(loss.item())
    assert concordance_loss(torch.tensor(labels), torch.tensor(labels), 1, 7) == 0


def test_missing_numbers_have_no_part_in_loss_and_gradient():
    values = torch.tensor([2.0, 9.0, 3.5, 1.0, 4.0], requires_grad=True)
    labels = torch.tensor([1.5, nan, 4.0, nan, 3.0])
    loss = concordance_loss(values, labels, 1, 5)
    torch.testing.assert_close(loss, concordance_loss(values[[0, 2, 4]], labels[[0, 2, 4]], 1, 5))
    loss.backward()
    assert values.grad.isfinite().all() and values.grad[[1, 3]].eq(0).all() and values.grad[[0, 2, 4]].ne(0).all()
    assert labelled_rows(labels).tolist() == [True, False, True, False, True]


@pytest.mark.parametrize("labels", [[2.0, nan, nan], [2.0, 2.0, 2.0], [2.0, 2.0001, nan]])
@pytest.mark.parametrize("values", [[2.0, 2.0, 2.0], [2.5, 3.0, 1.0]])
def test_without_a_spread_the_squared_error_stands_in(labels, values):
    values, labels = torch.tensor(values, requires_grad=True), torch.tensor(labels)
    known = ~labels.isnan()
    loss = concordance_loss(values, labels, 1, 5)
    expected = ((values - labels)[known] / 2).square().mean()
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert values.grad.isfinite().all()
    assert values.grad[known].abs().sum() > 0 or loss < 1e-8


def test_without_any_number_nothing_is_added():
    values = torch.tensor([2.0, 3.0], requires_grad=True)
    loss = concordance_loss(values, torch.tensor([nan, nan]), 1, 5)
    loss.backward()
    assert loss == 0 and not values.grad.any()


def test_half_precision_gives_a_finite_loss():
    values = torch.tensor([60_000.0, -60_000.0, 3.0], dtype=torch.float16, requires_grad=True)
    loss = concordance_loss(values, torch.tensor([1.0, 5.0, 3.0]), 1, 5)
    loss.backward()
    assert loss.dtype == torch.float32 and loss.isfinite() and values.grad.isfinite().all()


def test_a_model_learns_numbers_that_stand_on_their_scale(make_model, make_batch):
    model = make_model(tasks=TASKS, still=True, initializer_range=0.02, random=False)
    batch = make_batch(model)
    batch["labels"] = {
        "emotion": torch.tensor([0, 1, 2, 3]),
        "valence": torch.tensor([1.0, nan, 4.0, 5.0]),
        "gender": torch.tensor([0, 1, 1, 0]),
    }
    output = model(**batch)
    values = output.task_logits["valence"]
    assert values.shape == (4,) and (values - 3).abs().max() < 0.5  # it starts in the middle
    torch.testing.assert_close(
        output.task_losses["valence"], concordance_loss(values, batch["labels"]["valence"], 1, 5)
    )
    torch.testing.assert_close(output.loss, sum(output.task_losses.values()))
    optimizer = torch.optim.Adam(model.heads["valence"].parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        model(**batch).task_losses["valence"].backward()
        optimizer.step()
    learned = model(**batch).task_logits["valence"]
    torch.testing.assert_close(learned[[0, 2, 3]], torch.tensor([1.0, 4.0, 5.0]), rtol=0, atol=0.3)


def test_its_hidden_vector_attends_like_any_other_tasks(make_model, make_batch):
    model = make_model(tasks=TASKS)
    output = model(**make_batch(model))
    assert output.coattentions.shape[2] == 2
    output.logits.sum().backward()
    head = model.heads["valence"]
    assert head.dense.weight.grad.abs().sum() > 0 and head.classifier.weight.grad is None


@torch.no_grad()
def test_saved_and_loaded_it_answers_the_same(make_model, make_batch, tmp_path):
    model = make_model(tasks=TASKS)
    model.save_pretrained(tmp_path)
    loaded = SerMetaModel.from_pretrained(tmp_path).eval()
    assert loaded.config.tasks["valence"] == {"kind": "regression", "reported": True, "range": [1.0, 5.0]}
    batch = make_batch(model)
    torch.testing.assert_close(loaded(**batch).task_logits["valence"], model(**batch).task_logits["valence"])


@torch.no_grad()
def test_the_pipeline_answers_with_a_number(make_model, tone):
    model = make_model(tasks=TASKS)
    processor = SerMetaProcessor(Wav2Vec2FeatureExtractor(do_normalize=False), character_tokenizer())
    recordings = [{"array": tone(seconds), "sampling_rate": 16_000} for seconds in (0.3, 0.5)]
    results = SpeechEmotionPipeline(model=model, processor=processor)(recordings, batch_size=2)
    for result, recording in zip(results, recordings, strict=True):
        alone = model(**processor([recording["array"]], sampling_rate=16_000)).task_logits["valence"]
        assert type(result["valence"]) is float and result["valence"] == pytest.approx(alone.item(), abs=1e-4)


@pytest.mark.parametrize("ends", [None, [1], [5, 1], [1, 1], [1, nan], [1, float("inf")], "15", 3])
def test_a_scale_that_is_none_is_refused(ends):
    with pytest.raises(ValueError, match=r"tasks\['valence'\] needs a range \[low, high\], not"):
        SerMetaConfig(tasks={**TASKS, "valence": {"kind": "regression", "range": ends}})


def test_a_regression_is_no_target_and_has_no_labels():
    with pytest.raises(ValueError, match="target_task='valence' must name a classification"):
        SerMetaConfig(tasks=TASKS, target_task="valence")
    with pytest.raises(ValueError, match=r"unknown keys \['labels'\]: known for regression are kind, range, reported"):
        SerMetaConfig(tasks={**TASKS, "valence": {"kind": "regression", "range": [1, 5], "labels": ["low"]}})
