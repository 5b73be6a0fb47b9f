"""What a model tells of how familiar a recording is: statistics of the training side, set against held-out speech."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from datasets import Dataset
from sklearn.covariance import ledoit_wolf_shrinkage
from torch.utils.data import DataLoader

from ...configuration.report import FamiliarityFacts
from ...modeling_ser_meta.familiarity_ser_meta import QUANTILES, Familiarity
from ...modeling_ser_meta.modeling_ser_meta import SerMetaModel
from ..batches.collator import SpeechCollator
from ..batches.long_recordings import is_long
from ..batches.micro_batches import BoundedBatches, PaddedBound, micro_batches
from ..planning.durations import recording_durations

UTTERANCES = 1_024  # of a side at most, spread evenly over it
BATCH = 16
RANK = 64  # principal components that are kept
PARTS = 5  # of the training side, each held out once where there is no validation side
THRESHOLD = 0.05  # of held-out recordings so many would be taken for unfamiliar (ours)
NO_INPUTS = ("labels", "utterance_ids")


def fit_familiarity(
    model: SerMetaModel, collator: SpeechCollator, train: Dataset, validation: Dataset | None
) -> FamiliarityFacts | None:
    """Gives a model the statistics by which it tells what is familiar; None, and nothing, of too few recordings.

    The held-out recordings are the validation side's, or, where it has no short ones, those of the training side's
    speakers in five parts, each set against the statistics of the others.
    """
    model.config.familiarity, model.familiarity = None, None
    collator = collator.without_speed()
    learned, rows = _embeddings(model, collator, train)
    labels = np.array([label or "" for label in rows[model.config.target_task]])
    if len(learned) < 2 * PARTS:
        return None
    found = _fitted(learned, labels)
    held_out = learned[:0] if validation is None else _embeddings(model, collator, validation)[0]
    if len(held_out):
        distances, side = found.distances(torch.from_numpy(held_out)).numpy(), "validation"
    else:
        distances, side = _held_out(learned, labels, rows), "training, each part of its speakers held out in turn"
    found.held_out.copy_(torch.from_numpy(np.quantile(distances, np.linspace(0, 1, QUANTILES))))
    facts = FamiliarityFacts(fitted_on=side, n=len(distances), threshold=THRESHOLD)
    model.config.familiarity = {"means": len(found.means), "rank": len(found.components), **vars(facts)}
    model.familiarity = found.to(model.device)
    return facts


def _fitted(embeddings: np.ndarray, labels: np.ndarray) -> Familiarity:
    """Statistics of embeddings `(utterances, width)`; a label that none has is left out."""
    names = [name for name in np.unique(labels) if name] or [""]
    of_label = [labels == name for name in names]
    means = np.stack([embeddings[chosen].mean(axis=0) for chosen in of_label])
    centred = np.concatenate([embeddings[chosen] - mean for chosen, mean in zip(of_label, means, strict=True)])
    shrinkage = float(ledoit_wolf_shrinkage(centred, assume_centered=True))
    _, values, components = np.linalg.svd(centred / np.sqrt(len(centred)), full_matrices=False)
    total, width = float((values**2).sum()), centred.shape[1]
    rank = min(RANK, len(values) - 1)
    variances = (1 - shrinkage) * values[:rank] ** 2 + shrinkage * total / width
    found = Familiarity(len(names), width, rank)
    rest = max((total - variances.sum()) / (width - rank), 1e-8)
    for buffer, value in (
        (found.means, means),
        (found.components, components[:rank]),
        (found.variances, np.maximum(variances, 1e-8)),
        (found.rest, np.array(rest)),
    ):
        buffer.copy_(torch.from_numpy(np.asarray(value, np.float32)))
    return found


def _held_out(embeddings: np.ndarray, labels: np.ndarray, rows: Dataset) -> np.ndarray:
    """Distances of the training side's recordings to what was learned without their part of the speakers."""
    speakers = rows["speaker"] if "speaker" in rows.column_names else [None] * len(rows)
    known = sorted({speaker for speaker in speakers if speaker is not None})
    places = {speaker: place for place, speaker in enumerate(known)} if len(known) > 1 else {}
    part = np.array([places.get(speaker, row) % PARTS for row, speaker in enumerate(speakers)])
    distances = []
    for number in np.unique(part):
        chosen = part == number
        if (~chosen).sum() > 1:
            others = _fitted(embeddings[~chosen], labels[~chosen])
            distances.append(others.distances(torch.from_numpy(embeddings[chosen])).numpy())
    return np.concatenate(distances)


@torch.no_grad()
def _embeddings(model: SerMetaModel, collator: SpeechCollator, dataset: Dataset) -> tuple[np.ndarray, Dataset]:
    """What the target's classifier sees of some short recordings, `(utterances, width)`, and these."""
    short = np.flatnonzero(~is_long(recording_durations(dataset)))
    chosen = dataset.select(_spread(short.tolist()))
    bounded = BoundedBatches(collator, PaddedBound.usual(recording_durations(chosen), BATCH))
    was_training = model.training
    model.eval()
    found = []
    for batch in DataLoader(chosen, batch_size=BATCH, collate_fn=bounded):
        for part in micro_batches(batch):
            inputs = {
                name: value.to(model.device) if isinstance(value, torch.Tensor) else value
                for name, value in part.items()
                if name not in NO_INPUTS
            }
            found.append(model(**inputs).embeddings.float().cpu().numpy())
    model.train(was_training)
    return np.concatenate(found) if found else np.zeros((0, 1), np.float32), chosen


def _spread(rows: Sequence[int]) -> list[int]:
    """At most so many rows, evenly spread."""
    edges = np.linspace(0, len(rows), min(UTTERANCES, len(rows)) + 1).astype(int)
    return [rows[start] for start, _ in pairwise(edges.tolist())]
