"""The sides of the training benchmarks: stages of a recipe of ours, the stock classifier in the stock Trainer."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import soundfile
from measuring import seconds_of
from speech import EMOTIONS, RATE, TEST_SPEAKER, Corpus
from transformers import TrainerCallback

RECIPE = """
data:
  corpus: table
  root: {table}
  test_fold: {test_speaker}
  speed_factors: [1.0]
model:
  encoder: {encoder}
  attention: {attention}
cache: {cache}
precision: {precision}
stages:
  metadata:
    loss_weights: {{gender: 1.0, speaker: 1.0, style: 1.0, transcript: 0.1}}
    epochs: 1
    encoder_learning_rate: 1.0e-5
    head_learning_rate: 1.0e-4
  emotion:
    loss_weights: {{emotion: 1.0, gender: 1.0, speaker: 1.0, style: 1.0, transcript: 0.1}}
    epochs: 1
    encoder_learning_rate: 1.0e-5
    head_learning_rate: 1.0e-4
    freeze_layers: third
"""
EMOTION_ALONE = "loss_weights={emotion: 1.0, gender: 0, speaker: 0, style: 0, transcript: 0}"
HEAD_ALONE = [  # as the stock classifier above a frozen encoder: one loss, from the last layer
    "model.auxiliary_tasks=[]",
    "model.layer_fusion=last_hidden",
    "stages.emotion.freeze_layers=all",
    *(f"stages.{stage}.{EMOTION_ALONE}" for stage in ("metadata", "emotion")),
]


class EpochClock(TrainerCallback):
    """Seconds of each epoch of a training, from its first batch to its last step; nothing is saved meanwhile."""

    def __init__(self):
        self.seconds: list[float] = []

    def on_epoch_begin(self, args, state, control, **_):
        """Starts."""
        self.started = time.perf_counter()

    def on_epoch_end(self, args, state, control, **_):
        """Stops."""
        self.seconds.append(time.perf_counter() - self.started)
        control.should_save = False


@contextmanager
def epoch_clock() -> Iterator[EpochClock]:
    """A clock in every Trainer that is made meanwhile, whoever makes it."""
    from transformers import trainer

    clock = EpochClock()
    trainer.DEFAULT_CALLBACKS.append(clock)
    try:
        yield clock
    finally:
        trainer.DEFAULT_CALLBACKS.remove(clock)


def train_ours(corpus: Corpus, stage: str, settings: list[str], precision: str = "fp32") -> list[float]:
    """Utterances a second in each epoch of one stage, as `ser-meta train` runs it."""
    from ser_meta.training.runs.stages import run_stage

    prepared, model = beginning(corpus, settings, precision)
    with tempfile.TemporaryDirectory() as folder, epoch_clock() as clock:
        run_stage(prepared, model, stage, prepared.recipe.stages[stage], Path(folder))
    return [len(prepared.sides["train"]) / seconds for seconds in clock.seconds]


def fill_cache(corpus: Corpus, stage: str, settings: list[str]) -> float:
    """Utterances a second in what one stage computes beforehand and keeps, in fp32 whatever trains."""
    prepared, model = beginning(corpus, settings, "fp32")
    return len(prepared.dataset) / seconds_of(lambda: prepared.build_collator(model, prepared.recipe.stages[stage]))


def beginning(corpus: Corpus, settings: list[str], precision: str) -> tuple[Any, Any]:
    """The recipe's corpus, and its model on the device where it trains."""
    from ser_meta.configuration.recipe_files import load_recipe
    from ser_meta.training.machine.processes import processes
    from ser_meta.training.runs.preparation import prepare

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "recipe.yaml")
        path.write_text(RECIPE.format(**vars(corpus), **surroundings(), precision=precision))
        prepared = prepare(load_recipe(str(path), settings))
    return prepared, prepared.new_model().to(processes().device)


def surroundings() -> dict[str, str]:
    """What the recipe has besides; on a CPU the attention that the recipes for a CPU have."""
    import torch

    return {"test_speaker": TEST_SPEAKER, "attention": "null" if torch.cuda.is_available() else "eager"}


def train_stock(corpus: Corpus, seed: int, precision: str = "fp32", freeze_encoder: bool = False) -> list[float]:
    """Utterances a second in each of two epochs of Transformers' own classifier in its own Trainer, batches at random.

    As Transformers' example for audio classification: feature encoder frozen, features extracted beforehand, each
    batch padded to its longest recording, with its attention mask.
    """
    import torch
    from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, Trainer, TrainingArguments

    model = AutoModelForAudioClassification.from_pretrained(corpus.encoder, num_labels=len(EMOTIONS))
    model.freeze_base_model() if freeze_encoder else model.freeze_feature_encoder()
    extractor = AutoFeatureExtractor.from_pretrained(corpus.encoder)
    utterances = extracted(corpus.table, extractor)
    with tempfile.TemporaryDirectory() as folder, epoch_clock() as clock:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=2,
            per_device_train_batch_size=4,
            learning_rate=1e-5,
            warmup_steps=0.1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            seed=seed,
            bf16=precision == "bf16",
            use_cpu=not torch.cuda.is_available(),
        )
        arguments._n_gpu = min(arguments.n_gpu, 1)  # or several GPUs would share a batch, which ours do not
        Trainer(model, arguments, train_dataset=utterances, processing_class=extractor).train()
    return [len(utterances) / seconds for seconds in clock.seconds]


def extracted(table: Path, extractor: Any) -> list[dict[str, Any]]:
    """The training side's features and labels."""
    rows = pd.read_csv(table)
    rows = rows[rows["speaker"] != TEST_SPEAKER]
    recordings = [soundfile.read(table.parent / name, dtype="float32")[0] for name in rows["audio"]]
    features = [extractor(samples, sampling_rate=RATE, return_attention_mask=True) for samples in recordings]
    return [
        {"input_values": one["input_values"][0], "attention_mask": one["attention_mask"][0], "labels": label}
        for one, label in zip(features, map(EMOTIONS.index, rows["emotion"]), strict=True)
    ]
