"""From rows of a corpus to the model's batches."""

import sys
from collections.abc import Iterable, Mapping
from math import nan
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from tqdm import tqdm

from ...modeling_ser_meta.audio_ser_meta import read_audio, trim_silence
from ...modeling_ser_meta.losses_ser_meta import MISSING
from ...modeling_ser_meta.processing_ser_meta import SerMetaProcessor
from ..corpora.recordings import recording, recordings
from ..planning.durations import duration, recording_durations
from .augmentation import SpeedPerturbation
from .degradations import Degradation


class SpeechCollator:
    """Reads, perturbs, extracts features, pads, and looks up labels.

    Args:
        processor: the model's.
        tasks: of the model's config.
        speed: for the training side only; it may make recordings worse too.
        shares: by task that is learned from them, each utterance's shares of the labels `(labels,)`, NaN where nobody
            rated it; the others are learned from one label a row.
        condition: in which all recordings are heard that have no `speed`; None for as they are.
    """

    def __init__(
        self,
        processor: SerMetaProcessor,
        tasks: Mapping[str, Mapping],
        speed: SpeedPerturbation | None = None,
        shares: Mapping[str, Mapping[str, np.ndarray]] = MappingProxyType({}),
        condition: Degradation | None = None,
    ):
        self.processor = processor
        self.tasks = tasks
        self.speed = speed
        self.shares = shares
        self.condition = condition
        self.label_ids = {
            name: {label: index for index, label in enumerate(task["labels"])}
            for name, task in tasks.items()
            if task["kind"] == "classification"
        }

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """A batch as the design has it: the model's inputs, and `labels`, a dict by task.

        What is missing is -100 among class ids, shares and characters, NaN among a regression's numbers.
        """
        return {**self.inputs(rows), "labels": self.labels(rows)}

    def labels(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """By task, the labels of these rows."""
        return {name: (self._shares if name in self.shares else self._labels)(name, rows) for name in self.tasks}

    def inputs(self, rows: list[dict[str, Any]]) -> Mapping[str, torch.Tensor]:
        """The model's inputs for these rows."""
        return self.processor(self._heard(rows), sampling_rate=self.processor.sampling_rate)

    def state_means(self, row: dict[str, Any]) -> torch.Tensor | None:
        """What this row's states are centred by, `(layers, width)`; None for what the model holds."""
        return None

    def seconds(self, rows: list[dict[str, Any]]) -> list[float]:
        """How long these rows' recordings last as they are played, with their silent ends."""
        played = [duration(recording(row)) for row in rows]
        if self.speed is None:
            return played
        return [length / self.speed.factor(row["utterance_id"]) for length, row in zip(played, rows, strict=True)]

    def lengths(self, dataset: Dataset) -> list[float]:
        """Seconds that the model hears of each recording: without the silent ends, if the processor cuts them off."""
        if self.processor.trim_decibels is None:
            return recording_durations(dataset)
        return self.seconds_heard(
            tqdm(recordings(dataset), "listening for silent ends", len(dataset), disable=not sys.stderr.isatty())
        )

    def seconds_heard(self, heard: Iterable[dict[str, Any]]) -> list[float]:
        """The same, by listening to them."""
        decibels, rate = self.processor.trim_decibels, self.processor.sampling_rate
        return [len(trim_silence(read_audio(audio, rate), rate, decibels)) / rate for audio in heard]

    def without_speed(self) -> "SpeechCollator":
        """The same, for utterances as they were recorded, or in the collator's condition."""
        return SpeechCollator(self.processor, self.tasks, None, self.shares, self.condition)

    def heard_in(self, condition: Degradation) -> "SpeechCollator":
        """The same, for utterances in a condition."""
        return SpeechCollator(self.processor, self.tasks, None, self.shares, condition)

    def degradation(self, utterance_id: str) -> Degradation | None:
        """What makes this utterance worse; None where nothing does."""
        return self.condition if self.speed is None else self.speed.degradation(utterance_id)

    def recording(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row's recording at its own speed as the pipeline takes it, made worse where the collator does that."""
        if self.condition is None:
            return recording(row)
        rate = self.processor.sampling_rate
        samples = self.condition(read_audio(recording(row), rate), rate, row["utterance_id"])
        return {"array": samples, "sampling_rate": rate}

    def _heard(self, rows: list[dict[str, Any]]) -> list[np.ndarray]:
        names = [row["utterance_id"] for row in rows]
        heard = self._played(rows, names)
        return [
            samples if worse is None else worse(samples, self.processor.sampling_rate, name)
            for name, samples, worse in zip(names, heard, map(self.degradation, names), strict=True)
        ]

    def _played(self, rows: list[dict[str, Any]], names: list[str]) -> list[np.ndarray]:
        """The recordings at the encoder's rate, and at their speed."""
        heard = [read_audio(recording(row), self.processor.sampling_rate) for row in rows]
        if self.speed is None:
            return heard
        return [self.speed(samples, name) for name, samples in zip(names, heard, strict=True)]

    def _shares(self, name: str, rows: list[dict[str, Any]]) -> torch.Tensor:
        shares = np.stack([self.shares[name][row["utterance_id"]] for row in rows]).astype(np.float32)
        return torch.from_numpy(np.nan_to_num(shares, nan=MISSING))

    def _labels(self, name: str, rows: list[dict[str, Any]]) -> torch.Tensor:
        values = [row.get(name) for row in rows]
        if self.tasks[name]["kind"] == "ctc":
            return self.processor.encode_transcripts(values)
        if self.tasks[name]["kind"] == "regression":
            return torch.tensor([nan if value is None else float(value) for value in values])
        if self.tasks[name]["kind"] == "multilabel":  # as long as `shares` does not tell them
            return torch.full((len(rows), len(self.tasks[name]["labels"])), float(MISSING))
        ids = self.label_ids[name]
        return torch.tensor([ids.get(value, MISSING) for value in values])
