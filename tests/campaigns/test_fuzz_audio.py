"""Damaged recordings: each is read to finite samples, no more than it holds, or refused by one line of ours."""

import random

import pytest
from campaign import run_campaign
from guarded import Guarded
from mutated_audio import FORMATS, mutants, originals

ERRORS = ["ser_meta.modeling_ser_meta.audio_ser_meta:AudioError"]
SEED = 6


def whole(name: str) -> bytes:
    """An undamaged recording."""
    return next(originals(name, random.Random(0)))[1]


@pytest.fixture(scope="module")
def reader():
    with Guarded("readers", "read_recording", ERRORS, whole("WAV")) as guarded:
        yield guarded


@pytest.fixture(scope="module")
def recogniser():
    with Guarded("model_readers", "recognise", ERRORS, whole("WAV")) as guarded:
        yield guarded


@pytest.fixture(scope="module")
def checker():
    with Guarded("corpus_readers", "measure_recording", ERRORS, whole("WAV")) as guarded:
        yield guarded


@pytest.mark.parametrize("name", FORMATS)
def test_every_subtype_is_read_where_nothing_is_damaged(name, reader):
    for label, content in originals(name, random.Random(SEED)):
        outcome = reader(content)
        assert outcome.kind == "result", (label, outcome)
        assert 0.19 < outcome.detail < 0.61


@pytest.mark.parametrize("name", FORMATS)
def test_some_damaged_recordings(name, reader):
    tally = run_campaign(reader, name, mutants(name, 120, SEED))
    assert tally["result"] and tally["refused"]


@pytest.mark.campaign
@pytest.mark.parametrize("name", FORMATS)
def test_damaged_recordings(name, reader):
    tally = run_campaign(reader, f"read_audio and stream_audio, {name}", mutants(name, 3_000, SEED + 1))
    assert tally.total() == 3_000 and tally["result"] > 100 and tally["refused"] > 100


@pytest.mark.campaign
@pytest.mark.parametrize("name", FORMATS)
def test_damaged_recordings_through_a_model(name, recogniser):
    tally = run_campaign(recogniser, f"processor, model and pipeline, {name}", mutants(name, 300, SEED + 2))
    assert tally["result"] and tally["refused"]


@pytest.mark.campaign
@pytest.mark.parametrize("name", FORMATS)
def test_damaged_recordings_through_the_check_of_a_corpus(name, checker):
    tally = run_campaign(checker, f"ser-meta check, {name}", mutants(name, 300, SEED + 3))
    assert tally["result"] and tally["refused"]
