"""The corpora of a recipe as one set of rows: labels in a shared set, ratings on one scale, names kept apart."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from pathlib import Path

from ...configuration.errors import UserError
from ...configuration.recipe import CorpusRecipe
from . import corpus_module, load_rows, loader_options
from .emobox import with_emobox
from .mapping import map_labels, with_outvoted
from .quarantine import leave_out
from .recordings import leave_out_absent, require_recordings
from .rows import RATINGS, Rows, join_rows
from .votes import with_majority

OF_ONES_OWN = ("table", "folders")  # which may be parts of one corpus
NAMES_SHOWN = 10
NAMES = ("utterance_id", "speaker", "session")  # what two corpora may call alike without meaning the same


def load_corpora(
    sources: Sequence[CorpusRecipe],
    target: str = "emotion",
    ranges: Mapping[str, Sequence[float]] | None = None,
    require: bool = True,
    votes: str = "majority",
    ties: str = "drop",
    several: Collection[str] = (),
) -> Rows:
    """The utterances of one corpus or several, one a row, as `load_rows` gives them.

    Of several, each row has its corpus's name in the column `corpus` and before its utterance's id, speaker and
    session (`ravdess:01`). A column that only some have is null elsewhere.
    `target` is the task whose labels that are mapped to null drop the utterance; `ranges` are the recipe's scales, to
    which ratings are brought. Without `require`, rows whose recording is not there stay in. `votes` and `ties` are the
    recipe's: with `shares`, corpora that keep their raters' votes apart are asked for them. Of the tasks in `several`
    an utterance may have several labels at once, and no majority is asked for.
    Raises `UserError` as `load_rows` and `map_labels` do, for a corpus without a root, for two of one name, and for a
    missing recording.
    """
    for source in sources:
        if source.root is None:
            where = "data.root=FOLDER" if len(sources) == 1 else "root in its entry of data.corpora"
            raise UserError(f"the corpus {source.corpus} has no root: give its folder or table as {where}")
    parts = []
    for source in sources:
        rows = _load(source, require, votes)
        if votes == "majority":
            settled = {task: names for task, names in source.label_map.items() if task not in several}
            rows = with_outvoted(rows, settled, ties, corpus_name(source))
        parts.append(with_majority(_mapped(rows, source, target, ranges or {}), ties))
    if len(parts) == 1:
        return parts[0]
    names = [corpus_name(source) for source in sources]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UserError(f"data.corpora has {twice} twice: make one entry of both, or rename one of two tables")
    rows = join_rows([_tell_apart(part, name) for part, name in zip(parts, names, strict=True)])
    if shared := _shared_speakers(sources, parts):
        rows.remarks["speakers of one name"] = shared
    return rows


def corpus_name(source: CorpusRecipe) -> str:
    """What a corpus is called: as in the recipe, a table by its file, folders by the one that holds them, and one of
    EmoBox's by its name there.
    """
    if source.corpus == "emobox":
        return str(source.options.get("corpus"))
    return Path(str(source.root)).stem if source.corpus in OF_ONES_OWN else source.corpus


def corpora_words(sources: Sequence[CorpusRecipe]) -> str:
    """The corpora of a figure, as a protocol names them; see `corpus_name`."""
    return " + ".join(
        f"{corpus_name(source)}{' as EmoBox lists it' if source.corpus == 'emobox' else ''}" for source in sources
    )


def label_maps(sources: Sequence[CorpusRecipe]) -> str | None:
    """In words, which labels of the corpora read otherwise; None where all stay as they are."""
    changes = [
        f"{f'{corpus_name(source)} ' if len(sources) > 1 else ''}{task}: "
        + ", ".join(f"{label} as {shared}" if shared else f"{label} left out" for label, shared in names.items())
        for source in sources
        for task, names in source.label_map.items()
    ]
    return "; ".join(changes) or None


def scale_ratings(rows: Rows, corpus: str, ranges: Mapping[str, Sequence[float]]) -> Rows:
    """Ratings brought linearly from the scale that the corpus's module states, if any, to those of `ranges` (ours)."""
    own = getattr(corpus_module(corpus), "RATING_SCALE", None)
    columns = {
        name: [None if value is None else _rescale(value, own, scale) for value in rows[name]]
        for name, scale in ranges.items()
        if own and name in RATINGS and name in rows.column_names and tuple(scale) != own
    }
    return rows.with_columns(columns) if columns else rows


def value_ranges(tasks: Mapping[str, Mapping]) -> dict[str, list[float]]:
    """The scales of a model's regression tasks."""
    return {name: task["range"] for name, task in tasks.items() if task["kind"] == "regression"}


def _load(source: CorpusRecipe, require: bool, votes: str) -> Rows:
    name = corpus_name(source)
    asked = {"votes": True} if votes == "shares" and "votes" in loader_options(source.corpus) else {}
    rows = load_rows(source.corpus, source.root, **asked | source.options)
    if source.emobox is not None:
        rows = with_emobox(rows, source.corpus, source.emobox)
    rows = _counted(f"{name}: quarantine", rows, leave_out(rows, source.quarantine))
    if source.leave_out_missing:
        rows = leave_out_absent(rows, name)
    elif require:
        require_recordings(rows, name)
    return rows


def _mapped(rows: Rows, source: CorpusRecipe, target: str, ranges: Mapping[str, Sequence[float]]) -> Rows:
    """A corpus with the shared labels and scales."""
    name = corpus_name(source)
    mapped = map_labels(rows, source.label_map, target, name)
    return scale_ratings(_counted(f"{name}: {target} mapped to null", rows, mapped), source.corpus, ranges)


def _counted(why: str, rows: Rows, kept: Rows) -> Rows:
    """What is kept of rows, with a remark on how many are not."""
    if len(kept) < len(rows):
        kept.remarks.setdefault("left out", {})[why] = f"{len(rows) - len(kept)} of {len(rows)} rows"
    return kept


def _rescale(value: float, own: Sequence[float], scale: Sequence[float]) -> float:
    return scale[0] + (value - own[0]) * (scale[1] - scale[0]) / (own[1] - own[0])


def _shared_speakers(sources: Sequence[CorpusRecipe], parts: Sequence[Rows]) -> dict[str, str]:
    """By two tables of the user's own the speakers that both have."""
    own = {
        corpus_name(source): set(part["speaker"]) - {None}
        for source, part in zip(sources, parts, strict=True)
        if source.corpus in OF_ONES_OWN
    }
    shared = {pair: sorted(own[pair[0]] & own[pair[1]]) for pair in combinations(own, 2)}
    return {" and ".join(pair): ", ".join(names[:NAMES_SHOWN]) for pair, names in shared.items() if names}


def _tell_apart(rows: Rows, corpus: str) -> Rows:
    columns = {
        name: [None if value is None else f"{corpus}:{value}" for value in rows[name]]
        for name in NAMES
        if name in rows.column_names
    }
    return rows.with_columns(columns | {"corpus": [corpus] * len(rows)})
