"""Defects that the campaigns found in reading recordings: the least input that shows each."""

import io
import struct
import tracemalloc

import numpy as np
import pytest
import soundfile

from ser_meta.modeling_ser_meta import SerMetaProcessor
from ser_meta.modeling_ser_meta.audio_ser_meta import AudioError, read_audio
from ser_meta.modeling_ser_meta.processing_ser_meta import character_tokenizer
from ser_meta.training.checking.recordings import measure

RATE = 16_000
MEBIBYTES = 2**20


def written(form: str = "WAV", seconds: float = 0.2, **options) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, np.full(round(seconds * RATE), 0.1), RATE, format=form, **options)
    return content.getvalue()


def with_field(content: bytes, offset: int, form: str, value: int) -> bytes:
    return content[:offset] + struct.pack(form, value) + content[offset + struct.calcsize(form) :]


def claiming_samples() -> bytes:
    """A FLAC file whose header claims 2^23 samples, of which 3,200 are there; a claim may be of many gigabytes."""
    return with_field(written("FLAC"), 22, ">I", 2**23)


# these two are harmless: far beyond them, resampling takes all memory, or for ever
@pytest.mark.parametrize("rate", [3_999, 768_001])
def test_a_rate_that_no_recording_has_is_refused_before_anything_is_read(rate):
    content = with_field(written(), 24, "<I", rate)
    tracemalloc.start()
    with pytest.raises(AudioError, match=r"has a sampling rate of \d+ Hz") as refused:
        read_audio({"path": "a.wav", "bytes": content})
    assert tracemalloc.get_traced_memory()[1] < 8 * MEBIBYTES
    tracemalloc.stop()
    assert len(str(refused.value).splitlines()) == 1 and str(refused.value).startswith("a.wav ")


@pytest.mark.parametrize("rate", [4_000, 8_000, 768_000])
def test_a_rate_that_a_recording_may_have_is_taken(rate):
    assert len(read_audio(with_field(written(), 24, "<I", rate))) == pytest.approx(3_200 * RATE / rate, abs=1)


@pytest.mark.parametrize("rate", ["fast", -16_000, float("nan"), float("inf"), [16_000]])
def test_an_array_with_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(AudioError, match="has a sampling rate of"):
        read_audio({"array": np.zeros(800), "sampling_rate": rate})


def test_no_channels_are_refused():
    with pytest.raises(AudioError, match="cannot be read as audio"):
        read_audio(with_field(written(), 22, "<H", 0))


def test_a_thousand_channels_take_no_more_memory_than_two():
    content = io.BytesIO()
    soundfile.write(content, np.full((64, 1_000), 0.1), 48_000, format="WAV")
    tracemalloc.start()
    assert len(read_audio(content.getvalue(), 48_000)) == 64
    assert tracemalloc.get_traced_memory()[1] < 40 * MEBIBYTES
    tracemalloc.stop()


@pytest.mark.parametrize("read", [read_audio, lambda content: measure({"audio": {"bytes": content, "path": None}})])
def test_samples_that_a_header_only_claims_take_no_memory(read):
    tracemalloc.start()
    try:
        read(claiming_samples())
    except AudioError as error:
        assert "cannot be read as audio" in str(error)
    assert tracemalloc.get_traced_memory()[1] < 16 * MEBIBYTES  # the claim has 32 MiB in single precision
    tracemalloc.stop()


@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_of_a_file_that_breaks_off_only_what_is_there_is_heard(form):
    content = io.BytesIO()
    samples = np.random.default_rng(0).normal(scale=0.1, size=3_200)
    soundfile.write(content, samples, RATE, format=form)
    whole = read_audio(content.getvalue())
    heard = []
    for end in range(0, len(content.getvalue()), 97):
        try:
            start = read_audio(content.getvalue()[:end])
        except AudioError:
            continue
        np.testing.assert_array_equal(start, whole[: len(start)])
        heard.append(len(start))
    assert heard == sorted(heard) and (len(heard) > 50 or form == "FLAC")  # FLAC has sums that tell


@pytest.mark.parametrize("rate", [3_999, 768_001])
def test_the_check_of_a_corpus_tells_an_absurd_rate(rate):
    facts = measure({"audio": {"bytes": with_field(written(), 24, "<I", rate), "path": None}})
    assert "sampling rate" in facts["error"]


@pytest.mark.parametrize("peak", [3e38, 32_767.0, float("nan")])
def test_the_check_of_a_corpus_tells_samples_far_beyond_full_scale(peak):
    content = io.BytesIO()
    soundfile.write(content, np.full((800, 2), peak), RATE, format="WAV", subtype="FLOAT")
    facts = measure({"audio": {"bytes": content.getvalue(), "path": None}})
    assert facts["finite"] is False and facts["peak"] is None


WRONG_ARRAYS = {
    r"the shape \(0, 800\)": np.zeros((0, 800)),
    r"the shape \(2, 2, 800\)": np.zeros((2, 2, 800)),
    r"the shape \(\)": 0.5,
    "holds bool": np.ones(800, dtype=bool),
    "holds complex128": np.ones(800, dtype=complex),
    "holds <U": "some words",
    "holds object": [None, 0.5],
    "rows of different lengths": [[0.1, 0.2], [0.1]],
    "holds samples of 32767": np.full(800, 32_767.0),
}


@pytest.mark.parametrize("message", WRONG_ARRAYS)
def test_arrays_that_are_no_recording_are_refused(message):
    with pytest.raises(AudioError, match=message):
        read_audio({"array": WRONG_ARRAYS[message], "sampling_rate": RATE})


def test_integers_of_no_known_full_scale_are_refused_in_blocks_too():
    with pytest.raises(AudioError, match="holds int64 samples: divide them"):
        read_audio({"blocks": [np.zeros(800, dtype=np.int64)], "sampling_rate": RATE})


def test_what_resampling_leaves_nothing_of_holds_no_samples():
    with pytest.raises(AudioError, match="holds no samples"):
        read_audio({"array": [0.1], "sampling_rate": 768_000})


def test_a_path_that_the_system_does_not_take_is_no_file(tmp_path):
    for path in ("x" * 5_000, "a\0b.wav"):
        with pytest.raises(AudioError, match="no such file"):
            read_audio(path)


def test_a_name_of_two_lines_is_told_in_one(tmp_path):
    (tmp_path / "two\nlines.wav").write_bytes(b"no sound")
    for path in (tmp_path / "two\nlines.wav", "gone\nfor good.wav"):
        with pytest.raises(AudioError, match=r"two\\nlines|gone\\nfor good") as refused:
            read_audio(path)
        assert len(str(refused.value).splitlines()) == 1


WRONG_BATCHES = {
    "recording 0 of the batch holds NaN": np.full(800, np.nan),
    "recording 1 of the batch holds NaN": [np.zeros(800), np.array([0.0, np.inf])],
    r"recording 0 of the batch has the shape \(0,\)": np.zeros(0),
    r"recording 0 of the batch has the shape \(800,\) and the type int16": np.zeros(800, dtype=np.int16),
    r"recording 0 of the batch has the shape \(2, 800\)": [np.zeros((2, 800))],
}


@pytest.mark.parametrize("message", WRONG_BATCHES)
def test_the_processor_refuses_what_would_become_nan(message):
    from transformers import Wav2Vec2FeatureExtractor

    processor = SerMetaProcessor(Wav2Vec2FeatureExtractor(do_normalize=True), character_tokenizer())
    with pytest.raises(ValueError, match=message):
        processor(WRONG_BATCHES[message], sampling_rate=RATE)
