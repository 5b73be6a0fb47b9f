"""`ser-meta predict` over many recordings: shards, tables of bytes, Parquet parts that are gone on with."""

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import killable
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import soundfile
import torch

from ser_meta.configuration.run_folder import read_json
from ser_meta.training.prediction import parquet_parts, recognition

NOISE = 0.1 * np.random.default_rng(0).normal(size=8_000)


@pytest.fixture(scope="module")
def model(finished_run) -> Path:
    return finished_run / "model"


@pytest.fixture
def recordings(tmp_path) -> Path:
    folder = tmp_path / "recordings"
    folder.mkdir()
    for number in range(10):
        soundfile.write(folder / f"{number:02}.flac", np.roll(NOISE, number)[: 6_000 + 137 * number], 16_000)
    return folder


@pytest.fixture
def shards(recordings, tmp_path) -> str:
    """Two WebDataset shards, each recording with what is known of it beside it; the pattern of their names."""
    for place in range(2):
        with tarfile.open(tmp_path / f"shard-{place}.tar", "w") as shard:
            for path in sorted(recordings.iterdir())[5 * place : 5 * place + 5]:
                shard.add(path, f"calls/{path.name}")
                described = json.dumps({"speaker": "anna"}).encode()
                facts = tarfile.TarInfo(f"calls/{path.stem}.json")
                facts.size = len(described)
                shard.addfile(facts, io.BytesIO(described))
    return str(tmp_path / "shard-*.tar")


def rows_of(folder: Path) -> list[dict]:
    return pyarrow.parquet.read_table(folder).to_pylist()


def answers(rows: list[dict]) -> list[dict]:
    return [{name: value for name, value in row.items() if name not in ("file", "utterance_id")} for row in rows]


@pytest.fixture
def expected(command_line, model, recordings, tmp_path) -> list[dict]:
    """The rows of the recordings as files, in one part."""
    assert command_line("predict", model, recordings, "--parquet", tmp_path / "expected")[0] == 0
    rows = rows_of(tmp_path / "expected")
    assert [Path(row["file"]).name for row in rows] == [f"{number:02}.flac" for number in range(10)]
    return rows


def test_parts_are_completed_and_more_recordings_added(command_line, refused, model, recordings, unusable, tmp_path):
    parts = tmp_path / "parts"
    bad = unusable("text", recordings)
    asked = ["predict", model, recordings, "--parquet", parts, "--window", "0.3"]
    code, printed, errors = command_line(*asked)
    assert (code, printed, len(errors)) == (1, "", 1) and str(bad) in errors[0]
    assert len(rows_of(parts)) == 10 and {"start", "end", "label", "score"} == set(rows_of(parts)[0]["segments"][0])

    soundfile.write(bad, NOISE, 16_000)
    code, _, errors = command_line(*asked)
    assert code == 0 and not errors
    assert [Path(row["file"]).name for row in rows_of(parts)][-2:] == ["09.flac", "text.wav"]
    before = {path: path.stat().st_mtime_ns for path in parts.glob("*.parquet")}
    assert command_line(*asked)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in parts.glob("*.parquet")} == before and len(before) == 1

    soundfile.write(recordings / "05b.flac", NOISE, 16_000)
    bad = unusable("nothing", recordings)
    code, _, errors = command_line(*asked)
    assert code == 1 and len(errors) == 1 and str(bad) in errors[0]
    assert [Path(row["file"]).name for row in rows_of(parts)][-2:] == ["text.wav", "05b.flac"]
    manifest = read_json(parts / "_manifest.json")
    assert manifest["parts"] == {"part-000000.parquet": 11, "part-000001.parquet": 1}
    assert (manifest["recordings"], manifest["rows"], manifest["complete"]) == (13, 12, True)
    refused([*asked[:-1], "0.4"], parts, "other options", "another --parquet folder")


def test_two_processes_share_the_parts_in_the_order_of_the_recordings(model, recordings, unusable, expected, tmp_path):
    parts = tmp_path / "parts"
    asked = ["predict", model, unusable("text"), recordings, "--parquet", parts]
    codes, printed = killable.run_together(2, *asked, log=tmp_path / "log")
    assert max(codes) == 1 and "text.wav cannot be read" in "".join(printed)
    assert rows_of(parts) == expected
    manifest = read_json(parts / "_manifest.json")
    assert manifest["complete"] and list(manifest["parts"].values()) == [5, 5]


def test_a_call_completes_what_two_killed_processes_left(command_line, model, recordings, expected, tmp_path):
    parts = tmp_path / "parts"
    asked = ["predict", model, recordings, "--parquet", parts]
    killed = {1: {"writing": parts, "kill_at": ".part-000001.parquet"}}  # written, and not yet in its place
    started = killable.start_together(2, *asked, log=tmp_path / "log", by_place=killed)
    started[1].join()
    started[0].join(60)
    started[0].kill()
    started[0].join()
    assert [path.name for path in sorted(parts.glob("part-*"))] == ["part-000000.parquet"]
    assert not read_json(parts / "_manifest.json")["complete"]
    assert command_line(*asked)[0] == 0
    assert rows_of(parts) == expected
    assert sorted(path.name for path in parts.iterdir()) == [
        "_manifest.json",
        "part-000000.parquet",
        "part-000001.parquet",
    ]


def test_each_part_is_written_when_it_is_full(command_line, model, recordings, expected, tmp_path, monkeypatch):
    parts, written = tmp_path / "parts", []
    monkeypatch.setattr(parquet_parts, "MOST", 4)
    monkeypatch.setattr(recognition, "GROUP", 1)
    monkeypatch.setattr(recognition, "TOLD", 5)
    write = parquet_parts.ParquetParts.write

    def look(self, result, recording):
        written.append(len(list(parts.glob("part-*"))))
        write(self, result, recording)

    monkeypatch.setattr(parquet_parts.ParquetParts, "write", look)
    code, _, errors = command_line("predict", model, recordings, "--parquet", parts, "--batch-size", "1")
    assert code == 0 and written == [0] * 5 + [1] * 4 + [2]
    assert errors[-1].startswith("10 recordings in ") and errors[-1].endswith(" a second")
    assert rows_of(parts) == expected
    (parts / "part-000001.parquet").unlink()
    assert command_line("predict", model, recordings, "--parquet", parts)[0] == 0
    assert rows_of(parts) == expected


def test_shards_are_read_where_they_lie(command_line, refused, model, shards, expected, tmp_path):
    parts = tmp_path / "parts"
    assert command_line("predict", model, shards, "--parquet", parts)[0] == 0
    rows = rows_of(parts)
    assert answers(rows) == answers(expected)
    assert [row["file"] for row in rows][4:6] == [
        str(tmp_path / "shard-0.tar/calls/04.flac"),
        str(tmp_path / "shard-1.tar/calls/05.flac"),
    ]
    with tarfile.open(tmp_path / "small.tar", "w:gz") as packed:
        packed.add(tmp_path / "recordings/00.flac")
    refused(["predict", model, tmp_path / "small.tar"], "small.tar", "without compression")
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    refused(["predict", model, tmp_path / "empty.tar"], "empty.tar", "no sound files")


def test_parquet_of_bytes(command_line, model, recordings, expected, tmp_path):
    files = sorted(recordings.iterdir())
    audio = [{"bytes": path.read_bytes(), "path": path.name} for path in files]
    pyarrow.parquet.write_table(
        pyarrow.table({"id": [path.stem for path in files], "audio": audio}), tmp_path / "t.parquet"
    )
    asked = [
        "predict",
        model,
        "--table",
        tmp_path / "t.parquet",
        "columns={utterance_id: id}",
        "--parquet",
        tmp_path / "parts",
    ]
    assert command_line(*asked)[0] == 0
    rows = rows_of(tmp_path / "parts")
    assert [row["utterance_id"] for row in rows] == [path.stem for path in files]
    assert [row["emotion_score"] for row in rows] == [row["emotion_score"] for row in expected]


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_on_a_cpu_recordings_of_one_length_go_together(command_line, model, tmp_path, monkeypatch, two_threads):
    folder, sizes = tmp_path / "alike", []
    folder.mkdir()
    for number in range(14):
        samples = np.resize(np.roll(NOISE, 100 * number), 32_000 if number % 3 else 24_000)
        soundfile.write(folder / f"{number:02}.flac", samples, 16_000)
    batches = recognition._of_one_length
    monkeypatch.setattr(recognition, "_of_one_length", lambda *given: sizes.extend(found := batches(*given)) or found)
    assert command_line("predict", model, folder, "--parquet", tmp_path / "together")[0] == 0
    assert [len(batch) for batch in sizes] == [4, 4, 1, 5]
    monkeypatch.setattr(recognition, "TOGETHER", 0.0)
    assert command_line("predict", model, folder, "--parquet", tmp_path / "alone")[0] == 0
    together, alone = rows_of(tmp_path / "together"), rows_of(tmp_path / "alone")
    assert [row["file"] for row in together] == sorted(str(path) for path in folder.iterdir())
    for one, other in zip(together, alone, strict=True):
        assert one["transcript"] == other["transcript"]
        assert one["emotion_score"] == pytest.approx(other["emotion_score"], abs=1e-5)
