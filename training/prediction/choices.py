"""What the command line says of the labels to choose among, and of how often they occur."""

from typing import Any

from ...configuration.errors import UserError


def chosen(labels: str | None, priors: str | None, least_familiar: float | None) -> dict[str, Any]:
    """The pipeline's options of that name.

    Args:
        labels: as `angry,sad`.
        priors: as `angry=0.1,sad=0.9`, or `uniform`.
        least_familiar: see the pipeline.

    Raises:
        UserError: words that say something else.
    """
    return {
        "labels": None if labels is None else [label.strip() for label in labels.split(",") if label.strip()],
        "priors": priors if priors in (None, "uniform") else _shares(priors),
        "least_familiar": least_familiar,
    }


def _shares(priors: str) -> dict[str, float]:
    shares = {}
    for part in priors.split(","):
        label, _, share = part.rpartition("=")
        try:
            shares[label.strip()] = float(share)
        except ValueError as error:
            raise UserError(
                f"--priors {priors} must be uniform, or each label with its share, as angry=0.2,sad=0.8"
            ) from error
    return shares
