"""Numbers that go wrong in a training: found at their step, before the weights move."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from accelerate.utils import gather, gather_object
from transformers import TrainerCallback

from ...configuration.errors import UserError
from ...modeling_ser_meta.losses_ser_meta import MISSING
from ...modeling_ser_meta.modeling_ser_meta import SerMetaOutput

NAMED = 5  # utterances in an error's line


class FiniteSteps(TrainerCallback):
    """Ends a training before a step whose loss or gradient is not finite, and says which tasks and utterances it was.

    The norm of the gradient, which is clipped to it anyway, tells of both: see `spread`. It is the same on all
    processes, which share the gradient, so that they need not ask each other.

    With precision fp16 gradients overflow now and then, and the loss scaler leaves such a step out: there only losses
    are looked at, and processes do ask each other.
    """

    def __init__(self) -> None:
        self.batches: list[tuple[list[str], dict[str, torch.Tensor], dict[str, torch.Tensor]]] = []
        self.norm: torch.Tensor | float = 0.0

    def remembering(self, clip: Callable[..., Any]) -> Callable[..., Any]:
        """What clips gradients and returns their norm, taking note of the norm."""

        def clip_and_remember(*arguments: Any, **options: Any) -> Any:
            self.norm = clip(*arguments, **options)
            return self.norm

        return clip_and_remember

    def watch(self, utterances: list[str], outputs: SerMetaOutput, losses: Mapping[str, torch.Tensor]) -> None:
        """Takes note of a batch: of each task's loss, and of the rows whose logits are finite."""
        finite = {name: outputs.task_logits[name].detach().isfinite() for name in losses}
        sound = {name: entries.reshape(entries.shape[0], -1).all(dim=1) for name, entries in finite.items()}
        self.batches.append((utterances, {name: loss.detach() for name, loss in losses.items()}, sound))

    def on_step_begin(self, args, state, control, **_):
        """Forgets the last step."""
        self.batches.clear()

    def on_pre_optimizer_step(self, args, state, control, **_):
        """Raises `UserError`, on all processes the same."""
        if args.fp16:
            losses = torch.stack([loss for _, losses, _ in self.batches for loss in losses.values()])
            finite = gather(losses.isfinite().all()[None]).all()
        else:
            finite = torch.as_tensor(self.norm).isfinite()
        if not finite:
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


def spread(loss: torch.Tensor) -> torch.Tensor:
    """The same loss; of one that is not finite every gradient is NaN, and so is what processes share of it."""
    return loss * torch.where(loss.isfinite(), 1.0, torch.nan)


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
