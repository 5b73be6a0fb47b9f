"""RAVDESS's speech strung into calls: an actor on each channel, a telephone band, turns that are known.

pytest -m campaign -s tests/campaigns/test_calls.py

SER_META_MODEL names a trained model; without it, a tiny one of random weights answers, and boundaries are as true.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_model import save_tiny_model

from ser_meta.modeling_ser_meta.audio_ser_meta import read_audio, resample, speech_bounds
from ser_meta.training.corpora import load_corpus
from ser_meta.training.prediction.recognition import load_pipeline

Known = tuple[int, float, float, float, Path]
"""A turn's channel; where its recording begins, where speech begins and ends in it, in seconds; its file alone."""

RATE, CALLS, TURNS = 8_000, 6, 12
FRAME = 0.05  # seconds: what sounds and what does not is told in such steps
HOP = 2.0  # seconds from one window to the next
SPEECH_DECIBELS = 30.0  # below the loudest 10 ms: speech begins and ends there

pytestmark = pytest.mark.campaign


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    given = os.environ.get("SER_META_MODEL")
    return Path(given) if given else save_tiny_model(tmp_path_factory.mktemp("tiny"))


def telephone(samples: np.ndarray) -> np.ndarray:
    """A recording of 16 kHz as a telephone line gives it: 300 to 3,400 Hz at 8 kHz; A-law when it is written."""
    band = np.fft.rfft(resample(samples, 16_000, RATE))
    hertz = np.fft.rfftfreq(2 * (len(band) - 1), 1 / RATE)
    return np.fft.irfft(np.where((hertz >= 300) & (hertz <= 3_400), band, 0)).astype(np.float32)


def make_call(rows: list[dict], number: int, folder: Path) -> tuple[Path, list[Known]]:
    """Writes a call in A-law: two actors who take turns, with pauses of 0.3 to 1.5 s.

    Returns:
        The file, and what is known of each turn.
    """
    chance = np.random.default_rng(number)
    actors = [str(actor) for actor in chance.permutation(np.arange(1, 25))[:2]]
    parts, turns, at = [], [], RATE // 2
    for turn in range(TURNS):
        own = [row for row in rows if row["speaker"].lstrip("0") == actors[turn % 2]]
        samples = telephone(read_audio(own[chance.integers(len(own))]["audio"]))
        begin, end = speech_bounds(samples, RATE, SPEECH_DECIBELS)
        alone = folder / f"call-{number}-{turn:02}.wav"
        soundfile.write(alone, samples, RATE, subtype="ALAW")
        parts.append((turn % 2, at, samples))
        turns.append((turn % 2, at / RATE, (at + begin) / RATE, (at + end) / RATE, alone))
        at += len(samples) + round(chance.uniform(0.3, 1.5) * RATE)
    channels = chance.normal(scale=1e-4, size=(2, at))
    for channel, start, samples in parts:
        channels[channel, start : start + len(samples)] = samples  # the line's noise is in the pauses
    path = folder / f"call-{number}.wav"
    soundfile.write(path, channels.T, RATE, subtype="ALAW")
    return path, turns


@pytest.fixture(scope="module")
def calls(shared, tmp_path_factory):
    rows = [row for row in load_corpus("ravdess", str(shared / "data" / "ravdess")) if row["style"] == "speech"]
    folder = tmp_path_factory.mktemp("calls")
    return [make_call(rows, number, folder) for number in range(CALLS)]


def told(command_line, *arguments) -> dict:
    code, printed, errors = command_line("predict", *arguments, "--json")
    assert code == 0, errors
    return json.loads(printed)


def test_turns_that_are_given_have_the_labels_of_their_recordings(command_line, model, calls):
    """A turn from the recording's first sample to its last is that recording: its label too."""
    recognise, same, apart = load_pipeline(model, {}, 1, None), [], []
    for path, turns in calls:
        lines = []
        for channel, begin, *_, alone in turns:
            seconds = soundfile.info(alone).duration
            lines.append(f"SPEAKER {path.stem} {channel + 1} {begin:.6f} {seconds:.6f} <NA> <NA> s{channel} <NA> <NA>")
        rttm = path.with_suffix(".rttm")
        rttm.write_text("\n".join(lines))
        segments = told(command_line, model, path, "--turns", rttm, "--channels", "separate")["segments"]
        for segment, (*_, alone) in zip(segments, turns, strict=True):
            expected = recognise(str(alone))["emotion"]
            same.append(segment["emotion"][0]["label"] == expected[0]["label"])
            scores = [{entry["label"]: entry["score"] for entry in each} for each in (segment["emotion"], expected)]
            apart.append(max(abs(scores[0][label] - scores[1][label]) for label in scores[1]))
    print(
        f"\nturns given: {sum(same)} of {len(same)} labels are those alone; scores differ by {max(apart):.3f} at most"
    )
    assert all(same)


def test_turns_that_are_found_begin_and_end_where_somebody_speaks(command_line, model, calls):
    """A turn is found if one of its channel overlaps it; alone, its recording is heard as found there."""
    begins, ends, counts, more, same = [], [], [], 0, []
    for path, turns in calls:
        segments = told(command_line, model, path, "--turns", "found", "--channels", "separate")["segments"]
        for channel, _, start, end, alone in turns:
            own = [s for s in segments if s["channel"] == channel and s["start"] < end and s["end"] > start]
            counts.append(len(own))
            if own:
                begins.append(own[0]["start"] - start)
                ends.append(own[-1]["end"] - end)
            if len(own) == 1:
                found = told(command_line, model, alone, "--turns", "found")["segments"]
                same.append(len(found) == 1 and found[0]["emotion"][0]["label"] == own[0]["emotion"][0]["label"])
        more += sum(
            not any(c == s["channel"] and s["start"] < e and s["end"] > b for c, _, b, e, _ in turns) for s in segments
        )
    within = [abs(b) <= HOP and abs(e) <= HOP for b, e in zip(begins, ends, strict=True)]
    close = [abs(b) <= 0.3 and abs(e) <= 0.3 for b, e in zip(begins, ends, strict=True)]
    quantiles = np.quantile(np.abs([begins, ends]), [0.5, 0.95], axis=1).T.round(2).tolist()
    whole = sum(count == 1 for count in counts)
    print(f"\nturns found: {sum(map(bool, counts))} of {len(counts)}, {whole} in one piece, {more} more")
    print(f"within a hop of {HOP:g} s: {sum(within)} of {len(within)}; within 0.3 s: {sum(close)}")
    print(f"begin and end, median and 95th percentile in s: {quantiles}")
    print(f"labels as of the recording alone: {sum(same)} of {len(same)}")
    assert all(within) and sum(map(bool, counts)) >= 0.95 * len(counts) and more <= 0.05 * len(counts)
