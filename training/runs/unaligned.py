"""Transcripts that CTC cannot align: more characters than the encoder has frames."""

import torch

from ...modeling_ser_meta.modeling_ser_meta import SerMetaModel
from ...modeling_ser_meta.processing_ser_meta import SerMetaProcessor
from ..batches.frame_counts import frame_counts
from ..machine.processes import say
from .preparation import Preparation


def count_unaligned(prepared: Preparation, model: SerMetaModel, stage: str, heard: list[float]) -> int:
    """The training side's transcripts that cannot be aligned at their own speed, if the stage learns them; says so.

    Args:
        prepared: corpus, sides and tasks.
        model: whose encoder makes the frames.
        stage: its name.
        heard: seconds that the model hears of each recording of the training side, see `SpeechCollator.lengths`.
    """
    name = next((name for name, task in prepared.tasks.items() if task["kind"] == "ctc"), None)
    if name not in prepared.recipe.stages[stage].loss_weights:
        return 0
    train = prepared.side("train")
    frames = frame_counts(model, prepared.processor, heard)
    too_long = (aligned_frames(prepared.processor, train[name][:]) > frames).nonzero().flatten().tolist()
    if too_long:
        say(
            f"stage {stage}: {len(too_long)} of {len(train)} transcripts have more characters than the encoder has "
            f"frames, such as that of {train[too_long[0]]['utterance_id']}, and add nothing to the loss"
        )
    return len(too_long)


def aligned_frames(processor: SerMetaProcessor, transcripts: list[str | None]) -> torch.Tensor:
    """The frames `(transcripts,)` that CTC needs: one a character, and one between two that are the same."""
    characters = processor.encode_transcripts(transcripts)
    known = characters >= 0
    repeats = (characters[:, 1:] == characters[:, :-1]) & known[:, 1:]
    return known.sum(dim=1) + repeats.sum(dim=1)
