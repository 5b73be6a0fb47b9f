"""`ser-meta predict --table`: the rows of a table are recognised, and keep their ids."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import soundfile
from datasets import Audio, Dataset

from ser_meta.modeling_ser_meta import SpeechEmotionPipeline
from ser_meta.training.runs.loading import load_model

RATE = 16_000
ROWS = (("u/1", "", ""), ("u2", "500", "2500"), ("u3", "17000", ""), ("u4", "", "1000"))  # times in milliseconds


@pytest.fixture(scope="module")
def model(finished_run) -> Path:
    return finished_run / "model"


@pytest.fixture(scope="module")
def recognise(model) -> SpeechEmotionPipeline:
    loaded, processor = load_model(model)
    return SpeechEmotionPipeline(model=loaded, processor=processor)


@pytest.fixture
def call(tmp_path) -> Path:
    """Eighteen seconds of three pitches, in a folder of its own."""
    time, noise = np.arange(6 * RATE) / RATE, np.random.default_rng(0).normal(0, 0.01, 18 * RATE)
    tones = [0.1 * np.sin(2 * np.pi * pitch * time) for pitch in (120.0, 600.0, 200.0)]
    path = tmp_path / "calls" / "call.wav"
    path.parent.mkdir()
    soundfile.write(path, np.concatenate(tones) + noise, RATE)
    return path


@pytest.fixture
def table(call, tmp_path) -> list[str]:
    """A TSV of segments of one call, and the settings that it takes; of what it says of labels nothing is right."""
    path = tmp_path / "calls.tsv"
    lines = [["name", "path", "begin", "stop", "emotion", "speaker"]]
    lines += [[name, call.name, start, end, "['a', 'b']", "NA"] for name, start, end in ROWS]
    path.write_text("\n".join("\t".join(line) for line in lines), encoding="utf-8")
    columns = "columns={utterance_id: name, audio: path, start: begin, end: stop}"
    return ["--table", str(path), columns, "time_unit=ms", f"audio_root={call.parent}"]


def part(call, start, end) -> dict:
    return {"path": str(call), "start": start, "end": end}


def scores(entries) -> dict[str, float]:
    return {entry["label"]: entry["score"] for entry in entries}


def test_each_row_is_recognised_as_that_part_of_its_recording(command_line, model, recognise, call, table):
    code, printed, errors = command_line("predict", model, *table, "--json")
    results = [json.loads(line) for line in printed.splitlines()]
    assert code == 0 and not errors
    times = [(None, None), (0.5, 2.5), (17.0, None), (None, 1.0)]
    assert [(result["utterance_id"], result["start"], result["end"]) for result in results] == [
        (name, *own) for (name, *_), own in zip(ROWS, times, strict=True)
    ]
    for result, (start, end) in zip(results, times, strict=True):
        expected = recognise(part(call, start, end))
        assert result["file"] == str(call)
        assert list(result)[:4] == ["utterance_id", "file", "start", "end"]
        assert scores(result["emotion"]) == pytest.approx(scores(expected["emotion"]), abs=1e-5)
        assert result["transcript"] == expected["transcript"]
    assert scores(results[1]["emotion"]) != pytest.approx(scores(results[2]["emotion"]), abs=1e-3)


def test_tables_of_results_name_the_rows(command_line, model, call, table, tmp_path):
    single, segments, parts = (tmp_path / name for name in ("a.csv", "s.csv", "parts"))
    asked = ["predict", model, *table, "--csv", single, "--segments", segments, "--parquet", parts]
    code, printed, errors = command_line(*asked, "--window", "0.5")
    assert code == 0 and not printed and not errors
    rows = list(csv.DictReader(single.open(encoding="utf-8", newline="")))
    kept = pyarrow.parquet.read_table(parts).to_pylist()
    assert list(rows[0])[:5] == ["utterance_id", "file", "start", "end", "duration"] == list(kept[0])[:5]
    of_rows = [
        ("u/1", "", "", "18.0"),
        ("u2", "0.5", "2.5", "2.0"),
        ("u3", "17.0", "", "1.0"),
        ("u4", "", "1.0", "1.0"),
    ]
    assert [tuple(row[name] for name in ("utterance_id", "start", "end", "duration")) for row in rows] == of_rows
    assert [(row["utterance_id"], row["start"], row["end"]) for row in kept] == [
        (name, *(float(time) if time else None for time in times)) for name, *times, _ in of_rows
    ]
    assert {row["file"] for row in [*rows, *kept]} == {str(call)}
    # the times of segments are the recording's
    of_segments = list(csv.DictReader(segments.open(encoding="utf-8", newline="")))
    mine = [row for row in of_segments if row["utterance_id"] == "u2"]
    assert float(mine[0]["start"]) == 0.5 and float(mine[-1]["end"]) == 2.5
    assert [(entry["start"], entry["end"]) for entry in kept[1]["segments"]] == [
        (float(row["start"]), float(row["end"])) for row in mine
    ]


def test_a_second_call_goes_on_by_utterance(command_line, refused, model, call, table, tmp_path):
    path, parts = Path(table[1]), tmp_path / "parts"
    lines = path.read_text().splitlines()
    asked = ["predict", model, *table, "--parquet", parts]
    path.write_text("\n".join(lines[:3]))
    assert command_line(*asked)[0] == 0
    path.write_text("\n".join([lines[0], *reversed(lines[1:])]))
    assert command_line(*asked)[0] == 0
    kept = [row["utterance_id"] for row in pyarrow.parquet.read_table(parts).to_pylist()]
    assert kept == ["u/1", "u2", "u4", "u3"] and len(list(parts.glob("part-*"))) == 2
    path.write_text("\n".join(lines).replace("2500", "2600"))
    refused(asked, parts, "u2", "another part", "another --parquet folder")
    refused(["predict", model, call, "--parquet", parts], parts, "other options")


def test_subtitles_and_pictures_are_named_after_the_rows(command_line, refused, model, table, tmp_path):
    out = tmp_path / "out"
    code, _, _ = command_line("predict", model, *table, "--srt", out, "--plot", out, "--json")
    assert code == 0
    assert {path.name for path in out.iterdir()} == {
        f"{name}.{kind}" for name in ("u%2F1", "u2", "u3", "u4") for kind in ("srt", "png")
    }
    cues = (out / "u2.srt").read_text().strip().split("\n\n")
    assert cues[0].splitlines()[1].startswith("00:00:00,500 -->")
    assert cues[-1].splitlines()[1].endswith("--> 00:00:02,500")
    refused(["predict", model, *table, "--srt", tmp_path / "one.srt"], "one file for 4 recordings")


def test_on_the_screen_stand_the_ids(command_line, model, table, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    code, printed, _ = command_line("predict", model, *table, "--task", "gender")
    assert code == 0
    found = [line.split() for line in printed.splitlines() if line.strip().startswith("u")]
    assert [(line[0], line[1] in ("female", "male")) for line in found] == [(name, True) for name, *_ in ROWS]


def test_each_channel_of_a_row(command_line, model, recognise, call, table):
    left, right = np.random.default_rng(1).normal(0, 0.1, (2, 18 * RATE))
    soundfile.write(call, np.stack([left, 0.1 * right], axis=1), RATE, subtype="FLOAT")
    code, printed, _ = command_line("predict", model, *table, "--json", "--channels", "separate")
    results = [json.loads(line) for line in printed.splitlines()]
    assert code == 0 and [(r["utterance_id"], r["channel"]) for r in results][2:4] == [("u2", 0), ("u2", 1)]
    for result in results[2:4]:
        expected = recognise({**part(call, 0.5, 2.5), "channel": result["channel"]})
        assert scores(result["emotion"]) == pytest.approx(scores(expected["emotion"]), abs=1e-5)


def test_rows_that_cannot_be_used_hold_up_no_other(command_line, model, call, unusable, tmp_path, caplog):
    unusable("text", call.parent)
    table = tmp_path / "t.csv"
    table.write_text("audio,start,end\ncall.wav,1,2\ngone.wav,,\ntext.wav,,\ncall.wav,17,19\n")
    code, printed, errors = command_line("predict", model, "--table", table, f"audio_root={call.parent}", "--json")
    assert code == 1 and [json.loads(line)["utterance_id"] for line in printed.splitlines()] == ["call.wav[1-2]"]
    assert "left out: missing recording: 1 of 4 rows, such as gone.wav" in caplog.text
    assert len(errors) == 2
    assert errors[0].startswith("ser-meta: text.wav: ") and "cannot be read as audio" in errors[0]
    assert errors[1].startswith("ser-meta: call.wav[17-19]: ") and "which lasts 18.000 s" in errors[1]
    table.write_text("audio\ncall.wav\ngone.wav\n")
    assert command_line("predict", model, "--table", table, f"audio_root={call.parent}", "--json")[0] == 1


def test_recordings_inside_a_table(command_line, model, recognise, call, tmp_path):
    saved = tmp_path / "saved"
    data = {"audio": [{"bytes": call.read_bytes(), "path": None}] * 2, "start": [1.0, 6.5], "end": [2.0, 8.0]}
    dataset = Dataset.from_dict({**data, "utterance_id": ["a", "b"]}).cast_column("audio", Audio(decode=False))
    dataset.save_to_disk(saved)
    code, printed, errors = command_line("predict", model, "--table", saved, "--json")
    results = [json.loads(line) for line in printed.splitlines()]
    assert code == 0, errors
    assert [(result["utterance_id"], result["file"]) for result in results] == [("a", None), ("b", None)]
    expected = recognise(part(call, 6.5, 8.0))
    assert scores(results[1]["emotion"]) == pytest.approx(scores(expected["emotion"]), abs=1e-5)


def test_a_table_that_cannot_be_meant_is_refused(refused, model, call, table, tmp_path):
    asked = ["predict", model, *table]
    refused(["predict", model], "nothing to recognise", "--table")
    refused([*asked, call], f"{call} stands beside --table {table[1]}")
    refused([*asked, "--raw-rate", "8000"], "--raw-rate 8000", "standard input")
    refused([*asked[:5], "colums={audio: path}"], "unknown option 'colums'", "columns")
    refused(asked[:4], "no column 'audio'", "as columns={audio: path}")
    refused([*asked[:-1]], f"--table {table[1]}", "not one of 4 recordings is there", "audio_root=FOLDER")
    path = Path(table[1])
    path.write_text("\n".join(line for line in path.read_text().splitlines() if not line.startswith("u/1")))
    refused([*asked[:-2], *asked[-1:]], "u2: ", "is not in the recording", "3 of 3 segments", "time_unit=ms")
    refused(["predict", model, "--table", tmp_path / "no.csv"], "no.csv cannot be read")


@pytest.mark.parametrize("setting", [["colums={}"], []])
def test_its_mistakes_are_told_without_the_heavy_imports(tmp_path, setting):
    (tmp_path / "t.csv").write_text("audio\ngone.wav\n")
    (tmp_path / "config.json").write_text('{"model_type": "ser_meta"}')
    asked = ["predict", tmp_path, "--table", tmp_path / "t.csv", *setting]
    program = [sys.executable, "-X", "importtime", "-m", "ser_meta.training", *map(str, asked)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "ser-meta: " in done.stderr.splitlines()[-1]
    imported = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "typer" in imported and not imported & {"torch", "transformers", "datasets", "pandas", "sklearn"}
