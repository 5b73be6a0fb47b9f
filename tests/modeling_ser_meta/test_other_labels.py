"""`num_labels`, `id2label` and `label2id`, as every user of Transformers gives them; and the stock Trainer."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForAudioClassification, Trainer, TrainingArguments

from ser_meta.modeling_ser_meta import SerMetaConfig, SerMetaModel

OTHERS = ["low", "middle", "high"]


@pytest.fixture(scope="module")
def folder(make_model, tmp_path_factory):
    """A model that tells four labels apart, with what was measured on them."""
    folder = tmp_path_factory.mktemp("model")
    model = make_model(class_weights=[1.0, 2.0, 1.0, 1.0], calibration_temperature=2.0)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("auto_class", [SerMetaModel, AutoModelForAudioClassification])
@pytest.mark.parametrize(
    ("options", "labels"),
    [
        ({"id2label": dict(enumerate(OTHERS))}, OTHERS),
        ({"label2id": {label: index for index, label in enumerate(OTHERS)}}, OTHERS),
        ({"num_labels": 3, "id2label": {str(index): label for index, label in enumerate(OTHERS)}}, OTHERS),
        ({"num_labels": 3}, ["LABEL_0", "LABEL_1", "LABEL_2"]),
    ],
)
def test_a_model_starts_on_other_labels(auto_class, options, labels, folder, make_batch, tmp_path):
    model = auto_class.from_pretrained(folder, **options, ignore_mismatched_sizes=True).eval()
    before = SerMetaModel.from_pretrained(folder)
    assert model.config.tasks["emotion"]["labels"] == labels and model.config.num_labels == 3
    assert model.config.class_weights is None and model.config.calibration_temperature == 1.0
    new = {name for name, value in model.named_parameters() if not torch.equal(value, before.get_parameter(name))}
    assert new == {"classifier.4.weight", "classifier.4.bias"}
    model.save_pretrained(tmp_path)
    batch = make_batch(model)
    again = SerMetaModel.from_pretrained(tmp_path).eval()
    assert again.config.id2label == dict(enumerate(labels))
    with torch.no_grad():
        assert torch.equal(again(**batch).logits, model(**batch).logits)


def test_weights_that_do_not_fit_are_refused_unless_asked_for(folder):
    with pytest.raises(RuntimeError, match=r"ignore_mismatched_sizes|size mismatch"):
        SerMetaModel.from_pretrained(folder, id2label=dict(enumerate(OTHERS)))


@pytest.mark.parametrize("when", ["loading", "later"])
def test_labels_may_be_renamed(when, folder, tmp_path):
    names = ["Neutral", "Joy", "Anger", "Sadness"]
    if when == "loading":
        model = SerMetaModel.from_pretrained(folder, id2label=dict(enumerate(names)))
        assert model.config.calibration_temperature == 2.0
    else:
        model = SerMetaModel.from_pretrained(folder)
        model.config.id2label = dict(enumerate(names))
    model.save_pretrained(tmp_path)
    config = SerMetaConfig.from_pretrained(tmp_path)
    assert config.tasks["emotion"]["labels"] == names and config.label2id["Anger"] == 2


def test_nothing_is_saved_that_cannot_be_loaded(folder, tmp_path):
    model = SerMetaModel.from_pretrained(folder)
    model.config.id2label = dict(enumerate(OTHERS))
    with pytest.raises(ValueError, match=r"id2label has the labels \['low', .*ignore_mismatched_sizes=True"):
        model.save_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_labels": 3, "id2label": {0: "a", 1: "b"}}, "contradict each other"),
        ({"id2label": {0: "a", 1: "b"}, "label2id": {"a": 1, "b": 0}}, "contradict each other"),
        ({"dropout": 1.5}, "dropout=1.5 must be"),
        ({"tasks": {"mood": {"labels": ["a", "b"]}}}, "target_task='emotion' must name a classification"),
    ],
)
def test_what_is_given_beside_a_folder_is_checked(options, message, folder):
    with pytest.raises(ValueError, match=message):
        SerMetaConfig.from_pretrained(folder, **options)
    with pytest.raises(ValueError, match=r"num_labels is 7, but tasks"):
        SerMetaConfig(num_labels=7)


def test_the_stock_trainer_with_metrics_of_the_argmax(folder, tmp_path):
    chance = np.random.default_rng(0)
    rows = [{"input_values": chance.normal(size=4_000).astype(np.float32), "labels": label % 4} for label in range(8)]
    seen = []

    def metrics(evaluated) -> dict[str, float]:
        seen.append(evaluated)
        return {"accuracy": float((evaluated.predictions.argmax(axis=-1) == evaluated.label_ids).mean())}

    arguments = TrainingArguments(
        str(tmp_path), max_steps=1, per_device_train_batch_size=4, report_to="none", use_cpu=True, disable_tqdm=True
    )
    model = SerMetaModel.from_pretrained(folder)
    trainer = Trainer(model, arguments, train_dataset=rows, eval_dataset=rows, compute_metrics=metrics)
    trainer.train()
    result = trainer.evaluate()
    assert trainer.label_names == ["labels"]
    with torch.no_grad():
        logits = model.eval()(torch.tensor(np.stack([row["input_values"] for row in rows]))).logits.numpy()
    np.testing.assert_allclose(seen[0].predictions, logits, atol=1e-4)
    expected = (logits.argmax(axis=-1) == [row["labels"] for row in rows]).mean()
    assert result["eval_accuracy"] == pytest.approx(expected) and result["eval_loss"] > 0
    trainer.save_model(str(tmp_path / "saved"))
    saved = SerMetaModel.from_pretrained(tmp_path / "saved")
    assert all(torch.equal(value, saved.get_parameter(name)) for name, value in model.named_parameters())
