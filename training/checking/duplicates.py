"""The same recording under two names: found in a corpus, and refused on two sides of a split."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import Any

import numpy as np
from datasets import Dataset, Features, Value, concatenate_datasets
from scipy.sparse import coo_array, triu
from scipy.sparse.csgraph import connected_components
from sklearn.neighbors import NearestNeighbors

from ...configuration.errors import UserError
from ..corpora.recordings import recording, recording_columns, recordings
from .recordings import PART, digests, is_part, likeness

NEAR = 0.08  # between two spectra, see `recordings.band_shares`: worth listening to both
SHARED = 0.5  # of the shorter of two segments: they are one recording (ours)
SAME = 0.9  # of `recordings.likeness`: the same recording


def same_bytes(digests: Mapping[int, str]) -> list[list[int]]:
    """Rows that share a digest, the groups and their rows in order."""
    groups = defaultdict(list)
    for row, value in digests.items():
        groups[value].append(row)
    return [rows for rows in groups.values() if len(rows) > 1]


def same_segments(sources: Sequence[Mapping[str, Any]], rows: Iterable[int]) -> list[list[int]]:
    """Groups of `rows` that are segments of one file, of which two share half of the shorter one."""
    files = defaultdict(list)
    for row in rows:
        if is_part(sources[row]) and not sources[row]["bytes"]:
            files[sources[row]["path"]].append(row)
    pairs = [pair for group in files.values() for pair in _shared(group, sources)]
    return _groups(pairs, len(sources))


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
    return _groups(same, len(dataset))


def refuse_shared_recordings(dataset: Dataset, sides: Mapping[str, Iterable[int]]) -> None:
    """Raise `UserError` for a recording that stands, byte for byte, on two sides under two names.

    So does a segment that shares half of itself with one of the other side; two others of one recording are two.
    Only files of equal size are read. `ser-meta check` also finds recordings that were encoded anew.
    """
    sources, names = list(recordings(dataset)), dataset["utterance_id"]
    side_of = {row: side for side, rows in sides.items() for row in rows}
    for rows in _by_size(sources):
        rows = [row for row in rows if row in side_of]
        if len({side_of[row] for row in rows}) < 2:
            continue
        files = digests({**sources[row], **dict.fromkeys(PART)} for row in rows)
        for group in same_bytes(dict(zip(rows, files, strict=True))):
            for first, other in _shared(group, sources):
                if side_of[first] != side_of[other]:
                    raise UserError(
                        f"{names[first]} ({side_of[first]} side) and {names[other]} ({side_of[other]} side) are the "
                        "same recording, byte for byte: find all such with ser-meta check ... --quarantine FILE, and "
                        "leave them out with data.quarantine=FILE"
                    )


def overlap(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """The share of the shorter of two parts of one recording that the other has too: 0 where they are two channels."""
    if len({one.get("channel"), other.get("channel")} - {None}) > 1:
        return 0.0
    (start, end), (begin, stop) = bounds(one), bounds(other)
    shorter = min(end - start, stop - begin)
    shared = min(end, stop) - max(start, begin)
    return 1.0 if shorter == inf else max(0.0, shared / shorter)


def bounds(source: Mapping[str, Any]) -> tuple[float, float]:
    """Start and end in seconds of what is read of a recording, infinity for its own end."""
    start, end = source.get("start"), source.get("end")
    return start or 0.0, inf if end is None else end


def _shared(group: Iterable[int], sources: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, int]]:
    """Pairs of rows of one recording that have half of the shorter one in common."""
    ordered = sorted(group, key=lambda row: bounds(sources[row]))
    for place, row in enumerate(ordered):
        for other in ordered[place + 1 :]:
            if bounds(sources[other])[0] >= bounds(sources[row])[1]:
                break
            if overlap(sources[row], sources[other]) >= SHARED:
                yield min(row, other), max(row, other)


def _groups(pairs: Sequence[tuple[int, int]], rows: int) -> list[list[int]]:
    """The rows that pairs hang together."""
    edges = np.array(pairs).reshape(-1, 2).T
    graph = coo_array((np.ones(edges.shape[1]), edges), shape=(rows, rows))
    return same_bytes(dict(enumerate(connected_components(graph, directed=False)[1])))


def _by_size(sources: Iterable[dict[str, Any]]) -> Iterator[list[int]]:
    sizes = defaultdict(list)
    for row, source in enumerate(sources):
        sizes[len(source["bytes"]) if source["bytes"] else os.path.getsize(source["path"])].append(row)
    yield from sizes.values()


def _likenesses(dataset: Dataset, pairs: np.ndarray, workers: int) -> list[float]:
    """`likeness` of each pair of rows."""
    columns = recording_columns(dataset)
    one, other = (dataset.select(pairs[:, side]).select_columns(columns) for side in (0, 1))
    others = {name: f"other {name}" for name in columns}
    both = concatenate_datasets([one, other.rename_columns(others)], axis=1)
    return both.map(
        lambda row: {
            "likeness": likeness(recording(row), recording({name: row[others[name]] for name in columns})),
        },
        remove_columns=both.column_names,
        features=Features({"likeness": Value("float64")}),
        num_proc=min(workers, len(both)),
        desc="comparing",
    )["likeness"][:]
