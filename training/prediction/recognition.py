"""A trained model asked about recordings, one after the other or many at a time."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from ...configuration.errors import UserError
from ...hub_cards.hub.names import FoundModel
from ...modeling_ser_meta import SerMetaConfig, SpeechEmotionPipeline
from ...modeling_ser_meta.audio_ser_meta import (
    AudioError,
    channels_differ,
    read_audio,
    recording_name,
    stream_audio,
)
from ...modeling_ser_meta.backends_ser_meta import BACKENDS
from ...modeling_ser_meta.windows_ser_meta import LONGEST_PIECE
from ..machine.decoder_messages import without_decoder_messages
from ..machine.device import without_gpu
from ..machine.processes import say
from ..runs.loading import load_model
from .inputs import STANDARD_INPUT, Inputs, header_of, heard_channels, open_recording, seconds_of
from .listening import counted
from .outputs import Outputs, check_files, open_outputs

GROUP = 8  # batches of recordings that are sorted by length
AT_ONCE = 8  # recordings at most that a CPU hears at the same time: each takes memory of its own
TOGETHER = 8.0  # seconds of recordings of one length that go to the model together on a CPU: larger matrices
READERS = 2  # threads that decode and resample the next group meanwhile
TOLD = 100  # recordings from which on the throughput is told
PATIENCE = timedelta(days=365)  # of a process that is done first
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass
class Recording:
    """A recording that was opened, or one channel of it.

    Args:
        name: as it was given, or the id of a table's row.
        source: what the pipeline takes.
        seconds: its length by its header; None where it has none that can be read.
        samples: of a short one, with their sampling rate, as the pipeline takes them; None for any other.
        channel: which one, counted from 0; None for all of them mixed.
        lossy: whether much is lost by mixing them.
    """

    name: str
    source: Any
    seconds: float | None
    samples: dict[str, Any] | None = None
    channel: int | None = None
    lossy: bool = False


def predict(
    model: FoundModel,
    inputs: Inputs,
    options: dict[str, Any],
    outputs: Outputs,
    batch_size: int = 8,
    precision: str = "fp32",
    channels: str = "mix",
    backend: str = "torch",
) -> int:
    """Recognises recordings and writes the results; on several processes, each its share.

    Args:
        model: see `find_model`.
        inputs: the recordings.
        options: of the pipeline; None where not given.
        outputs: what is printed and written.
        batch_size: recordings or windows that go to the model together.
        precision: `fp32` or `bf16`.
        channels: see `heard_channels`.
        backend: what runs the network, see `SpeechEmotionPipeline`.

    Returns:
        the exit code: 0; 1 where some recordings could not be used; 2 where not one could. They are listed on stderr.

    Raises:
        UserError: nothing to recognise, or options that do not fit the model or each other.
    """
    state = PartialState(cpu=without_gpu(), timeout=PATIENCE)
    heard_channels(None, channels)  # is refused before anything is loaded
    names = inputs.names
    if inputs.read_once and outputs.plot:
        raise UserError(f"--plot {outputs.plot} reads a recording twice, which a raw stream cannot be: give a file")
    check_files(outputs, inputs)
    options = {**options, **outputs.needed_options(options, inputs)}
    recognise = load_pipeline(model.folder, options, batch_size, state.device, precision, backend)
    tell_centring(model, recognise.model.config)
    settings = {"model": model.identity, **inputs.settings, **options}
    settings |= {} if precision == "fp32" else {"precision": precision}
    settings |= {} if backend == "torch" else {"backend": backend}
    settings |= {} if channels == "mix" else {"channels": channels}
    with open_outputs(outputs, inputs, recognise.model.config, settings, state) as writers, without_decoder_messages():
        missing = [name for name in names if not _is_done(name, inputs, channels, writers.done)]
        share = writers.share(names, missing)
        started = time.monotonic()
        failures = _predict_share(recognise, share, inputs, channels, writers)
        seconds = time.monotonic() - started
    for message in failures:
        print(f"ser-meta: {message}", file=sys.stderr)
    state.wait_for_everyone()
    writers.complete()
    if len(missing) >= TOLD:
        say(f"{len(missing)} recordings in {seconds:.0f} s: {len(missing) / max(seconds, 1e-3):.1f} a second")
    if not failures:
        return int(inputs.left_out > 0)
    return 2 if len(failures) == len(share) and not writers.done else 1


def load_pipeline(
    model: Path,
    options: dict[str, Any],
    batch_size: int,
    device: Any,
    precision: str = "fp32",
    backend: str = "torch",
) -> SpeechEmotionPipeline:
    """The pipeline of a model folder, with these options for every call; `UserError` where they do not fit it.

    Without torch its model keeps no weights: the exported network has them.
    """
    for name, value, known in (("precision", precision, PRECISIONS), ("backend", backend, BACKENDS)):
        if value not in known:
            raise UserError(f"--{name} {value} is none of {', '.join(known)}")
    device = "cpu" if backend == "onnx" else device
    if backend == "onnx" and precision != "fp32":
        raise UserError(f"--precision {precision} is for torch: leave it out, or --backend onnx")
    loaded, processor = load_model(model)
    tasks = list(loaded.config.tasks)
    unknown = sorted(set(options.get("tasks") or ()) - set(tasks))
    if unknown:
        raise UserError(f"--task {unknown[0]} is not among the model's tasks {', '.join(tasks)}")
    given = {name: value for name, value in options.items() if value is not None}
    loaded = loaded.to(PRECISIONS[precision])
    try:
        recognise = SpeechEmotionPipeline(
            model=loaded, processor=processor, batch_size=batch_size, backend=backend, device=device, **given
        )
    except ValueError as error:
        raise UserError(str(error)) from error
    if recognise.network is not None:
        recognise.model.to("meta")
    return recognise


def tell_centring(model: FoundModel, config: SerMetaConfig) -> None:
    """Says that a model needs other recordings of the same speaker."""
    if groups := " and ".join(config.center_by):
        say(f"{model.name} compares a recording with others of the same {groups}: make it ready by ser-meta adapt")


def recognise_all(
    recognise: SpeechEmotionPipeline,
    names: Sequence[str],
    open_named: Callable[[str], Any] = open_recording,
    channels: str = "mix",
) -> Iterator[tuple[str, Recording, dict[str, Any] | ValueError]]:
    """Recordings in their order: name, what was opened, and the result or what is wrong with it.

    Of a group, short recordings of alike lengths go to the model in a batch; a long one goes alone, its windows in
    batches. On a CPU a batch gains less than its padding costs, and cores that share one wait for each other: there
    each takes a recording of its own, or a few of one length. With `channels="separate"` there is a result for each
    channel of a recording.
    """
    size = GROUP * recognise._batch_size
    groups = [names[start : start + size] for start in range(0, len(names), size)]
    rate = recognise.processor.sampling_rate
    for group in _read_ahead(groups, lambda name: _open(name, open_named(name), channels, rate)):
        short = [number for number, recording in enumerate(group) if recording.samples is not None]
        # the longest first, so that no core is left with a long one at the end
        short.sort(key=lambda number: group[number].seconds, reverse=True)
        together = _recognise_together(recognise, short, group)
        for number, recording in enumerate(group):
            yield recording.name, recording, together.get(number) or _recognise_alone(recognise, recording)


def _read_ahead(groups: Sequence[Sequence[str]], read: Callable[[str], list[Recording]]) -> Iterator[list[Recording]]:
    """The recordings of each group, read while those of the group before are recognised."""
    with ThreadPoolExecutor(READERS) as readers:
        read_next: list[Future] = []
        for group in [*groups, []]:
            reading, read_next = read_next, [readers.submit(read, name) for name in group]
            if reading:
                yield [recording for opened in reading for recording in opened.result()]


def _open(name: str, source: Any, channels: str, sampling_rate: int) -> list[Recording]:
    """A recording, or each channel of it, read if it is short and can be read."""
    seconds, opened = seconds_of(source), []
    for channel in heard_channels(source, channels):
        of_channel = source
        if channel is not None:
            of_channel = {**(source if isinstance(source, dict) else {"path": source}), "channel": channel}
        samples = _short(of_channel, name, seconds, sampling_rate)
        lossy = channel is None and _loses_by_mixing(source)
        opened.append(Recording(name, of_channel, seconds, samples, channel, lossy))
    return opened


def _loses_by_mixing(source: Any) -> bool:
    header = header_of(source)
    try:
        return header is not None and header.channels > 1 and channels_differ(source)
    except AudioError:  # told when it is recognised
        return False


def _short(source: Any, name: str, seconds: float | None, sampling_rate: int) -> dict[str, Any] | None:
    if seconds is None or seconds > LONGEST_PIECE:
        return None
    try:
        return {"path": name, "array": read_audio(source, sampling_rate), "sampling_rate": sampling_rate}
    except AudioError:  # told when it is tried alone
        return None


def _predict_share(
    recognise: SpeechEmotionPipeline, share: Sequence[str], inputs: Inputs, channels: str, writers: Any
) -> list[str]:
    """Recognises and writes; what could not be used is told in one line each."""
    failures, lossy = [], []
    results = recognise_all(recognise, share, inputs.open, channels)
    for name, recording, result in counted(results, len(share), "recognising", "recordings"):
        facts = inputs.describe(name)
        lossy += [name] if recording.lossy else []
        of_channel = {} if recording.channel is None else {"channel": recording.channel}
        if isinstance(result, ValueError):
            failures.append(f"{name}: {result}" if "utterance_id" in facts else str(result))
        elif (name, recording.channel) not in writers.done:
            writers.write({**facts, **of_channel, **_placed(result, facts.get("start"))}, recording)
    if lossy:
        others = f" and {len(lossy) - 1} others" if len(lossy) > 1 else ""
        say(f"{lossy[0]}{others}: the channels differ, and were mixed: --channels separate has a result for each")
    return failures


def _placed(result: dict[str, Any], start: float | None) -> dict[str, Any]:
    """The result of a part that begins at `start`, in seconds, with the times of its whole recording."""
    if not start or "segments" not in result:
        return result
    times = [{time: round(start + segment[time], 6) for time in ("start", "end")} for segment in result["segments"]]
    return {**result, "segments": [one | moved for one, moved in zip(result["segments"], times, strict=True)]}


def _is_done(name: str, inputs: Inputs, channels: str, done: set[tuple[str, int | None]]) -> bool:
    """Whether every channel of a recording that is to be heard has its result already."""
    if not done:
        return False
    source = inputs.open(name) if channels == "separate" and name != STANDARD_INPUT else None
    return all((name, channel) in done for channel in heard_channels(source, channels))


def _recognise_together(
    recognise: SpeechEmotionPipeline, numbers: list[int], opened: list[Recording]
) -> dict[int, dict[str, Any]]:
    """Results by number; none where a batch has an unusable recording, so that each of it is then tried alone."""
    on_cpu, size = recognise.device.type == "cpu", recognise._batch_size
    at_once = min(torch.get_num_threads(), AT_ONCE) if on_cpu else 1
    batches = [numbers[start : start + size] for start in range(0, len(numbers), size)]
    if on_cpu:
        batches = _of_one_length(numbers, opened, ceil(len(numbers) / at_once))

    def recognise_batch(batch: list[int]) -> dict[int, dict[str, Any]]:
        recordings = [opened[number].samples for number in batch]
        recognise.call_count = 0  # from the eleventh call on a pipeline advises batches, which these are
        try:
            # one goes without what it takes to make a batch
            results = recognise(recordings) if len(recordings) > 1 else [recognise(recordings[0])]
            return dict(zip(batch, results, strict=True))
        except ValueError:
            return {}

    with _batches_at_once(min(len(batches), at_once)) as run:
        return {number: result for results in run(recognise_batch, batches) for number, result in results.items()}


def _of_one_length(numbers: list[int], opened: list[Recording], most: int) -> list[list[int]]:
    """Batches without padding, of neighbours of as many samples that last `TOGETHER` at most; at least of one."""
    batches: list[list[int]] = []
    for number in numbers:
        samples, seconds = len(opened[number].samples["array"]), opened[number].seconds
        size = min(most, int(TOGETHER // seconds) if seconds else 1)
        alike = batches and len(opened[batches[-1][0]].samples["array"]) == samples
        if alike and len(batches[-1]) < size:
            batches[-1].append(number)
        else:
            batches.append([number])
    return batches


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


def _recognise_alone(recognise: SpeechEmotionPipeline, recording: Recording) -> dict[str, Any] | ValueError:
    try:
        return recognise(_shown(recording, recognise.processor.sampling_rate))
    except AudioError as error:
        return error
    except ValueError as error:  # the encoder's, which does not know the file
        return ValueError(f"{recording_name(recording.source)}: {error}")


def _shown(recording: Recording, rate: int) -> Any:
    """A long recording as a stream that shows how far it has been heard, in seconds."""
    if recording.seconds is None or recording.seconds <= LONGEST_PIECE:
        return recording.source
    blocks = stream_audio(recording.source, rate)
    heard = counted(blocks, round(recording.seconds), recording.name, "s", lambda block: len(block) / rate)
    return {"path": recording_name(recording.source), "blocks": heard, "sampling_rate": rate}
