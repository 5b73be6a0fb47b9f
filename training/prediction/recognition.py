"""A trained model asked about recordings, one after the other or many at a time."""

import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from tqdm import tqdm

from ...configuration.errors import UserError
from ...modeling_ser_meta import SpeechEmotionPipeline
from ...modeling_ser_meta.audio_ser_meta import AudioError, stream_audio
from ...modeling_ser_meta.windows_ser_meta import LONGEST_PIECE
from ..loading import load_model
from .inputs import STANDARD_INPUT, find_recordings, open_recording, seconds_of
from .outputs import Outputs, open_outputs

GROUP = 8  # batches of recordings that are sorted by length
PATIENCE = timedelta(days=365)  # of a process that is done first


def predict(
    model: Path,
    given: Sequence[str],
    options: dict[str, Any],
    outputs: Outputs,
    batch_size: int = 8,
    raw_rate: int | None = None,
) -> int:
    """Recognises recordings and writes the results; on several processes, each its share.

    Args:
        model: a model folder.
        given: files, folders, patterns, or `-` for standard input.
        options: of the pipeline; None where not given.
        outputs: what is printed and written.
        batch_size: recordings or windows that go to the model together.
        raw_rate: of raw PCM on standard input, in Hz.

    Returns:
        the exit code: 0; 1 where some recordings could not be used; 2 where not one could. They are listed on stderr.

    Raises:
        UserError: nothing to recognise, or options that do not fit the model or each other.
    """
    on_cpu = not (torch.cuda.is_available() or torch.backends.mps.is_available())
    state = PartialState(cpu=on_cpu, timeout=PATIENCE)
    names = find_recordings(given)
    if raw_rate is not None and STANDARD_INPUT not in names:
        raise UserError(f"--raw-rate {raw_rate} is of standard input: give - as the recording")
    if raw_rate is not None and outputs.plot:
        raise UserError(f"--plot {outputs.plot} reads a recording twice, which a raw stream cannot be: give a file")
    options = {**options, **outputs.needed_options(options)}
    recognise = load_pipeline(model, options, batch_size, state.device)
    settings = {"model": str(model.resolve()), **options}
    with open_outputs(outputs, names, recognise.model.config, settings, state) as writers:
        # every process first takes its share of all, so that what is done already changes no share
        share = names[state.process_index :: state.num_processes]
        failures = _predict_share(recognise, [name for name in share if name not in writers.done], raw_rate, writers)
    for message in failures:
        print(f"ser-meta: {message}", file=sys.stderr)
    state.wait_for_everyone()
    return (2 if len(failures) == len(share) else 1) if failures else 0


def load_pipeline(model: Path, options: dict[str, Any], batch_size: int, device: Any) -> SpeechEmotionPipeline:
    """The pipeline of a model folder, with these options for every call; `UserError` where they do not fit it."""
    loaded, processor = load_model(model)
    tasks = list(loaded.config.tasks)
    unknown = sorted(set(options.get("tasks") or ()) - set(tasks))
    if unknown:
        raise UserError(f"--task {unknown[0]} is not among the model's tasks {', '.join(tasks)}")
    given = {name: value for name, value in options.items() if value is not None}
    try:
        return SpeechEmotionPipeline(model=loaded, processor=processor, batch_size=batch_size, device=device, **given)
    except ValueError as error:
        raise UserError(str(error)) from error


def recognise_all(
    recognise: SpeechEmotionPipeline, names: Sequence[str], raw_rate: int | None = None
) -> Iterator[tuple[str, Any, dict[str, Any] | ValueError]]:
    """Recordings in their order: name, what was opened, and the result or what is wrong with it.

    Short recordings of a group go together, those of alike lengths in a batch; a long one alone, its windows in
    batches.
    """
    size = GROUP * recognise._batch_size
    for group in (names[start : start + size] for start in range(0, len(names), size)):
        opened = {name: open_recording(name, raw_rate) for name in group}
        lengths = {name: seconds_of(recording) for name, recording in opened.items()}
        short = [name for name, seconds in lengths.items() if seconds is not None and seconds <= LONGEST_PIECE]
        together = _recognise_together(recognise, sorted(short, key=lengths.get), opened)
        for name in group:
            result = together.get(name) or _recognise_alone(recognise, name, opened[name], lengths[name])
            yield name, opened[name], result


def _predict_share(
    recognise: SpeechEmotionPipeline, names: list[str], raw_rate: int | None, writers: Any
) -> list[ValueError]:
    failures = []
    results = recognise_all(recognise, names, raw_rate)
    for name, recording, result in tqdm(results, "recognising", len(names), disable=len(names) < 2 or None):
        if isinstance(result, ValueError):
            failures.append(result)
        else:
            writers.write({"file": name, **result}, recording)
    return failures


def _recognise_together(
    recognise: SpeechEmotionPipeline, names: list[str], opened: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Results by name; none where one recording is unusable, so that each is then tried alone."""
    if not names:
        return {}
    try:
        return dict(zip(names, recognise([opened[name] for name in names]), strict=True))
    except ValueError:
        return {}


def _recognise_alone(
    recognise: SpeechEmotionPipeline, name: str, recording: Any, seconds: float | None
) -> dict[str, Any] | ValueError:
    try:
        return recognise(_shown(recording, name, seconds, recognise.processor.sampling_rate))
    except AudioError as error:
        return error
    except ValueError as error:  # the encoder's, which does not know the file
        return ValueError(f"{name}: {error}")


def _shown(recording: Any, name: str, seconds: float | None, rate: int) -> Any:
    """A long recording behind a progress bar in seconds, where somebody looks at a terminal."""
    if seconds is None or seconds <= LONGEST_PIECE or not sys.stderr.isatty():
        return recording
    return {
        "path": name,
        "blocks": _counted(stream_audio(recording, rate), name, seconds, rate),
        "sampling_rate": rate,
    }


def _counted(blocks: Iterator, name: str, seconds: float, rate: int) -> Iterator:
    with tqdm(desc=name, total=round(seconds), unit="s", leave=False) as bar:
        for block in blocks:
            yield block
            bar.update(round(len(block) / rate))
