"""The yardstick beside a small model's result: what a handful of acoustic statistics and a linear model can do."""

import numpy as np
from datasets import Dataset
from scipy.fft import irfft, rfft, rfftfreq
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from ...modeling_ser_meta.audio_ser_meta import read_audio
from ..corpora.recordings import recordings
from .metrics import evaluate_predictions

SAMPLING_RATE = 16_000  # Hz
STATISTICS = (
    "log energy, mean",
    "log energy, standard deviation",
    "zero-crossing rate, mean",
    "spectral centroid, mean",
    "spectral centroid, standard deviation",
    "pitch, median",
    "pitch, range",
)
WINDOW = 0.04  # seconds: two periods of the lowest pitch
HOP = 0.02  # seconds
PITCH = (60.0, 500.0)  # Hz
VOICED = 0.5  # normalised autocorrelation from which a frame counts as voiced
FIRST_PEAK = 0.9  # of the highest peak: the shortest period that comes so close wins, against octave errors


def acoustic_statistics(waveform: np.ndarray, sampling_rate: int) -> np.ndarray:
    """Seven numbers that say how a recording sounds, in the order of `STATISTICS` (ours).

    Args:
        waveform: samples of shape `(samples,)`, of any length above zero.
        sampling_rate: in Hz.

    Returns:
        float64 of shape `(7,)`: energies as natural logarithms, the zero-crossing rate a sample, centroids in Hz, the
        pitch in octaves above 1 Hz and its range (10th to 90th percentile) in octaves. Without a voiced frame the
        two of the pitch are NaN.
    """
    frames = _frames(np.asarray(waveform, dtype=np.float32), sampling_rate)
    energy = np.log(np.mean(frames**2, axis=1) + 1e-10)
    crossings = np.mean(np.signbit(frames[:, 1:]) != np.signbit(frames[:, :-1]))
    centroids = _spectral_centroids(frames, sampling_rate)
    return np.array(
        [
            energy.mean(),
            energy.std(),
            crossings,
            centroids.mean(),
            centroids.std(),
            *_pitch_statistics(_pitch(frames, sampling_rate)),
        ],
        dtype=np.float64,
    )


def logistic_regression_yardstick(train_dataset: Dataset, test_dataset: Dataset, target: str) -> dict:
    """Trains a logistic regression on acoustic statistics and judges it on the test side.

    Args:
        train_dataset: rows with `audio` and the target; a row without the target is left out.
        test_dataset: the same.
        target: the column to predict.

    Returns:
        The target's measures as `training.metrics.classification_metrics` names them, or `{"not_applicable": reason}`
        where no test row has the target, or the training side has fewer than two classes to tell apart. A class of the
        test side that it lacks is never recognised.

    Raises:
        AudioError: a recording that cannot be read.
    """
    train, test = _labelled(train_dataset, target), _labelled(test_dataset, target)
    labels = sorted({*train[target], *test[target]})
    if (learned := len(set(train[target]))) < 2:
        return {"not_applicable": f"the training side has {learned} {target} class(es), and two are to be told apart"}
    predictions = test.select_columns([target]).to_pandas()
    if len(test):
        model = _model().fit(_statistics(train), list(train[target]))
        predictions[f"{target}_predicted"] = model.predict(_statistics(test))
    task = {"kind": "classification", "labels": labels}
    return evaluate_predictions(predictions, {target: task})[target]


def _labelled(dataset: Dataset, target: str) -> Dataset:
    return dataset.select([row for row, label in enumerate(dataset[target]) if label is not None])


def _model() -> Pipeline:
    return make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), LogisticRegression(max_iter=1000))


def _statistics(dataset: Dataset) -> np.ndarray:
    return np.stack(
        [acoustic_statistics(read_audio(audio, SAMPLING_RATE), SAMPLING_RATE) for audio in recordings(dataset)]
    )


def _frames(waveform: np.ndarray, sampling_rate: int) -> np.ndarray:
    """Overlapping frames `(frames, window)` of a waveform, padded with silence to one window at least."""
    window, hop = round(WINDOW * sampling_rate), round(HOP * sampling_rate)
    padded = np.pad(waveform, (0, max(0, window - len(waveform))))
    return np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]


def _spectral_centroids(frames: np.ndarray, sampling_rate: int) -> np.ndarray:
    """The mean frequency of each frame, weighted by magnitude, in Hz: `(frames,)`."""
    magnitudes = np.abs(rfft(frames * np.hanning(frames.shape[1]).astype(np.float32), axis=1))
    frequencies = rfftfreq(frames.shape[1], 1 / sampling_rate)
    return magnitudes @ frequencies / (magnitudes.sum(axis=1) + 1e-10)


def _pitch(frames: np.ndarray, sampling_rate: int) -> np.ndarray:
    """The fundamental frequency in Hz of the voiced frames: `(voiced frames,)`, by normalised autocorrelation."""
    centred = frames - frames.mean(axis=1, keepdims=True)
    shortest, longest = int(sampling_rate / PITCH[1]), int(sampling_rate / PITCH[0])
    size = 2 * frames.shape[1]
    correlation = irfft(np.abs(rfft(centred, size, axis=1)) ** 2, size, axis=1)[:, : longest + 2]
    # a lag of k leaves window - k products: without this the first period would always win
    correlation = correlation / (1 - np.arange(longest + 2) / frames.shape[1])
    correlation = correlation / (correlation[:, :1] + 1e-10)
    inner = correlation[:, shortest : longest + 1]
    peak = (inner >= correlation[:, shortest - 1 : longest]) & (inner >= correlation[:, shortest + 1 : longest + 2])
    heights = np.where(peak, inner, -np.inf)
    highest = heights.max(axis=1)
    voiced = highest > VOICED
    near = heights[voiced] >= FIRST_PEAK * highest[voiced, None]
    return sampling_rate / (shortest + near.argmax(axis=1))


def _pitch_statistics(pitch: np.ndarray) -> tuple[float, float]:
    if not pitch.size:
        return np.nan, np.nan
    low, median, high = np.percentile(np.log2(pitch), (10, 50, 90))
    return median, high - low
