"""A checkpoint gone on from gives tensors and numbers, from its run's own folder alone: it runs no code."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError

from transformers.utils import SAFE_WEIGHTS_NAME

from ...configuration.errors import UserError


def require_own_files(checkpoint: Path) -> None:
    """Refuses a checkpoint that reaches out of its stage's folder by a link, or has no weights in safetensors.

    Raises:
        UserError: with the file, and what to do.
    """
    stage = checkpoint.parent.resolve()
    for path in (checkpoint, *sorted(checkpoint.rglob("*"))):
        if not path.resolve().is_relative_to(stage):
            raise UserError(f"{path} leads out of {stage}: put the file itself there, or delete {checkpoint}")
    if not (checkpoint / SAFE_WEIGHTS_NAME).is_file():
        raise UserError(f"{checkpoint} has no {SAFE_WEIGHTS_NAME}: delete it, and the stage begins anew")


@contextmanager
def code_refused(checkpoint: Path | None) -> Iterator[None]:
    """Around what reads a checkpoint, which is the Trainer's, weights-only: tells of a pickle that holds more.

    Raises:
        UserError: such a pickle, which was not run.
    """
    try:
        yield
    except UnpicklingError as error:
        raise UserError(
            f"{checkpoint} holds a pickle with something else than tensors and numbers, which was not run: trust no "
            "file of this run, or delete the checkpoint, and the stage begins anew"
        ) from error
