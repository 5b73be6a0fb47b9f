"""A signal that comes to this process in a certain step of a training."""

import signal
from pathlib import Path

from transformers import TrainerCallback, trainer


class Signal(TrainerCallback):
    """Sends a signal once, in a step of the run's first or second stage."""

    def __init__(self, stage: str, step: int, number: int):
        self.stage, self.step, self.number = stage, step, number

    def on_step_begin(self, args, state, control, **_):
        if Path(args.output_dir).name == self.stage and state.global_step == self.step - 1:
            signal.raise_signal(self.number)


def signal_trainings(monkeypatch, stage: str, step: int, number: int) -> None:
    """Every training gets this signal until `monkeypatch` is undone."""
    monkeypatch.setattr(trainer, "DEFAULT_CALLBACKS", [*trainer.DEFAULT_CALLBACKS, Signal(stage, step, number)])
