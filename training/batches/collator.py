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


class SpeechCollator:
    """Reads, perturbs, extracts features, pads, and looks up labels.

    Args:
        processor: the model's.
        tasks: of the model's config.
        speed: for the training side only.
        shares: by task that is learned from them, each utterance's shares of the labels `(labels,)`, NaN where nobody
            rated it; the others are learned from one label a row.
    """

    def __init__(
        self,
        processor: SerMetaProcessor,
        tasks: Mapping[str, Mapping],
        speed: SpeedPerturbation | None = None,
        shares: Mapping[str, Mapping[str, np.ndarray]] = MappingProxyType({}),
    ):
        self.processor = processor
        self.tasks = tasks
        self.speed = speed
        self.shares = shares
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
        """The same, for utterances as they were recorded."""
        return SpeechCollator(self.processor, self.tasks, shares=self.shares)

    def _heard(self, rows: list[dict[str, Any]]) -> list[np.ndarray]:
        heard = [read_audio(recording(row), self.processor.sampling_rate) for row in rows]
        if self.speed is None:
            return heard
        return [self.speed(samples, row["utterance_id"]) for samples, row in zip(heard, rows, strict=True)]

    def _shares(self, name: str, rows: list[dict[str, Any]]) -> torch.Tensor:
        shares = np.stack([self.shares[name][row["utterance_id"]] for row in rows]).astype(np.float32)
        return torch.from_numpy(np.nan_to_num(shares, nan=MISSING))

    def _labels(self, name: str, rows: list[dict[str, Any]]) -> torch.Tensor:
        values = [row.get(name) for row in rows]
        if self.tasks[name]["kind"] == "ctc":
            return self.processor.encode_transcripts(values)
        if self.tasks[name]["kind"] == "regression":
            return torch.tensor([nan if value is None else float(value) for value in values])
        ids = self.label_ids[name]
        return torch.tensor([ids.get(value, MISSING) for value in values])
