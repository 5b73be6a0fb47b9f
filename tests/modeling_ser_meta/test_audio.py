"""Recordings from every kind of source, and the ones that cannot be used."""

import numpy as np
import pytest
import soundfile

from ser_meta.modeling_ser_meta.audio_ser_meta import (
    AudioError,
    part_seconds,
    read_audio,
    resample,
    stream_audio,
)
from ser_meta.modeling_ser_meta.sound_files_ser_meta import BLOCK_SECONDS


def dominant_pitch(samples: np.ndarray, rate: int = 16_000) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax() * rate / len(samples))


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_any_rate_becomes_the_models(rate, ending, tone, tmp_path):
    path = tmp_path / f"a.{ending}"
    soundfile.write(path, tone(0.5, rate, (440.0,)), rate)
    samples = read_audio(path)
    assert samples.dtype == np.float32 and samples.ndim == 1
    assert abs(len(samples) - 8_000) <= 1
    assert dominant_pitch(samples) == pytest.approx(440, abs=3)
    assert np.abs(samples).max() == pytest.approx(0.3, abs=0.06)
    assert read_audio(path, sampling_rate=8_000).shape == pytest.approx((4_000,), abs=1)


def test_samples_at_the_models_rate_are_untouched(tone, tmp_path):
    samples = tone()
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav"), samples)
    np.testing.assert_array_equal(resample(samples, 16_000, 16_000), samples)


def test_channels_are_mixed_down(tone, tmp_path):
    both = tone(0.5, 16_000, (220.0, 660.0))
    soundfile.write(tmp_path / "a.wav", both.T, 16_000, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav"), both.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(read_audio({"array": both, "sampling_rate": 16_000}), both.mean(axis=0), atol=1e-6)


def test_every_kind_of_source_is_the_same_recording(tone, tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(0.3, 22_050), 22_050, subtype="FLOAT")
    expected = read_audio(str(path))
    content = path.read_bytes()
    sources = [
        path,
        content,
        {"path": str(path), "bytes": None},
        {"path": "gone.wav", "bytes": content},
        {"bytes": content},
        {"array": tone(0.3, 22_050).astype(np.float64), "sampling_rate": 22_050},
        {"array": tone(0.3, 22_050).tolist(), "sampling_rate": 22_050.0},
    ]
    for source in sources:
        np.testing.assert_allclose(read_audio(source), expected, atol=1e-6)


def test_25_milliseconds_at_any_rate_are_enough_for_one_frame(tone):
    for rate in (8_000, 16_000, 48_000):
        assert len(read_audio({"array": tone(0.025, rate), "sampling_rate": rate})) == 400


def unusable(folder, tone) -> dict:
    (folder / "notes.wav").write_text("no sound at all, only words")
    (folder / "nothing.wav").write_bytes(b"")
    soundfile.write(folder / "empty.wav", np.zeros(0), 16_000)
    silent = tone()
    silent[7] = np.nan
    soundfile.write(folder / "nan.wav", silent, 16_000, subtype="FLOAT")
    return {
        "no such file: .*gone.wav": folder / "gone.wav",
        "no such file: .*": folder,
        "notes.wav cannot be read as audio": folder / "notes.wav",
        "nothing.wav cannot be read as audio": folder / "nothing.wav",
        "the recording given as bytes cannot be read as audio": b"RIFF and so on",
        "empty.wav holds no samples": folder / "empty.wav",
        "nan.wav holds NaN": folder / "nan.wav",
        "holds NaN or infinite": {"array": [0.0, 1e300], "sampling_rate": 16_000},
        "holds no samples": {"array": [], "sampling_rate": 16_000},
        r'has no sampling rate: pass {"array"': {"array": tone()},
        "has no sampling rate": {"array": tone(), "sampling_rate": None},
        "holds int64 samples: divide them": {"array": np.ones(800, dtype=np.int64), "sampling_rate": 16_000},
        "the recording given as NoneType is no recording": None,
        "the recording given as dict is no recording": {"path": None, "bytes": None},
        "the recording given as ndarray is no recording": tone(),
    }


def test_unusable_recordings_are_named_in_one_line(tone, tmp_path):
    for message, source in unusable(tmp_path, tone).items():
        with pytest.raises(AudioError, match=message) as refused:
            read_audio(source)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("rate", [16_000, 11_025, 48_000])
def test_a_stream_is_the_same_recording_in_blocks(rate, tone, tmp_path):
    seconds = 2.5 * BLOCK_SECONDS
    samples = tone(seconds, rate, (220.0, 330.0))
    soundfile.write(tmp_path / "a.flac", samples.T, rate)
    blocks = list(stream_audio(tmp_path / "a.flac"))
    assert len(blocks) >= 3 and max(map(len, blocks)) <= 1.05 * BLOCK_SECONDS * 16_000
    whole = {"array": soundfile.read(tmp_path / "a.flac", dtype="float32")[0].T, "sampling_rate": rate}
    np.testing.assert_allclose(np.concatenate(blocks), read_audio(whole), atol=1e-6)


def test_a_file_object_is_read_from_its_start_each_time(tone, tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(), 16_000)
    with (tmp_path / "a.wav").open("rb") as opened:
        source = {"path": "standard input", "bytes": opened}
        np.testing.assert_array_equal(read_audio(source), read_audio(tmp_path / "a.wav"))
        np.testing.assert_array_equal(read_audio(source), read_audio(tmp_path / "a.wav"))


def test_a_fault_far_into_a_stream_is_told(tone):
    blocks = [tone(), np.full(100, np.nan, dtype=np.float32)]
    stream = stream_audio({"path": "microphone", "blocks": blocks, "sampling_rate": 16_000})
    assert len(next(stream)) == 8_000
    with pytest.raises(AudioError, match="microphone holds NaN"):
        next(stream)


FORMS = {
    "wav": "PCM_16",
    "flac": "PCM_24",
    "aiff": "FLOAT",
    "w64": "ULAW",
    "ogg": "VORBIS",
    "mp3": "MPEG_LAYER_III",
    "gsm.wav": "GSM610",
    "adpcm.wav": "IMA_ADPCM",
}
PARTS = [(None, None), (0, 1.5), (3.00003, 3.2), (9.9, 21.4), (24, None), (None, 12), (20.5, 25.0)]


@pytest.mark.parametrize("form", FORMS)
def test_a_part_is_cut_from_the_whole_to_the_sample(form, tone, tmp_path):
    path = tmp_path / f"a.{form}"
    soundfile.write(path, tone(25), 16_000, subtype=FORMS[form])
    whole, header = read_audio(path, 16_000), soundfile.info(path)
    for start, end in PARTS:
        expected = whole[round((start or 0) * 16_000) : None if end is None else round(end * 16_000)]
        source = {"path": str(path), "bytes": None, "start": start, "end": end}
        np.testing.assert_array_equal(read_audio(source, 16_000), expected)
        np.testing.assert_array_equal(np.concatenate(list(stream_audio(source, 16_000))), expected)
        if form != "mp3":  # which libsndfile does not always know without its ending
            np.testing.assert_array_equal(read_audio({**source, "bytes": path.read_bytes()}, 16_000), expected)
        assert part_seconds(source, header) == pytest.approx(len(expected) / 16_000, abs=0.05)


def test_a_part_of_an_array_or_of_blocks(tone):
    samples = tone(3)
    for source in ({"array": samples}, {"blocks": np.array_split(samples, 7)}):
        part = read_audio({**source, "sampling_rate": 16_000, "start": 1.25, "end": 2})
        np.testing.assert_array_equal(part, samples[20_000:32_000])


def test_nothing_but_the_part_is_decoded(tone, tmp_path):
    samples = tone(60)
    samples[[0, 30 * 16_000, -1]] = np.nan  # told as soon as it is read
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    part = {"path": tmp_path / "a.wav", "start": 40, "end": 41}
    np.testing.assert_array_equal(read_audio(part), samples[40 * 16_000 : 41 * 16_000])
    with pytest.raises(AudioError, match=r"a.wav \(29 s to 31 s\) holds NaN"):
        read_audio({**part, "start": 29, "end": 31})


def test_a_part_at_another_rate_is_resampled_by_itself(tone, tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(3, 44_100), 44_100, subtype="FLOAT")
    part = {"path": tmp_path / "a.wav", "start": 0.7, "end": 2.1}
    expected = resample(read_audio(tmp_path / "a.wav", 44_100)[30_870:92_610], 44_100, 16_000)
    np.testing.assert_array_equal(read_audio(part), expected)


@pytest.mark.parametrize("form", ["wav", "mp3"])
def test_a_part_that_is_not_in_the_recording_is_refused(form, tone, tmp_path):
    path = tmp_path / f"a.{form}"
    soundfile.write(path, tone(2, 8_000), 8_000)
    refused = {
        (1, 2.2): r"a.* \(1 s to 2.2 s\) is not in the recording, which lasts 2.000 s: mend start and end",
        (None, 2.2): r"a.* \(0 s to 2.2 s\) is not in the recording",
        (2, None): r"a.* \(2 s to its end\) is not in the recording",
        (3, 4): r"a.* \(3 s to 4 s\) is not in the recording",
        (1.5, 1.0): r"a.* \(1.5 s to 1.0 s\) is an empty part: give start and end in seconds, the end after the start",
        (1, 1): "is an empty part",
        (1, 1.00001): "is an empty part",
        (0, 0): "is an empty part",
        (-1, 1): "is an empty part",
        (float("nan"), 1): "is an empty part",
        (0, float("inf")): "is an empty part",
        ("soon", 1): "is an empty part",
    }
    for (start, end), message in refused.items():
        source = {"path": str(path), "start": start, "end": end}
        for read in (read_audio, lambda source: part_seconds(source, soundfile.info(path))):
            with pytest.raises(AudioError, match=message) as told:
                read(source)
            assert "\n" not in str(told.value)
    # a table that rounds its times may say a little more than there is
    assert len(read_audio({"path": path, "start": 1, "end": 2.004}, 8_000)) == 8_000
    assert part_seconds({"path": path, "start": 1, "end": 2.004}, soundfile.info(path)) == 1
