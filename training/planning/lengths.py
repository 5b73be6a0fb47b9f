"""Which recordings are far longer than the rest (ours)."""

from collections.abc import Sequence

import numpy as np

MOST = 0.9  # of the recordings last at most what is called usual here
TIMES = 3  # as long as that may all utterances of a batch be: the usual corpora stay below
ALONE = 30.0  # seconds: a recording of at most that is never too long to train on
UTTERANCES = 4  # of a batch, where no recipe says otherwise


def usual_length(seconds: Sequence[float]) -> float:
    """The length that nine of ten recordings do not exceed, in seconds; 0 without any."""
    return float(np.quantile(seconds, MOST)) if len(seconds) else 0.0


def far_longer(seconds: Sequence[float]) -> float:
    """The seconds beyond which one recording takes as much as the largest batch of the others, and more than `ALONE`.

    A training counts what attention adds too, and may refuse shorter ones.
    """
    return max(ALONE, UTTERANCES * TIMES * usual_length(seconds))
