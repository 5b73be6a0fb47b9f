"""Ctrl-C, and the SIGTERM of a cluster that takes a machine back: a training saves and leaves."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from accelerate.utils import gather
from transformers import TrainerCallback

from ...configuration.errors import Interrupted
from .processes import processes

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def leaving_on_signals() -> Iterator[None]:
    """Within it, Ctrl-C and SIGTERM raise `Interrupted` at once."""

    def leave(number: int, _) -> None:
        raise Interrupted(number)

    with _handling(leave):
        yield


class SaveAndLeave(TrainerCallback):
    """Saves a checkpoint after the step in which Ctrl-C or SIGTERM came, and then raises `Interrupted`.

    An epoch's last step is judged and saved in any case. Of several processes one signal suffices: they tell each
    other when a step begins, so that they leave after the step that follows the signal.

    Attributes:
        received: the signal that came to this process; 0 for none.
        agreed: of several processes, the signal that had come to any of them when the step began.
    """

    def __init__(self) -> None:
        self.received = 0
        self.agreed: torch.Tensor | int = 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Around a training."""

        def remember(number: int, _) -> None:
            self.received = number

        with _handling(remember):
            yield
        if self.received:  # after the last checkpoint
            raise Interrupted(self.received)

    def on_step_end(self, args, state, control, **_):
        """Asks for a checkpoint."""
        saved_anyway = control.should_training_stop or float(state.epoch).is_integer()
        known = self.received if processes().num_processes == 1 else self.agreed
        if known and not saved_anyway:
            control.should_save = True

    def on_save(self, args, state, control, **_):
        """Leaves."""
        number = self.received
        if processes().num_processes > 1:
            number = int(gather(torch.tensor([number], device=processes().device)).max())
        if number:
            raise Interrupted(number)


@contextmanager
def _handling(handler: Callable) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield
        return
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
