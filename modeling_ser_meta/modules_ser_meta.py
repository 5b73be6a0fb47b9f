"""The paper's modules: layer fusion (ARI and its rivals), the task heads, and the co-attention."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn
from torch.nn.functional import layer_norm

ATTENTION_WIDTH = 128  # of the network that weighs the frames (ours)
SMALLEST_VARIANCE = 1e-5  # a single frame has none, and its root no gradient


def masked_mean(frames: torch.Tensor, frame_mask: torch.Tensor) -> torch.Tensor:
    """Mean `(batch, width)` of the true frames of `(batch, frames, width)`, summed in float32."""
    return _weighted_mean(_equal_weights(frame_mask), frames)[:, 0].to(frames.dtype)


def _equal_weights(frame_mask: torch.Tensor) -> torch.Tensor:
    weights = frame_mask.float()
    return weights / weights.sum(dim=1, keepdim=True)


def _weighted_mean(weights: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    """`(batch, 1, width)` in float32: in half precision 1 / n is missed by up to 0.4 %, and a square overflows."""
    with _without_autocast(frames):
        return weights[:, None] @ frames.float()


def _without_autocast(tensor: torch.Tensor) -> AbstractContextManager:
    kind = tensor.device.type
    # only where it is on: an exported graph would hold the switch
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()


class FramePooling(nn.Module):
    """One vector of an utterance's frames for the target's classifier: statistics of them, side by side.

    Attentive ones weigh each frame by a small network of that frame alone, as in attentive statistics pooling (Okabe
    et al., Interspeech 2018): what tells nothing, such as silence, then hardly counts. The paper has the mean alone
    (section III-B); the others are ours.

    Args:
        hidden_size: width of the frames.
        statistics: any of `mean`, `deviation`, `attentive_mean` and `attentive_deviation`.
    """

    def __init__(self, hidden_size: int, statistics: Sequence[str]):
        super().__init__()
        self.statistics = tuple(statistics)
        attends = any(name.startswith("attentive") for name in statistics)
        scorer = (nn.Linear(hidden_size, ATTENTION_WIDTH), nn.Tanh(), nn.Linear(ATTENTION_WIDTH, 1))
        self.scorer = nn.Sequential(*scorer) if attends else None

    def forward(self, frames: torch.Tensor, frame_mask: torch.Tensor) -> torch.Tensor:
        """From frames `(batch, frames, width)`, true by `frame_mask`, to `(batch, statistics x width)`."""
        weights = {"": _equal_weights(frame_mask)}
        if self.scorer is not None:
            weights["attentive"] = self._attention(frames, frame_mask)
        named = [name.rpartition("_") for name in self.statistics]
        pooled = [self._statistic(kind, frames, weights[attentive]) for attentive, _, kind in named]
        return torch.cat(pooled, dim=-1).to(frames.dtype)

    def _statistic(self, kind: str, frames: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        mean = _weighted_mean(weights, frames)
        if kind == "mean":
            return mean[:, 0]
        variance = _weighted_mean(weights, (frames.float() - mean).square())
        return variance[:, 0].clamp(min=SMALLEST_VARIANCE).sqrt()

    def _attention(self, frames: torch.Tensor, frame_mask: torch.Tensor) -> torch.Tensor:
        scores = self.scorer(frames)[..., 0].masked_fill(~frame_mask, float("-inf"))
        return scores.softmax(dim=-1, dtype=torch.float32)


class StateStandardization(nn.Module):
    """Centres and scales every layer's hidden states by channel, with statistics that are taken once (ours).

    Frames of all recordings have a large part in common, in particular where layers normalise before and not after;
    without it what differs between recordings is small, and the heads learn it slowly. The statistics are those of the
    encoder as it was before training: from then on it is a fixed map, which no batch changes.
    """

    def __init__(self, hidden_size: int, num_layers: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_layers, hidden_size))
        self.register_buffer("deviation", torch.ones(num_layers, hidden_size))

    def reset_parameters(self) -> None:
        """Leaves the states as they are."""
        nn.init.zeros_(self.mean)
        nn.init.ones_(self.deviation)

    def forward(
        self, hidden_states: Sequence[torch.Tensor], state_means: torch.Tensor | None = None
    ) -> list[torch.Tensor]:
        """From the L layers' hidden states, each `(batch, frames, width)`, to as many of that shape.

        Each recording is centred by its own `state_means` `(batch, L, width)`, where they are given.
        """
        scale = 1 / self.deviation.float()
        means = self.mean.float()
        if state_means is not None:
            means = state_means.float().transpose(0, 1)[:, :, None]
        shifts = [-mean * by for mean, by in zip(means, scale, strict=True)]
        pairs = zip(hidden_states, shifts, scale, strict=True)
        # one pass over a large tensor; in float32, since a mean may be many deviations large
        return [torch.addcmul(shift, state.float(), scale).to(state.dtype) for state, shift, scale in pairs]


class AugmentedResidualIntegration(nn.Module):
    """Joins the lower layers to the last one: `H = h_L + sum_{i<L} W_i h_i` (the paper's formula 3, section II-A4).

    The text has the formula's words only; that `h_L` stays undiluted and that W starts at zero, so that training
    starts from the plain encoder, is our reading.

    Args:
        hidden_size: width of the hidden states.
        num_layers: L, at least 2.
        weighting: what `W_i` is: a `matrix`, a weight a `channel`, a `scalar`, or the `softmax` over the layers times
            one scale that starts at zero.
        join: `add` the sum to the last layer, or `concat` both and map them back from `2d` to `d`.
        normalize: layer-normalise each `h_i` (i < L) first, without parameters.
    """

    def __init__(
        self,
        hidden_size: int,
        num_layers: int,
        weighting: str = "matrix",
        join: str = "add",
        normalize: bool = False,
    ):
        super().__init__()
        lower = num_layers - 1
        self.weighting, self.normalize = weighting, normalize
        shape = {"matrix": (lower, hidden_size, hidden_size), "channel": (lower, hidden_size)}.get(weighting, (lower,))
        self.weight = nn.Parameter(torch.zeros(shape))
        self.scale = nn.Parameter(torch.zeros(())) if weighting == "softmax" else None
        self.projection = nn.Linear(2 * hidden_size, hidden_size) if join == "concat" else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets the weights so that the output is the last layer, exactly."""
        nn.init.zeros_(self.weight)
        if self.scale is not None:
            nn.init.zeros_(self.scale)
        if self.projection is not None:
            # [I, I]: the sum is zero at the start, and its weights still receive a gradient
            width = self.projection.out_features
            identity = torch.eye(width, device=self.projection.weight.device)
            nn.init.zeros_(self.projection.bias)
            with torch.no_grad():
                self.projection.weight.copy_(identity.repeat(1, 2))

    def forward(self, hidden_states: Sequence[torch.Tensor]) -> torch.Tensor:
        """From the L layers' hidden states, each `(batch, frames, width)`, to one of that shape."""
        *lower, last = hidden_states
        weights = self.scale * self.weight.softmax(dim=0) if self.scale is not None else self.weight
        # float32, so that h_L is not rounded once a layer
        total = torch.zeros_like(last, dtype=torch.float32) if self.projection is not None else last.float()
        for weight, state in zip(weights, lower, strict=True):
            state = layer_norm(state, state.shape[-1:]) if self.normalize else state
            total = _add_product(total, state, weight) if self.weighting == "matrix" else total + state * weight
        total = total.to(last.dtype)
        if self.projection is None:
            return total
        with _without_autocast(last):
            return self.projection(torch.cat([last, total], dim=-1).to(self.projection.weight.dtype)).to(last.dtype)


def _add_product(total: torch.Tensor, state: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """`total + state @ weight`, in float32 without a pass of its own for the sum."""
    if state.dtype != torch.float32 or torch.is_autocast_enabled(state.device.type):
        return total + state @ weight
    return torch.addmm(total.flatten(0, -2), state.flatten(0, -2), weight).view_as(total)


class WeightedSum(nn.Module):
    """Softmax-weighted sum of all layers, the rival of the paper's Table III."""

    def __init__(self, num_layers: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_layers))

    def reset_parameters(self) -> None:
        """Weighs all layers alike."""
        nn.init.zeros_(self.weight)

    def forward(self, hidden_states: Sequence[torch.Tensor]) -> torch.Tensor:
        """From the layers' hidden states, each `(batch, frames, width)`, to one of that shape."""
        weights = self.weight.softmax(dim=0).float()
        total = sum(weight * state.float() for weight, state in zip(weights, hidden_states, strict=True))
        return total.to(hidden_states[-1].dtype)


class LastHidden(nn.Module):
    """The last layer alone: the paper's baseline and its ablation without ARI."""

    def forward(self, hidden_states: Sequence[torch.Tensor]) -> torch.Tensor:
        """The last of the layers' hidden states."""
        return hidden_states[-1]


class TaskHead(nn.Module):
    """An auxiliary task's head: its hidden vector, which the co-attention uses, and its logits.

    A classification pools the frames' mean first; CTC keeps every frame, and its hidden vector is the mean of its
    hidden frames (section II-A3; pooling and width are our reading). A regression pools like a classification, and
    its one output is a number (ours).

    Args:
        hidden_size: width of the frames.
        head_hidden_size: width of the hidden vector.
        outputs: labels or characters; 1 for a regression; 0 where its answers were taken out.
        dropout: of the hidden vector.
        per_frame: for CTC.
        value_range: of a regression: an output of -1 means the first number, 1 the second, and beyond is possible.
    """

    def __init__(
        self,
        hidden_size: int,
        head_hidden_size: int,
        outputs: int,
        dropout: float,
        per_frame: bool,
        value_range: Sequence[float] | None = None,
    ):
        super().__init__()
        self.per_frame, self.value_range = per_frame, value_range
        self.dense = nn.Linear(hidden_size, head_hidden_size)
        self.activation = nn.GELU()
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(head_hidden_size, outputs) if outputs else None

    def forward(self, frames: torch.Tensor, frame_mask: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
        """From frames `(batch, frames, width)` to logits, if it answers, and the hidden vector `(batch, head width)`.

        The logits are `(batch, outputs)`, for CTC `(batch, frames, outputs)`, for a regression its numbers `(batch,)`.
        """
        features = frames if self.per_frame else masked_mean(frames, frame_mask)
        hidden = self.dropout(self.activation(self.dense(features)))
        logits = None if self.classifier is None else self.classifier(hidden)
        if self.value_range is not None:
            low, high = self.value_range
            logits = (low + high) / 2 + (high - low) / 2 * logits[:, 0]
        return logits, masked_mean(hidden, frame_mask) if self.per_frame else hidden


class CoAttention(nn.Module):
    """The auxiliary tasks' hidden vectors attend to the speech frames (section II-A5).

    One query a task, the frames as keys and values, several heads, scaled dot product; each task's attended vector is
    one *weighted emotion feature*. That the tasks are the queries is our reading, close to the co-attention of Zou et
    al. (ICASSP 2022).
    """

    def __init__(self, hidden_size: int, query_size: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(query_size, hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size)
        self.value = nn.Linear(hidden_size, hidden_size)
        self.output = nn.Linear(hidden_size, hidden_size)

    def forward(
        self, task_vectors: torch.Tensor, frames: torch.Tensor, frame_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Attends to the true frames.

        Args:
            task_vectors: `(batch, tasks, query width)`.
            frames: `(batch, frames, width)`.
            frame_mask: bool `(batch, frames)`; a false frame gets a weight of exactly zero.

        Returns:
            the weighted emotion features `(batch, tasks, width)`, and the attention weights
            `(batch, heads, tasks, frames)`, which sum to 1 over the frames.
        """
        query, key, value = (
            self._split(projected) for projected in (self.query(task_vectors), self.key(frames), self.value(frames))
        )
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        scores = scores.masked_fill(~frame_mask[:, None, None], float("-inf"))
        weights = scores.softmax(dim=-1, dtype=torch.float32).to(scores.dtype)
        attended = (weights @ value).transpose(1, 2).flatten(2)
        return self.output(attended), weights

    def _split(self, projected: torch.Tensor) -> torch.Tensor:
        return projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)
