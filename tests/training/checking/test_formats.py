"""`ser-meta check` names what libsndfile reads wrongly, or not at all, and leaves none of it out."""

import numpy as np
import pytest
from sound_formats import write_format

import ser_meta.modeling_ser_meta.sound_files_ser_meta as sound_files
from ser_meta.training.checking.check import check_rows
from ser_meta.training.corpora import load_rows

FOUND = {
    "padded blocks": {"wav-gsm"},
    "open length": {"flac-of-a-pipe"},
    "never filled in": {"wav-never-filled-in"},
    "late MP3": {"mp3-without-tag", "wav-mp3"},
    "joined files": {"mp3-joined", "ogg-vorbis-joined", "ogg-opus-joined"},
    "read by FFmpeg": {"m4a-aac", "wav-never-filled-in", "mp3-joined", "ogg-vorbis-joined", "ogg-opus-joined"},
}


@pytest.fixture
def rows(tmp_path):
    pytest.importorskip("av")
    names = ["wav-16-bit", "flac", "mp3", *set().union(*FOUND.values())]
    files = []
    for seed, name in enumerate(names):
        noise = np.random.default_rng(seed).normal(0, 0.1, 16_000)
        files.append(write_format(name, tmp_path, noise).name)
    (tmp_path / "t.csv").write_text("audio,emotion\n" + "".join(f"{name},sad\n" for name in files))
    return load_rows("table", tmp_path / "t.csv")


def found(rows):
    findings = check_rows(rows, workers=1)["findings"]
    return {one["finding"]: {name.partition(".")[0] for name in one["details"]} for one in findings}


def test_each_is_named_where_it_is_and_nowhere_else(rows):
    told = found(rows)
    assert {name: told.get(name) for name in FOUND} == FOUND
    assert "unreadable" not in told


def test_without_ffmpeg_what_it_would_read_is_left_out(rows, monkeypatch):
    monkeypatch.setattr(sound_files, "av", None)
    told = found(rows)
    assert told["unreadable"] == FOUND["read by FFmpeg"] and "read by FFmpeg" not in told
