"""How near predictions come to what several raters said, and how near raters come to each other."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas
from scipy.special import rel_entr

from ...configuration.report import VoteMeasures
from ..corpora.votes import vote_column

try:
    import krippendorff
except ImportError:  # the extra "agreement"
    krippendorff = None

TINY = 1e-12  # of a score that is 0, so that its logarithm is a number
MEANS = ("jensen_shannon", "kl", "cosine", "total_variation", "brier", "accepted")
OF_SEVERAL = ("rater_agreement", "raters_agreement", "most_agreement")
SUMMED = (*MEANS, "n", *OF_SEVERAL, "n_several")
MEASURES = (*MEANS, "accepted_macro_f1", *OF_SEVERAL)


def has_votes(predictions: pandas.DataFrame, task: str, labels: Sequence[str]) -> bool:
    """Whether somebody rated an utterance of a table of predictions, and the model has scores of it."""
    columns = [name for label in labels if (name := vote_column(task, label)) in predictions]
    return f"{task}_scores" in predictions and bool(columns) and bool((predictions[columns] > 0).to_numpy().any())


def vote_measures(predictions: pandas.DataFrame, task: str, labels: Sequence[str]) -> VoteMeasures:
    """What the scores of a classification are beside its raters' votes, over the utterances that somebody rated.

    With `p` the raters' shares and `q` the model's scores, each is the mean over the utterances of: `jensen_shannon`,
    the divergence in bits, from 0 to 1 (Lin, 1991); `kl`, `sum p log(p / q)`, in nats; `cosine`, of the angle between
    them; `total_variation`, half of `sum |p - q|`; `brier`, `sum (p - q)^2` (Brier, 1950). Then

    - `accepted_macro_f1`: the labels whose share is above 1 / labels, of the raters and of the model, compared label
      by label: so EMO-SUPERB (arXiv 2402.13018) counts, as `k_thresold` in the `emo-superb/expert.py` of
      github.com/EMOsuperb/EMO-SUPERB-submission, which means over its batches; here all utterances are counted
      together, and a label that neither side ever has is left out. `accepted`: the model's best label is one that the
      raters accept so (ours).
    - `rater_agreement`: how often a rater, drawn by the votes, says what the model says; `raters_agreement`: how often
      one of them says what another says of the same utterance: what one more person would reach; `most_agreement`:
      how often one says what most of them say, which no answer exceeds. Where the votes are counts, the three are over
      the `n_several` utterances of several raters; where they are shares alone, nothing tells how many raters there
      are, and the second is None.
    - `alpha`: Krippendorff's, of the raters, by the library of that name; `alpha_with_model`: with the model as one
      more rater of each of those utterances (our reading).
    - `confusion`: rows are the raters' shares of each label, columns the model's label.

    Args:
        predictions: one row an utterance, with a column of votes for each label, the task's `<task>_scores`, in label
            order, and `<task>_predicted`.
        task: a classification; see `has_votes`.
        labels: of the model.
    """
    votes, shares, predicted, rows = judged_votes(predictions, task, labels)
    sums = rows.sum(axis=0)
    found = {name: float(value) for name, value in zip(MEASURES, measures_of_sums(sums, len(labels)), strict=True)}
    several = int(sums[SUMMED.index("n_several")])
    if not several:
        found["rater_agreement"] = float(shares[np.arange(len(shares)), predicted].mean())
        found["most_agreement"] = float(shares.max(axis=1).mean())
    confusion = np.zeros((len(labels), len(labels)))
    np.add.at(confusion.T, predicted, shares)
    undefined = {} if several else {"raters_agreement": "the votes do not tell how many raters there were"}
    return {
        **found,
        **({} if several else {"raters_agreement": None}),
        **_alphas(votes, predicted, undefined),
        "confusion": confusion.tolist(),
        "n": len(shares),
        "n_several": several,
        **({"undefined": undefined} if undefined else {}),
    }


def rated_rows(predictions: pandas.DataFrame, task: str, labels: Sequence[str]) -> pandas.DataFrame:
    """The utterances that somebody rated."""
    return predictions[np.nansum(_votes(predictions, task, labels), axis=1) > 0]


def _votes(predictions: pandas.DataFrame, task: str, labels: Sequence[str]) -> np.ndarray:
    """The votes `(utterances, labels)` as they were given, 0 where there are none."""
    columns = [predictions.get(vote_column(task, label)) for label in labels]
    absent = np.zeros(len(predictions))
    return np.stack([absent if each is None else each.fillna(0).to_numpy(float) for each in columns], axis=1)


def judged_votes(
    predictions: pandas.DataFrame, task: str, labels: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of the rated utterances: votes, shares, the ids of the model's labels, and what is summed of each."""
    rated = rated_rows(predictions, task, labels)
    votes = _votes(rated, task, labels)
    shares = votes / votes.sum(axis=1, keepdims=True)
    scores = np.stack(rated[f"{task}_scores"].tolist())
    predicted = pandas.Index(labels).get_indexer(rated[f"{task}_predicted"])
    return votes, shares, predicted, _summed(votes, shares, scores, predicted)


def _summed(votes: np.ndarray, shares: np.ndarray, scores: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Of each utterance what is summed: `SUMMED`, and by label whether it is rightly, wrongly and not accepted."""
    middle = (shares + scores) / 2
    raters, of_model = votes.sum(axis=1), shares[np.arange(len(shares)), predicted]
    several = are_counts(votes) & (raters >= 2)
    pairs = (votes * (votes - 1)).sum(axis=1) / np.where(several, raters * (raters - 1), 1)
    said, meant = scores > 1 / shares.shape[1], shares > 1 / shares.shape[1]
    columns = {
        "jensen_shannon": (rel_entr(shares, middle) + rel_entr(scores, middle)).sum(axis=1) / 2 / np.log(2),
        "kl": rel_entr(shares, scores.clip(TINY)).sum(axis=1),
        "cosine": (shares * scores).sum(axis=1) / np.linalg.norm(shares, axis=1) / np.linalg.norm(scores, axis=1),
        "total_variation": np.abs(shares - scores).sum(axis=1) / 2,
        "brier": ((shares - scores) ** 2).sum(axis=1),
        "accepted": of_model > 1 / shares.shape[1],
        "n": np.ones(len(shares)),
        "rater_agreement": np.where(several, of_model, 0),
        "raters_agreement": np.where(several, pairs, 0),
        "most_agreement": np.where(several, shares.max(axis=1), 0),
        "n_several": several,
    }
    accepted = np.concatenate([said & meant, said & ~meant, ~said & meant], axis=1)
    return np.concatenate([np.stack([columns[name] for name in SUMMED], axis=1), accepted], axis=1).astype(float)


def labels_at_once(predictions: pandas.DataFrame, task: str, labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Which labels each utterance has, bool `(utterances, labels)`, and of which utterances that is known.

    They stand in the columns of votes; where those have none, in the one of the single label.
    """
    has = _votes(predictions, task, labels) > 0
    columns = [name for label in labels if (name := vote_column(task, label)) in predictions]
    rated = predictions[columns].notna().any(axis=1).to_numpy() if columns else np.zeros(len(predictions), bool)
    single = np.array([[value == label for label in labels] for value in predictions.get(task, [None] * len(has))])
    has = np.where(rated[:, None], has, single.reshape(has.shape))
    return has, rated | has.any(axis=1)


def are_counts(votes: np.ndarray) -> np.ndarray:
    """Whether each row of votes `(utterances, labels)` is a count of raters, and no shares or weighted votes."""
    return (votes == np.floor(votes)).all(axis=1)


def measures_of_sums(sums: np.ndarray, labels: int) -> np.ndarray:
    """`MEASURES` `(measures, ...)` of sums `(..., columns)`; NaN where nothing tells how many raters there were."""
    by_name = {name: sums[..., place] for place, name in enumerate(SUMMED)}
    means = [by_name[name] / by_name["n"] for name in MEANS]
    right, wrong, missed = (sums[..., len(SUMMED) + part * labels :][..., :labels] for part in range(3))
    either = 2 * right + wrong + missed
    f1 = np.divide(2 * right, either, out=np.zeros(right.shape), where=either > 0)
    macro_f1 = f1.sum(axis=-1) / np.maximum((either > 0).sum(axis=-1), 1)
    several = np.where(by_name["n_several"] > 0, by_name["n_several"], np.nan)
    return np.stack([*means, macro_f1, *(by_name[name] / several for name in OF_SEVERAL)])


def _alphas(votes: np.ndarray, predicted: np.ndarray, undefined: dict[str, str]) -> dict[str, Any]:
    """Krippendorff's alpha without and with the model; why there is none goes into `undefined`."""
    counts = votes[are_counts(votes) & (votes.sum(axis=1) >= 2)]
    answers = np.eye(votes.shape[1])[predicted[are_counts(votes) & (votes.sum(axis=1) >= 2)]]
    if krippendorff is None:
        undefined["alpha"] = 'install krippendorff, as by pip install "ser-meta[agreement]"'
    elif not len(counts):
        undefined["alpha"] = "no utterance has several raters who can be counted"
    elif (counts.sum(axis=0) > 0).sum() < 2:
        undefined["alpha"] = "all raters always said the same"
    if "alpha" in undefined:
        return {"alpha": None, "alpha_with_model": None}
    found = [
        float(krippendorff.alpha(value_counts=each, level_of_measurement="nominal"))
        for each in (counts, counts + answers)
    ]
    return dict(zip(("alpha", "alpha_with_model"), found, strict=True))
