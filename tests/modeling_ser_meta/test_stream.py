"""Emotion while people still speak: the same turns and scores however the sound comes in."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from properties import few
from transformers import WhisperFeatureExtractor

from ser_meta.modeling_ser_meta import SerMetaProcessor, SpeechEmotionPipeline, SpeechEmotionStream
from ser_meta.modeling_ser_meta.audio_ser_meta import AudioError, read_audio
from ser_meta.modeling_ser_meta.processing_ser_meta import character_tokenizer

RATE = 16_000


@pytest.fixture(scope="module")
def recognise(make_model) -> SpeechEmotionPipeline:
    processor = SerMetaProcessor(WhisperFeatureExtractor(feature_size=80), character_tokenizer())
    return SpeechEmotionPipeline(model=make_model("whisper"), processor=processor)


def speech(seconds: float, decibels: float = -20, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """Syllables of 200 ms, the gaps between them 30 dB weaker."""
    chance = np.random.default_rng(seed)
    samples = round(seconds * rate)
    tone = np.sin(np.arange(samples) * 2 * np.pi * 300 / rate) + 0.3 * chance.standard_normal(samples)
    loud = (np.arange(samples) // (rate // 10)) % 3 < 2
    return (tone * 10 ** (decibels / 20) * np.where(loud, 1, 10 ** (-30 / 20))).astype(np.float32)


def silence(seconds: float, rate: int = RATE) -> np.ndarray:
    return np.random.default_rng(1).normal(scale=1e-3, size=round(seconds * rate)).astype(np.float32)


@pytest.fixture(scope="module")
def talk() -> np.ndarray:
    """Turns of 2, 6.5 and 1 s, the last one to the end."""
    parts = [silence(1), speech(2), silence(1.2), speech(6.5, -30, seed=2), silence(0.6), speech(1, -15, seed=3)]
    return np.concatenate(parts)


def in_blocks(samples: np.ndarray, edges: list[int]) -> list[np.ndarray]:
    return np.split(samples, sorted(edges))


def assert_same(mine: list[dict], others: list[dict]) -> None:
    assert [(t["turn"], t["start"], t["end"], t["final"]) for t in mine] == [
        (t["turn"], t["start"], t["end"], t["final"]) for t in others
    ]
    for one, other in zip(mine, others, strict=True):
        assert one["confidence"] == pytest.approx(other["confidence"], abs=1e-5)
        for task in ("emotion", "gender"):
            assert [e["label"] for e in one[task]] == [e["label"] for e in other[task]]
            assert [e["score"] for e in one[task]] == pytest.approx([e["score"] for e in other[task]], abs=1e-5)
        assert one["transcript"] == other["transcript"]


def test_turns_are_what_lies_between_pauses(recognise, talk):
    turns = list(SpeechEmotionStream(recognise, RATE).turns([talk]))
    assert [turn["turn"] for turn in turns] == [0, 1, 2] and all(turn["final"] for turn in turns)
    spoken = [(1, 3), (4.2, 10.7), (11.3, 12.3)]
    for turn, (start, end) in zip(turns, spoken, strict=True):
        assert start - 0.25 <= turn["start"] <= start + 0.05 and end - 0.1 <= turn["end"] <= end + 0.3


def test_a_turn_is_the_same_as_its_part_of_the_recording_heard_alone(recognise, talk):
    for turn in recognise.stream(RATE).turns([talk]):
        source = {"array": talk, "sampling_rate": RATE, "start": turn["start"], "end": turn["end"]}
        if turn["end"] - turn["start"] > 4:
            pieces = [{**source, "start": s, "end": e} for s, e in windows(turn["start"], turn["end"])]
            alone = [scores(recognise(piece)) for piece in pieces]
            lowest, highest = np.min(alone, axis=0), np.max(alone, axis=0)
            assert (lowest - 1e-5 <= scores(turn)).all() and (scores(turn) <= highest + 1e-5).all()
            continue
        expected = recognise(source)
        np.testing.assert_allclose(scores(turn), scores(expected), atol=1e-5)
        assert turn["transcript"] == expected["transcript"]


def windows(start: float, end: float) -> list[tuple[float, float]]:
    """Of 4 s, every 2 s, and the last one at the end."""
    starts = [start]
    while starts[-1] + 4 < end:
        starts.append(starts[-1] + 2)
    starts[-1] = end - 4
    return [(round(s, 4), round(s + 4, 4)) for s in starts]


def scores(result: dict) -> np.ndarray:
    by_label = {entry["label"]: entry["score"] for entry in result["emotion"]}
    return np.array([by_label[label] for label in sorted(by_label)])


@few
@given(
    rate=st.sampled_from([8_000, 16_000, 22_050, 44_100, 48_000]),
    block=st.integers(1, 200_000),
    edges=st.lists(st.integers(0, 90_000), max_size=4),
)
def test_neither_blocks_nor_speed_change_a_turn(recognise, rate, block, edges):
    samples = np.concatenate(
        [silence(0.5, rate), speech(1.2, rate=rate), silence(0.8, rate), speech(4.6, -35, rate, 1), silence(0.7, rate)]
    )
    block = max(block, rate // 500)  # two milliseconds
    whole = list(recognise.stream(rate, provisional_seconds=1).turns([samples]))
    grid = [*range(block, len(samples), block), *(edge for edge in edges if edge < len(samples))]
    assert_same(list(recognise.stream(rate, provisional_seconds=1).turns(in_blocks(samples, grid))), whole)
    assert [turn["turn"] for turn in whole if turn["final"]] == [0, 1]
    # as the file is heard: read and resampled at once, cut by the same code
    heard = read_audio({"array": samples, "sampling_rate": rate})
    assert_same(list(recognise.stream(RATE, provisional_seconds=1).turns([heard])), whole)


def test_a_turn_that_goes_on_is_told_now_and_then(recognise, talk):
    turns = list(recognise.stream(RATE, provisional_seconds=2).turns([talk]))
    of_second = [turn for turn in turns if turn["turn"] == 1]
    assert [turn["final"] for turn in of_second] == [False, False, False, True]
    assert [turn["end"] - turn["start"] for turn in of_second[:3]] == pytest.approx([2, 4, 6], abs=0.1)
    assert len({turn["start"] for turn in of_second}) == 1
    assert_same([turn for turn in turns if turn["final"]], list(recognise.stream(RATE).turns([talk])))


def test_an_answer_comes_a_quarter_of_a_second_after_the_turn(recognise, talk):
    stream, heard = recognise.stream(RATE), 0.0
    for block in in_blocks(talk, list(range(320, len(talk), 320))):
        heard += len(block) / RATE
        for turn in stream.feed(block):
            assert 0.2 <= heard - turn["end"] <= 0.29
    assert [turn["end"] for turn in stream.close()] == [len(talk) / RATE]


def test_speech_without_end_is_told_in_parts(recognise):
    breaths = [part for n in range(33) for part in (speech(1.75, seed=n), silence(0.25))]
    turns = list(recognise.stream(RATE).turns([silence(1), *breaths, silence(1)]))
    assert len(turns) == 3
    assert [turn["end"] - turn["start"] for turn in turns[:2]] == pytest.approx([30, 30])
    assert turns[0]["end"] == turns[1]["start"]


def test_neither_silence_nor_steady_noise_is_a_turn(recognise):
    noise = np.random.default_rng(0).normal(scale=0.003, size=40 * RATE).astype(np.float32)
    hum = (0.2 * np.sin(np.arange(8 * RATE) * 0.1)).astype(np.float32)
    assert list(recognise.stream(RATE).turns([np.zeros(20 * RATE, np.float32)])) == []
    assert list(recognise.stream(RATE).turns([noise])) == []
    assert list(recognise.stream(RATE).turns([])) == []
    turns = list(recognise.stream(RATE).turns([noise, speech(2), noise]))
    assert [round(turn["start"]) for turn in turns] == [40]
    assert len(list(recognise.stream(RATE).turns([hum]))) <= 1  # two seconds of it, until it is known to be steady


def test_a_stream_may_begin_in_the_middle_of_a_word(recognise):
    (turn,) = recognise.stream(RATE).turns([speech(1.5), silence(1)])
    assert turn["start"] == 0


def test_memory_stays_the_same(recognise):
    stream = recognise.stream(RATE)
    part = np.concatenate([each for n in range(5) for each in (speech(4, seed=n), silence(1))])
    stream.feed(part)
    tracemalloc.start()
    turns = [turn for _ in range(4) for block in np.split(part, 50) for turn in stream.feed(block)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(turns) == 20 and peak < 2 * part.nbytes  # of four times as much sound


def test_options_are_a_calls(recognise, talk):
    turns = list(recognise.stream(RATE, tasks=["gender"], threshold=1.0, window_seconds=2).turns([talk]))
    assert all("emotion" not in turn and turn["abstained"] for turn in turns)
    assert turns[0]["confidence"] == turns[0]["gender"][0]["score"]
    integers = (talk * 32767).astype(np.int16)
    (first, *_), (other, *_) = (list(recognise.stream(RATE).turns([each])) for each in (integers, talk))
    np.testing.assert_allclose(scores(first), scores(other), atol=1e-3)


def test_what_is_refused(recognise):
    with pytest.raises(ValueError, match="provisional_seconds=0 must be above 0"):
        recognise.stream(RATE, provisional_seconds=0)
    with pytest.raises(AudioError, match="the stream has a sampling rate of 100 Hz"):
        recognise.stream(100)
    with pytest.raises(ValueError, match=r"tasks=\['mood'\] are not among"):
        recognise.stream(RATE, tasks=["mood"])
    stream = recognise.stream(RATE)
    with pytest.raises(AudioError, match=r"blocks of the shape \(2, 800\): give \(samples,\), a stream a channel"):
        stream.feed(np.zeros((2, 800), np.float32))
    with pytest.raises(AudioError, match="holds NaN or infinite samples"):
        stream.feed(np.full(800, np.nan, np.float32))
    assert stream.close() == stream.close() == []
    with pytest.raises(ValueError, match="the stream is closed: make another one"):
        stream.feed(np.zeros(800, np.float32))
