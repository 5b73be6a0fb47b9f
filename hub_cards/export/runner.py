"""Recognises the emotion of recordings with an exported ser-meta model; needs neither torch nor transformers.

    pip install -r requirements.txt
    python runner.py recording.wav
    python runner.py calls/

or in Python, with this folder on the path: `from runner import Recognizer; Recognizer()("recording.wav")`.
"""

import argparse
import codecs
import json
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from audio_ser_meta import (
    AudioError,
    cannot_be_read,
    is_text,
    recording_name,
    recordings_in,
    require_length,
    speech_bounds,
    stream_audio,
)
from segments_ser_meta import ResultMaker, check_options
from windows_ser_meta import GATE_DECIBELS, Piece, cut_recording, place

PROCESSOR = Path("/proc/cpuinfo")
NO_VNNI = "this processor has no VNNI, without which 8 bits may be slower: model.onnx is used, in 32 bits"
HERE = Path(__file__).resolve().parent


class Recognizer:
    """An exported model, loaded at its first use; gives what the model's own pipeline gives.

    Args:
        folder: where the model lies.
        threads: of the computation; by default one a core.
    """

    def __init__(self, folder: str | Path = HERE, threads: int | None = None):
        self.folder, self.threads = Path(folder), threads
        self.facts = json.loads((self.folder / "preprocessing.json").read_text(encoding="utf-8"))
        tables = self.folder / "features.npz"
        self.tables = dict(np.load(tables)) if tables.is_file() else {}

    @cached_property
    def session(self) -> onnxruntime.InferenceSession:
        """The graph."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads or 0
        # where the processor's sums of 8-bit products could overflow, slower ones that cannot
        options.add_session_config_entry("session.x64quantprecision", "0" if sums_bytes_exactly() else "1")
        return onnxruntime.InferenceSession(self.graph, options, providers=["CPUExecutionProvider"])

    @property
    def graph(self) -> Path:
        """The file of the graph: of two, the one in 8 bits where the processor gains by it; else a line says so."""
        whole, quantized = self.folder / "model.onnx", self.folder / "model_quantized.onnx"
        if not quantized.is_file() or (whole.is_file() and not sums_bytes_exactly()):
            if quantized.is_file():
                print(f"runner.py: {NO_VNNI}", file=sys.stderr)
            return whole
        return quantized

    def __getstate__(self) -> dict[str, Any]:
        """What goes to another process, which loads the graph for itself."""
        return {name: value for name, value in vars(self).items() if name not in ("session", "_of_one_thread")}

    @cached_property
    def _of_one_thread(self) -> "Recognizer":
        return self if self.threads == 1 else Recognizer(self.folder, threads=1)

    def __call__(
        self,
        recording: Any,
        window_seconds: float | None = None,
        hop_seconds: float | None = None,
        gate_decibels: float | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Recognises one recording of any length.

        Args:
            recording: a path, the bytes of an audio file, or `{"array", "sampling_rate"}`; a dict may ask for a part
                by `start` and `end` in seconds, and for a `channel`: `left`, `right`, or a number from 0.
            window_seconds: cut it, at its pauses and into windows of this length where it has none; by default of
                4 s, and only if it is longer than 15 s.
            hop_seconds: from the start of one window to the next; by default half a window.
            gate_decibels: what is quieter than this is silence, in decibels of full scale; -70 by default.
            options: `tasks` to report, `labels` to choose among, a `threshold` of score, or a `least_familiar`, below
                which a result is `abstained` from, `smoothing` (how reluctantly the label changes where there is no
                pause), `top_k` labels, `function_to_apply`: as `ResultMaker` has them in segments_ser_meta.py.

        Returns:
            every reported classification task's `[{"label", "score"}, ...]`, best first; a regression's number; the
            transcript; of a recording that was cut also `segments`, their times in seconds; of one that is silent
            throughout also `abstained` and `silent`.

        Raises:
            AudioError: not a recording, or one that is too short.
            ValueError: an option that has no such value.
        """
        check_options(self.facts, {"window_seconds": window_seconds, "hop_seconds": hop_seconds, **options})
        rate, name = self.facts["sampling_rate"], recording_name(recording)
        gate_decibels = GATE_DECIBELS if gate_decibels is None else gate_decibels
        pieces = cut_recording(stream_audio(recording, rate), rate, window_seconds, hop_seconds, gate_decibels)
        return ResultMaker(self.facts, self._text, **options).result([self._hear(piece, name) for piece in pieces])

    def many(self, recordings: Iterable[Any], **settings: Any) -> Iterator[dict[str, Any] | AudioError]:
        """Recognises many recordings, as many at a time as there are threads; one after the other is slower.

        Args:
            recordings: as one is given; they are asked for a few ahead.
            settings: as for one.

        Returns:
            the results, in the recordings' order; of a recording that cannot be used, the error.
        """
        alone, threads = self._of_one_thread, self.threads or os.cpu_count() or 1
        alone.session.get_inputs()  # loaded before the threads share it
        with ThreadPoolExecutor(threads) as pool:
            waiting: deque[Future] = deque()
            for recording in recordings:
                waiting.append(pool.submit(alone._recognised, recording, settings))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _recognised(self, recording: Any, settings: dict[str, Any]) -> dict[str, Any] | AudioError:
        try:
            return self(recording, **settings)
        except AudioError as error:
            return error

    def logits(self, recordings: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """The model's outputs for a batch of recordings, each `(samples,)` float32 at the model's sampling rate.

        Returns:
            `frame_mask` `(batch, frames)`, and by task `(batch, labels)`, for CTC `(batch, frames, characters)`, for a
            regression its numbers `(batch,)`; and `familiar` `(batch,)`, where the model tells it.
        """
        features = [self._features(self._trimmed(np.asarray(samples, np.float32))) for samples in recordings]
        time = 1 if self.facts["features"]["kind"] == "log_mel" else 0
        lengths = np.array([feature.shape[time] for feature in features])
        shape = list(features[0].shape)
        shape[time] = lengths.max()
        batch = np.zeros((len(features), *shape), np.float32)
        for row, feature in zip(batch, features, strict=True):
            row[tuple(map(slice, feature.shape))] = feature
        mask = (np.arange(shape[time]) < lengths[:, None]).astype(np.int64)
        outputs = self.session.run(None, {self.facts["input"]: batch, "attention_mask": mask})
        names = [output.name.removesuffix("_logits") for output in self.session.get_outputs()]
        return dict(zip(names, outputs, strict=True))

    def _hear(self, piece: Piece, name: str) -> dict[str, Any]:
        """The outputs for one piece of a recording, and where it lies, in seconds."""
        require_length(piece.samples, self.facts["shortest_input"], name)
        outputs = {task: batch[0] for task, batch in self.logits([piece.samples]).items()}
        frames = outputs.pop("frame_mask")
        for task, facts in self.facts["tasks"].items():
            if facts["kind"] == "ctc":
                outputs[task] = outputs[task][frames].argmax(axis=-1)
        return {**outputs, **place(piece, self.facts["sampling_rate"], self._speech_bounds(piece.samples))}

    def _text(self, ids: Sequence[int]) -> str:
        """CTC's greedy reading of character ids: repeats collapse, blanks and unknown characters vanish.

        The processor's tokenizer does it for the pipeline, which is not here; the tests hold both equal.
        """
        silent = [self.facts["characters"][name] for name in ("blank", "unknown")]
        ids = np.where(np.isin(ids, silent), silent[0], ids)
        kept = ids[np.flatnonzero(np.diff(ids, prepend=-1))]
        text = "".join(self.facts["characters"]["vocabulary"][i] for i in kept if i != silent[0])
        return text.replace(self.facts["characters"]["word_boundary"], " ").strip()

    def _trimmed(self, samples: np.ndarray) -> np.ndarray:
        return samples[slice(*self._speech_bounds(samples))]

    def _speech_bounds(self, samples: np.ndarray) -> tuple[int, int]:
        return speech_bounds(samples, self.facts["sampling_rate"], self.facts["trim_decibels"])

    def _features(self, samples: np.ndarray) -> np.ndarray:
        """What the encoder takes of one recording, as its feature extractor computes it."""
        facts = self.facts["features"]
        if facts["kind"] == "log_mel":
            return log_mel(samples, self.tables["mel_filters"], facts["n_fft"], facts["hop_length"])
        if facts["kind"] == "kaldi_log_mel":
            return kaldi_log_mel(samples, self.tables["mel_filters"], self.tables["window"], facts)
        return (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7) if facts["normalize"] else samples


def log_mel(samples: np.ndarray, mel_filters: np.ndarray, n_fft: int, hop_length: int) -> np.ndarray:
    """Whisper's features `(mels, frames)`: base-10 logarithms of mel energies, no more than 8 below the loudest."""
    frames = -(-len(samples) // hop_length)
    centred = np.pad(np.pad(samples.astype(np.float64), (0, n_fft)), n_fft // 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(centred, n_fft)[::hop_length][:-1]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    energies = mel_energies(np.abs(np.fft.rfft(windows * hann)) ** 2, mel_filters)
    logarithms = np.log10(np.maximum(energies, 1e-10))
    return (np.maximum(logarithms, logarithms.max() - 8)[:frames].T + 4) / 4


def kaldi_log_mel(samples: np.ndarray, mel_filters: np.ndarray, window: np.ndarray, facts: dict) -> np.ndarray:
    """wav2vec2-bert's features `(frames, mels x stride)`: 25 ms every 10 ms, each mel to zero mean, unit variance.

    A last frame that is filled up is kept, as Transformers' extractor keeps it.
    """
    samples = np.pad(samples.astype(np.float64), (0, max(0, 560 - len(samples)))) * 2**15
    frames = np.lib.stride_tricks.sliding_window_view(samples, len(window))[::160]
    frames = frames - frames.mean(axis=1, keepdims=True)
    emphasised = frames - 0.97 * np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    spectrum = np.fft.rfft(emphasised * window, 2 * (len(mel_filters) - 1))
    energies = mel_energies(np.abs(spectrum) ** 2, mel_filters)
    features = np.log(np.maximum(energies, np.finfo(np.float32).eps))
    features = (features - features.mean(axis=0)) / np.sqrt(features.var(axis=0, ddof=1) + 1e-7)
    multiple = np.full((-len(features) % facts["pad_to_multiple_of"], features.shape[1]), facts["padding_value"])
    features, stride = np.concatenate([features, multiple]), facts["stride"]
    return features[: len(features) // stride * stride].reshape(len(features) // stride, -1)


def mel_energies(power: np.ndarray, mel_filters: np.ndarray) -> np.ndarray:
    """The product `(frames, mels)` of `(frames, bins)` and `(bins, mels)`, of which each mel has a few bins alone.

    It goes without numpy's BLAS, whose waiting threads keep the cores busy on which other recordings are heard.
    """
    mels, bins = np.nonzero(mel_filters.T)
    heard, starts = np.unique(mels, return_index=True)
    energies = np.zeros((len(power), mel_filters.shape[1]))
    energies[:, heard] = np.add.reduceat(power[:, bins] * mel_filters[bins, mels], starts, axis=1)
    return energies


def sums_bytes_exactly() -> bool:
    """Whether the processor says that it sums products of bytes in 32 bits (VNNI), as servers since 2019 do."""
    return PROCESSOR.is_file() and "vnni" in PROCESSOR.read_text(encoding="utf-8", errors="replace")


def expanded(given: Sequence[str]) -> list[str]:
    """Files as they are, and the sound files in folders; told on stderr what of those cannot be read.

    Names that are not UTF-8 are told and left out, since JSON is.
    """
    found: list[str] = []
    for name in given:
        readable, others = recordings_in(Path(name)) if os.path.isdir(name) else ([Path(name)], [])
        found += map(str, readable)
        if others:
            print(f"runner.py: passed over: {cannot_be_read(others)}", file=sys.stderr)
    for name in found:
        if not is_text(name):
            print(f"runner.py: passed over: {name!a} is a name that is not UTF-8: rename it", file=sys.stderr)
    return list(filter(is_text, found))


def main() -> int:
    """Prints one JSON object a recording; the exit code is 2 when one cannot be used."""
    parser = argparse.ArgumentParser(description="Recognise the emotion of recordings.")
    parser.add_argument("recordings", nargs="+", metavar="RECORDING", help="sound files, or folders of them")
    parser.add_argument("--window-seconds", type=float, help="cut every recording into windows of this length")
    parser.add_argument("--threshold", type=float, help="mark results of a lower score as abstained")
    parser.add_argument("--least-familiar", type=float, help="and those that are less familiar; 0 only tells how much")
    parser.add_argument("--channel", default="mix", help="mix (default), left, right, or a number from 0")
    arguments = parser.parse_args()
    names = ("window_seconds", "threshold", "least_familiar")
    settings = {name: getattr(arguments, name) for name in names}
    recognise = Recognizer()
    try:
        paths = expanded(arguments.recordings)
        check_options(recognise.facts, settings)
    except ValueError as error:
        print(f"runner.py: {error}", file=sys.stderr)
        return 2
    failed, is_utf8 = not paths, codecs.lookup(sys.stdout.encoding).name == "utf-8"
    recordings = [{"path": path, "channel": arguments.channel} for path in paths]
    for path, result in zip(paths, recognise.many(recordings, **settings), strict=True):
        if isinstance(result, AudioError):
            failed = True
            print(f"runner.py: {result}", file=sys.stderr)
        else:
            print(json.dumps({"file": path, **result}, ensure_ascii=not is_utf8))
    return 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
