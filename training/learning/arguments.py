"""The Trainer's arguments for a stage and for a judgement."""

import os
import sys
from math import ceil
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from ...configuration.recipe import ModelRecipe, Recipe, StageRecipe
from ..batches.samplers import DurationBoundedBatches
from ..machine.device import without_gpu

EVALUATED_AT_ONCE = 8  # utterances a device, where the training's batches are no guide
JUDGED_AT_ONCE = 16


def training_arguments(
    recipe: Recipe,
    stage: StageRecipe,
    folder: Path,
    utterances: int,
    validates: bool,
    batches: DurationBoundedBatches | None = None,
) -> TrainingArguments:
    """The Trainer's arguments for one stage."""
    batch_size = stage.batch_size or EVALUATED_AT_ONCE
    arguments = _arguments(
        folder,
        recipe.precision,
        num_train_epochs=stage.epochs,
        per_device_train_batch_size=batch_size,
        per_device_eval_batch_size=batch_size,
        gradient_accumulation_steps=stage.gradient_accumulation_steps,
        learning_rate=stage.head_learning_rate,
        weight_decay=stage.weight_decay,
        max_grad_norm=stage.max_gradient_norm,
        lr_scheduler_type=stage.schedule,
        eval_strategy="epoch" if validates else "no",
        save_strategy="epoch",
        restore_callback_states_from_checkpoint=True,
        logging_steps=0.01,
        logging_nan_inf_filter=False,
        **_choice_of_epoch(stage, recipe.model),
        dataloader_num_workers=recipe.workers,
        # a batch goes to a GPU while that computes the last one
        accelerator_config={"non_blocking": not without_gpu()},
        report_to=recipe.report_to or "none",
        seed=recipe.seed,
        ddp_find_unused_parameters=False,
    )
    at_once = stage.gradient_accumulation_steps * arguments.world_size
    steps = ceil(utterances / (batch_size * at_once)) if batches is None else len(batches) // at_once
    arguments.warmup_steps = int(stage.warmup * stage.epochs * steps)
    return arguments


def judging_arguments(folder: str | Path) -> TrainingArguments:
    """The Trainer's arguments for predictions, which are made in single precision whatever came before."""
    return _arguments(
        folder,
        "fp32",
        per_device_eval_batch_size=JUDGED_AT_ONCE,
        disable_tqdm=not sys.stderr.isatty(),
        report_to="none",
    )


def _arguments(folder: str | Path, precision: str, **options: Any) -> TrainingArguments:
    # where neither bf16 nor fp16 is asked for, Transformers takes the precision from here, where version 4 leaves that
    # of the last arguments
    os.environ["ACCELERATE_MIXED_PRECISION"] = "no" if precision == "fp32" else precision
    return TrainingArguments(
        output_dir=str(folder),
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        use_cpu=without_gpu(),
        remove_unused_columns=False,
        **options,
    )


def _choice_of_epoch(stage: StageRecipe, model: ModelRecipe) -> dict[str, Any]:
    """What picks the epoch: the validation side's UA, or its loss where the stage does not train the target.

    Of several labels at once it is the average precision, which depends on no threshold.
    """
    target = model.target_task
    measure = "average_precision" if target in model.multilabel else "ua"
    if stage.keep == "last" and stage.early_stopping_patience is None:
        return {}
    judged = target in stage.loss_weights
    return {
        "load_best_model_at_end": stage.keep == "best",
        "metric_for_best_model": f"eval_{target}_{measure}" if judged else "eval_loss",
        "greater_is_better": judged,
    }
