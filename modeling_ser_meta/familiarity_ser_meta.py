"""How far a recording lies from those that a model has learned from."""

import torch
from torch import nn

QUANTILES = 101  # of the held-out distances that are kept


class Familiarity(nn.Module):
    """Tells how familiar embeddings are, by their Mahalanobis distance (Lee et al., NeurIPS 2018).

    The embeddings of each label are taken for Gaussian, all with one covariance. Of that are kept its largest
    principal components, and one variance for all that is orthogonal to them (Tipping and Bishop, 1999), so that the
    statistics stay small (ours). The distance is that to the nearest label. What is told is the share of held-out
    recordings that lie as far away or further: the p-value of conformal anomaly detection (Laxhammar and Falkman,
    2010).

    Args:
        labels: of the target, those that the training side has.
        width: of the embeddings.
        rank: how many components are kept.
    """

    def __init__(self, labels: int, width: int, rank: int):
        super().__init__()
        self.register_buffer("means", torch.zeros(labels, width))
        self.register_buffer("components", torch.zeros(rank, width))
        self.register_buffer("variances", torch.ones(rank))
        self.register_buffer("rest", torch.ones(()))
        self.register_buffer("held_out", torch.linspace(0, 1, QUANTILES))

    def reset_parameters(self) -> None:
        """Forgets what was learned."""
        for buffer in (self.means, self.components):
            nn.init.zeros_(buffer)
        for buffer in (self.variances, self.rest):
            nn.init.ones_(buffer)
        self.held_out.copy_(torch.linspace(0, 1, QUANTILES))

    def distances(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Of embeddings `(batch, width)` to the nearest label's mean, `(batch,)`."""
        apart = embeddings.float()[:, None] - self.means.float()
        along = apart @ self.components.float().T
        beside = (apart - along @ self.components.float()).square().sum(dim=-1)
        squares = (along.square() / self.variances.float()).sum(dim=-1) + beside / self.rest.float()
        return squares.amin(dim=1).sqrt()

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """From embeddings `(batch, width)` to how familiar they are, `(batch,)` from 0 to 1."""
        distances, known = self.distances(embeddings), self.held_out.float()
        # searchsorted, which no exporter knows
        place = (known < distances[:, None]).sum(dim=1).clamp(1, QUANTILES - 1)
        low, high = known[place - 1], known[place]
        nearer = place - 1 + ((distances - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
        # beyond the furthest nothing is known but that further is less familiar
        beyond = (known[-1] / distances.clamp(min=1e-12)).clamp(max=1)
        return (1 - nearer / QUANTILES) * beyond
