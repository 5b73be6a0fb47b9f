"""The labels of tasks: found in a corpus, and checked against it."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...configuration.errors import UserError
from ...configuration.recipe import ModelRecipe
from ..corpora.rows import Rows
from ..corpora.values import holds_several

Tasks = dict[str, dict[str, Any]]


def find_tasks(rows: Rows, train: Sequence[int], model: ModelRecipe) -> Tasks:
    """A recipe's tasks as in the model's config, the target first.

    Raises:
        UserError: the corpus has not got what a task needs, or something else than labels.
    """
    return {name: _find_task(rows, train, name, model) for name in [model.target_task, *model.auxiliary_tasks]}


def check_labels(rows: Any, tasks: Mapping[str, Mapping], unseen: tuple[str, ...] = ("speaker",)) -> None:
    """Refuses labels that a task does not have, and numbers far off its range.

    Args:
        rows: of a corpus, also as a data set.
        tasks: of the model's config.
        unseen: tasks that may meet new labels on another side.

    Raises:
        UserError: naming the task, the label and an utterance that has it.
    """
    for name, task in tasks.items():
        if name in unseen or name not in rows.column_names:
            continue
        for utterance, label in zip(rows["utterance_id"], rows[name], strict=True):
            if label is not None and not fits(label, task):
                _refuse(utterance, name, label, task)


def _find_task(rows: Rows, train: Sequence[int], name: str, model: ModelRecipe) -> dict[str, Any]:
    if name not in rows.column_names:
        raise UserError(f"the corpus has no {name} for a task: its columns are {', '.join(rows.column_names)}")
    values = rows[name]
    known = [values[row] for row in train if values[row] is not None]
    if not known:
        remedy = (
            "choose another model.target_task"
            if name == model.target_task
            else "leave it out of model.auxiliary_tasks"
        )
        raise UserError(f"no utterance of the training side has a value of {name}: {remedy}")
    if name == "transcript":
        return {"kind": "ctc"}
    if name in model.ranges:
        return {"kind": "regression", "range": list(model.ranges[name])}
    if rows.types[name] != "string":
        raise UserError(f"{name} holds numbers: give the ends of their scale, as model.ranges.{name}=[lowest,highest]")
    # a test speaker's identity is not something that training can know
    found = {label for label in (known if name == "speaker" else values) if label is not None}
    _refuse_what_is_no_label(rows, name, found)
    return {"kind": "classification", "labels": list(model.labels.get(name) or sorted(found))}


def _refuse_what_is_no_label(rows: Rows, name: str, labels: set[str]) -> None:
    """Refuses lists and shares of labels, which would become classes of their own."""
    for label in sorted(labels):
        if kind := holds_several(label):
            utterance = rows["utterance_id"][rows[name].index(label)]
            raise UserError(
                f"utterance {utterance} has the {name} {label!r}, {kind}: give one label a row, such as the one that "
                "most listeners chose"
            )


def fits(label: float | str, task: Mapping[str, Any]) -> bool:
    """Whether a label is one of a task's, or a number on its scale.

    Corpora have a few ratings a little off their own scale; what lies farther is on another one.
    """
    if task["kind"] == "ctc":
        return True
    if task["kind"] == "classification":
        return label in task["labels"]
    low, high = task["range"]
    slack = (high - low) / 4
    try:
        return low - slack <= float(label) <= high + slack
    except ValueError:
        return False


def _refuse(utterance: str, name: str, label: float | str, task: Mapping[str, Any]) -> None:
    if task["kind"] == "classification":
        raise UserError(
            f"utterance {utterance} has the {name} {label!r}, which is not among the task's labels "
            f"{', '.join(task['labels'])}: map or leave out that label"
        )
    low, high = task["range"]
    raise UserError(
        f"utterance {utterance} has the {name} {label!r}, which is no number on the task's scale from {low:g} to "
        f"{high:g}: mend it, or give its scale as model.ranges.{name}=[lowest, highest]"
    )
