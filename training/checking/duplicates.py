"""The same recording under two names: found in a corpus, and refused on two sides of a split."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from datasets import Dataset, Features, Value, concatenate_datasets
from scipy.sparse import coo_array, triu
from scipy.sparse.csgraph import connected_components
from sklearn.neighbors import NearestNeighbors

from ...configuration.errors import UserError
from .recordings import digest, likeness, read_bytes

NEAR = 0.08  # between two spectra, see `recordings.band_shares`: worth listening to both
SAME = 0.9  # of `recordings.likeness`: the same recording


def same_bytes(digests: Mapping[int, str]) -> list[list[int]]:
    """Rows that share a digest, the groups and their rows in order."""
    groups = defaultdict(list)
    for row, value in digests.items():
        groups[value].append(row)
    return [rows for rows in groups.values() if len(rows) > 1]


def same_speech(dataset: Dataset, spectra: np.ndarray, rows: list[int], workers: int) -> list[list[int]]:
    """Groups of `rows` that hold one recording at another level, rate, length of silence or in another encoding.

    Args:
        dataset: with `audio`.
        spectra: `(utterances, 64)`, of all its rows.
        rows: those to compare.
        workers: processes that compare pairs.

    A recording of which only a part is the same, or that is played at another speed, is not found.
    """
    if not rows:
        return []
    near = NearestNeighbors(radius=NEAR, algorithm="brute").fit(spectra[rows]).radius_neighbors_graph()
    pairs = np.array(rows)[np.column_stack(triu(near, 1).nonzero())]
    same = pairs[np.array(_likenesses(dataset, pairs, workers)) >= SAME] if len(pairs) else pairs
    graph = coo_array((np.ones(len(same)), same.reshape(-1, 2).T), shape=(len(dataset),) * 2)
    return same_bytes(dict(enumerate(connected_components(graph, directed=False)[1])))


def refuse_shared_recordings(dataset: Dataset, sides: Mapping[str, Iterable[int]]) -> None:
    """Raise `UserError` for a recording that stands, byte for byte, on two sides under two names.

    Only files of equal size are read. `ser-meta check` also finds recordings that were encoded anew.
    """
    recordings, names = dataset["audio"], dataset["utterance_id"]
    side_of = {row: side for side, rows in sides.items() for row in rows}
    for rows in _by_size(recordings):
        rows = [row for row in rows if row in side_of]
        if len({side_of[row] for row in rows}) < 2:
            continue
        for group in same_bytes({row: digest(read_bytes(recordings[row])) for row in rows}):
            other = next((row for row in group if side_of[row] != side_of[group[0]]), None)
            if other is not None:
                raise UserError(
                    f"{names[group[0]]} ({side_of[group[0]]} side) and {names[other]} ({side_of[other]} side) are the "
                    "same recording, byte for byte: find all such with ser-meta check ... --quarantine FILE, and "
                    "leave them out with data.quarantine=FILE"
                )


def _by_size(recordings: Iterable[dict[str, Any]]) -> Iterator[list[int]]:
    sizes = defaultdict(list)
    for row, audio in enumerate(recordings):
        sizes[len(audio["bytes"]) if audio["bytes"] else os.path.getsize(audio["path"])].append(row)
    yield from sizes.values()


def _likenesses(dataset: Dataset, pairs: np.ndarray, workers: int) -> list[float]:
    """`likeness` of each pair of rows."""
    one, other = (dataset.select(pairs[:, side]).select_columns("audio") for side in (0, 1))
    both = concatenate_datasets([one, other.rename_column("audio", "other")], axis=1)
    return both.map(
        lambda row: {"likeness": likeness(row["audio"], row["other"])},
        remove_columns=both.column_names,
        features=Features({"likeness": Value("float64")}),
        num_proc=min(workers, len(both)),
        desc="comparing",
    )["likeness"][:]
