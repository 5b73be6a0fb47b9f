"""A stage's checkpoints: a folder that bears a checkpoint's name is a whole one."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, get_last_checkpoint

from ...configuration.errors import UserError
from ..machine.processes import is_main_process, wait_for_all_processes

ASIDE = "_unfinished"  # the Trainer pushes nothing that begins so


class WholeCheckpoints:
    """Writes each checkpoint aside, and gives it its name when it is whole.

    The Trainer writes a checkpoint file by file under its name, and goes on from any folder of such a name. A kill in
    between would leave half of one (the tests kill a training there). It has no public place to step in, so that three
    of its private methods are overridden here, each for the reason beside it.
    """

    written_to: Path | None = None  # while a checkpoint is being written

    def take_over(self, checkpoint: Path, beyond: int = 0) -> bool:
        """Whether a checkpoint is that of a training's end; if so, takes what the training came to from it.

        An end at up to `beyond` steps is none any more: the training has been given more epochs since.
        """
        state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
        ended = state.stateful_callbacks["TrainerControl"]["args"]["should_training_stop"]
        if not ended or state.global_step <= beyond:
            return False
        self.state = state
        self._load_from_checkpoint(str(self._checkpoint_of(self.picked_step)))
        return True

    @property
    def picked_step(self) -> int:
        """Of the checkpoint whose weights are the training's result."""
        state = self.state
        return state.best_global_step if self.args.load_best_model_at_end else state.global_step

    def find_best_checkpoint(self) -> None:
        """Sets the path of the best checkpoint to where it is now."""
        if self.state.best_global_step:
            self.state.best_model_checkpoint = str(self._checkpoint_of(self.state.best_global_step))

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any = None) -> None:
        # all files of a checkpoint, the optimizer's and the random numbers' too, are written in here and nowhere else
        with _written_aside(Path(self.args.output_dir)) as self.written_to:
            super()._save_checkpoint(model, trial)
            self.find_best_checkpoint()
            if self.args.should_save:  # once more, with the path that the best checkpoint will have
                written = self.written_to / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
                self.state.save_to_json(str(written / TRAINER_STATE_NAME))
        self.written_to = None
        if self.args.should_save:
            keep_checkpoints(Path(self.args.output_dir), self.state.global_step, self.state.best_global_step)
        if self.args.push_to_hub:
            self._push_from_checkpoint(str(self._checkpoint_of(self.state.global_step)))

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        # it goes through the stage's folder in the background, and fails on what is moved away meanwhile
        if self.written_to is not None:
            return
        # the Trainer takes only weights and config along, and without the code and a card no one can use them
        if self.is_world_process_zero():
            for code in Path(checkpoint_folder).glob("*.py"):
                shutil.copy(code, self.args.output_dir)
            self.create_model_card()
        super()._push_from_checkpoint(checkpoint_folder)

    def _get_output_dir(self, trial: Any = None) -> str:
        # where the Trainer puts a checkpoint; args.output_dir itself is written into it, and stays as it is
        return str(self.written_to or super()._get_output_dir(trial))

    def _checkpoint_of(self, step: int | None) -> Path:
        return _checkpoint(Path(self.args.output_dir), step)


def keep_checkpoints(folder: Path, *steps: int | None) -> None:
    """Deletes all checkpoints of a stage's folder but those of these steps, each of which loses its name first."""
    kept = {_checkpoint(folder, step) for step in steps}
    shutil.rmtree(folder / ASIDE, ignore_errors=True)  # of a training that was killed while it deleted
    for checkpoint in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        if checkpoint not in kept:
            os.replace(checkpoint, folder / ASIDE)
            shutil.rmtree(folder / ASIDE)


def last_checkpoint(folder: Path, processes: int) -> Path | None:
    """The checkpoint from which a stage goes on; None if it has none yet.

    Raises:
        UserError: another number of processes wrote it: each has its own random numbers and its own share of an epoch.
    """
    name = get_last_checkpoint(folder) if folder.is_dir() else None
    if name is None:
        return None
    writers = len(list(Path(name).glob("rng_state_*.pth"))) or 1
    if writers != processes:
        raise UserError(
            f"{name} was written by {writers} processes, and there are {processes} now: go on with {writers}, or "
            "train anew into another --output"
        )
    return Path(name)


def _checkpoint(folder: Path, step: int | None) -> Path:
    return folder / f"{PREFIX_CHECKPOINT_DIR}-{step}"


@contextmanager
def _written_aside(folder: Path) -> Iterator[Path]:
    """Gives a folder to write a checkpoint into, and moves it to `folder` when all processes have written.

    After an error nothing of it is left, so that a full disk is not full of it.
    """
    aside = folder / ASIDE
    if is_main_process():
        shutil.rmtree(aside, ignore_errors=True)  # of a training that was killed while it wrote
    wait_for_all_processes()
    try:
        yield aside
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    wait_for_all_processes()
    if is_main_process():
        for written in list(aside.iterdir()):
            if (folder / written.name).exists():  # of an earlier training into the same folder
                os.replace(folder / written.name, aside / "replaced")
            os.replace(written, folder / written.name)
        shutil.rmtree(aside)
    wait_for_all_processes()
