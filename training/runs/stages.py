"""A run: the recipe's stages one after another, and the judgement on the test side."""

import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from transformers import EarlyStoppingCallback

from ...configuration.errors import UserError
from ...configuration.recipe import Recipe, StageRecipe
from ...configuration.recipe_checks import require_trained_target
from ...configuration.report import Report
from ...configuration.run_folder import RunFolder
from ...modeling_ser_meta.modeling_ser_meta import SerMetaModel
from ..batches.frozen_states import trains_adapter_alone
from ..batches.samplers import DurationBoundedBatches, balancing_weights
from ..batches.state_statistics import fit_standardization
from ..learning.arguments import training_arguments
from ..learning.checkpoints import keep_checkpoints, last_checkpoint
from ..learning.distillation import StudentTrainer
from ..learning.freezing import apply_freeze_mask
from ..learning.memory import plan_stage
from ..learning.progress import show_progress
from ..learning.trainer import SerMetaTrainer
from ..learning.trusted import code_refused, require_own_files
from ..machine.processes import is_main_process, processes, say, wait_for_all_processes
from ..planning.plan import Plan
from .judging import judge, write_results
from .preparation import Preparation
from .start import begun
from .teaching import Teaching
from .unaligned import count_unaligned

TARGET_ALONE = ("classifier.", "coattention.", "frame_pooling.")  # the modules that no auxiliary task's loss reaches


def run_stages(
    recipe: Recipe,
    output: str | Path,
    resume: bool = False,
    first_stage: Path | None = None,
    plan: Plan | None = None,
) -> Report:
    """Trains the recipe's stages, judges the model on the test side and writes the run folder.

    Args:
        recipe: see `load_recipe`.
        output: the run folder; must be new or empty, unless `resume`.
        resume: go on where an interrupted run of the same recipe stopped, or where a run ended whose recipe had fewer
            epochs in its last stage.
        first_stage: a folder of `train_first_stage`, whose result stands for the recipe's first stage.
        plan: of the recipe, if it is at hand.

    Returns:
        the report, as in `report.json`.

    Raises:
        UserError: the recipe does not fit the corpus, or the folder holds something else, and then nothing is
            written; another training is at the folder; a loss is not finite; the disk is full.
        Interrupted: on Ctrl-C or SIGTERM, when a checkpoint has been saved.
    """
    require_trained_target(recipe)
    run = RunFolder(output)
    with begun(recipe, run, resume, plan=plan) as (prepared, model, teaching):
        recipe = prepared.recipe
        if first_stage is not None:
            _adopt_first_stage(model, recipe, run, RunFolder(first_stage))
        model, state = _train_stages(prepared, model, run, teaching)
        if not recipe.adapter_only:
            model.merge_adapter()
        judgement = judge(prepared, model, state)
        if teaching is not None:
            teaching.add_to(judgement)
        if is_main_process():
            write_results(run, prepared, judgement, model, state)
            shutil.rmtree(run.teacher, ignore_errors=True)
    return judgement.report


def train_first_stage(recipe: Recipe, output: str | Path) -> None:
    """Trains the recipe's first stage alone, for several recipes that differ in what comes after; goes on if begun.

    What another process trains at the moment is waited for.
    """
    run = RunFolder(output)
    with begun(first_stage_recipe(recipe), run, resume=True, wait=True) as (prepared, model, teaching):
        _train_stages(prepared, model, run, teaching)


def first_stage_recipe(recipe: Recipe) -> Recipe:
    """The recipe of the first stage alone; equal for recipes whose first stages give the same.

    Without the target's loss a first stage reaches neither the co-attention nor the pooling: the model has the same in
    any case.
    """
    name, stage = next(iter(recipe.stages.items()))
    alone = replace(recipe, stages={name: stage})
    if _trains_target(recipe, stage):
        return alone
    return replace(alone, model=replace(recipe.model, coattention=True, frame_pooling=["mean"]))


def _trains_target(recipe: Recipe, stage: StageRecipe) -> bool:
    """Whether a stage learns the target, from labels or from a teacher."""
    taught = recipe.distillation.loss_weights if recipe.distillation else {}
    return recipe.model.target_task in stage.loss_weights or bool(taught.get("target"))


def _train_stages(
    prepared: Preparation, model: SerMetaModel, run: RunFolder, teaching: Teaching | None
) -> tuple[SerMetaModel, dict[str, Any]]:
    """Trains the stages that have not ended yet; returns the model after the last, and what is recorded of each."""
    recipe, state = prepared.recipe, run.read_state()
    statistics_inherited = (model.inherited or {}).get("standardization", False)
    if model.standardization is not None and not state and not statistics_inherited:
        first = next(iter(recipe.stages.values()))
        fit_standardization(model, prepared.build_collator(model, first), prepared.side("train"))
    for index, (name, stage) in enumerate(recipe.stages.items()):
        folder = run.stage(index, name)
        before = state.get(name)
        if before is None or before["epochs"] < stage.epochs:
            state[name] = run_stage(prepared, model, name, stage, folder, before, teaching)
            if is_main_process():
                run.write_state(state)
        if is_main_process() and "picked_step" in state[name]:
            # not before the stage's end is recorded: until then it goes on from its last checkpoint
            keep_checkpoints(folder, state[name]["picked_step"])
        wait_for_all_processes()
        # the next stage starts from weights: a new model has no freeze mask, and no wrapper of the last trainer
        model = SerMetaModel.from_pretrained(folder, attn_implementation=recipe.model.attention)
        model = model.to(processes().device)  # for what is computed before the Trainer moves it
    return model, state


def _adopt_first_stage(model: SerMetaModel, recipe: Recipe, run: RunFolder, shared: RunFolder) -> None:
    """Copies a shared first stage, its weights and its record, into this run.

    What serves the target alone stays as it starts where the first stage has no loss of the target: its shared model
    may lack it, see `first_stage_recipe`.
    """
    name, stage = next(iter(recipe.stages.items()))
    left_alone = () if _trains_target(recipe, stage) else TARGET_ALONE
    folder = run.stage(0, name)
    if is_main_process() and name not in run.read_state():
        trained = load_file(shared.stage(0, name) / "model.safetensors")
        adopted = {key: value for key, value in trained.items() if not key.startswith(left_alone)}
        left = model.load_state_dict(adopted, strict=False).missing_keys
        assert all(key.startswith(left_alone) for key in left), left
        model.save_pretrained(folder)
        run.write_state({name: shared.read_state()[name]})
    wait_for_all_processes()


def run_stage(
    prepared: Preparation,
    model: SerMetaModel,
    name: str,
    stage: StageRecipe,
    folder: Path,
    before: Mapping[str, Any] | None = None,
    teaching: Teaching | None = None,
) -> dict[str, Any]:
    """Trains one stage and saves its weights in `folder`, beside the Trainer's checkpoints.

    A checkpoint that is there already is gone on from. `before` is what was recorded of the stage when it had ended
    after fewer epochs than it has now. A student's `teaching` adds its losses, and utterances without labels.

    Returns:
        what the run records of it: settings, steps, the step whose weights were picked, seconds and the log history;
        and `went_on_after`, from which epochs it went on when it had ended: the one that was kept.
    """
    recipe = prepared.recipe
    apply_freeze_mask(model, stage, teaching.tasks if teaching else ())
    if stage.gradient_checkpointing:
        _checkpoint_activations(model)
    train, durations = prepared.dataset.select(prepared.learned), [prepared.durations[row] for row in prepared.learned]
    validation = prepared.side("validation") if prepared.sides["validation"] else None
    collator = prepared.build_collator(model, stage)
    if teaching is not None:
        collator = teaching.collator(collator, model)
    heard = collator.lengths(train)
    batches = _bounded_batches(recipe, stage, heard)
    arguments = training_arguments(recipe, stage, folder, len(train), validation is not None, batches)
    checkpoint = last_checkpoint(folder, arguments.world_size)
    if checkpoint is not None:
        require_own_files(checkpoint)
    make = SerMetaTrainer if teaching is None else partial(StudentTrainer, distillation=teaching.losses())
    trainer = make(
        loss_weights=stage.loss_weights,
        encoder_learning_rate=stage.encoder_learning_rate,
        lengths=heard if stage.group_by_length and batches is None else None,
        weights=balancing_weights(prepared.target_shares) if stage.balanced_batches else None,
        batches=batches,
        bound=plan_stage(recipe, stage, model, prepared.processor, durations).bound,
        model=model,
        args=arguments,
        processing_class=prepared.processor,
        data_collator=collator,
        train_dataset=train,
        eval_dataset=validation,
        callbacks=_callbacks(stage),
    )
    show_progress(trainer, name)
    unaligned = count_unaligned(prepared, model, name, heard[: len(prepared.sides["train"])])
    started = time.monotonic()
    if before is not None:
        _say_further(name, stage, before, checkpoint)
    if checkpoint is None or not trainer.take_over(checkpoint, beyond=before["steps"] if before else 0):
        with trainer.leaving.listening(), code_refused(checkpoint):
            trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
    trainer.save_model(str(folder))
    seconds = round(time.monotonic() - started + (before["seconds"] if before else 0), 1)
    record = _record(trainer, stage, seconds)
    if before is not None:
        record["went_on_after"] = [*before.get("went_on_after", []), _kept_epochs(before)]
    return {**record, "precision": recipe.precision, "unaligned_transcripts": unaligned}


def _record(trainer: SerMetaTrainer, stage: StageRecipe, seconds: float) -> dict[str, Any]:
    """What is recorded of the training of a stage that has ended."""
    return {
        **asdict(stage),
        "encoder": "adapter" if trains_adapter_alone(stage, trainer.model) else "all",
        "trained_parameters": trainer.model.num_parameters(only_trainable=True),
        "steps": trainer.state.global_step,
        "picked_step": trainer.picked_step,
        "seconds": seconds,
        "processes": trainer.args.world_size,
        # without the Trainer's summary, which after an interruption knows only what came after it
        "log": [entry for entry in trainer.state.log_history if "train_runtime" not in entry],
    }


def _kept_epochs(before: Mapping[str, Any]) -> float:
    """After how many epochs a stage that has ended can be gone on with: its other checkpoints are deleted."""
    logged = (entry["epoch"] for entry in before["log"] if entry["step"] == before["picked_step"])
    return min(before["epochs"], next(logged, before["epochs"]))


def _say_further(name: str, stage: StageRecipe, before: Mapping[str, Any], checkpoint: Path | None) -> None:
    """Says that a stage goes on which had ended; refuses one of which no checkpoint is left."""
    if checkpoint is None:
        raise UserError(
            f"stage {name} has no checkpoint any more to go on from: choose another --output, and start there from "
            "the run's model with model.encoder"
        )
    best = " (the best one, which was kept)" if before["picked_step"] < before["steps"] else ""
    say(
        f"stage {name} goes on after {_kept_epochs(before):g} of {stage.epochs:g} epochs{best}, from there on with "
        f"the learning rates of {stage.epochs:g} epochs"
    )


def _bounded_batches(recipe: Recipe, stage: StageRecipe, heard: list[float]) -> DurationBoundedBatches | None:
    """The batches of a stage that bounds how long they last, and not how many utterances are in them."""
    if stage.batch_duration is None:
        return None
    return DurationBoundedBatches(
        heard,
        stage.batch_duration,
        recipe.seed,
        epochs=ceil(stage.epochs),
        multiple=stage.gradient_accumulation_steps * processes().num_processes,
        alike=stage.group_by_length,
    )


def _checkpoint_activations(model: SerMetaModel) -> None:
    # transformers 5 has a new name for it; the re-entrant kind, transformers 4's own choice, gives no gradients above
    # frozen layers
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def _callbacks(stage: StageRecipe) -> list:
    patience = stage.early_stopping_patience
    return [] if patience is None else [EarlyStoppingCallback(early_stopping_patience=patience)]
