"""A trained model asked about recordings, one after the other or many at a time."""

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from tqdm import tqdm

from ...configuration.errors import UserError
from ...modeling_ser_meta import SpeechEmotionPipeline
from ...modeling_ser_meta.audio_ser_meta import AudioError, read_audio, stream_audio
from ...modeling_ser_meta.windows_ser_meta import LONGEST_PIECE
from ..loading import load_model
from ..progress import say
from .inputs import STANDARD_INPUT, find_recordings, open_recording, seconds_of
from .outputs import Outputs, open_outputs

GROUP = 8  # batches of recordings that are sorted by length
AT_ONCE = 8  # recordings at most that a CPU hears at the same time: each takes memory of its own
READERS = 2  # threads that decode and resample the next group meanwhile
PATIENCE = timedelta(days=365)  # of a process that is done first
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass
class Recording:
    """A recording that was opened.

    Args:
        source: what the pipeline takes.
        seconds: its length by its header; None where it has none that can be read.
        samples: of a short one, with their sampling rate, as the pipeline takes them; None for any other.
    """

    source: Any
    seconds: float | None
    samples: dict[str, Any] | None = None


def predict(
    model: Path,
    given: Sequence[str],
    options: dict[str, Any],
    outputs: Outputs,
    batch_size: int = 8,
    raw_rate: int | None = None,
    precision: str = "fp32",
) -> int:
    """Recognises recordings and writes the results; on several processes, each its share.

    Args:
        model: a model folder.
        given: files, folders, patterns, or `-` for standard input.
        options: of the pipeline; None where not given.
        outputs: what is printed and written.
        batch_size: recordings or windows that go to the model together.
        raw_rate: of raw PCM on standard input, in Hz.
        precision: `fp32` or `bf16`.

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
    recognise = load_pipeline(model, options, batch_size, state.device, precision)
    if groups := " and ".join(recognise.model.config.center_by):
        say(f"{model} compares a recording with others of the same {groups}: first make it ready by ser-meta adapt")
    settings = {"model": str(model.resolve()), **options, **({} if precision == "fp32" else {"precision": precision})}
    with open_outputs(outputs, names, recognise.model.config, settings, state) as writers:
        # every process first takes its share of all, so that what is done already changes no share
        share = names[state.process_index :: state.num_processes]
        failures = _predict_share(recognise, [name for name in share if name not in writers.done], raw_rate, writers)
    for message in failures:
        print(f"ser-meta: {message}", file=sys.stderr)
    state.wait_for_everyone()
    return (2 if len(failures) == len(share) else 1) if failures else 0


def load_pipeline(
    model: Path, options: dict[str, Any], batch_size: int, device: Any, precision: str = "fp32"
) -> SpeechEmotionPipeline:
    """The pipeline of a model folder, with these options for every call; `UserError` where they do not fit it."""
    if precision not in PRECISIONS:
        raise UserError(f"--precision {precision} is none of {', '.join(PRECISIONS)}")
    loaded, processor = load_model(model)
    tasks = list(loaded.config.tasks)
    unknown = sorted(set(options.get("tasks") or ()) - set(tasks))
    if unknown:
        raise UserError(f"--task {unknown[0]} is not among the model's tasks {', '.join(tasks)}")
    given = {name: value for name, value in options.items() if value is not None}
    loaded = loaded.to(PRECISIONS[precision])
    try:
        return SpeechEmotionPipeline(model=loaded, processor=processor, batch_size=batch_size, device=device, **given)
    except ValueError as error:
        raise UserError(str(error)) from error


def recognise_all(
    recognise: SpeechEmotionPipeline, names: Sequence[str], raw_rate: int | None = None
) -> Iterator[tuple[str, Any, dict[str, Any] | ValueError]]:
    """Recordings in their order: name, what was opened, and the result or what is wrong with it.

    Of a group, short recordings of alike lengths go to the model in a batch; a long one goes alone, its windows in
    batches. On a CPU a batch gains less than its padding costs, and cores that share one wait for each other: there
    each takes a recording of its own.
    """
    size = GROUP * recognise._batch_size
    groups = [names[start : start + size] for start in range(0, len(names), size)]
    for group in _read_ahead(groups, lambda name: _open(name, raw_rate, recognise.processor.sampling_rate)):
        short = [name for name, recording in group.items() if recording.samples is not None]
        # the longest first, so that no core is left with a long one at the end
        short.sort(key=lambda name: group[name].seconds, reverse=True)
        together = _recognise_together(recognise, short, group)
        for name, recording in group.items():
            yield name, recording.source, together.get(name) or _recognise_alone(recognise, name, recording)


def _read_ahead(groups: Sequence[Sequence[str]], read: Callable[[str], Recording]) -> Iterator[dict[str, Recording]]:
    """The recordings of each group by name, read while those of the group before are recognised."""
    with ThreadPoolExecutor(READERS) as readers:
        read_next: dict[str, Future] = {}
        for group in [*groups, []]:
            reading, read_next = read_next, {name: readers.submit(read, name) for name in group}
            if reading:
                yield {name: recording.result() for name, recording in reading.items()}


def _open(name: str, raw_rate: int | None, sampling_rate: int) -> Recording:
    """Opens a recording, and reads it if it is short and can be read."""
    source = open_recording(name, raw_rate)
    seconds = seconds_of(source)
    if seconds is None or seconds > LONGEST_PIECE:
        return Recording(source, seconds)
    try:
        samples = {"path": name, "array": read_audio(source, sampling_rate), "sampling_rate": sampling_rate}
    except AudioError:  # told when it is tried alone
        samples = None
    return Recording(source, seconds, samples)


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
    recognise: SpeechEmotionPipeline, names: list[str], opened: dict[str, Recording]
) -> dict[str, dict[str, Any]]:
    """Results by name; none where a batch has an unusable recording, so that each of it is then tried alone."""
    on_cpu = recognise.device.type == "cpu"
    size = 1 if on_cpu else recognise._batch_size
    batches = [names[start : start + size] for start in range(0, len(names), size)]

    def recognise_batch(batch: list[str]) -> dict[str, dict[str, Any]]:
        recordings = [opened[name].samples for name in batch]
        recognise.call_count = 0  # from the eleventh call on a pipeline advises batches, which these are
        try:
            # one goes without what it takes to make a batch
            results = recognise(recordings) if len(recordings) > 1 else [recognise(recordings[0])]
            return dict(zip(batch, results, strict=True))
        except ValueError:
            return {}

    with _batches_at_once(min(len(batches), torch.get_num_threads(), AT_ONCE) if on_cpu else 1) as run:
        return {name: result for results in run(recognise_batch, batches) for name, result in results.items()}


@contextmanager
def _batches_at_once(count: int) -> Iterator[Callable[[Callable, list], Iterator]]:
    """A `map` that has `count` batches in the model at once, each with its own share of torch's threads."""
    if count <= 1:
        yield map
        return
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(threads // count,)) as pool:
            yield pool.map
    finally:
        torch.set_num_threads(threads)  # of some libraries it is one number for all threads


def _recognise_alone(recognise: SpeechEmotionPipeline, name: str, recording: Recording) -> dict[str, Any] | ValueError:
    try:
        return recognise(_shown(recording, name, recognise.processor.sampling_rate))
    except AudioError as error:
        return error
    except ValueError as error:  # the encoder's, which does not know the file
        return ValueError(f"{name}: {error}")


def _shown(recording: Recording, name: str, rate: int) -> Any:
    """A long recording behind a progress bar in seconds, where somebody looks at a terminal."""
    seconds = recording.seconds
    if seconds is None or seconds <= LONGEST_PIECE or not sys.stderr.isatty():
        return recording.source
    return {
        "path": name,
        "blocks": _counted(stream_audio(recording.source, rate), name, seconds, rate),
        "sampling_rate": rate,
    }


def _counted(blocks: Iterator, name: str, seconds: float, rate: int) -> Iterator:
    with tqdm(desc=name, total=round(seconds), unit="s", leave=False) as bar:
        for block in blocks:
            yield block
            bar.update(round(len(block) / rate))
