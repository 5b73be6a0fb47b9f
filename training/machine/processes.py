"""What a person sees of a training, and which process shows it."""

import sys

from accelerate import PartialState
from transformers import Trainer, TrainerCallback
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from transformers.utils.logging import disable_progress_bar

from .device import without_gpu


def processes() -> PartialState:
    """Those that train together."""
    # on a CPU they find each other only if Accelerate is told that it is one, before the Trainer does so
    return PartialState(cpu=without_gpu())


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
    """A line for each log, in a file or a cluster's output."""

    def __init__(self, stage: str):
        self.stage = stage

    def on_log(self, args, state, control, logs=None, **_):
        """Prints the losses of the last steps, or the validation's measures."""
        shown = _measures(logs, "loss") or _measures(logs, "eval_")
        if state.is_world_process_zero and shown:
            done = f"stage {self.stage}, epoch {state.epoch:.2f}, step {state.global_step} of {state.max_steps}"
            print(f"{done}: {_words(shown)}", file=sys.stderr, flush=True)


def _measures(logs: dict[str, float], prefix: str) -> dict[str, str]:
    return {name: f"{value:.3f}" for name, value in logs.items() if name.startswith(prefix)}


def _words(measures: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in measures.items())
