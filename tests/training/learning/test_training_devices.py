"""What a training does on a GPU that is pretended, see `pretended_gpu.py`: the CPU's numbers, and few waits."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from pretended_gpu import PretendedGpu
from transformers import TrainerCallback

from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.modeling_ser_meta import losses_ser_meta
from ser_meta.training.batches.augmentation import SpeedPerturbation
from ser_meta.training.batches.collator import SpeechCollator
from ser_meta.training.batches.group_means import group_means
from ser_meta.training.batches.micro_batches import PaddedBound
from ser_meta.training.learning import arguments
from ser_meta.training.learning.freezing import apply_freeze_mask
from ser_meta.training.learning.trainer import SerMetaTrainer
from ser_meta.training.machine import processes
from ser_meta.training.runs.judging import predict_dataset
from ser_meta.training.runs.loading import load_model
from ser_meta.training.runs.preparation import prepare


@pytest.fixture(scope="module")
def prepared(recipe_file, steady_settings):
    return prepare(load_recipe(str(recipe_file), [*steady_settings, "data.speed_factors=[1.0]"]))


@pytest.fixture(scope="module")
def weights(prepared):
    return prepared.new_model().state_dict()  # which are drawn otherwise on another device


@pytest.fixture
def gpu(monkeypatch) -> Iterator[PretendedGpu]:
    """The GPU, which Accelerate and the Trainer take as they would CUDA's, CTC too."""
    monkeypatch.setenv("ACCELERATE_TORCH_DEVICE", f"{PretendedGpu.device}:0")
    for module in (arguments, processes):
        monkeypatch.setattr(module, "without_gpu", lambda: False)
    monkeypatch.setattr(losses_ser_meta, "ctc_device", lambda device: device)
    AcceleratorState._reset_state(reset_partial_state=True)
    with PretendedGpu() as gpu:
        yield gpu
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def make_trainer(prepared, weights, tmp_path):
    """A trainer of one epoch of the recipe's second stage, four steps, and a judgement after it."""

    def make(**options) -> SerMetaTrainer:
        recipe = prepared.recipe
        stage = replace(recipe.stages["emotion"], epochs=1, batch_size=6)
        train, model = prepared.side("train"), prepared.new_model()
        model.load_state_dict(weights)
        apply_freeze_mask(model, stage)
        settings = arguments.training_arguments(recipe, stage, tmp_path / "stage", len(train), validates=True)
        settings.save_strategy = "no"
        return SerMetaTrainer(
            loss_weights=stage.loss_weights,
            encoder_learning_rate=stage.encoder_learning_rate,
            model=model,
            args=settings,
            processing_class=prepared.processor,
            data_collator=SpeechCollator(prepared.processor, prepared.tasks, SpeedPerturbation([1.0], seed=1)),
            train_dataset=train,
            eval_dataset=prepared.side("test"),
            **options,
        )

    return make


@pytest.fixture
def of_the_cpu(make_trainer) -> list[dict]:
    """The log of a training on the CPU; `gpu` must be asked for behind it."""
    trainer = make_trainer()
    trainer.train()
    return trainer.state.log_history


class Steps(TrainerCallback):
    """Keeps where each step waited for the GPU, from the end of one to the end of the next."""

    def __init__(self, waits: list[str]):
        self.waits, self.of_steps = waits, []

    def on_step_end(self, args, state, control, **_):
        self.of_steps.append(Counter(self.waits))
        self.waits.clear()


def test_a_training_has_the_losses_of_the_cpu(of_the_cpu, gpu, make_trainer):
    trainer = make_trainer(bound=PaddedBound(1.5))  # in micro-batches
    trainer.train()
    assert next(trainer.model.parameters()).device.type == gpu.device
    judged = [entry for entry in trainer.state.log_history if "train_runtime" not in entry]
    assert len(judged) == 5
    for one, other in zip(judged, of_the_cpu, strict=False):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-4)


def test_a_step_waits_for_the_gpu_three_times_and_asks_other_processes_once(gpu, make_trainer, monkeypatch):
    trainer, asked = make_trainer(), []
    gather, steps = trainer.accelerator.gather, Steps(gpu.waits)
    monkeypatch.setattr(trainer.accelerator, "gather", lambda tensor: asked.append(tensor) or gather(tensor))
    trainer.args.logging_steps, trainer.args.eval_strategy = 100, "no"
    trainer.add_callback(steps)
    trainer.train()
    ours = ("_ser_meta.", "trainer.", "guards.", "interruption.", "micro_batches.")
    expected = {"encoder_ser_meta.features": 1, "encoder_ser_meta._sample_mask": 1, "guards.on_pre_optimizer_step": 1}
    for waits in steps.of_steps[1:]:
        assert {place: count for place, count in waits.items() if any(file in place for file in ours)} == expected
    assert [len(told) for told in asked] == [1] * 4


@pytest.mark.parametrize("depth", ["convolutions", 2, "all"])
def test_what_is_kept_of_a_frozen_encoder_is_that_of_the_cpu(depth, prepared, gpu, tmp_path):
    stage = prepared.recipe.stages["emotion"]
    stage = (
        replace(stage, freeze_layers=0, freeze_feature_encoder=True)
        if depth == "convolutions"
        else replace(stage, freeze_layers=depth)
    )
    rows = [prepared.dataset[row] for row in range(4)]
    found = []
    for device in ("cpu", gpu.device):
        model = prepared.new_model().to(device)
        kept = replace(prepared, recipe=replace(prepared.recipe, cache=str(tmp_path / device)))
        found.append(kept.build_collator(model, stage).inputs(rows))
    for name, tensor in found[0].items():
        torch.testing.assert_close(found[1][name], tensor, rtol=1e-3, atol=1e-3 if depth == "all" else 1e-5)


def test_means_of_groups_are_those_of_the_cpu(recipe_file, steady_settings, gpu):
    settings = ["model.center_by=[speaker]", "model.auxiliary_tasks=[gender]", "model.standardize_states=true"]
    stages = ["stages.metadata=null", "stages.emotion.loss_weights={emotion: 1.0}", "stages.emotion.freeze_layers=all"]
    prepared = prepare(load_recipe(str(recipe_file), [*steady_settings, *settings, *stages]))
    collator = SpeechCollator(prepared.processor, prepared.tasks)
    model = prepared.new_model()
    expected = group_means(model, collator, prepared.dataset)
    means = group_means(model.to(gpu.device), collator, prepared.dataset)
    assert len(means) == 6
    for group, mean in means.items():
        torch.testing.assert_close(mean, expected[group], rtol=1e-5, atol=1e-5)


def test_a_judgement_is_that_of_the_cpu(finished_run, prepared, monkeypatch, request):
    model, processor = load_model(finished_run / "model")
    expected = predict_dataset(model, processor, prepared.side("test"))
    request.getfixturevalue("gpu")
    found = predict_dataset(model, processor, prepared.side("test"))
    assert next(model.parameters()).device.type == PretendedGpu.device
    assert list(found["transcript_predicted"]) == list(expected["transcript_predicted"])
    np.testing.assert_allclose(np.stack(found["emotion_scores"]), np.stack(expected["emotion_scores"]), atol=1e-5)
