"""`pipeline("speech-emotion-recognition", ...)`: a recording in, its emotion over time with its metadata out."""

from collections.abc import Iterable, Iterator
from os import PathLike
from typing import Any

import numpy as np
import torch
from transformers.pipelines.base import ChunkPipeline

from .audio_ser_meta import AudioError, recording_name, speech_bounds, stream_audio
from .segments_ser_meta import SMOOTHING, merged_segments, own_frames, ranked, regions, weights
from .windows_ser_meta import GATE_DECIBELS, Piece, cut_recording

PADDING = -1  # behind a recording's last character


class SpeechEmotionPipeline(ChunkPipeline):
    """Recognises recordings of any length.

    A recording is a path, the bytes of an audio file, `{"array", "sampling_rate"}`, `{"blocks", "sampling_rate"}` with
    an iterable of arrays, or an array with `sampling_rate=` in the call; any sampling rate, channels are mixed down.
    One of up to 15 s goes to the model in one piece; a longer one is read from disk block by block and cut at its
    pauses, what is still longer than a window into windows; `batch_size` pieces go to the model together.

    Returns, for each recording, a dict: every reported classification task's `[{"label", "score"}, ...]`, best first,
    the target's first; a regression task's value; the greedy transcript as text. Of a recording that was cut also
    `segments`, a list of `{"start", "end", <target>: [{"label", "score"}, ...]}` in seconds: neighbours meet in the
    middle of a pause, and a pause of more than 2 s is in none of them. The scores above them are a mean of the pieces'
    in which a piece weighs as much as its best score times its seconds. The target's scores are calibrated: softmax
    probabilities at the `calibration_temperature` of the model's config. A recording that is silent throughout has no
    segments, and its verdict is marked as `abstained`.
    """

    _load_processor = True
    _load_tokenizer = False
    _load_feature_extractor = False
    _load_image_processor = False

    def save_pretrained(self, save_directory: str | PathLike, **options) -> None:
        """As Transformers', with the processor."""
        super().save_pretrained(save_directory, **options)
        self.processor.save_pretrained(save_directory, **options)

    def _sanitize_parameters(
        self,
        tasks: list[str] | None = None,
        sampling_rate: int | None = None,
        window_seconds: float | None = None,
        hop_seconds: float | None = None,
        gate_decibels: float | None = None,
        labels: list[str] | None = None,
        threshold: float | None = None,
        smoothing: float | None = None,
        return_embeddings: bool | None = None,
    ) -> tuple[dict, dict, dict]:
        """Parameters of a call.

        Args:
            tasks: which tasks to report, instead of the model's own choice; the only way to see the speaker's.
            sampling_rate: of recordings given as bare arrays, in Hz.
            window_seconds: cut every recording, at its pauses and into windows of this length where it has none; by
                default of 4 s, and only recordings of more than 15 s.
            hop_seconds: from the start of one window to the next; by default half a window.
            gate_decibels: what is quieter than this is silence, in decibels of full scale; -70 by default. Above it
                a pause is what is quiet beside the speech around it (ours; it tells sound from silence and steady
                noise, not speech from other sounds).
            labels: only these of the target's labels; their scores sum to 1.
            threshold: adds `abstained` to a result and to each segment: whether its best score of the target is below.
            smoothing: how reluctantly the label changes where there is no pause: the advantage in log score, times
                seconds, that another one must have; 2 by default, 0 for none.
            return_embeddings: adds `embeddings`, a list of floats: what the target's classifier sees, the pieces
                weighted as in the scores.

        Raises:
            ValueError: an unknown task or label, or a value out of its range.
        """
        given = {name: value for name, value in locals().items() if value is not None and name != "self"}
        self._check_parameters(given)
        # only what is given: a call's parameters take the place of the pipeline's own
        reading = ("sampling_rate", "window_seconds", "hop_seconds", "gate_decibels")
        preprocess = {name: given.pop(name) for name in reading if name in given}
        forward = {"return_embeddings": True} if given.pop("return_embeddings", False) else {}
        return preprocess, forward, given

    def _check_parameters(self, given: dict[str, Any]) -> None:
        config = self.model.config
        known = {"tasks": ("the model's tasks", list(config.tasks)), "labels": ("the target's labels", self._labels)}
        for name, (what, choices) in known.items():
            unknown = sorted(set(given.get(name, ())) - set(choices))
            if unknown:
                raise ValueError(f"{name}={unknown} are not among {what} {choices}")
        if len(set(given.get("labels", self._labels))) < 2:
            raise ValueError(f"labels={given['labels']} must name two labels or more of {self._labels}")
        for name in ("window_seconds", "hop_seconds", "threshold"):
            if name in given and not given[name] > 0:
                raise ValueError(f"{name}={given[name]} must be above 0")
        if not given.get("smoothing", 0) >= 0:
            raise ValueError(f"smoothing={given['smoothing']} must be 0 or more")
        if given.get("threshold", 0) > 1:
            raise ValueError(f"threshold={given['threshold']} must be at most 1")

    @property
    def _labels(self) -> list[str]:
        config = self.model.config
        return config.tasks[config.target_task]["labels"]

    def preprocess(
        self,
        recording: Any,
        sampling_rate: int | None = None,
        window_seconds: float | None = None,
        hop_seconds: float | None = None,
        gate_decibels: float = GATE_DECIBELS,
    ) -> Iterator[dict[str, Any]]:
        """Reads one recording, piece by piece: samples `(samples,)` at the encoder's rate, and where they lie."""
        if isinstance(recording, np.ndarray):
            if sampling_rate is None:
                raise AudioError("an array has no sampling rate: pass sampling_rate=, in Hz")
            recording = {"array": recording, "sampling_rate": sampling_rate}
        rate = self.processor.sampling_rate
        pieces = cut_recording(stream_audio(recording, rate), rate, window_seconds, hop_seconds, gate_decibels)
        pieces = self._long_enough(pieces, recording_name(recording))
        held = next(pieces)
        for piece in pieces:
            yield {**self._place(held), "is_last": False}
            held = piece
        yield {**self._place(held), "is_last": True}

    def _long_enough(self, pieces: Iterable[Piece], name: str) -> Iterator[Piece]:
        shortest = max(1, self.model.encoder.shortest_input)
        for piece in pieces:
            if len(piece.samples) < shortest:
                raise AudioError(
                    f"{name}: a piece of {len(piece.samples)} samples is shorter than the {shortest} that the encoder "
                    "needs: leave it out, or ask for longer windows"
                )
            yield piece

    def _place(self, piece: Piece) -> dict[str, Any]:
        """A piece as one entry of a batch, its times in seconds; `heard` is what the processor does not trim."""
        rate, trim = self.processor.sampling_rate, self.processor.trim_decibels
        bounds = (0, len(piece.samples)) if trim is None else speech_bounds(piece.samples, rate, trim)
        return {
            "samples": piece.samples,
            "span": (piece.start / rate, (piece.start + len(piece.samples)) / rate),
            "heard": tuple((piece.start + bound) / rate for bound in bounds),
            "windowed": piece.windowed,
            "stretch": piece.stretch,
            "silent": piece.silent,
        }

    def _forward(self, inputs: dict[str, Any], return_embeddings: bool = False) -> dict[str, Any]:
        # a batch of one comes as it is, several come as lists
        samples = inputs.pop("samples")
        samples = samples if isinstance(samples, list) else [samples]
        windowed = np.all(inputs["windowed"])
        features = self.processor(samples, sampling_rate=self.processor.sampling_rate, half_seconds=bool(windowed)).to(
            self.device
        )
        output = self.model(**features)
        results = {"is_last": inputs.pop("is_last"), **inputs}
        for name, logits in output.task_logits.items():
            if self.model.config.tasks[name]["kind"] == "ctc":
                results[name] = logits.argmax(dim=-1).masked_fill(~output.frame_mask, PADDING)
            else:
                results[name] = logits.float()
        return {**results, "embeddings": output.embeddings.float()} if return_embeddings else results

    def postprocess(
        self,
        pieces: list[dict],
        tasks: list[str] | None = None,
        labels: list[str] | None = None,
        threshold: float | None = None,
        smoothing: float = SMOOTHING,
    ) -> dict[str, Any]:
        """One recording's scores, transcript and segments from its pieces'."""
        config = self.model.config
        target = config.target_task
        shown = [name for name in (target, *config.auxiliary_tasks) if name in (tasks or config.reported_tasks)]
        labels = [label for label in self._labels if label in (labels or self._labels)]
        scores = self._target_scores(pieces, labels)
        spans = regions([piece["span"] for piece in pieces])
        overall = ranked(labels, weights(scores, spans) @ scores)
        silent = pieces[0]["silent"]
        result = {name: overall if name == target else self._task_result(name, pieces, spans) for name in shown}
        if threshold is not None or silent:
            result["abstained"] = silent or overall[0]["score"] < threshold
        if pieces[0]["windowed"] and target in shown:
            stretches = [piece["stretch"] for piece in pieces]
            found = [] if silent else merged_segments(scores, spans, stretches, smoothing)
            result["segments"] = [self._segment(*segment, labels, threshold) for segment in found]
        if "embeddings" in pieces[0]:
            embeddings = np.concatenate([piece["embeddings"].numpy() for piece in pieces])
            result["embeddings"] = (weights(scores, spans) @ embeddings).tolist()
        return result

    def _target_scores(self, pieces: list[dict], labels: list[str]) -> np.ndarray:
        """Calibrated scores `(pieces, labels)`."""
        config = self.model.config
        logits = torch.cat([piece[config.target_task] for piece in pieces]) / config.calibration_temperature
        return logits[:, [self._labels.index(label) for label in labels]].double().softmax(dim=-1).numpy()

    def _task_result(self, name: str, pieces: list[dict], spans: list[tuple[float, float]]) -> Any:
        task = self.model.config.tasks[name]
        if task["kind"] == "ctc":
            return self._transcript([piece[name][0].numpy() for piece in pieces], pieces, spans)
        values = torch.cat([piece[name] for piece in pieces]).double()
        if task["kind"] == "regression":
            return float(np.average(values.numpy(), weights=[end - start for start, end in spans]))
        scores = values.softmax(dim=-1).numpy()
        return ranked(task["labels"], weights(scores, spans) @ scores)

    def _transcript(self, rows: list[np.ndarray], pieces: list[dict], spans: list[tuple[float, float]]) -> str:
        """The text of each stretch between two pauses; no word goes across a pause."""
        stretches: dict[int, list[np.ndarray]] = {}
        for row, piece, span in zip(rows, pieces, spans, strict=True):
            own = own_frames(row[row != PADDING], piece["heard"], span)
            stretches.setdefault(piece["stretch"], []).append(own)
        texts = self.processor.decode_transcripts([np.concatenate(own).tolist() for own in stretches.values()])
        return " ".join(text for text in texts if text)

    def _segment(
        self, start: float, end: float, scores: np.ndarray, labels: list[str], threshold: float | None
    ) -> dict[str, Any]:
        segment = {"start": round(start, 3), "end": round(end, 3)}
        segment[self.model.config.target_task] = ranked(labels, scores)
        return segment if threshold is None else {**segment, "abstained": bool(scores.max() < threshold)}
