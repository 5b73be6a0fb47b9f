"""What a run records of its corpus, so that it does not go on with another one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ...configuration.recipe import Recipe
from ..corpora.recordings import recordings
from ..corpora.votes import vote_column, voted_labels

if TYPE_CHECKING:
    from datasets import Dataset


def corpus_record(dataset: Dataset, recipe: Recipe) -> dict[str, str]:
    """By column that the recipe uses, a digest of all values; of `recordings` one of their lengths in bytes and parts.

    The votes for a task's labels are among the columns: they are learned from, or judged beside.

    Files are not read: one that was replaced by another of the same length is not found.
    """
    model, ids = recipe.model, dataset["utterance_id"][:]
    tasks = [model.target_task, *model.auxiliary_tasks]
    votes = [vote_column(task, label) for task in tasks for label in voted_labels(dataset, task)]
    columns = dict.fromkeys(["speaker", *tasks, *model.center_by, *votes])
    present = [name for name in columns if name in dataset.column_names]
    record = {name: _digest(zip(ids, dataset[name][:], strict=True)) for name in present}
    heard = [(_bytes(source), source.get("start"), source.get("end")) for source in recordings(dataset)]
    return {**record, "recordings": _digest(zip(ids, heard, strict=True))}


def _bytes(source: dict[str, Any]) -> int:
    return len(source["bytes"]) if source["bytes"] else os.path.getsize(source["path"])


def _digest(values: Iterable[Any]) -> str:
    digest = hashlib.sha256()
    for value in values:
        digest.update(f"{value!r}\n".encode())
    return digest.hexdigest()[:16]
