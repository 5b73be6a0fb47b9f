"""A run: the recipe's stages one after another, and the judgement on the test side."""

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import EarlyStoppingCallback, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from ..configuration.errors import UserError
from ..configuration.recipe import Recipe, StageRecipe
from ..configuration.run_folder import RunFolder
from ..modeling_ser_meta.modeling_ser_meta import SerMetaModel
from .durations import check_durations
from .judgement import judge, publish
from .preparation import Preparation, prepare
from .progress import hide_loading_bars, is_main_process, show_progress, wait_for_main_process
from .standardization import fit_standardization
from .trainer import SerMetaTrainer

TARGET_ALONE = ("classifier.", "coattention.")  # the modules that no auxiliary task's loss reaches


def run_stages(
    recipe: Recipe, output: str | Path, resume: bool = False, first_stage: Path | None = None
) -> dict[str, Any]:
    """Trains the recipe's stages, judges the model on the test side and writes the run folder.

    Args:
        recipe: see `load_recipe`.
        output: the run folder; must be new or empty, unless `resume`.
        resume: go on where an interrupted run of the same recipe stopped.
        first_stage: a folder of `train_first_stage`, whose result stands for the recipe's first stage.

    Returns:
        the report, as in `report.json`.

    Raises:
        UserError: the recipe does not fit the corpus, or the folder holds something else; nothing is written.
    """
    run = RunFolder(output)
    prepared, model = _begin(recipe, run, resume)
    if first_stage is not None:
        _adopt_first_stage(model, recipe, run, RunFolder(first_stage))
    model, state = _train_stages(prepared, model, run)
    judgement = judge(prepared, model, state)
    if is_main_process():
        publish(run, prepared, judgement, model, state)
    return judgement.report


def train_first_stage(recipe: Recipe, output: str | Path) -> None:
    """Trains the recipe's first stage alone, for several recipes that differ in what comes after; goes on if begun."""
    run = RunFolder(output)
    prepared, model = _begin(first_stage_recipe(recipe), run, resume=True)
    _train_stages(prepared, model, run)


def first_stage_recipe(recipe: Recipe) -> Recipe:
    """The recipe of the first stage alone; equal for recipes whose first stages give the same.

    Without the target's loss a first stage does not reach the co-attention: the model has one in any case.
    """
    name, stage = next(iter(recipe.stages.items()))
    alone = replace(recipe, stages={name: stage})
    if recipe.model.target_task in stage.loss_weights:
        return alone
    return replace(alone, model=replace(recipe.model, coattention=True))


def _begin(recipe: Recipe, run: RunFolder, resume: bool) -> tuple[Preparation, SerMetaModel]:
    """Checks all that can be checked before anything is written, and makes the run folder."""
    hide_loading_bars()
    run.check(recipe, resume)
    _check_device(recipe)
    prepared = prepare(recipe)
    model = prepared.new_model()
    check_durations(
        prepared.dataset, prepared.durations, model.encoder.shortest_input, prepared.processor.sampling_rate
    )
    _check_freezing(recipe, len(model.encoder.layers))
    wait_for_main_process()  # until then another process may still look whether the folder is empty
    if is_main_process():
        run.create(recipe, prepared.utterances())
    wait_for_main_process()
    return prepared, model


def _train_stages(prepared: Preparation, model: SerMetaModel, run: RunFolder) -> tuple[SerMetaModel, dict[str, Any]]:
    """Trains the stages that have not ended yet; returns the model after the last, and what is recorded of each."""
    recipe, state = prepared.recipe, run.read_state()
    if model.standardization is not None and not state:
        first = next(iter(recipe.stages.values()))
        fit_standardization(model, prepared.collator(model, first), prepared.side("train"))
    for index, (name, stage) in enumerate(recipe.stages.items()):
        folder = run.stage(index, name)
        if name not in state:
            state[name] = run_stage(prepared, model, name, stage, folder)
            if is_main_process():
                run.write_state(state)
        wait_for_main_process()
        # the next stage starts from weights: a new model has no freeze mask, and no wrapper of the last trainer
        model = SerMetaModel.from_pretrained(folder, attn_implementation=recipe.model.attention)
    return model, state


def _adopt_first_stage(model: SerMetaModel, recipe: Recipe, run: RunFolder, shared: RunFolder) -> None:
    """Makes a run look as if it had trained its first stage itself: weights and record come from another run.

    What serves the target alone stays as it starts; a first stage without the target has not moved it.
    """
    name = next(iter(recipe.stages))
    folder = run.stage(0, name)
    if is_main_process() and name not in run.read_state():
        trained = load_file(shared.stage(0, name) / "model.safetensors")
        adopted = {key: value for key, value in trained.items() if not key.startswith(TARGET_ALONE)}
        left = model.load_state_dict(adopted, strict=False).missing_keys
        assert all(key.startswith(TARGET_ALONE) for key in left), left
        model.save_pretrained(folder)
        run.write_state({name: shared.read_state()[name]})
    wait_for_main_process()


def run_stage(
    prepared: Preparation, model: SerMetaModel, name: str, stage: StageRecipe, folder: Path
) -> dict[str, Any]:
    """Trains one stage and saves its weights in `folder`, beside the Trainer's checkpoints.

    A checkpoint that is there already is gone on from.

    Returns:
        what the run records of it: settings, steps, seconds and the log history.
    """
    recipe = prepared.recipe
    apply_freeze_mask(model, stage)
    if stage.gradient_checkpointing:
        _checkpoint_activations(model)
    train = prepared.side("train")
    validation = prepared.side("validation") if prepared.sides["validation"] else None
    arguments = training_arguments(recipe, stage, folder, len(train), validation is not None)
    collator = prepared.collator(model, stage)
    trainer = SerMetaTrainer(
        loss_weights=stage.loss_weights,
        encoder_learning_rate=stage.encoder_learning_rate,
        lengths=collator.lengths(train) if stage.group_by_length else None,
        model=model,
        args=arguments,
        processing_class=prepared.processor,
        data_collator=collator,
        train_dataset=train,
        eval_dataset=validation,
        callbacks=_callbacks(stage),
    )
    show_progress(trainer, name)
    started = time.monotonic()
    checkpoint = get_last_checkpoint(folder) if folder.is_dir() else None
    trainer.train(resume_from_checkpoint=checkpoint)
    trainer.save_model(str(folder))
    return {
        **asdict(stage),
        "steps": trainer.state.global_step,
        "seconds": round(time.monotonic() - started, 1),
        "processes": trainer.args.world_size,
        "log": trainer.state.log_history,
    }


def apply_freeze_mask(model: SerMetaModel, stage: StageRecipe) -> list[str]:
    """Freezes what the stage freezes, and what its losses do not reach; returns the parameters' names."""
    frozen = model.freeze_feature_encoder() if stage.freeze_feature_encoder else []
    layers = len(model.encoder.layers)
    named = {"third": layers // 3, "all": layers}
    frozen += model.freeze_layers(named.get(stage.freeze_layers, stage.freeze_layers))
    unreached = _unreached(model, stage.loss_weights)
    if stage.freeze_layer_fusion:
        unreached.append(model.layer_fusion)
    return frozen + model.freeze(unreached)


def _unreached(model: SerMetaModel, loss_weights: dict[str, float]) -> list[torch.nn.Module]:
    """Modules above the encoder that have no part in the stage's losses."""
    config = model.config
    target_trained = config.target_task in loss_weights
    unreached = [] if target_trained else [model.classifier, model.coattention]
    attended = target_trained and model.coattention is not None and config.coattention_gradient
    for name, head in model.heads.items():
        if name not in loss_weights:
            # the co-attention still reaches a head's hidden vector, though not its logits
            unreached.append(head.classifier if attended else head)
    return [module for module in unreached if module is not None]


def training_arguments(
    recipe: Recipe, stage: StageRecipe, folder: Path, utterances: int, validates: bool
) -> TrainingArguments:
    """The Trainer's arguments for one stage."""
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=stage.epochs,
        per_device_train_batch_size=stage.batch_size,
        per_device_eval_batch_size=stage.batch_size,
        gradient_accumulation_steps=stage.gradient_accumulation_steps,
        learning_rate=stage.head_learning_rate,
        weight_decay=stage.weight_decay,
        max_grad_norm=stage.max_gradient_norm,
        lr_scheduler_type=stage.schedule,
        eval_strategy="epoch" if validates else "no",
        save_strategy="epoch",
        save_total_limit=1,
        logging_steps=0.01,
        logging_nan_inf_filter=False,
        **_choice_of_epoch(stage, recipe.model.target_task),
        bf16=recipe.precision == "bf16",
        fp16=recipe.precision == "fp16",
        use_cpu=not (torch.cuda.is_available() or torch.backends.mps.is_available()),
        dataloader_num_workers=recipe.workers,
        report_to=recipe.report_to or "none",
        seed=recipe.seed,
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
    )
    step = stage.batch_size * stage.gradient_accumulation_steps * arguments.world_size
    arguments.warmup_steps = int(stage.warmup * stage.epochs * -(-utterances // step))
    return arguments


def _checkpoint_activations(model: SerMetaModel) -> None:
    # transformers 5 has a new name for it; the re-entrant kind, transformers 4's own choice, gives no gradients above
    # frozen layers
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def _choice_of_epoch(stage: StageRecipe, target: str) -> dict[str, Any]:
    """What picks the epoch: the validation side's UA, or its loss where the stage does not train the target."""
    if stage.keep == "last" and stage.early_stopping_patience is None:
        return {}
    judged = target in stage.loss_weights
    return {
        "load_best_model_at_end": stage.keep == "best",
        "metric_for_best_model": f"eval_{target}_ua" if judged else "eval_loss",
        "greater_is_better": judged,
    }


def _callbacks(stage: StageRecipe) -> list:
    patience = stage.early_stopping_patience
    return [] if patience is None else [EarlyStoppingCallback(early_stopping_patience=patience)]


def _check_freezing(recipe: Recipe, layers: int) -> None:
    for name, stage in recipe.stages.items():
        if isinstance(stage.freeze_layers, int) and stage.freeze_layers > layers:
            raise UserError(
                f"stages.{name}.freeze_layers={stage.freeze_layers} is more than the encoder's {layers} layers: "
                "choose fewer, third or all"
            )


def _check_device(recipe: Recipe) -> None:
    if recipe.precision == "fp16" and not torch.cuda.is_available():
        raise UserError("precision=fp16 needs a GPU, and there is none: choose fp32 or bf16")
