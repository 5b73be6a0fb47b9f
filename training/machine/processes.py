"""Which process shows, prints and writes of those that work together."""

import sys

import torch
from accelerate import PartialState
from transformers.utils.logging import disable_progress_bar

from .device import without_gpu


def processes() -> PartialState:
    """Those that train together."""
    had_met = torch.distributed.is_available() and torch.distributed.is_initialized()
    # on a CPU they find each other only if Accelerate is told that it is one, before the Trainer does so
    together = PartialState(cpu=without_gpu())
    if not had_met:  # an error of the first one right after would break off the others while they still look for it
        together.wait_for_everyone()
    return together


def is_main_process() -> bool:
    """Whether this process writes and prints: the first of those that train together."""
    return processes().is_main_process


def wait_for_all_processes() -> None:
    """Returns when all processes that train together have come this far."""
    processes().wait_for_everyone()


def say(line: str) -> None:
    """Prints a line on stderr, once."""
    if is_main_process():
        print(line, file=sys.stderr, flush=True)


def hide_loading_bars() -> None:
    """Reading and writing our small models takes no bar; training and prediction have their own."""
    disable_progress_bar()
