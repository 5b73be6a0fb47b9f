"""How alike utterances are by their frozen states, and what is recognised by that: the ways that `beyond.py` tries.

All of it is done to kernels, the products of each utterance with each other: to take directions out of states, to
mix utterances, or to weigh layers changes those products alone (Schölkopf and Smola, Learning with Kernels, 2002).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
import pandas
import torch
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from tqdm import tqdm

from ser_meta.configuration.errors import UserError
from ser_meta.training.batches.frozen_states import Rendition
from ser_meta.training.runs.preparation import Preparation

RENDITIONS = (Rendition(), Rendition(0.9))
PLAIN, SLOWER = range(len(RENDITIONS))
ALSO = len(RENDITIONS)  # the part of the rows that another corpus has
PROJECTED = 48  # directions, drawn at random, between which correlations of channels are taken
PAIRS = 1200  # that mixup draws
JITTER = 1e-3  # on a kernel's diagonal, so that it has a Cholesky factor


@dataclass(frozen=True)
class Way:
    """How utterances are told apart.

    Args:
        ridge: how strongly large weights are held down.
        voices: in so many directions in which speakers differ most from each other, all states are alike.
        within: states are whitened by so much of what speakers differ by within an emotion (within-class covariance
            normalisation, Hatch et al., Interspeech 2006).
        whitened: the same by what utterances differ by (their principal components, whitened and held down).
        balanced: rare emotions are weighed up.
        course, extent, change, correlation: read these of the states too; see `pooled`.
        lower: without the last layer.
        aligned: layers are weighed by how well they fit the labels (Cortes et al., JMLR 13, 2012, section 3.1).
        by_gender, by_sentence: utterances count twice for those of the same gender or words, as they are recognised.
        mixed: pairs of utterances that are mixed, with their labels, are learned too (mixup, arXiv 1710.09412).
        gaussian: a Gaussian kernel, and not a linear one.
        averaged: scores are the mean of those of linear and Gaussian kernels.
        softmax: logistic regression, and not ridge regression.
        copies: renditions that are learned too.
        heard: renditions that scores are the mean of.
        also: the weight of another corpus's utterances, which are learned too.
        members: so many of this way, each with three quarters of the speakers and half of the layers, are averaged.
        layers: those that are read, if not all.
        seed: of what mixup draws.
    """

    ridge: float = 0.1
    voices: int = 0
    within: float = 0.0
    whitened: float = 0.0
    balanced: bool = False
    course: bool = False
    extent: bool = False
    change: bool = False
    correlation: bool = False
    lower: bool = False
    aligned: bool = False
    by_gender: bool = False
    by_sentence: bool = False
    mixed: bool = False
    gaussian: bool = False
    averaged: bool = False
    softmax: bool = False
    copies: tuple[int, ...] = ()
    heard: tuple[int, ...] = (PLAIN,)
    also: float = 0.0
    members: int = 0
    layers: tuple[int, ...] | None = None
    seed: int = 0

    @property
    def statistics(self) -> tuple[str, ...]:
        """What is read of the states."""
        more = ("course", "extent", "change", "correlation")
        return ("mean", "deviation", *(name for name in more if getattr(self, name)))


@dataclass(frozen=True)
class Corpus:
    """The utterances, then each of their further renditions in the same order, then those of other corpora.

    Args:
        table: speaker, gender, transcript of each row.
        pooled: by statistic, of each row `(rows, layers, features)`.
        label: of each row, as a number.
        part: of each row, its place in `RENDITIONS`, or `ALSO`.
        classes: how many labels there are.
    """

    table: pandas.DataFrame
    pooled: dict[str, np.ndarray]
    label: np.ndarray
    part: np.ndarray
    classes: int

    @cached_property
    def count(self) -> int:
        """How many utterances there are, of which each has one row a rendition."""
        return int((self.part == PLAIN).sum())

    @cached_property
    def speakers(self) -> np.ndarray:
        """Of each row."""
        return self.table["speaker"].to_numpy()

    def copies(self, rows: np.ndarray, renditions: Sequence[int]) -> np.ndarray:
        """The rows of utterances in these renditions, one after another."""
        return np.concatenate([rows + self.count * rendition for rendition in renditions])

    def strangers(self, learned: np.ndarray) -> np.ndarray:
        """Which rows are of speakers that are judged when these utterances are learned from."""
        held_out = np.setdiff1d(self.speakers[: self.count], self.speakers[learned])
        return np.isin(self.speakers, held_out)


@dataclass(frozen=True, eq=False)
class Fold:
    """A corpus, and which of its utterances are the training side."""

    corpus: Corpus
    learned: np.ndarray


def read(prepared: Preparation, also: Sequence[Preparation]) -> Corpus:
    """The utterances of a recipe in the order of its data set, in all renditions, and those of further recipes."""
    target = prepared.recipe.model.target_task
    labels = prepared.tasks[target]["labels"]
    tables, told, parts = [], [], []
    for place, each in enumerate([prepared, *also]):
        renditions = RENDITIONS[:1] if place else RENDITIONS
        table = each.dataset.remove_columns("audio").to_pandas()
        for rendition, found in enumerate(_pooled_states(each, renditions)):
            known = table[target].isin(labels).to_numpy() | (place == 0)
            if not known.any():
                raise UserError(f"--also: {target} is none of {', '.join(labels)}: set data.label_map")
            tables.append(table[known])
            told.append({name: states[known] for name, states in found.items()})
            parts.append(np.full(known.sum(), ALSO if place else rendition))
    table = pandas.concat(tables, ignore_index=True)
    pooled = {name: np.concatenate([each[name] for each in told]) for name in told[0]}
    label = np.array([labels.index(each) for each in table[target]])
    return Corpus(table, pooled, label, np.concatenate(parts), len(labels))


def pooled(frames: np.ndarray) -> dict[str, np.ndarray]:
    """What is read of an utterance's states `(layers, frames, width)`: by statistic `(layers, features)`.

    Their mean and deviation; the means of the first and the last third (`course`); the tenth and ninetieth percentile
    (`extent`); the mean step from frame to frame (`change`); and how channels correlate, between directions drawn at
    random (`correlation`, after Stafylakis et al., arXiv 2210.09513).
    """
    mean, deviation = frames.mean(axis=1), frames.std(axis=1)
    first, _, last = np.array_split(frames, 3, axis=1) if frames.shape[1] > 2 else [frames] * 3
    steps = np.diff(frames, axis=1) if frames.shape[1] > 1 else np.zeros_like(frames)
    return {
        "mean": mean,
        "deviation": deviation,
        "course": np.concatenate([first.mean(axis=1), last.mean(axis=1)], axis=1),
        "extent": np.concatenate(list(np.quantile(frames, (0.1, 0.9), axis=1).astype(np.float32)), axis=1),
        "change": np.abs(steps).mean(axis=1),
        "correlation": _correlations((frames - mean[:, None]) / (deviation[:, None] + 1e-6)),
    }


def scores(fold: Fold, way: Way, learned: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """`(judged, classes)`, which sum to one, of utterances of a fold when others are learned from."""
    if way.members:
        drawn = members(fold.corpus, way, learned)
        return np.mean([scores(fold, member, rows, judged) for member, rows in drawn], axis=0)
    corpus = fold.corpus
    rows, asked = rows_to_learn(corpus, way, learned), corpus.copies(judged, way.heard)
    kernel = kernel_of(fold, way, rows, asked)
    truth = np.eye(corpus.classes, dtype=np.float32)[corpus.label[rows]]
    weights, shares = weights_of(corpus, way, rows), shares_of(corpus, way, rows, truth)
    if way.mixed:
        blend = mixer(len(rows), way.seed)
        kernel = blend(blend(kernel).T)
        truth, weights, shares = map(blend, (truth, weights, shares))
    kernels = [kernel, gaussian(kernel)] if way.averaged else [gaussian(kernel) if way.gaussian else kernel]
    found = np.mean([recognised(each, way, truth, weights, shares) for each in kernels], axis=0)
    return found.reshape(len(way.heard), len(judged), -1).mean(axis=0)


def recognised(kernel: np.ndarray, way: Way, truth: np.ndarray, weights: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """`(asked, classes)` of what stands behind the learned rows, of which there is a truth."""
    of_learned, across = kernel[: len(truth), : len(truth)], kernel[len(truth) :, : len(truth)]
    if way.softmax:
        return logistic_regression(of_learned, across, truth, weights, way.ridge)
    # the shares of the first corpus are the first row's
    found = ridge_regression(of_learned, across, truth - shares, way.ridge / weights) + shares[0]
    found = found.clip(min=1e-6)
    return found / found.sum(axis=1, keepdims=True)


def members(corpus: Corpus, way: Way, learned: np.ndarray) -> Iterator[tuple[Way, np.ndarray]]:
    """Of each member its way and what it learns from."""
    layers, speakers = corpus.pooled["mean"].shape[1], np.unique(corpus.speakers[learned])
    for seed in range(way.members):
        chance = np.random.default_rng(seed)
        read_by = tuple(chance.permutation(layers)[: (layers + 1) // 2])
        known = chance.permutation(speakers)[: -(-len(speakers) * 3 // 4)]
        rows = learned[np.isin(corpus.speakers[learned], known)]
        yield replace(way, members=0, seed=seed, layers=read_by), rows


def rows_to_learn(corpus: Corpus, way: Way, learned: np.ndarray) -> np.ndarray:
    """The rows of utterances that are learned from, of their copies, and of other corpora's other speakers."""
    rows = corpus.copies(learned, (PLAIN, *way.copies))
    if not way.also:
        return rows
    return np.concatenate([rows, np.flatnonzero((corpus.part == ALSO) & ~corpus.strangers(learned))])


def weights_of(corpus: Corpus, way: Way, rows: np.ndarray) -> np.ndarray:
    """How much each row counts: an utterance with its copies as one, and other corpora's as the way says."""
    weights = np.where(corpus.part[rows] == ALSO, way.also, 1 / (1 + len(way.copies)))
    if way.balanced:
        counts = np.bincount(corpus.label[rows], minlength=corpus.classes)
        weights = weights * len(rows) / (np.count_nonzero(counts) * counts[corpus.label[rows]])
    return weights.astype(np.float32)[:, None]


def shares_of(corpus: Corpus, way: Way, rows: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """What each label has of the utterances in the row's corpus: where scores start from."""
    also = corpus.part[rows] == ALSO
    shares = np.zeros_like(truth)
    for these in (also, ~also):
        if these.any():
            found = truth[these].mean(axis=0)
            shares[these] = (found > 0) / np.count_nonzero(found) if way.balanced else found
    return shares


def kernel_of(fold: Fold, way: Way, rows: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The products of all those rows with each other, less what is taken out of the states."""
    corpus, both, count = fold.corpus, np.concatenate([rows, asked]), len(rows)
    plain = bool((corpus.part[both] == PLAIN).all())
    of_layers = grams(fold, way.statistics, plain)
    weights = layer_weights(way, of_layers, corpus, rows)
    here = np.ix_(both, both)
    kernel = sum(weight * gram[here] for weight, gram in zip(weights, of_layers, strict=True) if weight)
    means = kernel[:count].mean(axis=0)
    kernel = kernel - means - means[:, None] + means[:count].mean()
    speakers, label = corpus.speakers[rows], corpus.label[rows].astype(str)
    if way.whitened:
        kernel = held_down(kernel, np.eye(count, dtype=np.float32)[:, corpus.part[rows] == PLAIN], way.whitened)
    if way.voices:
        kernel = taken_out(kernel, group_means(speakers, np.zeros(count)), way.voices)
    if way.within:
        kernel = held_down(kernel, group_means(np.char.add(speakers.astype(str), label), label), way.within)
    for column, wanted in (("gender", way.by_gender), ("transcript", way.by_sentence)):
        if wanted and column in corpus.table:
            kernel = told_apart(kernel, corpus.table[column].fillna("").to_numpy(str)[rows])
    return kernel


@lru_cache(maxsize=2)
def grams(fold: Fold, statistics: tuple[str, ...], plain: bool) -> list[np.ndarray]:
    """Of each layer the mean product of standardised channels `(rows, rows)`: of all rows, or of those as recorded."""
    rows = slice(fold.corpus.count) if plain else slice(None)
    part, strange = fold.corpus.part[rows], fold.corpus.strangers(fold.learned)[rows]
    found = 0
    for name in statistics:
        states = fold.corpus.pooled[name][rows].copy()
        for each in np.unique(part):
            known = states[(part == each) & ~strange]
            if len(known):
                states[part == each] -= known.mean(axis=0)
                states[part == each] /= known.std(axis=0) + 1e-6
        layers = states.transpose(1, 0, 2) / np.sqrt(states.shape[2] * len(statistics), dtype=np.float32)
        found = found + np.stack([layer @ layer.T for layer in layers])
    return list(found)


def layer_weights(way: Way, of_layers: list[np.ndarray], corpus: Corpus, rows: np.ndarray) -> np.ndarray:
    """How much each layer counts, which sums to one."""
    weights = np.ones(len(of_layers), np.float32)
    if way.aligned:
        plain = rows[corpus.part[rows] == PLAIN]
        weights = np.array([alignment(gram[np.ix_(plain, plain)], corpus.label[plain]) for gram in of_layers])
    read_by = np.isin(np.arange(len(weights)), range(len(weights)) if way.layers is None else way.layers)
    if way.lower and read_by[:-1].any():
        read_by[-1] = False
    return (weights * read_by / (weights * read_by).sum()).astype(np.float32)


def alignment(gram: np.ndarray, label: np.ndarray) -> float:
    """How well products fit the labels: their correlation with one for the same label and none for others."""
    same = (label[:, None] == label).astype(np.float32)
    one, other = (each - each.mean(axis=0) - each.mean(axis=1)[:, None] + each.mean() for each in (gram, same))
    return max(float((one * other).sum() / (np.linalg.norm(one) * np.linalg.norm(other))), 1e-6)


def group_means(groups: np.ndarray, within: np.ndarray) -> np.ndarray:
    """`(rows, groups)`, by which rows of states become the mean of each group less that of what it is within."""
    found = []
    for name in np.unique(groups):
        these = groups == name
        around = within == within[these][0]
        found.append(these / these.sum() - around / around.sum())
    return np.array(found, np.float32).T


def taken_out(kernel: np.ndarray, means: np.ndarray, count: int) -> np.ndarray:
    """The products of states without the main directions in which these means of their first rows differ."""
    across = kernel[:, : len(means)] @ means
    sizes, directions = np.linalg.eigh(means.T @ across[: len(means)])
    directions = across @ (directions[:, -count:] / np.sqrt(sizes[-count:].clip(min=1e-9)))
    return kernel - (directions @ directions.T).astype(np.float32)


def held_down(kernel: np.ndarray, means: np.ndarray, strength: float) -> np.ndarray:
    """The products of states that are whitened by one and so often the covariance of these means (Woodbury)."""
    across = kernel[:, : len(means)] @ means
    between = means.T @ across[: len(means)] + np.eye(means.shape[1]) * means.shape[1] / strength
    half = solve_triangular(np.linalg.cholesky(between), across.T, lower=True).astype(np.float32)
    return kernel - half.T @ half


def told_apart(kernel: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Half the products, and the other half for rows of the same group alone, which of the last rows is recognised."""
    names, known = np.unique(groups, return_inverse=True)
    truth, count = np.eye(len(names), dtype=np.float32)[known], len(groups)
    found = ridge_regression(kernel[:count, :count], kernel[count:, :count], truth, np.full((count, 1), 0.1))
    group = np.concatenate([known, found.argmax(axis=1)])
    return kernel * (0.5 + 0.5 * (group[:, None] == group)).astype(np.float32)


def mixer(count: int, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """What puts pairs of the first so many rows, mixed in shares that are drawn, behind those."""
    chance = np.random.default_rng(seed)
    one, other = chance.integers(count, size=(2, PAIRS))
    share = chance.beta(0.4, 0.4, size=(PAIRS, 1)).astype(np.float32)
    return lambda rows: np.concatenate([rows[:count], share * rows[one] + (1 - share) * rows[other], rows[count:]])


def gaussian(kernel: np.ndarray) -> np.ndarray:
    """One for the same states, and falling with the mean square of their difference."""
    squares = np.diag(kernel)
    return np.exp(kernel - squares / 2 - squares[:, None] / 2)


def ridge_regression(kernel: np.ndarray, across: np.ndarray, truth: np.ndarray, ridge: np.ndarray) -> np.ndarray:
    """What is found for the rows of `across`, when each learned row is held down by its ridge `(rows, 1)`."""
    held = kernel + np.diag(ridge[:, 0] + 1e-5).astype(np.float32)
    return across @ cho_solve(cho_factor(held, overwrite_a=True), truth)


def logistic_regression(
    kernel: np.ndarray, across: np.ndarray, truth: np.ndarray, weights: np.ndarray, ridge: float
) -> np.ndarray:
    """The same by multinomial logistic regression on coordinates that have these products."""
    factor = np.linalg.cholesky(kernel + JITTER * np.eye(len(kernel))).astype(np.float32)
    judged = torch.from_numpy(solve_triangular(factor, across.T, lower=True).T)
    learned, wanted = torch.from_numpy(factor), torch.from_numpy(truth * weights)
    weight, bias = (torch.zeros(shape, requires_grad=True) for shape in (truth.shape, truth.shape[1:]))
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=40, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        of_each = -(wanted * (learned @ weight + bias).log_softmax(dim=-1)).sum()
        total = of_each + ridge / 10 * weight.square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    return (judged @ weight + bias).softmax(dim=-1).detach().numpy()


def _pooled_states(prepared: Preparation, renditions: Sequence[Rendition]) -> Iterator[dict[str, np.ndarray]]:
    """Of each rendition, by statistic, what all utterances have."""
    (stage, *_) = prepared.recipe.stages.values()
    model = prepared.new_model().eval().to("cuda" if torch.cuda.is_available() else "cpu")
    states = prepared.build_collator(model, replace(stage, freeze_layers="all")).states
    for rendition in renditions:
        states.prepare([rendition.factor], [rendition.degradation])
        names = tqdm(prepared.dataset["utterance_id"], rendition.words)
        told = [pooled(states.of(name, *rendition).astype(np.float32)) for name in names]
        yield {statistic: np.stack([each[statistic] for each in told]) for statistic in told[0]}


def _correlations(standardised: np.ndarray) -> np.ndarray:
    """`(layers, features)` of `(layers, frames, width)`."""
    drawn = _directions(standardised.shape[2])
    projected = standardised @ drawn
    found = projected.transpose(0, 2, 1) @ projected / standardised.shape[1]
    return found[:, *np.triu_indices(drawn.shape[1])]


@lru_cache(maxsize=2)
def _directions(width: int) -> np.ndarray:
    """`(width, directions)`, drawn at random."""
    shape = (width, min(PROJECTED, width))
    return (np.random.default_rng(0).normal(size=shape) / np.sqrt(width)).astype(np.float32)
