"""What a student's training adds to its losses: how far it is from its teacher."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.nn.functional import interpolate, kl_div, normalize

from ...modeling_ser_meta.modeling_ser_meta import SerMetaOutput
from ..batches.teacher_outputs import FRAMES, LAYERS, LOGITS, Fused, fusion_heard
from .trainer import SerMetaTrainer

ROWS = "rows"  # counted beside the labelled rows of each task: every utterance has a teacher


class Distillation:
    """The losses of a student against its teacher, each the mean over utterances.

    - `target`: Kullback-Leibler divergence of the student's probabilities from the teacher's, both at one temperature,
      times its square (Hinton, Vinyals and Dean, 2015, section 2); of several labels at once the sum over the labels.
    - `tasks`: the same of the auxiliary tasks that both have, of characters the mean over the frames; of a number the
      squared difference on a scale of -1 to 1. The mean over the tasks.
    - `frames`: the squared distance of the student's fused frames from the teacher's, as a share of the squared length
      of the teacher's, over a whole recording. Where their widths differ, the squared difference of the cosines
      between each two frames stands in (similarity-preserving distillation: Tung and Mori, ICCV 2019), which needs no
      further weights.
    - `layers`: the same distance of the states that go into the fusion: of the student's m layers the i-th learns from
      the teacher's layer i L / m (TinyBERT: Jiao et al., Findings of EMNLP 2020, section 3.2, of hidden states alone).

    Args:
        weights: by loss; what is not named is not learned.
        temperature: see there.
        tasks: of the student's config; those of the teacher's outputs are compared.
        target: the target task.
    """

    def __init__(self, weights: Mapping[str, float], temperature: float, tasks: Mapping[str, Any], target: str):
        self.weights = {name: weight for name, weight in weights.items() if weight}
        self.temperature, self.tasks, self.target = temperature, tasks, target

    def losses(
        self, outputs: SerMetaOutput, fused: Fused, teacher: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """By name of a loss its mean over the utterances of a batch; `teacher` is that of a `TaughtCollator`."""
        mask, lengths = outputs.frame_mask, teacher.get("lengths")
        found: dict[str, list[torch.Tensor]] = {name: [] for name in self.weights}
        for name, answers in teacher.items():
            if name.startswith(LOGITS):
                task = name.removeprefix(LOGITS)
                part = "target" if task == self.target else "tasks"
                found[part].append(self._from_answers(task, outputs.task_logits[task], answers, mask, lengths))
            elif name == FRAMES:
                found[FRAMES].append(distance(fused.frames, at_rate(answers, lengths, mask), mask))
            elif name == LAYERS:
                pairs = zip(fused.states, answers.unbind(dim=1), strict=True)
                found[LAYERS] += [distance(state, at_rate(own, lengths, mask), mask) for state, own in pairs]
        return {name: torch.stack(rows).mean() for name, rows in found.items() if rows}

    def _from_answers(
        self, task: str, logits: torch.Tensor, answers: torch.Tensor, mask: torch.Tensor, lengths: torch.Tensor | None
    ) -> torch.Tensor:
        """The loss of a task's answers, `(batch,)`."""
        kind = self.tasks[task]["kind"]
        if kind == "regression":
            low, high = self.tasks[task]["range"]
            return ((logits.float() - answers) / ((high - low) / 2)).square()
        if kind == "ctc":
            own = self._divergence(logits, at_rate(answers, lengths, mask))
            return (own * mask).sum(dim=1) / mask.sum(dim=1)
        if kind == "multilabel":  # each label is there or not
            logits, answers = (torch.stack([of, torch.zeros_like(of)], dim=-1) for of in (logits, answers))
            return self._divergence(logits, answers).sum(dim=-1)
        return self._divergence(logits, answers)

    def _divergence(self, logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
        own, asked = ((of.float() / self.temperature).log_softmax(dim=-1) for of in (logits, answers))
        return self.temperature**2 * kl_div(own, asked, reduction="none", log_target=True).sum(dim=-1)


def distance(frames: torch.Tensor, others: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """How far frames `(batch, frames, width)` are from others, `(batch,)`; see `frames` of `Distillation`."""
    frames, others, count = frames.float(), others.float(), mask.sum(dim=1)
    if frames.shape[-1] != others.shape[-1]:
        cosines = [alike @ alike.transpose(1, 2) for alike in (normalize(frames, dim=-1), normalize(others, dim=-1))]
        pairs = mask[:, :, None] & mask[:, None]
        return ((cosines[0] - cosines[1]).square() * pairs).sum(dim=(1, 2)) / count.square()
    apart, length = ((of.square() * mask[..., None]).sum(dim=(1, 2)) for of in (frames - others, others))
    return apart / length.clamp(min=torch.finfo(length.dtype).tiny)


def at_rate(frames: torch.Tensor, lengths: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """A teacher's frames `(batch, frames, ...)`, `lengths` of them true, at the rate of the student's frame mask.

    Where a teacher has more or fewer frames for a recording they are interpolated over its length.
    """
    own = mask.sum(dim=1)
    if torch.equal(own, lengths):
        missing = mask.shape[1] - frames.shape[1]
        return torch.nn.functional.pad(frames, (0, 0, 0, missing)) if missing > 0 else frames[:, : mask.shape[1]]
    fitted = frames.new_zeros(len(frames), mask.shape[1], frames.shape[2])
    for row, (given, count) in enumerate(zip(lengths.tolist(), own.tolist(), strict=True)):
        true = frames[row, :given].T[None]
        fitted[row, :count] = interpolate(true, size=count, mode="linear", align_corners=False)[0].T
    return fitted


def layers_to_learn(own: int, of_teacher: int) -> list[int]:
    """For each of a student's layers the number, from 0, of the teacher's layer that it learns from."""
    return [max(1, round(layer * of_teacher / own)) - 1 for layer in range(1, own + 1)]


class StudentTrainer(SerMetaTrainer):
    """Adds the losses against a teacher to those of the labels, in training; a judgement is of the labels alone.

    Args:
        distillation: the losses, with their weights.
        options: as of `SerMetaTrainer`; the collator's batches have a `teacher`.
    """

    def __init__(self, *, distillation: Distillation, **options: Any):
        super().__init__(**options)
        self.distillation = distillation

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: dict[str, torch.Tensor] | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, Any]:
        """The labels' loss, and the teacher's, weighed; the latter is averaged over all utterances of the step."""
        teacher = inputs.pop("teacher", None)
        with fusion_heard(self.accelerator.unwrap_model(model)) as heard:
            loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        if teacher is not None:
            losses = self.distillation.losses(outputs, heard[0], teacher)
            if num_items_in_batch is not None:
                rows = len(outputs.logits) * self.accelerator.num_processes
                losses = {name: value * rows / num_items_in_batch[ROWS] for name, value in losses.items()}
                self._remember({f"teacher_{name}": value for name, value in losses.items()})
            loss = loss + sum(self.distillation.weights[name] * value for name, value in losses.items())
        return (loss, outputs) if return_outputs else loss

    def _counted(self) -> Sequence[str]:
        return [*super()._counted(), ROWS]

    def _counts(self, batch: Mapping[str, Any]) -> torch.Tensor:
        labelled = super()._counts(batch)
        return torch.cat([labelled, labelled.new_full((1,), len(batch["utterance_ids"]))])
