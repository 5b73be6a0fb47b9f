"""A trained model judged on other speech, or again on its own test side."""

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
from ..modeling_ser_meta.modeling_ser_meta import SerMetaModel
from .centering import CenteringCollator, centering_protocol, group_means
from .collator import SpeechCollator
from .corpora.mixture import label_maps, load_corpora, value_ranges
from .corpora.remarks import tell
from .corpora.rows import Rows
from .durations import check_durations, recording_durations
from .environment import environment
from .folds import read
from .judgement import predict_dataset, report_on
from .labels import fits
from .loading import load_model
from .long_recordings import hearing_protocol
from .progress import processes
from .speakers import NOT_KNOWN, speaker_facts, speakers_not_known

CLOSE = 0.5  # how alike two labels are of which one is proposed for the other: difflib's ratio (ours)


@dataclass(frozen=True)
class Evaluation:
    """What is to be judged on what.

    Args:
        model: its folder.
        sources: the corpora.
        split: a run's `split.json`, of which one side is judged; None for all utterances.
    """

    model: Path
    sources: list[CorpusRecipe]
    split: Path | None = None


def find_evaluation(folder: Path, given: Sequence[str], split: Path | None = None) -> Evaluation:
    """What the words behind `ser-meta evaluate` mean.

    Args:
        folder: of a model, or of a run.
        given: a corpus and its root, with settings of that corpus; or a recipe with settings, of which only the data
            count; or, behind a run, settings of its own recipe alone.
        split: a run's `split.json`; of a run without a corpus its own.

    Raises:
        UserError: the words are none of these.
    """
    run = RunFolder(folder)
    model = run.model if run.recipe.is_file() else folder
    count = next((place for place, word in enumerate(given[:2]) if "=" in word and not Path(word).exists()), 2)
    names, settings = list(given[:count]), list(given[count:])
    if len(names) == 2:
        return Evaluation(model, [read_corpus(*names, settings)], split)
    if names:
        return Evaluation(model, load_recipe(names[0], settings).data.sources, split)
    if not run.recipe.is_file():
        raise UserError(f"{folder} is no run: name a corpus and its folder or table, or a recipe, to judge it on")
    return Evaluation(model, load_recipe(str(run.recipe), settings).data.sources, split or run.split)


def evaluate_model(evaluation: Evaluation, side: str = "test") -> dict[str, Any]:
    """Judges a model on corpora, or on one side of a run's split.

    Returns:
        the report: metrics, slices, and what they were measured on. An auxiliary task whose labels are not the
        model's is not judged.

    Raises:
        UserError: whatever of the corpora cannot be read, and labels of the target that the model does not know.
    """
    model, processor = load_model(evaluation.model)
    model = model.to(processes().device)
    tasks, target = model.config.tasks, model.config.target_task
    rows = load_corpora(evaluation.sources, target, value_ranges(tasks))
    tell(rows.remarks)
    whole, speakers = rows, speakers_not_known(read(rows, "speaker"))
    if evaluation.split is not None:
        rows, speakers = _side(whole, evaluation.split, side), _speakers_of_side(whole, evaluation.split, side)
    foreign = foreign_labels(rows, tasks)
    if target in foreign:
        raise UserError(_foreign_target(target, foreign[target], tasks[target]["labels"]))
    rows = rows.with_columns({name: [None] * len(rows) for name in foreign if tasks[name]["kind"] == "regression"})
    dataset = rows.dataset()
    durations = recording_durations(dataset)
    check_durations(dataset, durations, model.encoder.shortest_input, processor.sampling_rate)
    predictions = predict_dataset(model, processor, dataset, _collator(model, processor, dataset))
    not_judged = {} if evaluation.split else dict(NOT_KNOWN)
    not_judged |= {name: _foreign_words(name, labels, tasks[name]) for name, labels in foreign.items()}
    return {
        "speakers": speakers,
        **report_on(predictions, tasks, target, not_judged=not_judged),
        "protocol": {**_protocol(evaluation, rows, side, model), **hearing_protocol(durations)},
        "sides": {"test": len(dataset)},
        "versions": environment(),
    }


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


def _side(rows: Rows, split: Path, side: str) -> Rows:
    wanted = read_side(split, side)
    kept = [row for row, utterance in enumerate(rows["utterance_id"]) if utterance in wanted]
    if not kept:
        raise UserError(f"the corpus has no utterance of the side {side} of {split}: give the corpus it was made from")
    return rows.select(kept)


def _speakers_of_side(rows: Rows, split: Path, side: str) -> dict[str, Any]:
    """Who of a side was trained on; the speaker of an utterance of the split that the corpus lacks is not known."""
    speaker_of = dict(zip(rows["utterance_id"], read(rows, "speaker"), strict=True))
    names = {name: read_side(split, name) for name in ("train", "validation", side)}
    train, validation = ([speaker_of.get(name) for name in names[other]] for other in ("train", "validation"))
    judged = names[side] & set(speaker_of)
    repeated = len(judged & names["train"])
    return speaker_facts(
        [speaker_of[name] for name in judged], train, validation if side != "validation" else (), repeated
    )


def _collator(model: SerMetaModel, processor: Any, dataset: Any) -> SpeechCollator:
    collator = SpeechCollator(processor, model.config.tasks)
    columns = model.config.center_by
    return CenteringCollator(collator, columns, group_means(model, collator, dataset)) if columns else collator


def _foreign_target(target: str, labels: Sequence[str], known: Sequence[str]) -> str:
    return (
        f"the model does not know the {target} {', '.join(labels)}, but {', '.join(known)}: map what means the same, "
        f'and null leaves a label out, as in "{_label_map(target, labels, known)}"'
    )


def _foreign_words(name: str, labels: Sequence[str], task: Mapping[str, Any]) -> str:
    if task["kind"] == "regression":
        low, high = task["range"]
        return f"{', '.join(labels[:3])} is no number from {low:g} to {high:g}"
    known = task["labels"]
    return (
        f"the model does not know {', '.join(labels)}, but {', '.join(known)}; map them as in "
        f'"{_label_map(name, labels, known)}"'
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


def _protocol(evaluation: Evaluation, rows: Rows, side: str, model: SerMetaModel) -> dict[str, Any]:
    facts = {
        "corpus": " + ".join(source.corpus for source in evaluation.sources),
        "label_map": label_maps(evaluation.sources),
        "left_out": rows.remarks.get("left out"),
        "side": side if evaluation.split else "all utterances",
        **centering_protocol(model.config.center_by),
    }
    return {name: value for name, value in facts.items() if value is not None}
