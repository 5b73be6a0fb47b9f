"""What each kind of task is trained with: the mean of its loss over the rows that have a label."""

from collections.abc import Sequence

import torch
from torch.nn.functional import cross_entropy, ctc_loss

from .configuration_ser_meta import BLANK

MISSING = -100  # a label that is not known, or padding behind a transcript's last character
LEAST_SPREAD = 1e-4  # variance of a batch's labels, on a scale of -1 to 1, below which they count as alike


def labelled_rows(labels: torch.Tensor) -> torch.Tensor:
    """Bool `(batch,)`: which rows carry a label: class ids or numbers `(batch,)`, or characters `(batch, length)`."""
    known = ~labels.isnan() if labels.is_floating_point() else labels != MISSING
    return known if labels.dim() == 1 else known.any(dim=-1)


def classification_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    label_smoothing: float = 0.0,
    class_weights: Sequence[float] | None = None,
) -> torch.Tensor:
    """Cross entropy of `(batch, labels)`, the mean over the labelled rows; 0 without any.

    With `label_smoothing` that share of each reference is spread evenly over all labels. `class_weights` are factors
    of the rows by their label; the mean is over the number of rows all the same, so that a rare label counts more and
    not only beside others.
    """
    losses = cross_entropy(
        logits.float(), labels, ignore_index=MISSING, reduction="none", label_smoothing=label_smoothing
    )
    known = labelled_rows(labels)
    if class_weights is not None:
        # not cross_entropy's own, which with smoothing pull a common label's rows towards the rare ones
        factors = torch.tensor(class_weights, dtype=losses.dtype).to(losses.device, non_blocking=True)
        losses = losses * factors[labels * known]
    return losses.sum() / known.sum().clamp(min=1)


def characters_loss(logits: torch.Tensor, labels: torch.Tensor, frame_lengths: torch.Tensor) -> torch.Tensor:
    """CTC of `(batch, frames, characters)` an utterance, divided by its characters; the mean over the labelled rows.

    An utterance without characters counts as unlabelled; one with more characters than frames adds 0.
    """
    device = ctc_device(logits.device)
    log_probabilities = logits.to(device).float().log_softmax(dim=-1).transpose(0, 1)
    lengths = (labels != MISSING).sum(dim=-1)
    with torch.backends.cudnn.flags(enabled=False):
        losses = ctc_loss(
            log_probabilities,
            labels.to(device).clamp(min=BLANK),
            frame_lengths.to(device),
            lengths.to(device),
            blank=BLANK,
            reduction="none",
            zero_infinity=True,
        ).to(logits.device)
    known = lengths > 0
    return torch.where(known, losses / lengths.clamp(min=1), 0.0).sum() / known.sum().clamp(min=1)


def ctc_device(device: torch.device) -> torch.device:
    """Where CTC of a device's logits is computed: there, or on the CPU where torch has no kernel (Apple GPUs)."""
    return device if device.type in ("cpu", "cuda") else torch.device("cpu")


def concordance_loss(values: torch.Tensor, labels: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """1 - the concordance correlation coefficient (Lin, 1989) of the labelled rows of `(batch,)`; 0 without any.

    Ours. The coefficient is one of a whole batch and no sum over rows: of several batches (accumulated, or on several
    processes) each has its own, so that 4 x 1 is not a batch of 4 here. Batches of 8 or more labelled rows are wise.
    Where labels hardly differ, as with a single one, nothing can correlate, and the mean squared error on the scale
    on which `low` is -1 and `high` is 1 stands in.
    """
    known = labelled_rows(labels)
    count = known.sum().clamp(min=1)

    def mean(x: torch.Tensor) -> torch.Tensor:
        return torch.where(known, x, 0.0).sum() / count

    unit = (high - low) / 2
    values, labels = values.float() / unit, labels.float().nan_to_num() / unit
    error = mean((values - labels) ** 2)
    spread = mean((labels - mean(labels)) ** 2)
    # 1 - CCC is the squared error over what it would be without any correlation
    uncorrelated = spread + mean((values - mean(values)) ** 2) + (mean(values) - mean(labels)) ** 2
    return torch.where(spread > LEAST_SPREAD, error / uncorrelated.clamp(min=LEAST_SPREAD), error)
