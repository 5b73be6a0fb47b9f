"""What a person sees of a stage's training: a bar on a terminal, a line now and then in a file."""

import sys
import time

from transformers import Trainer, TrainerCallback
from transformers.trainer_callback import PrinterCallback, ProgressCallback

BETWEEN_LINES = 10.0  # seconds: a log of an hour stays one that can be read


def show_progress(trainer: Trainer, stage: str) -> None:
    """Replaces the Trainer's own way to show progress by a bar, or by plain lines where nobody looks at a terminal."""
    trainer.remove_callback(ProgressCallback)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(StageBar(stage) if sys.stderr.isatty() else StageLines(stage))


class StageBar(ProgressCallback):
    """A progress bar named after the stage, with the losses beside it and one line after each validation."""

    def __init__(self, stage: str):
        super().__init__()
        self.stage = stage

    def on_train_begin(self, args, state, control, **options):
        """Opens the bar."""
        super().on_train_begin(args, state, control, **options)
        if self.training_bar is not None:
            self.training_bar.set_description(f"stage {self.stage}")

    def on_log(self, args, state, control, logs=None, **_):
        """Shows the losses of the last steps, or the validation's measures."""
        if self.training_bar is None or not logs:
            return
        self.training_bar.set_postfix(_measures(logs, "loss"))
        if judged := _measures(logs, "eval_"):
            self.training_bar.write(f"epoch {state.epoch:.0f}, validation: {_words(judged)}")


class StageLines(TrainerCallback):
    """A line every few seconds, for each validation and at the end, in a file or a cluster's output."""

    def __init__(self, stage: str):
        self.stage = stage
        self.last_line = time.monotonic()

    def on_log(self, args, state, control, logs=None, **_):
        """Prints the losses of the last steps, or the validation's measures."""
        judged = _measures(logs, "eval_")
        shown = _measures(logs, "loss") or judged
        due = judged or state.global_step == state.max_steps or time.monotonic() - self.last_line >= BETWEEN_LINES
        if state.is_world_process_zero and shown and due:
            self.last_line = time.monotonic()
            done = f"stage {self.stage}, epoch {state.epoch:.2f}, step {state.global_step} of {state.max_steps}"
            print(f"{done}: {_words(shown)}", file=sys.stderr, flush=True)


def _measures(logs: dict[str, float], prefix: str) -> dict[str, str]:
    return {name: f"{value:.3f}" for name, value in logs.items() if name.startswith(prefix)}


def _words(measures: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in measures.items())
