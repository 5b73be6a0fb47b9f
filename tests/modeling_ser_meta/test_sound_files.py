"""What libsndfile reads wrongly or not at all: the fault of the library first, then what is read here."""

import errno
import io
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from sound_formats import FORMATS, NEVER_FILLED_IN, flac_of_open_length, never_filled_in, write_format

import ser_meta.modeling_ser_meta.sound_files_ser_meta as sound_files
from ser_meta.modeling_ser_meta.audio_ser_meta import AudioError, file_header, read_audio, recordings_in, stream_audio

RATE = 16_000


@pytest.fixture
def speech():
    """Noise that swells and fades, of three seconds and a bit, `(samples,)`."""
    samples = np.random.default_rng(0).normal(0, 0.1, 50_000)
    return (samples * np.sin(np.linspace(0, 9, len(samples))) ** 2).astype(np.float32)


def lag(samples: np.ndarray, reference: np.ndarray) -> int:
    """Samples by which one begins later than the other."""
    return int(np.argmax(np.correlate(samples[:44_000], reference[10_000:30_000], "valid"))) - 10_000


def _tell_length(path, samples: int) -> None:
    """Writes the number of samples into a WAV's fact chunk."""
    content = bytearray(path.read_bytes())
    place = content.find(b"fact") + 8
    content[place : place + 4] = samples.to_bytes(4, "little")
    path.write_bytes(content)


@pytest.mark.parametrize("codec", ["GSM610", "IMA_ADPCM", "MS_ADPCM"])
def test_what_fills_up_the_last_block_is_not_heard(codec, tmp_path):
    tone = 0.1 * np.sin(2 * np.pi * 200 * np.arange(3 * 8_000 - 96) / 8_000)
    soundfile.write(tmp_path / "a.wav", tone, 8_000, subtype=codec)
    _tell_length(tmp_path / "a.wav", len(tone))  # which libsndfile itself does not of IMA ADPCM
    padded, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    header = file_header(tmp_path / "a.wav")
    assert len(tone) < len(padded) and header.frames == len(tone)
    assert header.oddities == ("padded blocks",)
    for source in (tmp_path / "a.wav", (tmp_path / "a.wav").read_bytes()):
        np.testing.assert_array_equal(read_audio(source, 8_000), padded[: len(tone)])


def test_what_a_header_says_of_its_end_is_not_believed_without_reason(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(24_000), 8_000, subtype="GSM610")
    _tell_length(tmp_path / "a.wav", 4)
    assert len(read_audio(tmp_path / "a.wav", 8_000)) == soundfile.info(tmp_path / "a.wav").frames


def test_flac_of_open_length_is_read(speech, tmp_path):
    path = tmp_path / "a.flac"
    flac_of_open_length(path, speech, RATE)
    assert soundfile.info(path).frames == 2**63 - 1
    with pytest.raises(ValueError):
        soundfile.read(path)
    header = file_header(path)
    assert (header.frames, header.oddities) == (len(speech), ("open length",))
    np.testing.assert_allclose(read_audio(path), speech, atol=2**-15)
    np.testing.assert_allclose(read_audio({"path": path, "start": 1, "end": 2}), speech[RATE : 2 * RATE], atol=2**-15)


@pytest.mark.parametrize("sizes", NEVER_FILLED_IN)
def test_a_wav_whose_sizes_were_never_filled_in_is_read_whole(sizes, speech, tmp_path):
    pytest.importorskip("av")
    never_filled_in(tmp_path / "a.wav", speech, RATE, sizes)
    assert soundfile.info(tmp_path / "a.wav").frames == 0
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav"), speech, atol=2**-15)
    header = file_header(tmp_path / "a.wav")
    assert (header.frames, header.oddities) == (len(speech), ("never filled in", "read by FFmpeg"))


def test_an_empty_wav_stays_empty(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), RATE)
    with (tmp_path / "a.wav").open("ab") as file:
        file.write(b"LIST\4\0\0\0INFO")
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[4:8] = (len(content) - 8).to_bytes(4, "little")
    with pytest.raises(AudioError, match="holds no samples"):
        read_audio(bytes(content))


def test_an_mp3_in_blocks_is_the_whole(tmp_path, capfd):
    tone = 0.3 * np.sin(2 * np.pi * 300 * np.arange(25 * RATE) / RATE)
    soundfile.write(tmp_path / "a.mp3", tone, RATE)
    whole, _ = soundfile.read(tmp_path / "a.mp3", dtype="float32")
    in_blocks = np.concatenate(list(soundfile.blocks(tmp_path / "a.mp3", 10 * RATE, dtype="float32")))
    assert np.abs(whole - in_blocks).max() > 0.05
    capfd.readouterr()
    blocks = list(stream_audio(tmp_path / "a.mp3"))
    assert len(blocks) > 2
    np.testing.assert_allclose(np.concatenate(blocks), whole, atol=1e-6)
    assert capfd.readouterr().err == ""  # libmpg123 complains of what it is asked after a seek


@pytest.mark.parametrize("name", ["mp3-without-tag", "wav-mp3"])
def test_an_mp3_without_its_encoders_tag_is_counted_and_told(name, speech, tmp_path):
    pytest.importorskip("av")
    path = write_format(name, tmp_path, speech)
    header = file_header(path)
    heard = read_audio(path)
    assert soundfile.info(path).frames != header.frames == len(heard)
    assert header.oddities == ("late MP3",) and 1_000 < lag(heard, speech) < 1_600
    assert file_header(write_format("mp3", tmp_path, speech)).oddities == ()


PICTURE = np.random.default_rng(0).integers(0, 255, 10_000, np.uint8).tobytes()  # without the byte that begins frames


def tagged(content: bytes, picture: bytes = PICTURE) -> bytes:
    """An MP3 with tags that hold a picture, in front and behind."""
    size = len(picture)
    in_front = b"ID3\3\0\0" + bytes(size >> shift & 127 for shift in (21, 14, 7, 0)) + picture
    ape = b"APETAGEX" + (2_000).to_bytes(4, "little") + (size + 32).to_bytes(4, "little") + bytes(16)
    return in_front + content + ape + picture + ape + b"TAG" + bytes(125)


def test_pictures_in_tags_are_no_joined_files(speech, tmp_path):
    content = write_format("mp3", tmp_path, speech).read_bytes()
    for picture in (PICTURE, b"\xff\xfb\x90\xc4" * 2_500):  # as a frame begins
        source = {"bytes": tagged(content, picture)}
        header = file_header(source)
        assert (header.frames, header.oddities) == (len(speech), ())
        np.testing.assert_array_equal(read_audio(source), read_audio(content))


@pytest.mark.parametrize("tag", [lambda content: content, tagged], ids=["plain", "tagged"])
@pytest.mark.parametrize("second", ["mp3", "mp3-without-tag"])
def test_joined_mp3_files_are_heard_whole(second, tag, speech, tmp_path):
    pytest.importorskip("av")
    both = [tag(write_format(name, tmp_path, speech).read_bytes()) for name in ("mp3", second)]
    source = {"path": "both.mp3", "bytes": b"".join(both)}
    assert soundfile.info(io.BytesIO(source["bytes"])).frames == len(speech)
    header, heard = file_header(source), read_audio(source)
    assert header.frames == len(heard) and header.oddities == ("joined files", "read by FFmpeg")
    assert abs(lag(heard, speech)) < 800
    assert 0 < lag(heard[len(speech) :], speech) < 2_400  # an encoder's delay, and a decoder's


def test_joined_files_that_are_unlike_are_refused(speech, tmp_path):
    pytest.importorskip("av")
    both = b"".join(write_format(name, tmp_path, speech).read_bytes() for name in ("mp3", "mp3-joined"))
    for read in (read_audio, file_header):
        with pytest.raises(AudioError, match="parts differ in their sampling rate"):
            read(both)


def test_an_mp3_that_is_cut_off_tells_what_is_there(speech, tmp_path):
    content = write_format("mp3", tmp_path, speech).read_bytes()
    source = {"path": "a.mp3", "bytes": content[: len(content) // 2]}
    header = file_header(source)
    assert soundfile.info(io.BytesIO(source["bytes"])).frames == len(speech)
    assert header.frames == len(read_audio(source)) == pytest.approx(len(speech) / 2, abs=4_000)
    assert header.oddities == ("cut off",)


class BrokenDisk(io.BytesIO):
    """A file of which the end cannot be read."""

    def read(self, size: int = -1) -> bytes:
        if self.tell() > len(self.getbuffer()) // 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(size)


def test_a_disk_that_fails_is_told_as_any_fault_of_a_file(speech, tmp_path, monkeypatch):
    pytest.importorskip("av")
    content = write_format("aac", tmp_path, np.tile(speech, 10)).read_bytes()
    sources = [{"path": "a.aac", "bytes": BrokenDisk(content)}]
    if os.path.isfile("/proc/self/mem"):  # of which nobody may read the beginning
        sources.append("/proc/self/mem")
    for read in (read_audio, file_header):
        for source in sources:
            with pytest.raises(AudioError, match=r"cannot be read \(Input/output error\): see to"):
                read(source)
    monkeypatch.setattr(sound_files, "av", None)
    for source in sources[1:]:
        with pytest.raises(AudioError, match=r"cannot be read \(Input/output error\): see to"):
            read_audio(source)


@pytest.mark.parametrize("av", [True, False])
def test_a_file_that_may_not_be_read(av, locked, monkeypatch):
    if not av:
        monkeypatch.setattr(sound_files, "av", None)
    soundfile.write("a.wav", np.zeros(RATE), RATE)
    locked("a.wav")
    for read in (read_audio, file_header):
        with pytest.raises(AudioError, match=r"^a.wav cannot be read \(Permission denied\): see to the permissions"):
            read("a.wav")


@pytest.mark.parametrize("name", [name for name, form in FORMATS.items() if form.needs_av])
def test_ffmpeg_reads_the_rest(name, speech, tmp_path):
    pytest.importorskip("av")
    path = write_format(name, tmp_path, speech)
    header = file_header(path)
    assert header.oddities[-1] == "read by FFmpeg" and header.samplerate == FORMATS[name].rate
    assert header.frames / header.samplerate == pytest.approx(len(speech) / RATE, abs=0.15)
    heard = read_audio(path)
    # the last packet may be full where its header says that it is not
    assert -0.05 < len(heard) / RATE - header.frames / header.samplerate < 0.03
    assert -800 < lag(heard, speech) < 1_600  # the delays of codecs, at most 0.1 s
    np.testing.assert_array_equal(np.concatenate(list(stream_audio(path.read_bytes()))), heard)
    opened = io.BytesIO(path.read_bytes())
    for _ in range(2):
        np.testing.assert_array_equal(read_audio({"path": "standard input", "bytes": opened}), heard)


def test_without_ffmpeg_one_line_names_the_extra(speech, tmp_path, monkeypatch):
    pytest.importorskip("av")
    paths = [write_format(name, tmp_path, speech) for name, form in FORMATS.items() if form.needs_av]
    monkeypatch.setattr(sound_files, "av", None)
    for path in paths:
        with pytest.raises(AudioError, match=r"ser-meta\[media\]") as refused:
            read_audio(path)
        assert str(refused.value).startswith(str(path)) and "\n" not in str(refused.value)
    readable, passed_over = recordings_in(tmp_path)
    assert {path.suffix for path in readable} == {".wav", ".oga", ".mp3", ".ogg", ".opus"}
    assert tmp_path / "amr.amr" in passed_over


def test_a_list_of_other_files_is_no_recording(speech, tmp_path):
    pytest.importorskip("av")
    write_format("aac", tmp_path, speech)
    lists = {
        "a.wav": "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\naac.aac\n#EXT-X-ENDLIST\n",
        "b.m4a": "ffconcat version 1.0\nfile aac.aac\n",
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(AudioError, match="cannot be read as audio"):
            read_audio(tmp_path / name)


@pytest.mark.parametrize("name", ["m4a-aac", "aac", "amr", "webm-opus", "wma"])
def test_a_damaged_file_is_read_or_refused_in_one_line(name, speech, tmp_path, capfd):
    pytest.importorskip("av")
    content = write_format(name, tmp_path, speech).read_bytes()
    damage = np.random.default_rng(0)
    for _ in range(20):
        damaged = bytearray(content[: damage.integers(1, len(content))])
        for place in damage.integers(0, len(damaged), 10):
            damaged[place] ^= 0xFF
        try:
            read_audio({"path": name, "bytes": bytes(damaged)})
        except AudioError as error:
            assert "\n" not in str(error)
    assert capfd.readouterr().err == ""


def test_hours_take_no_more_memory_than_minutes(tmp_path):
    pytest.importorskip("av")
    write_format("m4a-aac", tmp_path, np.zeros(600 * RATE, np.float32))
    program = (
        "import resource, sys\nfrom ser_meta.modeling_ser_meta.audio_ser_meta import file_header, stream_audio\n"
        "next(stream_audio(sys.argv[1]))\nbefore = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(file_header(sys.argv[1]).frames, sum(map(len, stream_audio(sys.argv[1]))))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "m4a-aac.m4a"], capture_output=True, text=True)
    *counts, grown = map(int, done.stdout.split())
    assert counts[0] == 600 * 44_100 and counts[1] >= 600 * RATE
    assert grown < 20_000  # KiB; the whole is 105 MB
