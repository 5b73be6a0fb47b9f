"""Conversations: turns that are given or found, each speaker over time, and a model that is centred by speaker."""

import csv
import json
import os
import shutil

import numpy as np
import pytest
import soundfile
import torch
from exportable import assert_same_result
from PIL import Image

from ser_meta.configuration.errors import UserError
from ser_meta.hub_cards.page.conversation import parts_of, speaker_summaries, summary_rows
from ser_meta.modeling_ser_meta import SerMetaConfig, SerMetaModel
from ser_meta.training.prediction.recognition import load_pipeline
from ser_meta.training.prediction.turns import Turn, diarized, read_turns, turns_by_recording

RATE = 16_000
TURNS = [("anna", 0.5, 2.0), ("bela", 2.4, 4.1), ("anna", 4.6, 6.0), ("bela", 6.5, 8.0)]


def spoken(seconds: float, pitch: float) -> np.ndarray:
    samples = round(seconds * RATE)
    tone = np.sin(np.arange(samples) * 2 * np.pi * pitch / RATE)
    return 0.2 * tone * np.where((np.arange(samples) // 1_600) % 3 < 2, 1, 0.03)


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    """A call of two channels, a speaker on each, and an RTTM file beside it."""
    channels = np.random.default_rng(0).normal(scale=1e-3, size=(2, round(8.6 * RATE)))
    for number, (speaker, start, end) in enumerate(TURNS):
        part = spoken(end - start, 200 + 150 * number)
        channels[int(speaker == "bela"), round(start * RATE) :][: len(part)] += part
    folder = tmp_path_factory.mktemp("calls")
    soundfile.write(folder / "call.wav", channels.T, RATE)
    lines = [
        f"SPEAKER call {1 + (speaker == 'bela')} {start:.2f} {end - start:.2f} <NA> <NA> {speaker} <NA> <NA>"
        for speaker, start, end in TURNS
    ]
    (folder / "call.rttm").write_text("\n".join(["SPKR-INFO call 1 <NA> <NA> <NA> unknown anna <NA> <NA>", *lines]))
    return folder / "call.wav"


@pytest.fixture(scope="module")
def model(finished_run):
    return finished_run / "model"


def test_turns_that_are_given_are_those_parts_of_the_recording(command_line, model, call, tmp_path):
    outputs = {name: tmp_path / name for name in ("turns.csv", "speakers.csv", "call.srt", "call.png", "heard.rttm")}
    code, printed, errors = command_line(
        *("predict", model, call, "--turns", call.with_suffix(".rttm"), "--channels", "separate", "--json"),
        *("--segments", outputs["turns.csv"], "--speakers", outputs["speakers.csv"]),
        *("--srt", outputs["call.srt"], "--plot", outputs["call.png"], "--annotations", outputs["heard.rttm"]),
    )
    assert code == 0, errors
    (result,) = map(json.loads, printed.splitlines())
    found = [(segment["speaker"], segment["start"], segment["end"]) for segment in result["segments"]]
    assert [(name, start) for name, start, _ in found] == [(name, start) for name, start, _ in TURNS]
    assert [end for *_, end in found] == pytest.approx([end for *_, end in TURNS])
    recognise = load_pipeline(model, {}, 1, None)
    for segment, (speaker, start, end) in zip(result["segments"], TURNS, strict=True):
        alone = recognise({"path": call, "start": start, "end": end, "channel": int(speaker == "bela")})
        scores = [{entry["label"]: entry["score"] for entry in each["emotion"]} for each in (segment, alone)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-4)
    assert [row["speaker"] for row in read(outputs["turns.csv"])] == [speaker for speaker, *_ in TURNS]
    rows = [row for row in read(outputs["speakers.csv"]) if row["part"] == "whole"]
    assert [(row["speaker"], row["turns"], float(row["seconds"])) for row in rows] == [
        ("anna", "2", 2.9),
        ("bela", "2", 3.2),
    ]
    shares = [float(value) for name, value in rows[0].items() if name.startswith("share_")]
    assert sum(shares) == pytest.approx(1, abs=1e-3)
    heard = [(turn.speaker, turn.start) for turn in read_turns(outputs["heard.rttm"])]
    assert sorted(heard) == sorted((speaker, start) for speaker, start, _ in TURNS)
    assert "anna: " in outputs["call.srt"].read_text() and Image.open(outputs["call.png"]).width > 800


def read(path) -> list[dict]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_turns_that_are_found_are_those_of_a_stream(command_line, model, call):
    code, printed, errors = command_line(
        "predict", model, call, "--turns", "found", "--channels", "separate", "--json"
    )
    assert code == 0, errors
    result = json.loads(printed)
    assert set(result["speakers"]) == {"channel 0", "channel 1"}
    samples, _ = soundfile.read(call, dtype="float32")
    recognise = load_pipeline(model, {}, 1, None)
    for channel in (0, 1):
        turns = list(recognise.stream(RATE).turns(np.array_split(samples[:, channel], 50)))
        segments = [segment for segment in result["segments"] if segment["channel"] == channel]
        assert [(each["start"], each["end"]) for each in segments] == [(turn["start"], turn["end"]) for turn in turns]
        assert [each["confidence"] for each in segments] == pytest.approx([turn["confidence"] for turn in turns])
        assert len(turns) == 2


def test_another_backend_hears_the_same_turns(command_line, model, call, network_cache):
    pytest.importorskip("onnxruntime")
    turns, told = ("--turns", "found", "--channels", "separate", "--json", "--backend"), {}
    for backend in ("torch", "onnx"):
        code, printed, errors = command_line("predict", model, call, *turns, backend)
        assert code == 0, errors
        told[backend] = json.loads(printed)
    assert_same_result(told["onnx"], told["torch"], tolerance=1e-3)


def test_a_speaker_is_centred_by_their_own_turns(command_line, model, call, tmp_path):
    centred = shutil.copytree(model, tmp_path / "centred")
    config = SerMetaConfig.from_pretrained(model, standardize_states=True, center_by=["speaker"])
    torch.manual_seed(0)
    other = SerMetaModel(config)
    other.load_state_dict(SerMetaModel.from_pretrained(model).state_dict(), strict=False)
    other.save_pretrained(centred)
    anna = tmp_path / "anna"
    anna.mkdir()
    samples, _ = soundfile.read(call)
    for number, (speaker, start, end) in enumerate(TURNS):
        if speaker == "anna":
            part = samples[round(start * RATE) : round(end * RATE), 0]
            soundfile.write(anna / f"{number}.wav", part, RATE)
    assert command_line("adapt", centred, anna, "--output", tmp_path / "adapted")[0] == 0
    _, printed, errors = command_line("predict", tmp_path / "adapted", anna, "--json")
    expected = [json.loads(line)["emotion"] for line in printed.splitlines()]
    turns = ("--turns", call.with_suffix(".rttm"), "--channels", "separate", "--json")
    code, printed, errors = command_line("predict", centred, call, *turns)
    assert (code, errors) == (0, [])
    found = [each["emotion"] for each in json.loads(printed)["segments"] if each["speaker"] == "anna"]
    for mine, wanted in zip(found, expected, strict=True):
        scores = [{entry["label"]: entry["score"] for entry in each} for each in (mine, wanted)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-4)
    code, _, errors = command_line("predict", centred, call, *turns, "--backend", "onnx")
    assert code == 2 and errors[0].endswith("centred by each speaker of a conversation: leave it out")
    assert command_line("predict", centred, call, *turns, "--backend", "auto")[0] == 0


def test_a_conversation_of_silence_does_not_hold_up_the_others(command_line, model, call, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(2 * RATE), RATE)
    shutil.copy(call, tmp_path / "call.wav")
    (tmp_path / "turns.csv").write_text("file,start,end,speaker\na,0,1.5,anna\ncall,0.5,2,anna\n")
    told = {}
    for names in (["call.wav"], ["a.wav", "call.wav"]):
        recordings = [tmp_path / name for name in names]
        asked = ("--turns", tmp_path / "turns.csv", "--csv", tmp_path / "told.csv", "--least-familiar", "0")
        code, _, errors = command_line("predict", model, *recordings, *asked)
        assert code == 0, errors
        told[len(names)] = list(csv.DictReader((tmp_path / "told.csv").open()))
    silent, spoken_too = told[2]
    assert [spoken_too] == told[1] and silent["abstained_because"] == "silent"
    assert silent["emotion"] == silent["emotion_score"] == silent["familiar"] == ""


def test_tables_of_turns(tmp_path):
    (tmp_path / "turns.csv").write_text("file,start,end,speaker,channel\ncall.wav,0,1.5,anna,left\ncall.wav,2,3,,\n")
    turns = read_turns(tmp_path / "turns.csv")
    assert turns == [Turn("call.wav", 0, 1.5, "anna", 0), Turn("call.wav", 2, 3, None, None)]
    assert turns_by_recording(turns, ["calls/call.wav", "calls/b.wav"]) == {"calls/call.wav": turns}
    unnamed = [Turn(None, 0, 1)]
    assert turns_by_recording(unnamed, ["b.wav", "./b.wav"]) == {"b.wav": unnamed, "./b.wav": unnamed}
    assert turns_by_recording(unnamed, ["a.wav", "b.wav"]) == {}


def test_a_turn_names_its_recording_by_the_path_or_the_end_of_it():
    recordings = ["a.wav", "sub/a.wav", "sub/deep/b.v2.wav", "c/b.wav", "c/b.flac"]
    expected = {
        "a.wav": ["a.wav", "./a", "a", os.path.abspath("a.wav")],
        "sub/a.wav": ["sub/a", "sub/a.wav"],
        "sub/deep/b.v2.wav": ["b.v2", "deep/b.v2.wav", "sub/deep/b.v2"],
        "c/b.wav": ["b.wav"],
    }
    turns = {name: [Turn(called, 0, 1) for called in those] for name, those in expected.items()}
    assert turns_by_recording([turn for those in turns.values() for turn in those], recordings) == turns
    for called, either in {"b": "c/b.flac or of .*c/b.wav", "c/b": "c/b.flac or of .*c/b.wav"}.items():
        with pytest.raises(UserError, match=rf"the turns of {called} could be of .*{either}: name the file with its"):
            turns_by_recording([Turn(called, 0, 1)], recordings)


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("a.rttm", "SPEAKER call 1 0.5\n", "line 1 is not SPEAKER file channel start duration"),
        ("a.rttm", "SPEAKER call 1 x 1 <NA> <NA> anna <NA> <NA>", "line 1 is not SPEAKER file channel start duration"),
        ("a.rttm", "SPEAKER call 1 5 0 <NA> <NA> anna <NA> <NA>", "from 5 s to 5 s is no turn"),
        ("a.rttm", "", "has no turns"),
        ("a.csv", "begin,end\n0,1\n", "has no column start: its columns are begin, end"),
        ("a.csv", "start,end,channel\n0,1,front\n", "row 1: channel='front' is none of mix, left"),
        ("a.csv", "start,end\nsoon,1\n", "row 1: 'soon' is no time in seconds"),
        ("a.docx", "", "turns are read from .rttm"),
    ],
)
def test_turns_that_cannot_be_read(tmp_path, name, text, part):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=name) as error:
        read_turns(tmp_path / name)
    assert part in str(error.value)


def test_what_does_not_go_together(refused, model, call):
    rttm = call.with_suffix(".rttm")
    refused(["predict", model, call, "--turns", rttm, "--diarization", "x"], "give one of them")
    refused(["predict", model, call, "--turns", rttm, "--task", "speaker"], "speaker is who they say it is")
    refused(["predict", model, call, "--turns", call.parent / "none.rttm"], "no such file; give RTTM, TextGrid")
    refused(["predict", model, call, "--speakers", "a.csv"], "--speakers a.csv needs --turns")
    refused(["predict", model, call, "--turns", rttm, "--parquet", "parts"], "--parquet parts: turns are written as")


def test_a_diarization_that_is_not_installed_is_said_to_be():
    with pytest.raises(UserError, match=r'needs the library pyannote.audio .*pip install "ser-meta\[diarization\]"'):
        diarized("pyannote/speaker-diarization-3.1", "cpu")


def test_shares_of_a_speaker_are_of_the_time_they_speak():
    def turn(number, speaker, start, end, label, **more):
        return {"turn": number, "speaker": speaker, "start": start, "end": end, **more,
                "emotion": [{"label": label, "score": 0.9}]}  # fmt: skip

    segments = [
        turn(0, "anna", 0.0, 30.0, "sad"),
        turn(1, "bela", 30.0, 40.0, "happy", abstained=True),
        turn(2, "anna", 50.0, 60.0, "angry"),
        turn(3, "anna", 60.0, 70.0, "sad", silent=True, abstained=True),
    ]
    anna, bela = speaker_summaries(segments).values()
    assert (anna["turns"], anna["seconds"], anna["shares"]) == (3, 50.0, {"sad": 0.75, "angry": 0.25})
    assert bela["shares"] == {"uncertain": 1.0}
    assert [part["shares"] for part in anna["over_time"]] == [
        *[{"sad": 1.0}] * 3,
        {},
        {},
        {"angry": 1.0},
        {},
    ]
    rows = summary_rows({"speakers": speaker_summaries(segments)}, ["angry", "happy", "sad"])
    assert [row["part"] for row in rows[:3]] == ["whole", 1, 2] and rows[0]["share_sad"] == 0.75
    assert parts_of(3_600.0)[:2] == [(0.0, 600.0), (600.0, 1200.0)] and parts_of(5.0) == [(0.0, 5.0)]
