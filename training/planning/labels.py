"""The labels of tasks: found in a corpus, and checked against it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...configuration.errors import UserError
from ...configuration.recipe import DataRecipe, ModelRecipe
from ..corpora.rows import Rows
from ..corpora.values import holds_several
from ..corpora.votes import learned_shares, vote_column, voted_labels

Tasks = dict[str, dict[str, Any]]


def find_tasks(rows: Rows, train: Sequence[int], model: ModelRecipe, data: DataRecipe) -> Tasks:
    """A recipe's tasks as in the model's config, the target first.

    Raises:
        UserError: the corpus has not got what a task needs, or something else than labels.
    """
    names = [model.target_task, *model.auxiliary_tasks]
    if absent := [name for name in names if name not in rows.column_names]:
        raise UserError(f"the corpus has no {absent[0]} for a task: its columns are {', '.join(rows.column_names)}")
    taught = {name: learned_labels(rows, name, train, learned_from(name, model, data)) for name in names}
    _refuse_empty(taught, model)
    return {name: _find_task(rows, taught[name], name, model, data) for name in names}


def _refuse_empty(taught: Mapping[str, set[str]], model: ModelRecipe) -> None:
    """Raises `UserError` with the target, or all auxiliary tasks, of which the training side teaches no label."""
    if not taught[model.target_task]:
        raise UserError(
            f"no utterance of the training side has a value of {model.target_task}: choose another model.target_task"
        )
    if empty := [name for name in model.auxiliary_tasks if not taught[name]]:
        them, rest = "it" if len(empty) == 1 else "them", (name for name in model.auxiliary_tasks if taught[name])
        raise UserError(
            f"no utterance of the training side has a value of {' or '.join(empty)}: leave {them} out of "
            f"model.auxiliary_tasks, as model.auxiliary_tasks=[{','.join(rest)}]"
        )


def learned_from(task: str, model: ModelRecipe, data: DataRecipe) -> DataRecipe:
    """The recipe of the data as it is for a task: one of several labels at once has them in the columns of votes."""
    return replace(data, votes="shares") if task in model.multilabel else data


def describe_votes(rows: Any, model: ModelRecipe, data: DataRecipe) -> str | None:
    """In words for a protocol, what is learned of a target that several people rated; None where none is."""
    if model.target_task in model.multilabel:
        return "several labels at once"
    if not voted_labels(rows, model.target_task):
        return None
    if data.votes == "shares":
        return "learned from the shares of all"
    ties = {"drop": "have none", "first": "have the first by alphabet", "all": "are learned in equal shares"}
    return f"learned from the label that most chose; tied ones {ties[data.ties]}"


def learned_labels(rows: Rows, task: str, on_rows: Iterable[int], data: DataRecipe) -> set[str]:
    """The labels that some rows teach of a task: those that they have, and where votes are learned those voted for."""
    on_rows = list(on_rows)
    known = {rows[task][row] for row in on_rows} - {None}
    voted = voted_labels(rows, task)
    shares = learned_shares(rows, task, voted, data.votes, data.ties) if voted else None
    if shares is not None:
        known |= {label for label, taught in zip(voted, (shares[on_rows] > 0).any(axis=0), strict=True) if taught}
    return known


def check_labels(
    rows: Any, tasks: Mapping[str, Mapping], unseen: tuple[str, ...] = ("speaker",), data: DataRecipe | None = None
) -> None:
    """Refuses labels that a task does not have, and numbers far off its range.

    Args:
        rows: of a corpus, also as a data set.
        tasks: of the model's config.
        unseen: tasks that may meet new labels on another side.
        data: where votes are learned, those for a label that the task does not have are refused too.

    Raises:
        UserError: naming the task, the label and an utterance that has it.
    """
    for name, task in tasks.items():
        if name in unseen or name not in rows.column_names:
            continue
        for utterance, label in zip(rows["utterance_id"], rows[name], strict=True):
            if label is not None and not fits(label, task):
                _refuse(utterance, name, label, task)
        if data is not None and task["kind"] == "classification":
            _refuse_other_votes(rows, name, task["labels"], data)


def _refuse_other_votes(rows: Rows, name: str, labels: Sequence[str], data: DataRecipe) -> None:
    others = sorted(learned_labels(rows, name, range(len(rows)), data) - {*labels})
    if others:
        raise UserError(
            f"there are votes for the {name} {', '.join(others)}, not among the task's labels {', '.join(labels)}: "
            f'map them to one of these, or leave them out, as "data.label_map={{{name}: {{{others[0]}: null}}}}"'
        )


def _find_task(rows: Rows, known: set[str], name: str, model: ModelRecipe, data: DataRecipe) -> dict[str, Any]:
    if name == "transcript":
        return {"kind": "ctc"}
    if name in model.ranges:
        return {"kind": "regression", "range": list(model.ranges[name])}
    if rows.types[name] != "string":
        raise UserError(f"{name} holds numbers: give the ends of their scale, as model.ranges.{name}=[lowest,highest]")
    # a test speaker's identity is not something that training can know
    if name in model.multilabel:
        return {"kind": "multilabel", "labels": list(model.labels.get(name) or _several_labels(rows, name, data))}
    found = known if name == "speaker" else learned_labels(rows, name, range(len(rows)), data)
    _refuse_what_is_no_label(rows, name, found & {*rows[name]})
    return {"kind": "classification", "labels": list(model.labels.get(name) or sorted(found))}


def _several_labels(rows: Rows, name: str, data: DataRecipe) -> list[str]:
    """The labels of a task of which a row may have several; `UserError` for votes, which say how many chose one."""
    voted = voted_labels(rows, name)
    mapped = any(name in source.label_map for source in data.sources)  # which adds labels that become one
    for label in () if mapped else voted:
        for utterance, value in zip(rows["utterance_id"], rows[vote_column(name, label)], strict=True):
            if value not in (None, 0, 1):
                raise UserError(
                    f"utterance {utterance} has {value:g} votes for the {name} {label}, but model.multilabel has 1 "
                    "for a label that is there and 0 for another: learn votes by data.votes=shares instead"
                )
    return sorted({*rows[name], *voted} - {None})


def _refuse_what_is_no_label(rows: Rows, name: str, labels: set[str]) -> None:
    """Refuses lists and shares of labels, which would become classes of their own."""
    for label in sorted(labels):
        if kind := holds_several(label):
            utterance = rows["utterance_id"][rows[name].index(label)]
            raise UserError(
                f"utterance {utterance} has the {name} {label!r}, {kind}: give one label a row, or the votes for each "
                f'in columns such as {name}:LABEL, or as lists or JSON objects by columns={{"{name}:*": COLUMN}}'
            )


def fits(label: float | str, task: Mapping[str, Any]) -> bool:
    """Whether a label is one of a task's, or a number on its scale.

    Corpora have a few ratings a little off their own scale; what lies farther is on another one.
    """
    if task["kind"] == "ctc":
        return True
    if "labels" in task:
        return label in task["labels"]
    low, high = task["range"]
    slack = (high - low) / 4
    try:
        return low - slack <= float(label) <= high + slack
    except ValueError:
        return False


def _refuse(utterance: str, name: str, label: float | str, task: Mapping[str, Any]) -> None:
    if "labels" in task:
        raise UserError(
            f"utterance {utterance} has the {name} {label!r}, which is not among the task's labels "
            f"{', '.join(task['labels'])}: map or leave out that label"
        )
    low, high = task["range"]
    raise UserError(
        f"utterance {utterance} has the {name} {label!r}, which is no number on the task's scale from {low:g} to "
        f"{high:g}: mend it, or give its scale as model.ranges.{name}=[lowest, highest]"
    )
