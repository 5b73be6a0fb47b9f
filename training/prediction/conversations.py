"""`ser-meta predict --turns`: who speaks when, and how it sounds, turn by turn and speaker by speaker."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState

from ...configuration.errors import UserError
from ...hub_cards.hub.names import FoundModel, read_model_config
from ...hub_cards.page.conversation import speaker_summaries
from ...hub_cards.page.predictions_table import BESIDE_TASKS, OF_A_ROW, is_ranking
from ...modeling_ser_meta import SpeechEmotionPipeline
from ...modeling_ser_meta.audio_ser_meta import AudioError, stream_audio
from ...modeling_ser_meta.segments_ser_meta import ranked, with_present
from ..machine.decoder_messages import without_decoder_messages
from ..machine.device import without_gpu
from ..machine.processes import say
from .adaptation import centred_by, mean_of
from .inputs import STANDARD_INPUT, Files, Inputs, heard_channels, seconds_of
from .listening import counted
from .outputs import Outputs, check_files, open_outputs
from .recognition import Recording, load_pipeline, recognise_all, tell_centring
from .turns import FOUND, Turn, diarized, read_turns, turns_by_recording

NOBODY = "speaker"  # what somebody is called whose name nobody gave
NOT_JOINED = {*OF_A_ROW, *BESIDE_TASKS} - {"familiar"}  # of turns; how familiar they are is a number as any other


@dataclass
class Conversations:
    """Where the turns of recordings come from.

    Args:
        turns: a file of them, or `found`: what lies between pauses, as `ser-meta listen` hears it.
        diarization: the name of a diarisation to ask instead.
        channels: as `heard_channels` takes it; with `separate` each turn is heard on its own channel, and where nobody
            is named a channel is a speaker.
    """

    turns: str | None = None
    diarization: str | None = None
    channels: str = "mix"

    def __post_init__(self) -> None:
        if self.turns and self.diarization:
            raise UserError(f"--turns {self.turns} beside --diarization {self.diarization}: give one of them")
        self.given = read_turns(Path(self.turns)) if self.turns and self.turns != FOUND else None
        self.by_recording: dict[str, list[Turn]] = {}

    def check(self, recordings: Sequence[str], tasks: Sequence[str] | None) -> None:
        """Finds the turns of these; `UserError` where they, or the tasks that are asked for, do not go with turns."""
        if "speaker" in (tasks or ()):
            raise UserError("--task speaker: with turns, speaker is who they say it is: leave it out")
        if self.given is None:
            return
        try:
            self.by_recording = turns_by_recording(self.given, recordings)
        except UserError as error:
            raise UserError(f"--turns {self.turns}: {error}") from error
        if not self.by_recording:
            named = self.given[0].recording
            raise UserError(
                f"--turns {self.turns} has no turn of {recordings[0]}: its turns are of {named or 'no file by name'}, "
                "which must be the recording's name without its ending"
            )


def predict_conversations(
    model: FoundModel,
    inputs: Inputs,
    options: dict[str, Any],
    outputs: Outputs,
    batch_size: int,
    precision: str,
    asked: Conversations,
    backend: str = "torch",
) -> int:
    """Recognises conversations turn by turn, and writes the results; the arguments are those of `predict`.

    A result's `segments` are the turns with their `speaker`, its `speakers` what `speaker_summaries` tells, and what
    stands above them is of all turns together.

    Returns:
        the exit code: 0; 1 where some turns or recordings could not be used; 2 where nothing could. They are listed.

    Raises:
        UserError: turns that do not fit the recordings, or options that do not fit each other or the model.
    """
    state = PartialState(cpu=without_gpu())
    _check(inputs, outputs, options, state, asked)
    backend = _that_centres(model, backend)
    recognise = load_pipeline(model.folder, options, batch_size, state.device, precision, backend)
    hearer = Hearer(asked, recognise, asked.diarization and diarized(asked.diarization, recognise.device))
    if not hearer.centres:
        tell_centring(model, recognise.model.config)
    elif not hearer.knows_speakers:
        say(f"{model.name} is centred by speaker, and nobody says who speaks: name them in --turns")
    settings, failures, done = {**options, "channels": "mix"}, [], 0
    with open_outputs(outputs, inputs, recognise.model.config, settings, state) as writers, without_decoder_messages():
        for name in counted(inputs.names, len(inputs.names), "recognising", "conversations"):
            source = inputs.open(name)
            try:
                result, wrong = hearer(name, source)
            except AudioError as error:
                failures.append(str(error))
                continue
            failures += wrong
            done += 1
            writers.write({**inputs.describe(name), **result}, Recording(name, source, seconds_of(source)))
    for message in failures:
        print(f"ser-meta: {message}", file=sys.stderr)
    return (1 if done else 2) if failures else 0


def _check(inputs: Inputs, outputs: Outputs, options: dict, state: PartialState, asked: Conversations) -> None:
    if not isinstance(inputs, Files) or STANDARD_INPUT in inputs.names:
        raise UserError("turns are of sound files: give these, without --table and not on standard input")
    if outputs.parquet:
        raise UserError(f"--parquet {outputs.parquet}: turns are written as --json, --segments, --speakers or --csv")
    if state.num_processes > 1:
        raise UserError("turns are recognised by one process: start it without accelerate launch")
    check_files(outputs, inputs, asked.turns)
    asked.check(inputs.names, options.get("tasks"))


def _that_centres(model: FoundModel, backend: str) -> str:
    """What runs the network: torch, where the model is centred anew for each speaker, which no graph can be."""
    if "speaker" not in read_model_config(model.folder).get("center_by", ()):
        return backend
    if backend == "onnx":
        raise UserError(f"--backend onnx: {model.name} is centred by each speaker of a conversation: leave it out")
    return "torch"


@dataclass
class Hearer:
    """Hears conversations, one after the other.

    Args:
        asked: where the turns come from.
        recognise: the pipeline.
        diarize: gives a recording's turns; None where they are given or found.
    """

    asked: Conversations
    recognise: SpeechEmotionPipeline
    diarize: Callable[[Any], list[Turn]] | None = None

    def __call__(self, name: str, source: Any) -> tuple[dict[str, Any], list[str]]:
        """One conversation's result, and what is wrong with some of its turns.

        Args:
            name: the recording's, as it was given.
            source: as the pipeline takes it.

        Raises:
            AudioError: the recording cannot be read, or nobody speaks in it.
        """
        if self.asked.turns == FOUND:
            heard = [self._found(self._part(source, channel), channel) for channel in self._channels(source)]
            segments, wrong = [segment for of in heard for segment in of], []
        else:
            turns = self.diarize(source) if self.diarize else self.asked.by_recording.get(name, [])
            segments, wrong = self._given(source, turns)
        if not segments:
            raise AudioError(wrong[0] if wrong else f"{name}: nobody speaks: there are no turns of it")
        segments = sorted(segments, key=lambda segment: (segment["start"], segment["end"]))
        numbers = {key: number for number, key in enumerate(dict.fromkeys(each["turn"] for each in segments))}
        segments = [{**segment, "turn": numbers[segment["turn"]]} for segment in segments]
        tasks = self.recognise.model.config.tasks
        return {**together(segments, tasks), "segments": segments, "speakers": speaker_summaries(segments)}, wrong

    def _channels(self, source: Any) -> list[int | None]:
        return heard_channels(source, self.asked.channels)

    def _found(self, source: Any, channel: int | None) -> list[dict[str, Any]]:
        speaker, rate = _speaker(None, channel), self.recognise.processor.sampling_rate

        def turns() -> list[dict[str, Any]]:
            return list(self.recognise.stream(rate).turns(stream_audio(source, rate)))

        if self.centres and channel is not None:
            parts = [{**source, "start": turn["start"], "end": turn["end"]} for turn in turns()]
            with centred_by(self.recognise.model, mean_of(self.recognise, parts)):
                heard = turns()
        else:
            heard = turns()
        of_channel = {} if channel is None else {"channel": channel}
        return [piece for turn in heard for piece in _pieces(turn, 0.0, (channel, turn["turn"]), speaker, of_channel)]

    def _given(self, source: Any, turns: Sequence[Turn]) -> tuple[list[dict[str, Any]], list[str]]:
        segments, wrong = [], []
        for speaker in dict.fromkeys(self._speaker(turn) for turn in turns):
            own = [(number, turn) for number, turn in enumerate(turns) if self._speaker(turn) == speaker]
            parts = [self._part(source, self._channel(turn), turn) for _, turn in own]
            for (number, turn), result in zip(own, self._heard(speaker, parts), strict=True):
                if isinstance(result, ValueError):
                    wrong.append(str(result))
                    continue
                # a table has the column in all rows, also where some turns have no channel of their own
                of_channel = {} if self.asked.channels == "mix" else {"channel": self._channel(turn)}
                told = {"start": turn.start, "end": turn.end, **result}
                segments += _pieces(told, turn.start, number, speaker, of_channel)
        return segments, wrong

    def _heard(self, speaker: str, parts: list[Any]) -> list[dict[str, Any] | ValueError]:
        """Results of one speaker's turns, centred by all of them where the model is."""
        mean = mean_of(self.recognise, parts) if self.centres and speaker != NOBODY else None
        if mean is None or not mean.count:
            return self._results(parts)
        with centred_by(self.recognise.model, mean):
            return self._results(parts)

    def _results(self, parts: list[Any]) -> list[dict[str, Any] | ValueError]:
        names = [str(number) for number in range(len(parts))]
        return [result for _, _, result in recognise_all(self.recognise, names, lambda name: parts[int(name)])]

    @property
    def centres(self) -> bool:
        """Whether the model is centred by speaker."""
        return "speaker" in self.recognise.model.config.center_by

    @property
    def knows_speakers(self) -> bool:
        """Whether somebody says who speaks: a file, a diarisation, or the channels."""
        named = any(turn.speaker is not None for turn in self.asked.given or ())
        return named or self.diarize is not None or self.asked.channels == "separate"

    def _channel(self, turn: Turn) -> int | None:
        if self.asked.channels == "separate":
            return turn.channel
        return heard_channels(None, self.asked.channels)[0]

    def _speaker(self, turn: Turn) -> str:
        return _speaker(turn.speaker, self._channel(turn))

    def _part(self, source: Any, channel: int | None, turn: Turn | None = None) -> dict[str, Any]:
        part = dict(source) if isinstance(source, Mapping) else {"path": source}
        part |= {} if channel is None else {"channel": channel}
        return part if turn is None else {**part, "start": turn.start, "end": turn.end}


def together(segments: Sequence[Mapping[str, Any]], tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What all turns together say: each label's mean score by time, a number's mean, and the words in order.

    Silent turns say nothing; where all are, the result is marked as that of a silent recording is.

    Args:
        segments: the turns, or parts of them.
        tasks: of the model's config.
    """
    heard = [segment for segment in segments if not segment.get("silent")]
    told = heard or segments
    seconds = [segment["end"] - segment["start"] for segment in told]
    names = [name for name in told[0] if name not in NOT_JOINED]
    result = {name: _joined([segment[name] for segment in told], seconds, tasks.get(name)) for name in names}
    return result if heard else {**result, "abstained": True, "abstained_because": "silent", "silent": True}


def _joined(values: Sequence[Any], seconds: Sequence[float], task: Mapping[str, Any] | None) -> Any:
    """What turns that last so long say of one task; None where they have no number, as of what is silent."""
    if is_ranking(values[0]):
        labels = sorted({entry["label"] for value in values for entry in value})
        scores = [{entry["label"]: entry["score"] for entry in value} for value in values]
        means = [_mean([each.get(label, 0.0) for each in scores], seconds) for label in labels]
        told = ranked(labels, np.array(means))
        return with_present(told, task) if "present" in values[0][0] else told
    if isinstance(values[0], str):
        return " ".join(value for value in values if value)
    known = [(value, lasts) for value, lasts in zip(values, seconds, strict=True) if value is not None]
    return _mean(*zip(*known, strict=True)) if known else None


def _mean(values: Sequence[float], seconds: Sequence[float]) -> float:
    return float(np.average(values, weights=seconds))


def _pieces(
    turn: Mapping[str, Any], shift: float, number: Any, speaker: str, of_channel: dict[str, int]
) -> Iterator[dict[str, Any]]:
    """A turn, or the segments of a long one, with who speaks; their times are moved by `shift` seconds."""
    facts = {"speaker": speaker, **of_channel, "turn": number}
    inner = turn.get("segments")
    if not inner:
        told = {name: value for name, value in turn.items() if name not in ("turn", "final", "segments")}
        yield {**facts, **told}
    for piece in inner or ():
        yield {**facts, **piece, "start": piece["start"] + shift, "end": piece["end"] + shift}


def _speaker(named: str | None, channel: int | None) -> str:
    if named is not None:
        return named
    return NOBODY if channel is None else f"channel {channel}"
