"""A model that is centred by speakers, made ready for one of them."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ...configuration.errors import UserError
from ...configuration.run_folder import make_folder, moved_into_place
from ...hub_cards.hub.names import FoundModel
from ...modeling_ser_meta import SerMetaModel, SpeechEmotionPipeline
from ..batches.group_means import FrameMean, sums
from ..machine.decoder_messages import without_decoder_messages
from ..machine.processes import processes
from .inputs import find_recordings, open_recording
from .recognition import load_pipeline


def adapt(model: FoundModel, given: Sequence[str], output: Path) -> dict[str, Any]:
    """Writes a model that centres its states by the mean of one speaker's recordings, without their labels (ours).

    Args:
        model: one that was trained with `center_by`.
        given: files, folders and patterns: recordings of the speaker, as varied as those that will be recognised.
        output: the new model's folder.

    Returns:
        `{"recordings", "frames"}`: what the mean is of.

    Raises:
        UserError: another kind of model, a folder that is there already, no recording, or only silent ones.
        AudioError: a recording that cannot be read.
    """
    if output.exists():
        raise UserError(f"--output {output} is there already: choose a new folder")
    names = find_recordings(given)
    recognise = load_pipeline(model.folder, {}, 1, processes().device)
    config = recognise.model.config
    if not config.center_by:
        raise UserError(
            f"{model.name} is not centred by speakers, and needs no adaptation: train one with "
            "model.center_by=[speaker]"
        )
    with without_decoder_messages():
        recordings = map(open_recording, tqdm(names, "listening", disable=not sys.stderr.isatty()))
        mean = mean_of(recognise, recordings)
    if not mean.count:
        raise UserError("the recordings are silent: give some with speech")
    recognise.model.standardization.mean.copy_(mean.mean)
    config.center_by = []  # from now on it is an ordinary model
    make_folder(output.parent)
    with moved_into_place(output) as folder:
        # written anew, with our own code: whatever else lies beside a model, such as its results, is not this one's
        recognise.model.save_pretrained(folder)
        recognise.processor.save_pretrained(folder)
    return {"recordings": len(names), "frames": mean.count}


def mean_of(recognise: SpeechEmotionPipeline, recordings: Iterable[Any]) -> FrameMean:
    """The mean of all frames of recordings that are not silent; labels are neither needed nor looked at."""
    mean = FrameMean()
    for recording in recordings:
        _listen(recognise, recording, mean)
    return mean


@contextmanager
def centred_by(model: SerMetaModel, mean: FrameMean) -> Iterator[None]:
    """Meanwhile the model's states are centred by this mean, as those of a model that `adapt` has written are."""
    buffer = model.standardization.mean
    before = buffer.clone()
    buffer.copy_(mean.mean)
    try:
        yield
    finally:
        buffer.copy_(before)


@torch.no_grad()
def _listen(recognise: SpeechEmotionPipeline, recording: Any, mean: FrameMean) -> None:
    """Adds a recording's frames, piece by piece as the pipeline cuts it."""
    processor = recognise.processor
    for piece in recognise.preprocess(recording):
        if piece["silent"]:
            continue
        inputs = processor([piece["samples"]], sampling_rate=processor.sampling_rate).to(recognise.device)
        (total,), (count,) = sums(recognise.model.encode(**inputs))
        mean.add(total, count)
