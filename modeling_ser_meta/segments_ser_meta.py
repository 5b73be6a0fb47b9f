"""One account of a recording from what the model says of each of its pieces."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby, pairwise
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

LONGEST_BRIDGE = 2.0  # seconds of a pause that neighbouring segments share; a longer one is in no segment (ours)
SMOOTHING = 2.0  # what a change of label costs where there is no pause (ours; chosen on RAVDESS without its pauses)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities `(pieces, labels)`."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


NUMBERS = ("window_seconds", "hop_seconds", "gate_decibels", "smoothing", "threshold", "least_familiar")
FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "softmax": softmax,
    "sigmoid": lambda logits: 1 / (1 + np.exp(-logits)),
    "none": lambda logits: logits,
}
"""What makes scores of logits, by the names that Transformers' audio-classification pipeline has for it."""


class ResultMaker:
    """Makes results of pieces.

    Args:
        facts: the model's `tasks`, `target_task`, `calibration_temperature`, and perhaps `label_shares`, as its config
            has them.
        decode: the text of a row of character ids, as a CTC head gives them.
        tasks: which to report; None for those that the model reports of itself.
        labels: only these of the target's labels; None for all.
        priors: the shares of the target's labels where the recordings are from, or `uniform`; None for the model's
            own.
        threshold: below it the best score of the leading task is no verdict; None for any verdict.
        least_familiar: nor is the verdict on what is less familiar, and `familiar` is told; with 0 it is told alone,
            and with None not.
        smoothing: see `best_path`; None for 2.
        top_k: how many labels of each task are told; None for all.
        function_to_apply: what makes scores of logits: `softmax`, `sigmoid` or `none`; None for softmax, and of a
            multilabel task for sigmoid.
    """

    def __init__(
        self,
        facts: Mapping[str, Any],
        decode: Callable[[Sequence[int]], str],
        tasks: Sequence[str] | None = None,
        labels: Sequence[str] | None = None,
        threshold: float | None = None,
        smoothing: float | None = None,
        top_k: int | None = None,
        function_to_apply: str | None = None,
        priors: Mapping[str, float] | str | None = None,
        least_familiar: float | None = None,
    ):
        self.facts, self.decode, self.threshold, self.top_k = facts, decode, threshold, top_k
        self.smoothing = SMOOTHING if smoothing is None else smoothing
        self.function = function_to_apply
        self.shown, self.leading = told_tasks(facts, tasks)
        target = facts["target_task"]
        of_target = facts["tasks"][target]["labels"]
        self.labels = {name: task["labels"] for name, task in facts["tasks"].items() if task.get("labels")}
        self.labels[target] = [label for label in of_target if label in (labels or of_target)]
        self.least_familiar = least_familiar
        self.shift = None if priors is None else prior_shift(facts, self.labels[target], priors)

    def result(self, pieces: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """One recording's result.

        Args:
            pieces: of the recording, in order. Each has where it lies, in seconds (`span`), the part of that which
                the processor does not trim (`heard`), the number of its `stretch` between two pauses, whether the
                recording is cut (`windowed`) or `silent`, perhaps the `embeddings`, and what the model says by task:
                logits `(labels,)`, a regression's number, or character ids `(frames,)`.
        """
        spans = regions([piece["span"] for piece in pieces])
        silent = bool(pieces[0]["silent"])
        result = {name: self._told(name, pieces, spans) for name in self.shown}
        leading = self.leading or self.facts["target_task"]
        scores = self._scores(leading, pieces)
        shares = weights(scores, spans)
        result |= self._trust((shares @ scores).max(), pieces, shares, silent)
        if silent:
            result["silent"] = True
        if pieces[0]["windowed"] and self.leading:
            result["segments"] = [] if silent else self._segments(scores, pieces, spans)
        if "embeddings" in pieces[0]:
            target = self._scores(self.facts["target_task"], pieces)
            result["embeddings"] = (weights(target, spans) @ np.stack([p["embeddings"] for p in pieces])).tolist()
        return result

    def _segments(self, scores: np.ndarray, pieces: Sequence, spans: list[tuple[float, float]]) -> list[dict]:
        segments = []
        stretches = [piece["stretch"] for piece in pieces]
        for start, end, mean, inside in merged_segments(scores, spans, stretches, self.smoothing):
            segment = {"start": round(start, 3), "end": round(end, 3)}
            segment |= {name: self._told(name, pieces[inside], spans[inside]) for name in self.shown}
            if self.function in (None, "softmax"):
                segment[self.leading] = ranked(self.labels[self.leading], mean)[: self.top_k]
            segment |= self._trust(mean.max(), pieces[inside], weights(scores[inside], spans[inside]))
            segments.append(segment)
        return segments

    def _trust(
        self, score: float, pieces: Sequence[Mapping[str, Any]], shares: np.ndarray, silent: bool = False
    ) -> dict[str, Any]:
        """How familiar these pieces are together, and whether there is no verdict on them, and why."""
        told, reason = {}, None
        if self.least_familiar is not None:
            familiar = shares @ np.array([piece["familiar"] for piece in pieces], dtype=np.float64)
            told["familiar"] = None if silent else float(familiar)
        if self.threshold is not None and score < self.threshold:
            reason = "uncertain"
        if self.least_familiar is not None and not silent and told["familiar"] < self.least_familiar:
            reason = "unfamiliar"
        reason = "silent" if silent else reason
        if silent or self.threshold is not None or self.least_familiar:
            told["abstained"] = reason is not None
        return told | ({"abstained_because": reason} if reason else {})

    def _told(self, name: str, pieces: Sequence, spans: Sequence[tuple[float, float]]) -> Any:
        kind = self.facts["tasks"][name]["kind"]
        if kind == "ctc":
            return self._transcript(name, pieces, spans)
        if kind == "regression":
            values = np.array([piece[name] for piece in pieces], dtype=np.float64)
            return float(np.average(values, weights=[end - start for start, end in spans]))
        shares = weights(self._scores(name, pieces), spans)
        function = FUNCTIONS[self.function or ("sigmoid" if kind == "multilabel" else "softmax")]
        told = ranked(self.labels[name], shares @ function(self._logits(name, pieces)))[: self.top_k]
        return with_present(told, self.facts["tasks"][name]) if kind == "multilabel" else told

    def _scores(self, name: str, pieces: Sequence) -> np.ndarray:
        """Probabilities `(pieces, labels)`, the target's calibrated."""
        several = self.facts["tasks"][name]["kind"] == "multilabel"
        return FUNCTIONS["sigmoid" if several else "softmax"](self._logits(name, pieces))

    def _logits(self, name: str, pieces: Sequence) -> np.ndarray:
        labels = self.facts["tasks"][name]["labels"]
        chosen = [labels.index(label) for label in self.labels[name]]
        temperature = self.facts["calibration_temperature"] if name == self.facts["target_task"] else 1.0
        logits = np.stack([piece[name] for piece in pieces]).astype(np.float64)[:, chosen] / temperature
        return logits if self.shift is None or name != self.facts["target_task"] else logits + self.shift

    def _transcript(self, name: str, pieces: Sequence, spans: Sequence[tuple[float, float]]) -> str:
        """The text of each stretch between two pauses; no word goes across a pause."""
        stretches: dict[int, list[np.ndarray]] = {}
        for piece, span in zip(pieces, spans, strict=True):
            own = own_frames(piece[name], piece["heard"], span)
            stretches.setdefault(piece["stretch"], []).append(own)
        texts = [self.decode(np.concatenate(own).tolist()) for own in stretches.values()]
        return " ".join(text for text in texts if text)


def with_present(told: Sequence[Mapping[str, Any]], task: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Scores of a task that may have several labels at once, each with `present`: whether it reaches its threshold."""
    thresholds = dict(zip(task["labels"], task["thresholds"], strict=True))
    return [{**entry, "present": entry["score"] >= thresholds[entry["label"]]} for entry in told]


def told_tasks(facts: Mapping[str, Any], tasks: Sequence[str] | None) -> tuple[list[str], str | None]:
    """The tasks of a result, the target first, and the leading one: the first with labels, of which segments are.

    Of a recording that may have several labels at once there are no segments.
    """
    names = [facts["target_task"], *(name for name in facts["tasks"] if name != facts["target_task"])]
    shown = [name for name in names if (name in tasks if tasks else facts["tasks"][name]["reported"])]
    leading = next((name for name in shown if "labels" in facts["tasks"][name]), None)
    return shown, leading if leading and facts["tasks"][leading]["kind"] == "classification" else None


def prior_shift(facts: Mapping[str, Any], labels: Sequence[str], priors: Mapping[str, float] | str) -> np.ndarray:
    """What other shares of the labels add to their logits, `(labels,)`: log of the new share over the learned one."""
    learned = dict(zip(facts["tasks"][facts["target_task"]]["labels"], facts["label_shares"], strict=True))
    wanted = np.array([1.0 if priors == "uniform" else priors[label] for label in labels])
    return np.log(wanted / wanted.sum()) - np.log([max(learned[label], 1e-6) for label in labels])


def _check_priors(facts: Mapping[str, Any], labels: Sequence[str], priors: Mapping[str, float] | str) -> None:
    if facts.get("label_shares") is None:
        raise ValueError("priors need the label shares of the model's training, which it does not tell: train it anew")
    if priors == "uniform":
        return
    if not isinstance(priors, Mapping) or set(priors) != set(labels):
        raise ValueError(f"priors={priors} must be uniform, or give each of {list(labels)} its share")
    if not all(isinstance(share, Real) and share > 0 for share in priors.values()):
        raise ValueError(f"priors={dict(priors)} must be above 0")


def check_options(facts: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Raises `ValueError` for an option of a call that has no such value; None is every option's default.

    Args:
        facts: see `ResultMaker`.
        options: of `ResultMaker` and of `windows_ser_meta.cut_recording`.
    """
    given = {name: value for name, value in options.items() if value is not None}
    of_target = facts["tasks"][facts["target_task"]]["labels"]
    known = {"tasks": ("the model's tasks", list(facts["tasks"])), "labels": ("the target's labels", of_target)}
    for name, (what, choices) in known.items():
        unknown = sorted(set(given.get(name, ())) - set(choices))
        if unknown:
            raise ValueError(f"{name}={unknown} are not among {what} {choices}")
    if len(set(given.get("labels", of_target))) < 2:
        raise ValueError(f"labels={given['labels']} must name two labels or more of {of_target}")
    if "priors" in given:
        _check_priors(facts, given.get("labels") or of_target, given["priors"])
    if "least_familiar" in given and not facts.get("familiarity"):
        raise ValueError(
            "least_familiar needs a model that tells what is familiar, and this one does not: train it anew"
        )
    for name in NUMBERS:
        value = given.get(name, 1)
        if not isinstance(value, Real) or isinstance(value, bool) or value != value:
            raise ValueError(f"{name}={value!r} must be a number")
    if not 0 <= given.get("least_familiar", 1) <= 1:
        raise ValueError(f"least_familiar={given['least_familiar']} must be from 0 to 1")
    for name in ("window_seconds", "hop_seconds", "threshold"):
        if not 0 < given.get(name, 1) < float("inf"):
            raise ValueError(f"{name}={given[name]} must be above 0, and finite")
    if not given.get("smoothing", 0) >= 0:
        raise ValueError(f"smoothing={given['smoothing']} must be 0 or more")
    if given.get("threshold", 0) > 1:
        raise ValueError(f"threshold={given['threshold']} must be at most 1")
    if not isinstance(given.get("top_k", 1), Integral) or given.get("top_k", 1) < 1:
        raise ValueError(f"top_k={given['top_k']} must be a whole number of 1 or more")
    if given.get("function_to_apply", "none") not in FUNCTIONS:
        raise ValueError(f"function_to_apply={given['function_to_apply']} is none of {', '.join(FUNCTIONS)}")


class Segment(NamedTuple):
    """Neighbouring pieces of one label.

    Args:
        start: in seconds.
        end: in seconds.
        scores: `(labels,)`, the geometric mean of the pieces' by time; the label's is the highest.
        pieces: which of all pieces.
    """

    start: float
    end: float
    scores: np.ndarray
    pieces: slice


def regions(pieces: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Shares time among the pieces, `(start, end)` in seconds and in order: neighbours meet mid-overlap.

    Returns:
        `(start, end)` a piece, without overlaps; the pieces may be of any lengths, and no moment that lies in one of
        them is lost.
    """
    starts, ends = [start for start, _ in pieces], [end for _, end in pieces]
    middles = [(first[1] + second[0]) / 2 for first, second in pairwise(pieces)]
    starts[1:] = [max(start, middle) for start, middle in zip(starts[1:], middles, strict=True)]
    ends[:-1] = [min(end, middle) for end, middle in zip(ends[:-1], middles, strict=True)]
    return list(zip(starts, ends, strict=True))


def weights(scores: np.ndarray, spans: Sequence[tuple[float, float]]) -> np.ndarray:
    """How much each piece counts in one account of all: its best score times the seconds that it answers for.

    Args:
        scores: `(pieces, labels)`.
        spans: see `regions`.

    Returns:
        `(pieces,)`, their sum 1.
    """
    found = scores.max(axis=1) * [end - start for start, end in spans]
    return found / found.sum()


def merged_segments(
    scores: np.ndarray, spans: Sequence[tuple[float, float]], stretches: Sequence[int], smoothing: float = SMOOTHING
) -> list[Segment]:
    """Neighbouring pieces of the same label, joined; between two pieces in a pause, the pause's middle.

    Args:
        scores: `(pieces, labels)`.
        spans: what each piece answers for, see `regions`.
        stretches: the number of each piece's stretch between two pauses.
        smoothing: see `best_path`; a change costs nothing at a pause.
    """
    seconds = np.array([end - start for start, end in spans])
    evidence = np.log(scores + 1e-12) * seconds[:, None]
    rows = [[index for index, _ in of] for _, of in groupby(enumerate(stretches), key=lambda numbered: numbered[1])]
    path = np.concatenate([best_path(evidence[row], smoothing) for row in rows])
    segments = []
    for first, last in _runs(path, spans):
        mean = np.exp(evidence[first:last].sum(axis=0) / seconds[first:last].sum())
        segments.append(Segment(spans[first][0], spans[last - 1][1], mean / mean.sum(), slice(first, last)))
    return _bridged(segments)


def best_path(evidence: np.ndarray, change: float) -> np.ndarray:
    """The labels, one a piece, of the most evidence in all: Viterbi's path.

    Args:
        evidence: `(pieces, labels)`, logarithms of scores times the seconds of each piece.
        change: what is taken off where the label changes: the advantage in log score, times seconds, that a label
            must have over its neighbours' to be one of its own.

    Returns:
        `(pieces,)`.
    """
    total, came_from = evidence[0], []
    for row in evidence[1:]:
        best = total.argmax()
        stays = total >= total[best] - change
        came_from.append(np.where(stays, np.arange(len(row)), best))
        total = np.where(stays, total, total[best] - change) + row
    path = [total.argmax()]
    for before in reversed(came_from):
        path.append(before[path[-1]])
    return np.array(path[::-1])


def own_frames(ids: np.ndarray, heard: tuple[float, float], span: tuple[float, float]) -> np.ndarray:
    """Characters of the frames `(frames,)` of a piece that lie in what it answers for, so that none counts twice."""
    times = heard[0] + (np.arange(len(ids)) + 0.5) / max(1, len(ids)) * (heard[1] - heard[0])
    return ids[(times >= span[0]) & (times < span[1])]


def ranked(labels: list[str], scores: np.ndarray) -> list[dict[str, Any]]:
    """`[{"label", "score"}, ...]`, best first."""
    return [{"label": labels[i], "score": float(scores[i])} for i in np.argsort(-scores, kind="stable")]


def _runs(path: np.ndarray, spans: Sequence[tuple[float, float]]) -> list[tuple[int, int]]:
    """First and end of pieces of the same label without a long pause between them."""
    pauses = np.array([after[0] - before[1] for before, after in pairwise(spans)])
    edges = np.flatnonzero((np.diff(path) != 0) | (pauses > LONGEST_BRIDGE)) + 1
    return list(pairwise([0, *edges.tolist(), len(path)]))


def _bridged(segments: list[Segment]) -> list[Segment]:
    """Neighbours share the pause between them, half and half, unless it is long."""
    bridged = segments[:1]
    for segment in segments[1:]:
        before = bridged[-1]
        if segment.start - before.end <= LONGEST_BRIDGE:
            middle = (before.end + segment.start) / 2
            bridged[-1], segment = before._replace(end=middle), segment._replace(start=middle)
        bridged.append(segment)
    return bridged
