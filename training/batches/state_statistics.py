"""The statistics with which a model standardises its encoder's states."""

from itertools import chain

import torch
from datasets import Dataset
from torch.utils.data import DataLoader

from ...modeling_ser_meta.modeling_ser_meta import SerMetaModel
from ..planning.durations import recording_durations
from .collator import SpeechCollator
from .micro_batches import BoundedBatches, PaddedBound, micro_batches

UTTERANCES = 256  # some 30,000 frames, spread evenly over the training side
BATCH = 16
NO_INPUTS = ("labels", "utterance_ids", "state_means")  # of the encoder


@torch.no_grad()
def fit_standardization(model: SerMetaModel, collator: SpeechCollator, train: Dataset) -> None:
    """Sets mean and standard deviation of every layer's channels over true frames of the training side.

    It takes the utterances at their own speed, and the encoder in evaluation mode as it is now.
    """
    rows = torch.linspace(0, len(train) - 1, min(UTTERANCES, len(train))).long().tolist()
    chosen = train.select(rows)
    bounded = BoundedBatches(collator.without_speed(), PaddedBound.usual(recording_durations(chosen), BATCH))
    batches = DataLoader(chosen, batch_size=BATCH, collate_fn=bounded)
    was_training = model.training
    model.eval()
    count, total, squares = 0, 0.0, 0.0
    for batch in chain.from_iterable(map(micro_batches, batches)):
        inputs = {name: tensor.to(model.device) for name, tensor in batch.items() if name not in NO_INPUTS}
        encoded = model.encode(**inputs)
        frames = torch.stack(encoded.hidden_states)[:, encoded.frame_mask].cpu().double()
        count += frames.shape[1]
        total = total + frames.sum(dim=1)
        squares = squares + frames.square().sum(dim=1)
    mean = total / count
    variance = squares / count - mean.square()
    model.standardization.mean.copy_(mean)
    model.standardization.deviation.copy_(variance.clamp(min=1e-8).sqrt())
    model.train(was_training)
