"""`pipeline("speech-emotion-recognition", ...)`: a recording in, its emotion over time with its metadata out."""

from collections.abc import Iterator, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers.pipelines.base import ChunkPipeline

from .audio_ser_meta import AudioError, recording_name, require_length, speech_bounds, stream_audio
from .backends_ser_meta import network_of
from .segments_ser_meta import ResultMaker, check_options
from .stream_ser_meta import SpeechEmotionStream
from .windows_ser_meta import GATE_DECIBELS, Piece, cut_recording, place

if TYPE_CHECKING:  # never run: Transformers 4 brings, with a pipeline, the files that this one names
    from .adapters_ser_meta import adapt  # noqa: F401
    from .configuration_ser_meta import SerMetaConfig  # noqa: F401
    from .encoder_ser_meta import build_encoder  # noqa: F401
    from .familiarity_ser_meta import Familiarity  # noqa: F401
    from .families_ser_meta import MoonshineFrames  # noqa: F401
    from .features_ser_meta import features_of  # noqa: F401
    from .frames_ser_meta import EncoderOutput  # noqa: F401
    from .general_ser_meta import GeneralFrames  # noqa: F401
    from .graph_ser_meta import write_graph  # noqa: F401
    from .loading_ser_meta import load_backbone  # noqa: F401
    from .losses_ser_meta import classification_loss  # noqa: F401
    from .modeling_ser_meta import SerMetaModel  # noqa: F401
    from .modules_ser_meta import TaskHead  # noqa: F401
    from .padding_ser_meta import mask_of  # noqa: F401
    from .processing_ser_meta import SerMetaProcessor  # noqa: F401
    from .settings_ser_meta import choice_faults  # noqa: F401
    from .sound_files_ser_meta import open_sound  # noqa: F401
    from .turns_ser_meta import turn_cutter  # noqa: F401

PADDING = -1  # behind a recording's last character


class SpeechEmotionPipeline(ChunkPipeline):
    """Recognises recordings of any length.

    A recording is a path, the bytes of an audio file, `{"array", "sampling_rate"}` or `{"raw", "sampling_rate"}`,
    `{"blocks", "sampling_rate"}` with an iterable of arrays, what `datasets` or torchcodec decode, or an array or
    tensor with `sampling_rate=` in the call; at any sampling rate. A dict may ask for a part by `start` and `end` in
    seconds, and for one `channel`; otherwise all are mixed.
    One of up to 15 s goes to the model in one piece; a longer one is read from disk block by block and cut at its
    pauses, what is still longer than a window into windows; `batch_size` pieces go to the model together.

    Returns, for each recording, a dict: every reported classification task's `[{"label", "score"}, ...]`, best first,
    the target's first, of a multilabel task each with `"present"`, whether its score reaches the label's threshold; a
    regression task's value; the greedy transcript as text. Of a recording that was cut also
    `segments`, a list of `{"start", "end"}` in seconds with the same of each: one ends where the target's label
    changes, neighbours meet in the middle of a pause, and a pause of more than 2 s is in none of them. The scores
    above them are a mean of the pieces' in which a piece weighs as much as its best score times its seconds. The
    target's scores are calibrated: softmax probabilities at the `calibration_temperature` of the model's config. A
    recording that is silent throughout, or has a click of sound only, has no segments, and is marked as `abstained`
    and `silent`: its scores mean nothing.

    Args:
        backend: what runs the network: `torch`, `onnx`, or `auto` for the faster one on this processor, measured once.
            For `onnx` it is written into a cache at the first time, and checked; all else is the same, and so are the
            results, within 1e-4. It needs onnx, onnxscript and onnxruntime.

    Raises:
        ValueError: a backend that cannot run this model, or is not installed.
    """

    _load_processor = True
    _load_tokenizer = False
    _load_feature_extractor = False
    _load_image_processor = False

    def __init__(self, *arguments: Any, backend: str = "torch", **options: Any):
        super().__init__(*arguments, **options)
        self.network = network_of(self.model, self.processor, backend, self.device)

    def save_pretrained(self, save_directory: str | PathLike, **options) -> None:
        """As Transformers', with the processor."""
        super().save_pretrained(save_directory, **options)
        self.processor.save_pretrained(save_directory, **options)

    def stream(self, sampling_rate: float, **options: Any) -> SpeechEmotionStream:
        """What answers while people still speak; see [`SpeechEmotionStream`] for the options."""
        return SpeechEmotionStream(self, sampling_rate, **options)

    def _sanitize_parameters(
        self,
        tasks: list[str] | None = ...,
        sampling_rate: int | None = ...,
        window_seconds: float | None = ...,
        hop_seconds: float | None = ...,
        gate_decibels: float | None = ...,
        labels: list[str] | None = ...,
        priors: Mapping[str, float] | str | None = ...,
        threshold: float | None = ...,
        least_familiar: float | None = ...,
        smoothing: float | None = ...,
        top_k: int | None = ...,
        function_to_apply: str | None = ...,
        return_embeddings: bool = ...,
    ) -> tuple[dict, dict, dict]:
        """Parameters of a call; what it gives takes the place of the pipeline's own, None being the default again.

        Args:
            tasks: which tasks to report, instead of the model's own choice; the only way to see the speaker's.
                Segments are of the first of them that has labels, the target if it is there.
            sampling_rate: of recordings given as bare arrays, in Hz.
            window_seconds: cut every recording, at its pauses and into windows of this length where it has none; by
                default of 4 s, and only recordings of more than 15 s.
            hop_seconds: from the start of one window to the next; by default half a window.
            gate_decibels: what is quieter than this is silence, in decibels of full scale; -70 by default. Above it
                a pause is what is quiet beside the speech around it (ours; it tells sound from silence and steady
                noise, not speech from other sounds).
            labels: only these of the target's labels; their scores sum to 1.
            priors: how often each of the target's labels occurs in your recordings, or `uniform`, where that differs
                from what the model has learned from: scores are weighed by the ratio, and sum to 1 again (Saerens et
                al., Neural Computation 14, 2002).
            threshold: adds `abstained` to a result and to each segment: whether its best score is below, of the task
                that segments are of. `abstained_because` then says `uncertain`; of what is silent, `silent`.
            least_familiar: the same for results that are less familiar, and then `unfamiliar`; and adds `familiar` to
                a result and to each segment: from 0, unlike all that the model has learned from, to 1, see
                [`Familiarity`]. With 0 this is told, and nothing is abstained from.
            smoothing: how reluctantly the label changes where there is no pause: the advantage in log score, times
                seconds, that another one must have; 2 by default, 0 for none.
            top_k: how many labels of each task are told, best first; all by default.
            function_to_apply: what makes scores of logits: `softmax` by default (of a multilabel task `sigmoid`),
                `sigmoid`, or `none` for the logits divided by the model's temperature.
            return_embeddings: adds `embeddings`, a list of floats: what the target's classifier sees, the pieces
                weighted as in the scores.

        Raises:
            ValueError: an unknown task or label, or a value out of its range.
        """
        given = {name: value for name, value in locals().items() if value is not ... and name != "self"}
        check_options(self._facts, given)
        reading = ("sampling_rate", "window_seconds", "hop_seconds", "gate_decibels")
        preprocess = {name: given.pop(name) for name in reading if name in given}
        forward = {name: given.pop(name) for name in ("return_embeddings",) if name in given}
        return preprocess, forward, given

    @property
    def _facts(self) -> dict[str, Any]:
        names = ("tasks", "target_task", "calibration_temperature", "label_shares", "familiarity")
        return {name: getattr(self.model.config, name) for name in names}

    def preprocess(
        self,
        recording: Any,
        sampling_rate: int | None = None,
        window_seconds: float | None = None,
        hop_seconds: float | None = None,
        gate_decibels: float | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Reads one recording, piece by piece: samples `(samples,)` at the encoder's rate, and where they lie."""
        if isinstance(recording, (np.ndarray, torch.Tensor)):
            if sampling_rate is None:
                raise AudioError("an array has no sampling rate: pass sampling_rate=, in Hz")
            recording = {"array": recording, "sampling_rate": sampling_rate}
        rate = self.processor.sampling_rate
        gate_decibels = GATE_DECIBELS if gate_decibels is None else gate_decibels
        pieces = cut_recording(stream_audio(recording, rate), rate, window_seconds, hop_seconds, gate_decibels)
        name = recording_name(recording)
        held = self._entry(next(pieces), name)
        for piece in pieces:
            entry = self._entry(piece, name)
            yield {**held, "is_last": False}
            held = entry
        yield {**held, "is_last": True}

    def _entry(self, piece: Piece, name: str) -> dict[str, Any]:
        """A piece as one entry of a batch; `heard` is what the processor does not trim."""
        require_length(piece.samples, max(1, self.model.encoder.shortest_input), name)
        rate = self.processor.sampling_rate
        heard = speech_bounds(piece.samples, rate, self.processor.trim_decibels)
        return {"samples": piece.samples, **place(piece, rate, heard)}

    def _forward(self, inputs: dict[str, Any], return_embeddings: bool = False) -> dict[str, Any]:
        # a batch of one comes as it is, several come as lists
        samples = inputs.pop("samples")
        samples = samples if isinstance(samples, list) else [samples]
        windowed = np.all(inputs["windowed"])
        features = self.processor(samples, sampling_rate=self.processor.sampling_rate, half_seconds=bool(windowed)).to(
            self.device
        )
        output = (self.network or self.model)(**features)
        results = {"is_last": inputs.pop("is_last"), **inputs}
        for name, logits in output.task_logits.items():
            if self.model.config.tasks[name]["kind"] == "ctc":
                results[name] = logits.argmax(dim=-1).masked_fill(~output.frame_mask, PADDING)
            else:
                results[name] = logits.float()
        if output.familiar is not None:
            results["familiar"] = output.familiar
        return {**results, "embeddings": output.embeddings.float()} if return_embeddings else results

    def postprocess(self, pieces: list[dict], **options: Any) -> dict[str, Any]:
        """One recording's scores, transcript and segments from its pieces'; `options` as `ResultMaker` has them."""
        maker = ResultMaker(self._facts, lambda ids: self.processor.decode_transcripts([ids])[0], **options)
        return maker.result([self._said(piece) for piece in pieces])

    def _said(self, piece: dict) -> dict[str, Any]:
        """A piece with what the model says of it as arrays."""
        said = {name: value[0].numpy() if isinstance(value, torch.Tensor) else value for name, value in piece.items()}
        characters = {name: said[name] for name, task in self.model.config.tasks.items() if task["kind"] == "ctc"}
        return said | {name: ids[ids != PADDING] for name, ids in characters.items()}
