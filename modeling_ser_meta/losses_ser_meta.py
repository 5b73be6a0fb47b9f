"""What each kind of task is trained with: the mean of its loss over the rows that have a label."""

from collections.abc import Sequence

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, ctc_loss

from .configuration_ser_meta import BLANK

MISSING = -100  # a label that is not known, or padding behind a transcript's last character
LEAST_SPREAD = 1e-4  # variance of a batch's labels, on a scale of -1 to 1, below which they count as alike


def labelled_rows(labels: torch.Tensor) -> torch.Tensor:
    """Bool `(batch,)`: which rows carry a label.

    Labels are class ids or numbers `(batch,)`, characters `(batch, length)`, or shares of classes `(batch, labels)`.
    """
    known = ~labels.isnan() if labels.is_floating_point() else labels != MISSING
    if labels.dim() == 1:
        return known
    return (known & (labels != MISSING)).any(dim=-1)


def classification_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    label_smoothing: float = 0.0,
    class_weights: Sequence[float] | None = None,
    kind: str = "cross_entropy",
    smoothing_toward: str = "uniform",
    focal_gamma: float = 2.0,
) -> torch.Tensor:
    """A loss of `(batch, labels)`, the mean over the labelled rows; 0 without any.

    Labels are class ids `(batch,)`, or the raters' shares `(batch, labels)`, which sum to 1. An id is a share of 1: it
    gives the same to the bit. With `q` the model's scores and `p` the shares, a row's loss is by `kind`:

    - `cross_entropy`: `-sum p log q`, what raters drawn by `p` would cost on average (Peterson et al., ICCV 2019).
    - `kl`: `sum p log(p / q)`, the same less the raters' own entropy: the gradient is the same, and 0 is a perfect
      match (the loss of Feng et al., arXiv 2505.22133, for the distributions of MSP-Podcast).
    - `focal`: `-sum p (1 - q)^focal_gamma log q` (Lin et al., arXiv 1708.02002; for shares the mean over the raters,
      our reading).

    With `label_smoothing` that share of each reference is spread evenly over all labels (as EMO-SUPERB does with
    shares, arXiv 2402.13018); with `smoothing_toward="raters"` the reference is the label that most raters chose, of
    which that share goes to what all of them chose, in their proportions (our reading). `class_weights` are factors of
    the rows by their label, or by the mean over their shares; the mean is over the number of rows all the same, so
    that a rare label counts more and not only beside others.
    """
    known = labelled_rows(labels)
    log_scores = logits.float().log_softmax(dim=-1)
    shares = _shares(labels, known, log_scores)
    if smoothing_toward == "raters":
        references, even = label_smoothing * shares + (1 - label_smoothing) * majority(shares), 0.0
    else:
        references, even = shares, label_smoothing
    costs = log_scores if kind != "focal" else log_scores * (1 - log_scores.exp()) ** focal_gamma
    losses = -(references * costs).sum(dim=-1)
    if even:  # in the order of torch's own cross_entropy, to be the same to the bit
        losses = (1 - even) * losses - costs.sum(dim=-1) * (even / costs.shape[-1])
    if kind == "kl":
        smoothed = (1 - even) * references + even / costs.shape[-1] if even else references
        losses = losses + torch.xlogy(smoothed, smoothed).sum(dim=-1)
    if class_weights is not None:
        # not cross_entropy's own, which with smoothing pull a common label's rows towards the rare ones
        factors = torch.tensor(class_weights, dtype=losses.dtype).to(losses.device, non_blocking=True)
        losses = losses * (shares * factors).sum(dim=-1)
    return torch.where(known, losses, 0.0).sum() / known.sum().clamp(min=1)


def _shares(labels: torch.Tensor, known: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Labels as shares `(batch, labels)`; those of a row without a label are not to be used."""
    if labels.dim() == 2:
        return labels.to(like.dtype).masked_fill(~known[:, None], 0.0)
    # not torch's one_hot, for which some devices wait
    return torch.zeros_like(like).scatter(1, (labels * known)[:, None], 1.0)


def majority(shares: torch.Tensor) -> torch.Tensor:
    """Shares `(batch, labels)` of the labels that most raters chose: 1, or evenly among those that tie."""
    most = (shares == shares.amax(dim=-1, keepdim=True)).to(shares.dtype)
    return most / most.sum(dim=-1, keepdim=True)


def multilabel_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    label_smoothing: float = 0.0,
    class_weights: Sequence[float] | None = None,
    kind: str = "cross_entropy",
    focal_gamma: float = 2.0,
) -> torch.Tensor:
    """Binary cross-entropy of `(batch, labels)`, the mean over labels and labelled rows; 0 without any.

    Labels are 1 where a recording has the label and 0 where not, `(batch, labels)`; with `label_smoothing` that share
    of them is half and half. With the `kind` `focal` each label costs `(1 - s)^focal_gamma` times as much, `s` being
    the score of the right answer (Lin et al., arXiv 1708.02002). `class_weights` are factors of the labels' losses.
    """
    known = labelled_rows(labels)
    references = labels.float().masked_fill(~known[:, None], 0.0)
    references = references * (1 - label_smoothing) + label_smoothing / 2 if label_smoothing else references
    logits = logits.float()
    losses = binary_cross_entropy_with_logits(logits, references, reduction="none")
    if kind == "focal":
        scores = logits.sigmoid()
        losses = losses * (1 - references * scores - (1 - references) * (1 - scores)) ** focal_gamma
    if class_weights is not None:
        losses = losses * torch.tensor(class_weights, dtype=losses.dtype).to(losses.device, non_blocking=True)
    return torch.where(known, losses.mean(dim=-1), 0.0).sum() / known.sum().clamp(min=1)


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
