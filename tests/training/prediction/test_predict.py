"""`ser-meta predict`: what it takes, and what it leaves behind."""

import csv
import io
import json
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet
import pytest
import soundfile
import soxr
import torch
from PIL import Image

from ser_meta.modeling_ser_meta import SpeechEmotionPipeline
from ser_meta.modeling_ser_meta.audio_ser_meta import read_audio
from ser_meta.training.prediction.inputs import find_recordings, output_paths
from ser_meta.training.prediction.recognition import load_pipeline, recognise_all
from ser_meta.training.runs.loading import load_model

NOISE = 0.1 * np.random.default_rng(0).normal(size=8_000)


@pytest.fixture(scope="module")
def model(finished_run) -> Path:
    return finished_run / "model"


@pytest.fixture(scope="module")
def recognise(model) -> SpeechEmotionPipeline:
    loaded, processor = load_model(model)
    return SpeechEmotionPipeline(model=loaded, processor=processor)


@pytest.fixture
def recordings(tmp_path) -> Path:
    """A folder of two recordings at other sampling rates, one in stereo, and a file that is none."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    soundfile.write(folder / "a.wav", np.stack([NOISE, NOISE], axis=1), 44_100)
    soundfile.write(folder / "b.flac", NOISE, 8_000)
    (folder / "notes.txt").write_text("mine")
    return folder


@pytest.fixture
def long_recording(tmp_path) -> Path:
    """Eighteen seconds: three pitches one after the other."""
    time = np.arange(6 * 16_000) / 16_000
    tones = [0.1 * np.sin(2 * np.pi * pitch * time) for pitch in (120.0, 600.0, 200.0)]
    path = tmp_path / "long.wav"
    soundfile.write(path, np.concatenate(tones) + 0.01 * np.resize(NOISE, 18 * 16_000), 16_000)
    return path


@pytest.fixture
def standard_input(monkeypatch):
    """Puts bytes on standard input."""
    return lambda content: monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))


def objects(printed: str) -> list[dict]:
    return [json.loads(line) for line in printed.splitlines()]


def scores(entries: list[dict]) -> dict[str, float]:
    return {entry["label"]: entry["score"] for entry in entries}


def test_a_prediction_is_one_object_a_recording(command_line, model, recordings):
    code, printed, errors = command_line("predict", model, recordings, "--json")
    results = [json.loads(line) for line in printed.splitlines()]
    assert code == 0 and not errors
    assert [result["file"] for result in results] == [str(recordings / "a.wav"), str(recordings / "b.flac")]
    for result in results:
        assert list(result) == ["file", "emotion", "gender", "style", "transcript"]
        for task, labels in (("emotion", {"angry", "neutral", "sad"}), ("gender", {"female", "male"})):
            scores = [entry["score"] for entry in result[task]]
            assert {entry["label"] for entry in result[task]} == labels
            assert scores == sorted(scores, reverse=True) and sum(scores) == pytest.approx(1, abs=1e-5)
        assert isinstance(result["transcript"], str)


def test_the_speaker_is_told_to_those_who_ask(command_line, refused, model, recordings):
    code, printed, _ = command_line("predict", model, recordings / "a.wav", "--task", "speaker", "--json")
    assert code == 0 and set(json.loads(printed)) == {"file", "speaker"}
    refused(["predict", model, recordings / "a.wav", "--task", "mood"], "--task mood", "emotion, gender")


@pytest.mark.parametrize(
    ("what", "parts"),
    [
        ("missing", ["no such file"]),
        ("text", ["cannot be read as audio"]),
        ("nothing", ["cannot be read as audio"]),
        ("header", ["holds no samples", "leave it out"]),
        ("short", ["300 samples", "leave it out"]),
        ("nan", ["NaN", "export it again"]),
    ],
)
def test_prediction_refuses_an_unusable_recording(refused, model, unusable, tmp_path, what, parts):
    path = unusable(what)
    before = sorted(tmp_path.iterdir())
    refused(["predict", model, path], path, *parts)
    assert sorted(tmp_path.iterdir()) == before


def test_what_stands_beside_the_model_is_named(refused, finished_run, recordings, speech_table):
    model = finished_run / "model"
    refused(["predict", finished_run, recordings / "a.wav"], f"is a run, and its model stands in it: give {model}")
    refused(["predict", model, speech_table], f"{speech_table} is a table", f"give it as --table {speech_table}")


def test_one_unusable_recording_does_not_hold_up_the_others(command_line, model, recordings, unusable):
    unusable("text", recordings)
    code, printed, errors = command_line("predict", model, recordings, "--json")
    assert code == 1 and len(printed.splitlines()) == 2 and len(errors) == 1
    assert str(recordings / "text.wav") in errors[0]


@pytest.mark.skipif(not os.path.isfile("/proc/self/mem"), reason="no file that nobody can read from its beginning")
def test_a_disk_that_fails_does_not_hold_up_the_others(command_line, model, recordings):
    code, printed, (error,) = command_line("predict", model, "/proc/self/mem", recordings, "--json")
    assert code == 1 and [result["file"] for result in objects(printed)] == [
        str(recordings / "a.wav"),
        str(recordings / "b.flac"),
    ]
    assert "/proc/self/mem cannot be read (Input/output error): see to the permissions" in error


def test_what_may_not_be_opened_is_passed_over_in_a_line(locked, capsys):
    os.mkdir("sub")
    for name in ("a.wav", "sub/b.wav"):
        soundfile.write(name, NOISE, 16_000)
    locked("sub")
    assert find_recordings([".", "sub/b.wav"]) == ["a.wav", "sub/b.wav"]
    told = "passed over: sub cannot be opened: see to the permissions, and that the disk answers"
    assert capsys.readouterr().err.splitlines() == [told]


def test_prediction_refuses_what_is_no_model_of_ours(refused, another_model, tmp_path, recordings):
    recording = recordings / "a.wav"
    refused(["predict", another_model, recording], another_model, "'bert'", "ser_meta")
    refused(["predict", tmp_path / "no", recording], tmp_path / "no", "is no folder")
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(["predict", another_model, empty], empty, "holds no sound files", ".wav")


def test_a_prediction_for_people_is_a_table(command_line, model, recordings, long_recording, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.chdir(recordings)
    files = [os.path.relpath(file) for file in ("a.wav", "b.flac", long_recording)]
    code, printed, _ = command_line("predict", model, *files, "--task", "emotion", "--threshold", "1")
    rows = [line for line in printed.splitlines() if ".wav" in line or ".flac" in line]
    assert code == 0 and "gender" not in printed
    for row, file in zip(rows, files, strict=True):
        assert re.fullmatch(rf"\s*{re.escape(file)}\s+uncertain, (angry|neutral|sad) \d\.\d\d\s*", row)
    times = re.findall(r"^\s+(\S+) - (\S+) .*(?:angry|neutral|sad) \d\.\d\d", printed, re.MULTILINE)
    assert times[0][0] == "0:00.0" and times[-1][1] == "0:18.0"


def test_files_come_in_the_callers_order_whatever_their_length(command_line, model, tmp_path, recognise):
    lengths = [5_000, 1_000, 300, 9_000, 2_000]
    for index, length in enumerate(lengths):
        soundfile.write(tmp_path / f"{index}.wav", NOISE[:length] * (index + 1) / 6, 16_000, subtype="FLOAT")
    files = [tmp_path / f"{index}.wav" for index in range(5)]
    code, printed, errors = command_line("predict", model, *files, "--json", "--batch-size", "2")
    assert code == 1 and len(errors) == 1 and "2.wav" in errors[0]
    found = objects(printed)
    assert [result["file"] for result in found] == [str(file) for file in files if file.stem != "2"]
    for result in found:
        alone = recognise(result["file"])
        assert scores(result["emotion"]) == pytest.approx(scores(alone["emotion"]), abs=1e-4)


def test_patterns_and_folders(tmp_path):
    for name in ("a/x.wav", "a/deep/y.FLAC", "b/z.ogg", "b/w.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    names = [str(tmp_path / name) for name in ("a/deep/y.FLAC", "a/x.wav", "b/z.ogg")]
    assert find_recordings([str(tmp_path)]) == names
    assert find_recordings([f"{tmp_path}/*/*.wav", f"{tmp_path}/b/z.ogg"]) == names[1:]
    assert find_recordings([f"{tmp_path}/**/y*", "-", f"{tmp_path}/gone*.wav"]) == [
        names[0],
        "-",
        f"{tmp_path}/gone*.wav",
    ]


def test_names_that_are_not_utf_8_are_passed_over(command_line, refused, model, recordings, tmp_path):
    odd = shutil.copy(recordings / "a.wav", os.fsencode(recordings) + b"/f\xfcr.wav")
    code, printed, errors = command_line("predict", model, recordings, "--json", "--parquet", tmp_path / "parts")
    assert code == 0 and [Path(result["file"]).name for result in objects(printed)] == ["a.wav", "b.flac"]
    assert errors == [f"passed over: '{recordings}/f\\udcfcr.wav' is a name that is not UTF-8: rename it"]
    refused(["predict", model, os.fsdecode(odd)], "is a name that is not UTF-8: rename it")


FORMS = {
    "8 kHz": (8_000, "wav", "PCM_16", 1),
    "11.025 kHz": (11_025, "wav", "PCM_16", 1),
    "44.1 kHz": (44_100, "wav", "PCM_16", 1),
    "96 kHz": (96_000, "wav", "PCM_16", 1),
    "stereo": (16_000, "wav", "PCM_16", 2),
    "24 bit": (16_000, "wav", "PCM_24", 1),
    "float": (16_000, "wav", "FLOAT", 1),
    "FLAC": (16_000, "flac", "PCM_16", 1),
    "OGG": (16_000, "ogg", "VORBIS", 1),
    "MP3": (16_000, "mp3", "MPEG_LAYER_III", 1),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_recording_in_another_form_has_the_same_label(recognise, speech_table, tmp_path, form):
    rate, ending, subtype, channels = FORMS[form]
    for name in ("anna-angry", "finn-neutral", "emil-sad"):
        original = speech_table.parent / f"{name}-scripted.wav"
        samples = soxr.resample(read_audio(original), 16_000, rate)
        path = tmp_path / f"{name}.{ending}"
        soundfile.write(path, np.stack([samples] * channels, axis=1), rate, subtype=subtype)
        found, expected = (scores(recognise(file)["emotion"]) for file in (path, original))
        assert max(found, key=found.get) == max(expected, key=expected.get)
        assert found == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3"])
def test_standard_input_is_any_sound_file(command_line, model, speech_table, tmp_path, standard_input, ending):
    original = speech_table.parent / "anna-angry-scripted.wav"
    path = tmp_path / f"a.{ending}"
    soundfile.write(path, read_audio(original), 16_000)
    expected = objects(command_line("predict", model, path, "--json")[1])[0]
    standard_input(path.read_bytes())
    code, printed, _ = command_line("predict", model, "-", "--json")
    assert code == 0 and objects(printed) == [{**expected, "file": "-"}]


def test_a_raw_stream_on_standard_input(command_line, refused, model, long_recording, standard_input, tmp_path):
    expected = objects(command_line("predict", model, long_recording, "--json")[1])[0]
    standard_input(soundfile.read(long_recording, dtype="int16")[0].astype("<i2").tobytes())
    code, printed, _ = command_line("predict", model, "-", "--raw-rate", "16000", "--json")
    (found,) = objects(printed)
    assert code == 0 and found["segments"][-1]["end"] == 18.0
    assert scores(found["emotion"]) == pytest.approx(scores(expected["emotion"]), abs=1e-6)
    refused(["predict", model, long_recording, "--raw-rate", "16000"], "--raw-rate 16000", "standard input")
    refused(["predict", model, "-", "--raw-rate", "16000", "--plot", tmp_path], "--plot", "give a file")
    standard_input(b"")
    refused(["predict", model, "-"], "standard input cannot be read as audio")


def test_windows_of_a_short_recording(command_line, refused, model, long_recording):
    arguments = ["predict", model, long_recording, "--json", "--window", "2", "--hop", "1", "--gate", "-60"]
    code, printed, _ = command_line(*arguments)
    segments = objects(printed)[0]["segments"]
    assert code == 0 and (segments[0]["start"], segments[-1]["end"]) == (0, 18)
    refused(["predict", model, long_recording, "--window", "0"], "window_seconds=0", "above 0")
    refused(["predict", model, long_recording, "--window", "1", "--hop", "2"], "hop_seconds=2")
    refused(["predict", model, long_recording, "--threshold", "2"], "threshold=2", "at most 1")


def test_a_csv_table(command_line, model, recordings, tmp_path):
    code, printed, _ = command_line("predict", model, recordings, "--csv", tmp_path / "new" / "a.csv")
    with (tmp_path / "new" / "a.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert (code, printed) == (0, "") and [Path(row["file"]).name for row in rows] == ["a.wav", "b.flac"]
    for row in rows:
        by_label = {label: float(row[f"emotion_{label}"]) for label in ("angry", "neutral", "sad")}
        assert row["emotion"] == max(by_label, key=by_label.get) and sum(by_label.values()) == pytest.approx(
            1, abs=3e-4
        )
        assert all(len(row[name].partition(".")[2]) <= 4 for name in row if name.startswith("emotion_"))
        assert float(row["emotion_score"]) == max(by_label.values()) and row["gender"] in ("female", "male")


def test_subtitles_and_pictures(command_line, refused, model, recordings, long_recording, tmp_path):
    target = tmp_path / "out"
    code, _, _ = command_line(
        "predict", model, recordings, long_recording, "--srt", target, "--plot", target, "--json"
    )
    names = ("long", "recordings/a", "recordings/b")
    assert code == 0 and all((target / f"{name}.srt").is_file() for name in names)
    for name in names:
        with Image.open(target / f"{name}.png") as picture:
            assert picture.width > 1_000 and len(picture.convert("RGB").getcolors(1 << 20)) > 20

    only = tmp_path / "only.srt"
    code, printed, _ = command_line("predict", model, long_recording, "--srt", only, "--json")
    segments = objects(printed)[0]["segments"]
    cues = only.read_text(encoding="utf-8").strip().split("\n\n")
    assert len(cues) == len(segments)
    assert cues[0].startswith("1\n00:00:00,000 --> 00:00:") and cues[-1].splitlines()[1].endswith("00:00:18,000")
    assert cues[0].splitlines()[2].split()[0] == segments[0]["emotion"][0]["label"]
    refused(["predict", model, recordings, "--srt", only], "one file for 2 recordings")
    refused(["predict", model, recordings, "--plot", tmp_path / "p.png"], "p.png", "one file for 2 recordings")
    assert not (tmp_path / "p.png").exists()
    picture = tmp_path / "only.png"
    assert command_line("predict", model, long_recording, "--plot", picture, "--json")[0] == 0 and picture.is_file()


@pytest.fixture
def many(tmp_path) -> list[str]:
    """Twenty recordings of as many lengths, in no order, and one that is too short for the encoder."""
    chance = np.random.default_rng(1)
    samples = [*chance.permutation(np.linspace(1_600, 16_000, 20).astype(int)), 100]
    paths = [tmp_path / f"{number:02}.wav" for number in range(len(samples))]
    for path, count in zip(paths, samples, strict=True):
        soundfile.write(path, chance.normal(scale=0.1, size=count), 16_000)
    return [str(path) for path in paths]


class OnAnotherDevice:
    """A pipeline whose device is not the CPU: there, recordings go together."""

    def __init__(self, recognise: SpeechEmotionPipeline):
        self.recognise, self.device, self.sizes = recognise, torch.device("cuda"), []
        self.processor, self._batch_size = recognise.processor, 3

    def __call__(self, recordings):
        self.sizes.append(len(recordings) if isinstance(recordings, list) else 1)
        return self.recognise(recordings, batch_size=self._batch_size)


@pytest.mark.parametrize("together", [False, True])
def test_many_recordings_give_what_each_gives_alone_in_their_order(model, many, together):
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        recognise = load_pipeline(model, {}, 2, "cpu")
        asked = OnAnotherDevice(recognise) if together else recognise
        found = list(recognise_all(asked, many))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    assert [name for name, _, _ in found] == many
    assert "shorter than" in str(found[-1][2]) and many[-1] in str(found[-1][2])
    for name, _, result in found[:-1]:
        expected = recognise(name)
        assert result["transcript"] == expected["transcript"]
        for task in ("emotion", "gender", "style"):
            scores = {entry["label"]: entry["score"] for entry in result[task]}
            assert scores == pytest.approx({entry["label"]: entry["score"] for entry in expected[task]}, abs=1e-5)
    if together:
        assert max(asked.sizes) == 3


def test_half_precision_on_request(model, many, command_line):
    single = json.loads(command_line("predict", model, many[0], "--json")[1])
    half = json.loads(command_line("predict", model, many[0], "--json", "--precision", "bf16")[1])
    scores = [{entry["label"]: entry["score"] for entry in result["emotion"]} for result in (single, half)]
    assert scores[1] == pytest.approx(scores[0], abs=0.02) and scores[0] != scores[1]
    code, _, errors = command_line("predict", model, many[0], "--precision", "fp8")
    assert (code, errors) == (2, ["ser-meta: --precision fp8 is none of fp32, bf16"])


def test_a_file_is_named_after_its_recording(tmp_path):
    def names(*given):
        return [
            str(path) for path in output_paths(Path("out"), [str(tmp_path / name) for name in given], ".srt").values()
        ]

    assert names("talk.wav") == ["out/talk.srt"]
    assert names("a/talk.wav", "b/talk.wav", "b/talk.v2.wav") == [
        "out/a/talk.srt",
        "out/b/talk.srt",
        "out/b/talk.v2.srt",
    ]
    # what differs in its ending only keeps it
    assert names("talk.wav", "talk.flac", "other.mp3") == ["out/talk.wav.srt", "out/talk.flac.srt", "out/other.srt"]
    assert len(set(names("a.wav", "a.flac", "a.wav.wav"))) == 3
    # nothing is written outside the folder
    assert names("b/../a/talk.wav", "b/talk.wav") == ["out/a/talk.srt", "out/b/talk.srt"]


def test_segments_of_another_task(command_line, refused, model, long_recording, tmp_path):
    asked = ["predict", model, long_recording, "--task", "gender"]
    code, printed, errors = command_line(*asked, "--srt", tmp_path, "--plot", tmp_path, "--json")
    (result,) = objects(printed)
    assert code == 0 and not errors and list(result) == ["file", "gender", "segments"]
    words = [cue.splitlines()[2].split()[0] for cue in (tmp_path / "long.srt").read_text().strip().split("\n\n")]
    assert words == [segment["gender"][0]["label"] for segment in result["segments"]]
    assert (tmp_path / "long.png").is_file()
    for option in ("--srt", "--plot", "--segments"):
        refused(
            [*asked[:-1], "transcript", option, tmp_path / "x"], option, "name a --task that has one label at a time"
        )


def test_a_table_of_segments(command_line, model, long_recording, recordings, tmp_path):
    code, printed, _ = command_line(
        "predict", model, long_recording, recordings / "a.wav", "--segments", tmp_path / "s.csv", "--json"
    )
    rows = list(csv.DictReader((tmp_path / "s.csv").open(encoding="utf-8", newline="")))
    segments = [(result["file"], segment) for result in objects(printed) for segment in result["segments"]]
    assert code == 0 and len(rows) == len(segments) and {file for file, _ in segments} == {row["file"] for row in rows}
    for row, (file, segment) in zip(rows, segments, strict=True):
        assert (row["file"], float(row["start"]), float(row["end"])) == (file, segment["start"], segment["end"])
        for task in ("emotion", "gender", "style"):
            assert row[task] == segment[task][0]["label"]
        assert row["transcript"] == segment["transcript"]


@pytest.fixture
def silent(tmp_path) -> Path:
    """Four seconds of a dead channel with an offset."""
    soundfile.write(tmp_path / "silent.wav", np.full(64_000, 0.01), 16_000)
    return tmp_path / "silent.wav"


def test_what_is_abstained_from_is_no_emotion_in_any_table(
    command_line, model, silent, recordings, long_recording, tmp_path, monkeypatch
):
    table, parts = tmp_path / "a.csv", tmp_path / "parts"
    asked = ["predict", model, silent, recordings / "a.wav", "--threshold", "1"]
    code, _, errors = command_line(*asked, "--csv", table, "--parquet", parts)
    assert code == 0 and not errors
    rows = list(csv.DictReader(table.open(encoding="utf-8", newline="")))
    assert [(row["emotion"], row["abstained"]) for row in rows] == [("", "True")] * 2
    assert [row["duration"] for row in rows] == ["4.0", f"{len(NOISE) / 44_100:.4f}"]
    of_tasks = [name for name in rows[0] if name.startswith(("emotion", "gender", "style", "transcript"))]
    assert all(rows[0][name] == "" for name in of_tasks) and all(rows[1][name] for name in ("emotion_sad", "gender"))
    (first, second) = pyarrow.parquet.read_table(parts).to_pylist()
    assert first["emotion"] is None and second["emotion"] is None and first["emotion_sad"] is None
    assert first["duration"] == 4 and second["gender"] in ("female", "male")

    monkeypatch.setenv("COLUMNS", "200")
    code, printed, _ = command_line(*asked[:3])
    (row,) = [line for line in printed.splitlines() if "silent.wav" in line]
    assert row.split() == [str(silent), "silent"]
    assert command_line("predict", model, long_recording, "--threshold", "1", "--srt", tmp_path)[0] == 0
    cues = (tmp_path / "long.srt").read_text().strip().split("\n\n")
    assert {cue.splitlines()[2] for cue in cues} == {"uncertain"}


def test_each_channel_of_a_call(command_line, refused, model, recognise, tmp_path):
    left, right = np.random.default_rng(1).normal(0, 0.1, (2, 16_000))
    call = tmp_path / "call.wav"
    soundfile.write(call, np.stack([left, 0.1 * right], axis=1), 16_000, subtype="FLOAT")
    asked = ["predict", model, call, "--json", "--channels"]
    alone = [recognise({"path": str(call), "channel": number}) for number in (0, 1)]
    for words, numbers in (("separate", (0, 1)), ("left", (0,)), ("right", (1,)), ("1", (1,))):
        code, printed, _ = command_line(*asked, words)
        found = objects(printed)
        assert code == 0 and [result["channel"] for result in found] == list(numbers)
        for result, number in zip(found, numbers, strict=True):
            assert list(result)[:2] == ["file", "channel"] and result["file"] == str(call)
            assert scores(result["emotion"]) == pytest.approx(scores(alone[number]["emotion"]), abs=1e-5)
    out, parts = tmp_path / "out", tmp_path / "parts"
    again = [*asked[:3], "--channels", "separate", "--parquet", parts, "--srt", out, "--plot", out]
    for _ in range(2):
        assert command_line(*again)[0] == 0
    assert [row["channel"] for row in pyarrow.parquet.read_table(parts).to_pylist()] == [0, 1]
    assert {path.name for path in out.iterdir()} == {
        f"call-channel-{n}.{kind}" for n in (0, 1) for kind in ("srt", "png")
    }
    refused([*asked, "middle"], "--channels middle", "none of mix, separate, left, right, 0")
    refused([*asked, "2"], str(call), "no channel 2")
    refused([*asked[:3], "--channels", "separate", "--srt", tmp_path / "c.srt"], "c.srt", "channels")


def test_a_folder_of_all_kinds_of_files(command_line, model, tmp_path, monkeypatch):
    monkeypatch.setattr("ser_meta.modeling_ser_meta.sound_files_ser_meta.av", None)
    folder = tmp_path / "calls"
    (folder / ".trash").mkdir(parents=True)
    for name, kind in (("a.aifc", "AIFF"), ("b.w64", "W64"), ("c.rf64", "RF64"), ("d.sph", "NIST"), ("e.caf", "CAF")):
        soundfile.write(folder / name, NOISE, 16_000, format=kind, subtype="PCM_16")
    for name in ("._a.wav", ".hidden.wav", ".trash/f.wav", "memo.m4a", "sub.mp4"):
        (folder / name).write_bytes(b"not for us")
    code, printed, errors = command_line("predict", model, folder, "--json")
    assert code == 0 and [Path(result["file"]).name[0] for result in objects(printed)] == list("abcde")
    assert (
        len(errors) == 1
        and "2 files such as" in errors[0]
        and ".m4a, .mp4" in errors[0]
        and "passed over" in errors[0]
        and 'pip install "ser-meta[media]"' in errors[0]
    )


def test_how_far_it_is_where_nobody_looks_at_a_terminal(command_line, model, long_recording, monkeypatch):
    monkeypatch.setattr("ser_meta.training.prediction.listening.LINE_SECONDS", 0)
    code, _, errors = command_line("predict", model, long_recording, "--json")
    assert code == 0 and errors == [f"{long_recording}: {seconds} of 18 s" for seconds in (10, 18)]


def test_what_cannot_be_written_is_told(refused, model, long_recording, tmp_path):
    (tmp_path / "full").write_text("a file, and no folder")
    for option, told in {"--srt": "written", "--plot": "written", "--csv": "made", "--embeddings": "made"}.items():
        asked = ["predict", model, long_recording, option, tmp_path / "full" / "x"]
        refused(asked, tmp_path / "full", f"cannot be {told}")
    for option in ("--csv", "--segments", "--embeddings"):
        asked = ["predict", model, long_recording, option, "/dev/full"]
        refused(asked, "/dev/full cannot be written:", "No space left on device")
    asked = ["predict", model, long_recording, "--annotations"]
    refused([*asked, tmp_path / "full" / "x.rttm"], tmp_path / "full", "cannot be made")
    (tmp_path / "x.rttm").symlink_to("/dev/full")
    refused([*asked, tmp_path / "x.rttm"], tmp_path / "x.rttm", "cannot be written: No space left on device")
