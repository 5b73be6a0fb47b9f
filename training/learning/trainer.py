"""Transformers' Trainer for one stage: weighted task losses, two learning rates, every task judged."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import torch
from datasets import Dataset
from torch.utils.data import DataLoader, Sampler
from transformers import Trainer, TrainerCallback

from ...configuration.protocol import Protocol
from ...configuration.report import Report
from ...hub_cards.card.render import render_card
from ...modeling_ser_meta.losses_ser_meta import concordance_loss, labelled_rows
from ...modeling_ser_meta.modeling_ser_meta import SerMetaModel
from ..batches.long_recordings import is_long, losses_of, predict_long
from ..batches.micro_batches import BoundedBatches, PaddedBound, joined, micro_batches
from ..batches.samplers import DurationBoundedBatches, LengthGroupedUtterances, WeightedUtterances
from ..machine.environment import environment
from ..machine.interruption import SaveAndLeave
from ..measures.metrics import evaluate_predictions, flatten
from ..measures.predictions import predicted, reduce_outputs, with_predictions
from ..measures.temperature import at_temperature
from ..planning.durations import recording_durations
from .checkpoints import WholeCheckpoints
from .cpu_dropout import fast_dropout
from .guards import FiniteSteps, leave_out_repeats, spread


class SerMetaTrainer(WholeCheckpoints, Trainer):
    """Trains one stage of a [`SerMetaModel`]; each stage takes a new trainer.

    The optimizer holds what was trainable when it was made, and a wrapped model cannot be used twice: freeze first,
    then make the trainer.

    Args:
        loss_weights: by task (the paper's formulas 1 and 2); tasks that are not named are not trained.
        encoder_learning_rate: of the speech encoder; all else has `args.learning_rate`.
        lengths: of the training rows, in any unit, for batches of alike lengths; None for random batches.
        weights: how often each training row is drawn beside the others, with replacement; None for each once an epoch.
        batches: of the training rows, instead of batches of `args.train_batch_size`.
        bound: of a micro-batch; a batch beyond it is computed in several, with the same gradient (but for the CCC
            loss, which is one of a whole micro-batch); None for whole batches.
        args, model, processing_class, data_collator, train_dataset, eval_dataset, callbacks: as the Trainer's.
    """

    def __init__(
        self,
        *,
        loss_weights: Mapping[str, float],
        encoder_learning_rate: float,
        lengths: list[float] | None = None,
        weights: list[float] | None = None,
        batches: DurationBoundedBatches | None = None,
        bound: PaddedBound | None = None,
        **options: Any,
    ):
        self.loss_weights = dict(loss_weights)
        self.encoder_learning_rate = encoder_learning_rate
        self.lengths = lengths
        self.weights = weights
        self.batches = batches
        self.bound = bound or PaddedBound(inf)
        # one device a process: DataParallel would average each replica's loss over its own rows
        options["args"]._n_gpu = min(options["args"].n_gpu, 1)
        super().__init__(**options)
        self.label_names = ["labels"]
        # compute_loss below averages over the whole accumulation window itself
        self.model_accepts_loss_kwargs = True
        # Transformers 5.4 lets Accelerate divide by them once more
        self.accelerator.gradient_accumulation_steps = 1
        self.task_loss_sums: dict[str, torch.Tensor] = {}
        self.task_losses_logged_at = 0
        self.sampler: LengthGroupedUtterances | WeightedUtterances | DurationBoundedBatches | None = batches
        self.finite_steps, self.leaving = FiniteSteps(), SaveAndLeave()
        # the Trainer tells a callback the gradient's norm only after the step that it would spoil
        self.accelerator.clip_grad_norm_ = self.finite_steps.remembering(self.accelerator.clip_grad_norm_)
        self.add_callback(_EpochDraws(self))
        self.add_callback(self.finite_steps)
        self.add_callback(self.leaving)

    def create_optimizer(self, model: SerMetaModel | None = None) -> torch.optim.Optimizer:
        """AdamW with the encoder's learning rate for the encoder, and no weight decay for biases and norms."""
        if self.optimizer is None:
            model = model or self.model
            decayed = set(self.get_decay_parameter_names(model))
            groups: dict[tuple[bool, bool], list] = {}
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    groups.setdefault((name.startswith("encoder."), name in decayed), []).append(parameter)
            optimizer_class, options = self.get_optimizer_cls_and_kwargs(self.args, model)
            self.optimizer = optimizer_class(
                [
                    {
                        "params": parameters,
                        "lr": self.encoder_learning_rate if of_encoder else self.args.learning_rate,
                        "weight_decay": self.args.weight_decay if decays else 0.0,
                    }
                    for (of_encoder, decays), parameters in groups.items()
                ],
                **options,
            )
        return self.optimizer

    def get_batch_samples(
        self, epoch_iterator: Any, num_batches: int, device: torch.device
    ) -> tuple[list, dict | None]:
        """The batches of one step, and how many rows are labelled for each task in all of them, on all processes."""
        batches = [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)]
        if not batches:
            return batches, None
        last = self.accelerator.num_processes > 1 and self.accelerator.gradient_state.end_of_dataloader
        if last and self.batches is None:
            leave_out_repeats(
                batches[-1], len(self.train_dataset), self.accelerator.num_processes, self.accelerator.process_index
            )
        counts = torch.stack([self._counts(batch) for batch in batches]).sum(dim=0).to(device)
        # the one thing that processes tell each other in a step beside the gradient
        told = self.accelerator.gather(torch.cat([counts, counts.new_full((1,), self.leaving.received)])[None])
        self.leaving.agreed = told[:, -1].max()
        return batches, dict(zip(self._counted(), told[:, :-1].sum(dim=0).clamp(min=1), strict=True))

    def training_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], num_items_in_batch: dict[str, torch.Tensor] | None = None
    ) -> torch.Tensor:
        """The Trainer's, of each micro-batch; processes share the gradients once, after the last of them."""
        *others, last = micro_batches(inputs)
        # also around the backward pass, since gradient checkpointing repeats layers there
        with fast_dropout() if self.args.device.type == "cpu" else nullcontext():
            loss = torch.zeros((), device=self.args.device)
            for part in others:
                with self.accelerator.no_sync(model):
                    loss = loss + super().training_step(model, part, num_items_in_batch)
            return loss + super().training_step(model, last, num_items_in_batch)

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """The Trainer's estimate, of all micro-batches."""
        return sum(super(SerMetaTrainer, self).floating_point_ops(part) for part in micro_batches(inputs))

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: dict[str, torch.Tensor] | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, Any]:
        """The weighted sum of the stage's task losses (the paper's formulas 1 and 2).

        With `num_items_in_batch`, labelled rows by task in the whole step, each task's loss is averaged over those
        rows wherever they lie: accumulating 4 x 1 equals a batch of 4, and two processes equal one.
        """
        utterances = inputs.pop("utterance_ids", [])
        outputs = model(**inputs)
        losses = {name: outputs.task_losses[name] for name in self.loss_weights}
        if num_items_in_batch is not None:
            labelled = self._labelled(inputs["labels"])
            share = labelled / torch.stack([num_items_in_batch[name] for name in self.loss_weights])
            # gradients are averaged over processes, so each process's share counts that many times
            share = share * self.accelerator.num_processes
            losses = {name: loss * share[index] for index, (name, loss) in enumerate(losses.items())}
            self._remember(losses)
            self.finite_steps.watch(utterances, outputs, losses)
        loss = sum(self.loss_weights[name] * task_loss for name, task_loss in losses.items())
        if num_items_in_batch is not None:
            loss = spread(loss)
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds each task's loss, averaged like `loss`, to the training logs."""
        if "loss" in logs and self.task_loss_sums:
            steps = self.state.global_step - self.task_losses_logged_at
            for name, total in self.task_loss_sums.items():
                logs[f"loss_{name}"] = self.accelerator.gather(total).mean().item() / max(1, steps)
            self._forget_task_losses()
        super().log(logs, start_time)

    def prediction_step(
        self, model: SerMetaModel, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[torch.Tensor, tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]], None]:
        """A loss, which nobody reads; the outputs reduced, so that little is gathered; and losses of the rows.

        The outputs become scores and character ids. Each labelled row of a task bears the mean of its micro-batch, an
        unlabelled one NaN: see `_mean_loss`.
        """
        inputs = self._prepare_inputs(inputs)
        place = self.accelerator.gradient_state
        if self.accelerator.num_processes > 1 and place.end_of_dataloader:
            leave_out_repeats(inputs, place.remainder, self.accelerator.num_processes, self.accelerator.process_index)
        found = []
        for part in micro_batches(inputs):
            with torch.no_grad(), self.compute_loss_context_manager():
                loss, outputs = self.compute_loss(model, part, return_outputs=True)
            row_losses = {
                name: torch.where(labelled_rows(part["labels"][name]), outputs.task_losses[name].float(), torch.nan)
                for name in self.loss_weights
            }
            found.append((reduce_outputs(outputs, self.model.config.tasks), row_losses))
        return loss.detach(), joined(found), None

    def evaluate(
        self, eval_dataset: Dataset | None = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Judges every task that the stage trains; keys such as `eval_emotion_ua`, fractions."""
        predictions, loss = self.predict_table(self.eval_dataset if eval_dataset is None else eval_dataset)
        trained = {name: task for name, task in self.model.config.tasks.items() if name in self.loss_weights}
        judged = flatten(evaluate_predictions(predictions, trained))
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in {"loss": loss, **judged}.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def predict_table(self, dataset: Dataset) -> tuple[pandas.DataFrame, float]:
        """Predictions of every task, one row an utterance in the dataset's order, and the stage's loss on them all.

        The target's scores are at the temperature of the model's config. Recordings of more than 15 s are heard in
        pieces, as the pipeline hears them; their transcripts have no part in the loss.
        """
        seconds, tasks = np.array(recording_durations(dataset)), self.model.config.tasks
        order = np.argsort(seconds, kind="stable")[::-1]
        # the longest first: little padding, and memory that does not suffice shows at once
        whole, long = order[~is_long(seconds[order])], order[is_long(seconds[order])]
        parts = [self._predict_whole(dataset.select(whole))] if len(whole) else []
        if len(long):
            with self.compute_loss_context_manager():
                columns = predict_long(self.model, self.processing_class, self.data_collator, dataset.select(long))
            parts.append((columns, losses_of(columns, self.data_collator, dataset.select(long))))
        places = np.argsort([*whole, *long])
        columns, losses = (
            {name: [value for part in found for value in part[name]] for name in found[0]}
            for found in zip(*parts, strict=True)
        )
        columns = {name: [values[place] for place in places] for name, values in columns.items()}
        table = with_predictions(dataset, columns, tasks, self.processing_class)
        return table, self._mean_loss(table, {name: np.array(losses[name]) for name in self.loss_weights})

    def _predict_whole(self, dataset: Dataset) -> tuple[dict[str, list], dict[str, np.ndarray]]:
        """The columns of predictions of short recordings, and losses of the rows."""
        output = self.evaluation_loop(self.get_eval_dataloader(dataset), description="Evaluation")
        reduced, row_losses = output.predictions
        config = self.model.config
        columns = predicted(reduced, config.tasks, self.processing_class)
        scores = f"{config.target_task}_scores"
        if config.tasks[config.target_task]["kind"] == "classification":
            columns[scores] = list(at_temperature(np.stack(columns[scores]), config.calibration_temperature))
        return columns, row_losses

    def get_train_dataloader(self) -> DataLoader:
        """The Trainer's; each batch tells its utterances too, and is in micro-batches where it must be."""
        nameless, self.data_collator = self.data_collator, BoundedBatches(self.data_collator, self.bound)
        try:
            return super().get_train_dataloader() if self.batches is None else self._bounded_dataloader()
        finally:
            self.data_collator = nameless

    def get_eval_dataloader(self, eval_dataset: Dataset | None = None) -> DataLoader:
        """The Trainer's, without speed perturbation, and bounded by what is usual in the data set."""
        seconds = recording_durations(self.eval_dataset if eval_dataset is None else eval_dataset)
        bound = PaddedBound.usual(seconds, self.args.eval_batch_size)
        perturbing, self.data_collator = (
            self.data_collator,
            BoundedBatches(self.data_collator.without_speed(), bound),
        )
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.data_collator = perturbing

    def _bounded_dataloader(self) -> DataLoader:
        arguments = self.args
        loader = DataLoader(
            self.train_dataset,
            batch_sampler=self.batches,
            collate_fn=self.data_collator,
            num_workers=arguments.dataloader_num_workers,
            prefetch_factor=arguments.dataloader_prefetch_factor,
            pin_memory=arguments.dataloader_pin_memory,
        )
        evens, self.accelerator.even_batches = (
            self.accelerator.even_batches,
            False,
        )  # it takes batches of one size only
        try:
            return self.accelerator.prepare(loader)
        finally:
            self.accelerator.even_batches = evens

    def create_model_card(self, **_: Any) -> None:
        """Writes our card in place of the Trainer's, from what a trainer knows: settings, versions, no results."""
        if self.is_world_process_zero():
            config = self.accelerator.unwrap_model(self.model).config.to_dict()
            report = Report(
                target=config["target_task"],
                protocol=Protocol.untold(""),  # a Trainer has rows, and nothing tells it whose
                stages={"this stage": self._settings()},
                versions=environment(),
            )
            folder = Path(self.args.output_dir)
            repository, revision = self.hub_model_id or f"./{folder.name}", self.args.hub_revision or "main"
            card = render_card(config, report, repository=repository, revision=revision)
            (folder / "README.md").write_text(card, encoding="utf-8")

    def _settings(self) -> dict[str, Any]:
        return {
            "loss_weights": self.loss_weights,
            "epochs": self.args.num_train_epochs,
            "steps": self.state.global_step,
            "encoder_learning_rate": self.encoder_learning_rate,
            "head_learning_rate": self.args.learning_rate,
            "batch_size": self.args.per_device_train_batch_size,
            "gradient_accumulation_steps": self.args.gradient_accumulation_steps,
            "schedule": str(self.args.lr_scheduler_type.value),
            "weight_decay": self.args.weight_decay,
            "seed": self.args.seed,
        }

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler | None:
        # the Trainer's own batches of alike lengths are drawn from the process's generator: an epoch that is gone on
        # with after an interruption would have another order
        step = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        if self.lengths is not None:
            self.sampler = LengthGroupedUtterances(self.lengths, step, self.args.seed, self.weights)
        elif self.weights is not None:
            self.sampler = WeightedUtterances(self.weights, self.args.seed)
        else:
            return super()._get_train_sampler(train_dataset)
        return self.sampler

    def _mean_loss(self, table: pandas.DataFrame, row_losses: Mapping[str, np.ndarray]) -> float:
        """The weighted sum of the task losses on a whole side, however its rows fell into batches.

        Each is the mean over the rows with a label, and a regression's is that of all its numbers together; 0 without
        any label.
        """
        losses = {}
        for name, of_rows in row_losses.items():
            task, known = self.model.config.tasks[name], ~np.isnan(of_rows)
            if task["kind"] == "regression":
                values, labels = (torch.tensor(table[column].to_numpy()) for column in (f"{name}_predicted", name))
                losses[name] = concordance_loss(values, labels, *task["range"]).item()
            else:
                losses[name] = of_rows[known].mean(dtype=np.float64).item() if known.any() else 0.0
        return sum(self.loss_weights[name] * loss for name, loss in losses.items())

    def _counted(self) -> Sequence[str]:
        """The names of what `_counts` counts."""
        return list(self.loss_weights)

    def _counts(self, batch: Mapping[str, Any]) -> torch.Tensor:
        """What the losses of a step are averaged over: each task's labelled rows in this batch."""
        return self._labelled(batch["labels"])

    def _labelled(self, labels: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return torch.stack([labelled_rows(labels[name]).sum() for name in self.loss_weights])

    def _remember(self, losses: Mapping[str, torch.Tensor]) -> None:
        for name, loss in losses.items():
            self.task_loss_sums[name] = self.task_loss_sums.get(name, 0.0) + loss.detach()

    def _forget_task_losses(self) -> None:
        self.task_loss_sums.clear()
        self.task_losses_logged_at = self.state.global_step


class _EpochDraws(TrainerCallback):
    """Tells whatever draws anew each epoch which epoch it is."""

    def __init__(self, trainer: SerMetaTrainer):
        self.trainer = trainer

    def on_train_begin(self, args, state, control, **_):
        self.trainer._forget_task_losses()
        self.trainer.find_best_checkpoint()  # the run folder may have been moved

    def on_epoch_begin(self, args, state, control, **_):
        epoch = int((state.epoch or 0) + 1e-6)
        for drawing in (self.trainer.sampler, self.trainer.data_collator.speed):
            if drawing is not None:
                drawing.set_epoch(epoch)
