"""What `ser-meta evaluate` and `check` are asked: corpora, or a recipe of some, and a model to judge on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import inf
from pathlib import Path
from typing import Any

import yaml

from ...configuration.degradations import condition_faults
from ...configuration.errors import UserError
from ...configuration.recipe import CorpusRecipe, DataRecipe, Recipe
from ...configuration.recipe_checks import refuse
from ...configuration.recipe_files import load_recipe, read_corpus, recipe_names
from ...configuration.run_folder import RunFolder, read_json
from ...hub_cards.hub.names import find_model, read_model_config
from ..corpora import CORPORA
from ..corpora.mixture import corpus_name, load_corpora, value_ranges
from ..corpora.quarantine import read_quarantine
from ..corpora.remarks import tell
from ..corpora.rows import Rows
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
        degraded: conditions in which they are judged once more.
    """

    model: Path
    sources: list[CorpusRecipe]
    rows: Rows
    split: Path | None
    side: str
    degraded: Sequence[str] = ()


@dataclass(frozen=True)
class Check:
    """What is to be checked.

    Args:
        corpus: its name, or those of several.
        root: where it lies, or they do.
        rows: their utterances, also those whose recording is not there.
        quarantined: what is left out of a single corpus already, each utterance with its reason.
        recipe: what is to be made of them; None for a corpus alone.
        name: the recipe's.
    """

    corpus: str
    root: str
    rows: Rows
    quarantined: Mapping[str, str]
    recipe: Recipe | None = None
    name: str | None = None


def find_check(given: Sequence[str], quarantine: Path | None = None) -> Check:
    """What the words behind `ser-meta check` mean.

    Args:
        given: a corpus and its root, with settings of that corpus; or a recipe with settings.
        quarantine: the file that is to be written, of the utterances of one corpus.

    Raises:
        UserError: the words are neither of these; whatever of the corpora cannot be read; a quarantine of several.
    """
    names, settings = _parted(given)
    if not names:
        raise UserError(f"nothing is named beside {settings[0]}: name a corpus and its folder or table, or a recipe")
    data, recipe = _corpora(names, settings)
    sources = data.sources
    if len(sources) > 1:
        if quarantine is not None:
            raise UserError(
                f"--quarantine {quarantine} is of one corpus, and {names[0]} has several: check each alone"
            )
        called = [corpus_name(source) for source in sources]
    else:
        called = [source.corpus for source in sources]
    before = [read_quarantine(source.quarantine) for source in sources if source.quarantine is not None]
    model = recipe.model if recipe else None
    task = {"target": model.target_task, "ranges": model.ranges, "several": model.multilabel} if model else {}
    rows = load_corpora(sources, **task, require=False, votes=data.votes, ties=data.ties)
    roots = ", ".join(str(Path(str(source.root))) for source in sources)
    reasons = before[0] if len(sources) == len(before) == 1 else {}
    return Check(" + ".join(called), roots, rows, reasons, recipe, names[0] if recipe else None)


def find_evaluation(
    name: str | Path,
    given: Sequence[str],
    split: Path | None = None,
    side: str = "test",
    degraded: Sequence[str] = (),
) -> Evaluation:
    """What the words behind `ser-meta evaluate` mean.

    Args:
        name: of a model, see `find_model`; or the folder of a run.
        given: a corpus and its root, with settings of that corpus; or a recipe with settings, of which only the data
            count; or, behind a run, settings of its own recipe alone.
        split: a run's `split.json`; of a run without a corpus its own.
        side: of the split.

    Raises:
        UserError: the words are none of these; whatever of the corpora cannot be read; labels of the target that the
            model does not know.
    """
    refuse(condition_faults("--degrade", list(degraded)))
    model, data, split = _find(name, given, split)
    config = read_model_config(model)
    tasks, target = config["tasks"], config["target_task"]
    if split is not None:
        read_side(split, side)
    several = [task for task in tasks if tasks[task]["kind"] == "multilabel"]
    rows = load_corpora(data.sources, target, value_ranges(tasks), votes=data.votes, ties=data.ties, several=several)
    tell(rows.remarks)
    foreign = foreign_labels(rows if split is None else on_side(rows, split, side), tasks)
    if target in foreign:
        raise UserError(_foreign_target(target, foreign[target], tasks[target]["labels"]))
    return Evaluation(model, data.sources, rows, split, side, degraded)


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
    if not wanted:
        raise UserError(f"the side {side} of {split} is empty: choose another with --side, or name a corpus")
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


def _find(name: str | Path, given: Sequence[str], split: Path | None) -> tuple[Path, DataRecipe, Path | None]:
    """The model's folder, the data and the split."""
    run = RunFolder(name)
    is_run = run.recipe.is_file()
    names, settings = _parted(given)
    if not names and not is_run:
        raise UserError(f"{name} is no run: name a corpus and its folder or table, or a recipe, to judge it on")
    model = run.model if is_run else find_model(name).folder
    if names:
        return model, _corpora(names, settings)[0], split
    return model, load_recipe(str(run.recipe), settings).data, split or run.split


def _parted(given: Sequence[str]) -> tuple[list[str], list[str]]:
    """The names in front, a corpus and its root or a recipe, and the settings behind them."""
    count = next((place for place, word in enumerate(given[:2]) if "=" in word and not Path(word).exists()), 2)
    return list(given[:count]), list(given[count:])


def _corpora(names: Sequence[str], settings: list[str]) -> tuple[DataRecipe, Recipe | None]:
    """The data that are named, and the recipe if they are named by one."""
    if len(names) == 2:
        return DataRecipe(corpora=[read_corpus(*names, settings)]), None
    if names[0] in CORPORA and names[0] not in recipe_names():
        raise UserError(f"{names[0]} is a corpus: name its folder or table behind it")
    recipe = load_recipe(names[0], settings)
    return recipe.data, recipe


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
