"""The corpora of a recipe as one data set: labels in a shared set, ratings on one scale, names kept apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from datasets import Dataset, Value, concatenate_datasets

from ...configuration.errors import UserError
from ...configuration.recipe import CorpusRecipe
from ..checking.quarantine import leave_out
from . import corpus_module, load_corpus
from .rows import RATINGS, join_metadata

NAMES = ("utterance_id", "speaker", "session")  # what two corpora may call alike without meaning the same


def load_corpora(
    sources: Sequence[CorpusRecipe], target: str = "emotion", ranges: Mapping[str, Sequence[float]] | None = None
) -> Dataset:
    """The utterances of one corpus or several, one a row, as `load_corpus` gives them.

    Of several, each row has its corpus's name in the column `corpus` and before its utterance's id, speaker and
    session (`ravdess:01`). A column that only some have is null elsewhere.
    `target` is the task whose labels that are mapped to null drop the utterance; `ranges` are the recipe's scales, to
    which ratings are brought.
    Raises `UserError` as `load_corpus` and `map_labels` do, and for two corpora of one name.
    """
    parts = [_load(source, target, ranges or {}) for source in sources]
    if len(parts) == 1:
        return parts[0]
    names = [corpus_name(source) for source in sources]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UserError(f"data.corpora has {twice} twice: make one entry of both, or rename one of two tables")
    return concatenate_datasets([_tell_apart(part, name) for part, name in zip(parts, names, strict=True)])


def corpus_name(source: CorpusRecipe) -> str:
    """What a corpus is called: as in the recipe, a table by its file."""
    return source.corpus if source.corpus != "table" else Path(str(source.root)).stem


def map_labels(
    dataset: Dataset, label_map: Mapping[str, Mapping[str, str | None]], target: str, corpus: str
) -> Dataset:
    """A corpus with the labels of a shared set; see `CorpusRecipe`. `corpus` is its name in errors.

    Raises `UserError` for a column that holds no labels, a label that the corpus does not have, and a map that drops
    every utterance.
    """
    if not label_map:
        return dataset
    columns = {task: _map_column(dataset, task, names, corpus) for task, names in label_map.items()}
    dropped = {label for label, shared in label_map.get(target, {}).items() if shared is None}
    kept = [row for row, label in enumerate(dataset[target]) if label not in dropped] if dropped else None
    if kept == []:
        raise UserError(f"{corpus}: label_map drops every utterance: keep some {target}")
    mapped = _with_columns(dataset, columns)
    return mapped if kept is None else mapped.select(kept)


def scale_ratings(dataset: Dataset, corpus: str, ranges: Mapping[str, Sequence[float]]) -> Dataset:
    """Ratings brought linearly from the scale that the corpus's module states, if any, to those of `ranges` (ours)."""
    own = getattr(corpus_module(corpus), "RATING_SCALE", None)
    columns = {
        name: [None if value is None else _rescale(value, own, scale) for value in dataset[name]]
        for name, scale in ranges.items()
        if own and name in RATINGS and name in dataset.column_names and tuple(scale) != own
    }
    return _with_columns(dataset, columns) if columns else dataset


def value_ranges(tasks: Mapping[str, Mapping]) -> dict[str, list[float]]:
    """The scales of a model's regression tasks."""
    return {name: task["range"] for name, task in tasks.items() if task["kind"] == "regression"}


def _load(source: CorpusRecipe, target: str, ranges: Mapping[str, Sequence[float]]) -> Dataset:
    dataset = load_corpus(source.corpus, source.root, **source.options)
    dataset = leave_out(dataset, source.quarantine)
    dataset = map_labels(dataset, source.label_map, target, corpus_name(source))
    return scale_ratings(dataset, source.corpus, ranges)


def _map_column(dataset: Dataset, task: str, names: Mapping[str, str | None], corpus: str) -> list[str | None]:
    labels = [name for name, feature in dataset.features.items() if feature == Value("string")]
    if task not in labels:
        raise UserError(f"{corpus}: label_map cannot map {task}: columns of labels are {', '.join(labels)}")
    values = list(dataset[task])
    known = sorted(set(values) - {None})
    for label in names:
        if label not in known:
            close = get_close_matches(label, known)
            hint = f"did you mean {' or '.join(close)}?" if close else f"it has {', '.join(known[:20]) or 'none'}"
            raise UserError(f"{corpus}: label_map names the {task} {label!r}, which the corpus does not have: {hint}")
    return [names.get(value, value) for value in values]


def _rescale(value: float, own: Sequence[float], scale: Sequence[float]) -> float:
    return scale[0] + (value - own[0]) * (scale[1] - scale[0]) / (own[1] - own[0])


def _tell_apart(dataset: Dataset, corpus: str) -> Dataset:
    columns = {
        name: [None if value is None else f"{corpus}:{value}" for value in dataset[name]]
        for name in NAMES
        if name in dataset.column_names
    }
    return _with_columns(dataset, columns | {"corpus": [corpus] * len(dataset)})


def _with_columns(dataset: Dataset, columns: Mapping[str, list]) -> Dataset:
    metadata = {name: list(dataset[name]) for name in dataset.column_names if name != "audio"}
    return join_metadata(dataset.select_columns("audio"), metadata | columns)
