"""What `ser-meta evaluate` is asked: a model, the rows to judge it on, and whether their labels are the model's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import inf
from pathlib import Path
from typing import Any

import yaml

from ..configuration.errors import UserError
from ..configuration.recipe import CorpusRecipe
from ..configuration.recipe_files import load_recipe, read_corpus
from ..configuration.run_folder import RunFolder, read_json
from .beforehand import read_model_config
from .corpora.mixture import load_corpora, value_ranges
from .corpora.remarks import tell
from .corpora.rows import Rows
from .labels import fits

CLOSE = 0.5  # how alike two labels are of which one is proposed for the other: difflib's ratio (ours)


@dataclass(frozen=True)
class Evaluation:
    """What is to be judged on what.

    Args:
        model: its folder.
        sources: the corpora.
        rows: all their utterances.
        split: a run's `split.json`, of which one side is judged; None for all utterances.
        side: of the split.
    """

    model: Path
    sources: list[CorpusRecipe]
    rows: Rows
    split: Path | None
    side: str


def find_evaluation(folder: Path, given: Sequence[str], split: Path | None = None, side: str = "test") -> Evaluation:
    """What the words behind `ser-meta evaluate` mean.

    Args:
        folder: of a model, or of a run.
        given: a corpus and its root, with settings of that corpus; or a recipe with settings, of which only the data
            count; or, behind a run, settings of its own recipe alone.
        split: a run's `split.json`; of a run without a corpus its own.
        side: of the split.

    Raises:
        UserError: the words are none of these; whatever of the corpora cannot be read; labels of the target that the
            model does not know.
    """
    model, sources, split = _find(folder, given, split)
    config = read_model_config(model)
    tasks, target = config["tasks"], config["target_task"]
    if split is not None:
        read_side(split, side)
    rows = load_corpora(sources, target, value_ranges(tasks))
    tell(rows.remarks)
    foreign = foreign_labels(rows if split is None else on_side(rows, split, side), tasks)
    if target in foreign:
        raise UserError(_foreign_target(target, foreign[target], tasks[target]["labels"]))
    return Evaluation(model, sources, rows, split, side)


def foreign_labels(rows: Any, tasks: Mapping[str, Mapping]) -> dict[str, list[str]]:
    """By task, the labels or numbers of the rows that are not the task's; test speakers are never known."""
    found = {}
    for name, task in tasks.items():
        if name != "speaker" and name in rows.column_names:
            labels = {str(label) for label in rows[name] if label is not None and not fits(label, task)}
            if labels:
                found[name] = sorted(labels)
    return found


def read_side(split: Path, side: str) -> set[str]:
    """The utterances of a side of a run's split; `UserError` for a file that is none, and a side that it lacks."""
    if not split.is_file():
        raise UserError(f"--split {split} is no file: give a run's split.json")
    sides = read_json(split)
    if not isinstance(sides, dict):
        raise UserError(f"--split {split} holds no sides: give a run's split.json")
    if side not in sides:
        raise UserError(f"--side {side} is not in {split}: it has {', '.join(sides)}")
    if not isinstance(sides[side], list) or not all(isinstance(name, str) for name in sides[side]):
        raise UserError(f"--split {split} holds no list of utterances for {side}: give a run's split.json")
    return set(sides[side])


def on_side(rows: Rows, split: Path, side: str) -> Rows:
    """The rows on a side of a run's split; `UserError` where there are none."""
    wanted = read_side(split, side)
    kept = [row for row, utterance in enumerate(rows["utterance_id"]) if utterance in wanted]
    if not kept:
        raise UserError(f"the corpus has no utterance of the side {side} of {split}: give the corpus it was made from")
    return rows.select(kept)


def foreign_words(name: str, labels: Sequence[str], task: Mapping[str, Any]) -> str:
    """Why a task with these labels is not judged."""
    if task["kind"] == "regression":
        low, high = task["range"]
        return f"{', '.join(labels[:3])} is no number from {low:g} to {high:g}"
    known = task["labels"]
    return (
        f"the model does not know {', '.join(labels)}, but {', '.join(known)}; map them as in "
        f'"{_label_map(name, labels, known)}"'
    )


def _find(folder: Path, given: Sequence[str], split: Path | None) -> tuple[Path, list[CorpusRecipe], Path | None]:
    """The model's folder, the corpora and the split."""
    run = RunFolder(folder)
    model = run.model if run.recipe.is_file() else folder
    count = next((place for place, word in enumerate(given[:2]) if "=" in word and not Path(word).exists()), 2)
    names, settings = list(given[:count]), list(given[count:])
    if len(names) == 2:
        return model, [read_corpus(*names, settings)], split
    if names:
        return model, load_recipe(names[0], settings).data.sources, split
    if not run.recipe.is_file():
        raise UserError(f"{folder} is no run: name a corpus and its folder or table, or a recipe, to judge it on")
    return model, load_recipe(str(run.recipe), settings).data.sources, split or run.split


def _foreign_target(target: str, labels: Sequence[str], known: Sequence[str]) -> str:
    return (
        f"the model does not know the {target} {', '.join(labels)}, but {', '.join(known)}: map what means the same, "
        f'and null leaves a label out, as in "{_label_map(target, labels, known)}"'
    )


def _label_map(task: str, labels: Sequence[str], known: Sequence[str]) -> str:
    """A setting that maps each label to the one that is likely the same, or to null."""
    names = {label: _likely(label, known) for label in labels}
    written = yaml.safe_dump({task: names}, default_flow_style=True, sort_keys=False, allow_unicode=True, width=inf)
    return f"label_map={written.strip()}"


def _likely(label: str, known: Sequence[str]) -> str | None:
    """The only label that begins so, such as `female` for F, or else the most alike one."""
    folded = {name.casefold(): name for name in known}
    begun = [name for name in folded if name.startswith(label.casefold())]
    close = begun if len(begun) == 1 else get_close_matches(label.casefold(), folded, n=1, cutoff=CLOSE)
    return folded[close[0]] if close else None
