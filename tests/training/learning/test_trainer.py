from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.training.batches.augmentation import SpeedPerturbation
from ser_meta.training.batches.collator import SpeechCollator
from ser_meta.training.batches.micro_batches import PaddedBound
from ser_meta.training.learning.arguments import training_arguments
from ser_meta.training.learning.freezing import apply_freeze_mask
from ser_meta.training.learning.trainer import SerMetaTrainer
from ser_meta.training.machine.device import without_gpu
from ser_meta.training.runs.preparation import prepare


@pytest.fixture(scope="module")
def prepared(recipe_file, steady_settings):
    return prepare(load_recipe(str(recipe_file), [*steady_settings, "data.speed_factors=[1.0]"]))


@pytest.fixture
def make_trainer(prepared, tmp_path):
    """A trainer of the recipe's second stage with some of its settings changed, on all rows or on those given."""

    def make(rows=None, speed: float = 1.0, bound=None, **settings) -> SerMetaTrainer:
        stage = replace(prepared.recipe.stages["emotion"], max_gradient_norm=1e9, **settings)
        train = prepared.side("train") if rows is None else rows
        model = prepared.new_model()
        apply_freeze_mask(model, stage)
        perturbation = SpeedPerturbation([speed], seed=1)
        return SerMetaTrainer(
            loss_weights=stage.loss_weights,
            encoder_learning_rate=stage.encoder_learning_rate,
            model=model,
            args=training_arguments(prepared.recipe, stage, tmp_path / "stage", len(train), validates=False),
            processing_class=prepared.processor,
            data_collator=SpeechCollator(prepared.processor, prepared.tasks, perturbation),
            train_dataset=train,
            bound=bound,
        )

    return make


class Gradients(TrainerCallback):
    """Keeps what the optimizer is about to use."""

    def on_pre_optimizer_step(self, args, state, control, model, **_):
        self.seen = {
            name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None
        }


def gradients(trainer: SerMetaTrainer) -> dict[str, torch.Tensor]:
    """Of a run's only step."""
    kept = Gradients()
    trainer.add_callback(kept)
    trainer.train()
    assert trainer.state.global_step == 1
    return kept.seen


def losses_by_hand(model, batch) -> dict[str, torch.Tensor]:
    """Each task's loss row by row, averaged over the rows that have a label."""
    outputs = model(**{name: value for name, value in batch.items() if name != "labels"})
    rows: dict[str, list] = {name: [] for name in batch["labels"]}
    for name, labels in batch["labels"].items():
        for row, label in enumerate(labels):
            logits = outputs.task_logits[name][row].log_softmax(dim=-1)
            characters = label[label != -100] if name == "transcript" else None
            if characters is None and label != -100:
                rows[name].append(-logits[label])
            elif characters is not None and len(characters):
                frames = int(outputs.frame_mask[row].sum())
                rows[name].append(
                    torch.nn.functional.ctc_loss(logits[:frames], characters, [frames], [len(characters)])
                )
    return {name: torch.stack(losses).mean() for name, losses in rows.items() if losses}


def test_the_loss_is_the_weighted_sum_by_hand(make_trainer, prepared):
    trainer = make_trainer()
    batch = trainer.data_collator([prepared.dataset[row] for row in range(6)])
    assert batch["labels"]["gender"].tolist().count(-100) == 1  # the mean is over five rows
    model = trainer.model.eval()
    losses = losses_by_hand(model, batch)
    expected = sum(trainer.loss_weights[name] * loss for name, loss in losses.items())
    assert set(losses) == set(trainer.loss_weights)
    torch.testing.assert_close(trainer.compute_loss(model, batch), expected, rtol=1e-5, atol=1e-6)


def test_a_task_without_a_weight_is_no_part_of_the_loss(make_trainer, prepared):
    trainer = make_trainer(loss_weights={"gender": 2.0, "style": 0.5})
    batch = trainer.data_collator([prepared.dataset[row] for row in range(4)])
    losses = losses_by_hand(trainer.model.eval(), batch)
    expected = 2 * losses["gender"] + 0.5 * losses["style"]
    torch.testing.assert_close(trainer.compute_loss(trainer.model, batch), expected, rtol=1e-5, atol=1e-6)


def test_accumulating_four_times_one_equals_a_batch_of_four(make_trainer, prepared):
    rows = [prepared.dataset[row] for row in range(4)]
    missing = [("gender", "style"), ("gender", "speaker", "transcript"), ("gender", "emotion"), ("transcript",)]
    few = [row | dict.fromkeys(absent) for row, absent in zip(rows, missing, strict=True)]
    together = gradients(make_trainer(few, batch_size=4, epochs=1))
    one_by_one = gradients(make_trainer(few, batch_size=1, gradient_accumulation_steps=4, epochs=1))
    assert set(together) == set(one_by_one) and len(together) > 50
    largest = max(gradient.abs().max().item() for gradient in together.values())
    assert largest > 1e-2
    for name, gradient in together.items():
        difference = (one_by_one[name] - gradient).abs().max().item()
        assert difference < 1e-5 * max(1.0, largest), name


@pytest.mark.parametrize(("most", "parts"), [(0.1, {4}), (1.3, {2, 3})])
def test_a_batch_in_micro_batches_has_the_gradient_of_the_whole(make_trainer, prepared, most, parts):
    rows = [
        prepared.dataset[row] | dict.fromkeys(absent) for row, absent in enumerate([["gender"], ["style"], [], []])
    ]
    whole = gradients(make_trainer(rows, batch_size=4, epochs=1))
    trainer = make_trainer(rows, batch_size=4, epochs=1, bound=PaddedBound(most))
    (batch,) = trainer.get_train_dataloader()
    assert len(batch["micro_batches"]) in parts
    in_parts = gradients(trainer)
    assert set(whole) == set(in_parts)
    for name, gradient in whole.items():
        assert (in_parts[name] - gradient).abs().max().item() < 1e-5, name


def test_predictions_do_not_depend_on_micro_batches(make_trainer, prepared, monkeypatch):
    side = prepared.side("test")
    whole, loss = make_trainer().predict_table(side)
    monkeypatch.setattr("ser_meta.training.learning.trainer.PaddedBound.usual", lambda *_: PaddedBound(1.2))
    in_parts, parts_loss = make_trainer().predict_table(side)
    assert parts_loss == pytest.approx(loss, abs=1e-5)
    assert list(in_parts["transcript_predicted"]) == list(whole["transcript_predicted"])
    np.testing.assert_allclose(np.stack(in_parts["emotion_scores"]), np.stack(whole["emotion_scores"]), atol=1e-5)


def test_the_optimizer_has_two_learning_rates_and_spares_biases_and_norms(make_trainer):
    trainer = make_trainer(encoder_learning_rate=1e-5, head_learning_rate=1e-4, weight_decay=0.3)
    trainer.model.heads["of_encoder"] = deepcopy(trainer.model.heads["gender"])  # what a task may be called
    optimizer = trainer.create_optimizer()
    names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
    settings = {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    trained = {name for name, parameter in trainer.model.named_parameters() if parameter.requires_grad}
    assert set(settings) == trained
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(trained)
    for name, (rate, decay) in settings.items():
        assert rate == (1e-5 if name.startswith("encoder.") else 1e-4), name
        assert decay == (0.0 if name.endswith("bias") or "norm" in name else 0.3), name
    assert {rate for rate, _ in settings.values()} == {1e-5, 1e-4}
    assert {decay for _, decay in settings.values()} == {0.0, 0.3}


def test_without_a_gpu_nothing_is_asked_of_one(prepared, tmp_path):
    for name, stage in prepared.recipe.stages.items():  # the Trainer warns of one without the other, at every step
        asked = training_arguments(prepared.recipe, stage, tmp_path / name, 24, validates=False)
        assert asked.accelerator_config.non_blocking == asked.dataloader_pin_memory == (not without_gpu())


def test_a_process_uses_one_device_of_several(prepared, tmp_path):
    arguments = training_arguments(prepared.recipe, prepared.recipe.stages["emotion"], tmp_path, 24, validates=False)
    arguments._n_gpu = 4  # as Transformers counts them without a launcher
    trainer = SerMetaTrainer(
        loss_weights={"emotion": 1.0},
        encoder_learning_rate=1e-4,
        lengths=prepared.durations,
        model=prepared.new_model(),
        args=arguments,
        data_collator=SpeechCollator(prepared.processor, prepared.tasks),
        train_dataset=prepared.dataset,
    )
    assert trainer.args.n_gpu == 1 and trainer.args.train_batch_size == 4
    assert len(trainer.get_train_dataloader()) == 9


def test_speed_is_perturbed_in_training_only(make_trainer, prepared):
    few = prepared.dataset.select(range(4))
    trainer = make_trainer(few, speed=0.8, group_by_length=False)
    heard = next(iter(trainer.get_train_dataloader()))["attention_mask"].sum(dim=1)
    recorded = next(iter(trainer.get_eval_dataloader(few)))["attention_mask"].sum(dim=1)
    assert sorted(recorded.tolist()) == sorted(round(s * 16_000) for s in prepared.durations[:4])
    torch.testing.assert_close(heard.sort().values, (recorded / 0.8).round().long().sort().values, rtol=0, atol=1)


def test_predictions_come_in_the_datasets_order_whatever_the_batch(make_trainer, prepared):
    dataset = prepared.side("test")
    table, _ = make_trainer(batch_size=5).predict_table(dataset)
    alone, _ = make_trainer(batch_size=1).predict_table(dataset)
    assert table["utterance_id"].tolist() == dataset["utterance_id"][:]
    assert table["emotion"].tolist() == dataset["emotion"][:]
    labels = prepared.tasks["emotion"]["labels"]
    for name, scores in zip(table["emotion_predicted"], table["emotion_scores"], strict=True):
        assert sum(scores) == pytest.approx(1, abs=1e-5) and name == labels[scores.argmax()]
    for one, other in zip(table["emotion_scores"], alone["emotion_scores"], strict=True):
        assert one == pytest.approx(other, abs=1e-4)
    assert table["transcript"].tolist() == [f"I AM {emotion[:3].upper()}" for emotion in table["emotion"]]
    assert table["transcript_predicted"].map(type).eq(str).all()


def test_the_loss_of_a_side_does_not_depend_on_how_its_rows_fall_into_batches(make_trainer, prepared):
    rows = prepared.side("test")
    gender = [value if place in (0, 5, 6) else None for place, value in enumerate(rows["gender"])]
    text = [value if place != 3 else None for place, value in enumerate(rows["transcript"])]
    few = rows.remove_columns(["gender", "transcript"]).add_column("gender", gender).add_column("transcript", text)
    trainer = make_trainer(batch_size=5)
    model = trainer.model.eval()
    losses = losses_by_hand(model, trainer.data_collator.without_speed()([few[row] for row in range(len(few))]))
    expected = sum(trainer.loss_weights[name] * loss for name, loss in losses.items()).item()
    assert set(trainer.loss_weights) - set(losses) == {"speaker"}  # nobody here was trained on
    for size in (1, 5, 12):
        trainer = make_trainer(batch_size=size)
        assert trainer.evaluate(few)["eval_loss"] == pytest.approx(expected, rel=1e-4), size


def test_evaluation_names_every_task_that_the_stage_trains(make_trainer, prepared):
    trainer = make_trainer(loss_weights={"emotion": 1.0, "gender": 1.0, "speaker": 1.0, "transcript": 0.1})
    metrics = trainer.evaluate(prepared.side("test"))
    assert set(metrics) - {"epoch"} == {
        "eval_loss",
        *(f"eval_{task}_{measure}" for task in ("emotion", "gender") for measure in ("wa", "ua", "macro_f1")),
        "eval_transcript_cer",
        "eval_transcript_wer",
    }
