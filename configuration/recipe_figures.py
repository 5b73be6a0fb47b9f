"""How good the recipes that come along were found to be; README.md has the commands, and what was judged."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """Of a recipe's model on speakers that it was not trained on.

    Args:
        judged_on: in words.
        ua: the unweighted accuracy.
        interval: of the UA, 95 %, over speakers; None where there are too few.
    """

    judged_on: str
    ua: float
    interval: tuple[float, float] | None = None


FIGURES = {
    "demo": Figure("24 synthetic speakers of six voices, 4 emotions", 0.776, (0.729, 0.820)),
    "ravdess-whisper-base-frozen": Figure("24 actors, 8 emotions, speech and song", 0.724, (0.687, 0.757)),
}
