"""`ser-meta predict --annotations`: what was heard, in the formats in which segments are marked."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_meta.training.corpora import load_rows

RATE = 16_000
KINDS = {"{}.TextGrid": "praatio", "{}.eaf": "pympi", "all.rttm": "soundfile", "out/db.yaml": "audformat"}
TURNS = (("a", 0.5, 1.5, "anna"), ("a", 1.5, 2.25, "bob"), ("a", 1.0, 3.0, "cleo"), ("b", 3.0, 4.0, "anna"))


@pytest.fixture(scope="module")
def model(finished_run) -> Path:
    return finished_run / "model"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two calls whose channels differ, and the turns in them."""
    folder = tmp_path_factory.mktemp("calls")
    time = np.arange(5 * RATE) / RATE
    for name, pitches in (("a", (200, 600)), ("b", (1500, 220))):
        channels = [0.1 * np.sin(2 * np.pi * pitch * time) for pitch in pitches]
        soundfile.write(folder / f"{name}.wav", np.stack(channels, axis=1), RATE)
    lines = [f"SPEAKER {name} 1 {start} {end - start} <NA> <NA> {who} <NA> <NA>" for name, start, end, who in TURNS]
    (folder / "turns.rttm").write_text("\n".join(lines))
    return folder


def marked(folder: Path, path: Path) -> list[tuple]:
    """What a file, or each of some files, says: recording, start, end, speaker, label and score."""
    found = []
    for file in sorted(path.parent.glob(path.name.replace("{}", "*"))):
        options = {"columns": {"emotion": "label"}} if path.suffix == ".rttm" else {}
        rows = load_rows("table", file, audio_root=folder, allow_outside=True, **options)
        columns = [rows[name] for name in ("audio", "start", "end", "speaker", "emotion")]
        found += [(Path(audio).stem, *rest) for audio, *rest in zip(*columns, strict=True)]
    return sorted(found)


@pytest.mark.parametrize("kind", KINDS)
def test_turns_come_back_with_what_was_heard(command_line, model, folder, kind, tmp_path):
    pytest.importorskip(KINDS[kind])
    asked = ["predict", model, "--table", folder / "turns.rttm", "--json"]
    code, printed, _ = command_line(*asked, "--annotations", tmp_path / kind)
    results = [json.loads(line) for line in printed.splitlines()]
    assert code == 0 and not any("segments" in result for result in results)
    heard = [(*turn, result["emotion"][0]["label"]) for turn, result in zip(TURNS, results, strict=True)]
    assert marked(folder, tmp_path / kind) == sorted(heard)


@pytest.mark.parametrize("kind", KINDS)
def test_segments_of_channels_are_marked_as_such(command_line, model, folder, kind, tmp_path):
    pytest.importorskip(KINDS[kind])
    asked = ["predict", model, folder / "a.wav", folder / "b.wav", "--channels", "separate", "--window", "2"]
    code, printed, _ = command_line(*asked, "--json", "--annotations", tmp_path / kind)
    assert code == 0
    heard = [
        (Path(result["file"]).stem, segment["start"], segment["end"], segment["emotion"][0]["label"])
        for result in map(json.loads, printed.splitlines())
        for segment in result["segments"]
    ]
    found = marked(folder, tmp_path / kind) if kind != "out/db.yaml" else tables(tmp_path / "out")
    assert sorted((name, start, end, label) for name, start, end, _, label in found) == sorted(heard)
    assert {who.replace("_", " ") for *_, who, _ in found} == {"channel 0", "channel 1"}


def test_turns_of_a_conversation_keep_their_speakers(command_line, model, folder, tmp_path):
    asked = ["predict", model, folder / "a.wav", "--turns", folder / "turns.rttm", "--json"]
    code, printed, _ = command_line(*asked, "--annotations", tmp_path / "all.rttm")
    (result,) = map(json.loads, printed.splitlines())
    told = [(one["speaker"], one["start"], one["emotion"][0]["label"]) for one in result["segments"]]
    found = [(who, start, label) for _, start, _, who, label in marked(folder, tmp_path / "all.rttm")]
    assert code == 0 and sorted(found) == sorted(told) and {who for who, *_ in found} == {"anna", "bob", "cleo"}


def tables(folder: Path) -> list[tuple]:
    """What the tables of a database say: one for each channel, since their segments have the same times."""
    found = []
    for name in ("channel 0", "channel 1"):
        rows = load_rows("table", folder, subset=name, allow_outside=True, columns={"channel": None})
        columns = [rows[column] for column in ("audio", "start", "end", "emotion")]
        found += [
            (Path(audio).stem, start, end, name, label) for audio, start, end, label in zip(*columns, strict=True)
        ]
    return found


def test_what_does_not_fit_is_refused_before_anything_is_heard(refused, model, folder, tmp_path, monkeypatch):
    asked = ["predict", model, folder / "a.wav", folder / "b.wav", "--annotations"]
    refused([*asked, tmp_path / "all.TextGrid"], "all.TextGrid is of one recording, not of 2", "{}.TextGrid")
    refused([*asked, tmp_path / "all.txt"], "give a name in .TextGrid, .eaf or .rttm, or FOLDER/db.yaml")
    monkeypatch.setattr("ser_meta.training.prediction.annotation_files.find_spec", lambda name: None)
    refused([*asked, tmp_path / "{}.eaf"], "pympi-ling", 'pip install "ser-meta[annotations]"')
    refused(["predict", model, folder / "turns.rttm"], "is a table", "--table")
    assert not list(tmp_path.iterdir())
