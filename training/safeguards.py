"""Numbers that go wrong in a training: found at their step, before the weights move."""

from collections.abc import Mapping
from typing import Any

import torch
from accelerate.utils import gather, gather_object
from transformers import TrainerCallback

from ..configuration.errors import UserError
from ..modeling_ser_meta.losses_ser_meta import MISSING
from ..modeling_ser_meta.modeling_ser_meta import SerMetaOutput

NAMED = 5  # utterances in an error's line


class FiniteSteps(TrainerCallback):
    """Ends a training before a step whose loss or gradient is not finite, and says which tasks and utterances it was.

    With precision fp16 gradients overflow now and then, and the loss scaler leaves such a step out: there only losses
    are looked at.
    """

    def __init__(self) -> None:
        self.batches: list[tuple[list[str], dict[str, torch.Tensor], dict[str, torch.Tensor]]] = []

    def watch(self, utterances: list[str], outputs: SerMetaOutput, losses: Mapping[str, torch.Tensor]) -> None:
        """Takes note of a batch: of each task's loss, and of the rows whose logits are finite."""
        finite = {name: outputs.task_logits[name].detach().isfinite() for name in losses}
        sound = {name: entries.reshape(entries.shape[0], -1).all(dim=1) for name, entries in finite.items()}
        self.batches.append((utterances, {name: loss.detach() for name, loss in losses.items()}, sound))

    def on_step_begin(self, args, state, control, **_):
        """Forgets the last step."""
        self.batches.clear()

    def on_pre_optimizer_step(self, args, state, control, model, **_):
        """Raises `UserError`, on all processes the same."""
        losses = torch.stack([loss for _, losses, _ in self.batches for loss in losses.values()])
        finite = losses.isfinite().all()
        if not args.fp16:
            gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
            finite = finite & torch.nn.utils.get_total_norm(gradients).isfinite()
        if not gather(finite[None]).all():
            raise UserError(self._words(state.global_step + 1))

    def _words(self, step: int) -> str:
        faults = sorted(set(gather_object(list(self._faults()))))
        everyone = gather_object([name for names, _, _ in self.batches for name in names])
        tasks = sorted({task for task, _ in faults})
        utterances = list(dict.fromkeys(name for _, name in faults)) or everyone
        what = f"the loss of {', '.join(tasks)}" if tasks else "the gradient"
        more = f" and {len(utterances) - NAMED} more" if len(utterances) > NAMED else ""
        return (
            f"{what} is not finite at step {step}, with the utterances {', '.join(utterances[:NAMED])}{more}: look at "
            "them with ser-meta check, or train with lower learning rates; the checkpoint before is kept"
        )

    def _faults(self) -> Any:
        """Pairs of task and utterance: those without finite logits, or else the batch of a loss that is not finite."""
        for utterances, losses, sound in self.batches:
            for task, loss in losses.items():
                at_fault = [name for name, good in zip(utterances, sound[task].tolist(), strict=True) if not good]
                if at_fault or not loss.isfinite():
                    yield from ((task, name) for name in at_fault or utterances)


def leave_out_repeats(batch: dict[str, Any], utterances: int, processes: int, place: int) -> None:
    """Takes the labels off the rows with which Accelerate fills an epoch's last step on several processes.

    It starts over with the epoch's first utterances until every process has a whole batch.

    Args:
        batch: the epoch's last of this process, changed in place.
        utterances: of the epoch.
        processes: how many train together.
        place: of this process among them, from 0.
    """
    size = len(batch["utterance_ids"])
    once = utterances % (size * processes) or size * processes
    repeated = torch.arange(size) + place * size >= once
    for labels in batch["labels"].values():
        labels[repeated.to(labels.device)] = torch.nan if labels.is_floating_point() else MISSING
