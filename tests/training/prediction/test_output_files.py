"""`ser-meta predict`: no output takes the place of what is read, of another output, or of another recording's."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
from datasets import Audio, Dataset

from ser_meta.hub_cards.page.predictions_table import print_predictions
from ser_meta.training.prediction.annotation_files import AnnotationFiles
from ser_meta.training.prediction.inputs import Files, find_inputs, find_recordings
from ser_meta.training.prediction.recognition import Recording
from ser_meta.training.prediction.rows import flat_row

RATE = 16_000
RANKED = [{"label": "sad", "score": 0.6}, {"label": "angry", "score": 0.4}]
SEVERAL = [{**entry, "present": True} for entry in RANKED]


@pytest.fixture(scope="module")
def model(finished_run) -> Path:
    return finished_run / "model"


@pytest.fixture
def calls(tmp_path) -> Path:
    """Two calls of the same name, each in a folder of its own."""
    for number, name in enumerate(("a", "b")):
        (tmp_path / "calls" / name).mkdir(parents=True)
        tone = 0.1 * np.sin((number + 1) * np.arange(3 * RATE) / 10)
        soundfile.write(tmp_path / "calls" / name / "call.wav", np.stack([tone, tone], axis=1), RATE)
    return tmp_path / "calls"


def test_what_is_read_is_not_written_over(refused, model, calls, tmp_path):
    call = calls / "a" / "call.wav"
    table, turns = tmp_path / "rows.csv", tmp_path / "turns.csv"
    table.write_text(f"audio,emotion,speaker\n{call},sad,anna\n")
    turns.write_text("start,end,speaker\n0,2,anna\n")
    link = tmp_path / "link.wav"
    link.symlink_to(call)
    of_table = ["predict", model, "--table", table]
    kept = {path: path.read_bytes() for path in (call, table, turns)}
    for asked, option, lost in (
        (["predict", model, calls, "--csv", call], "--csv", call),
        (["predict", model, link, "--embeddings", call], "--embeddings", link),
        ([*of_table, "--csv", table], "--csv", table),
        ([*of_table, "--segments", call], "--segments", call),
        (["predict", model, call, "--turns", turns, "--segments", turns], "--segments", turns),
    ):
        refused(asked, f"{option} would be written over {lost}, which is read: give another name")
    assert {path: path.read_bytes() for path in kept} == kept


def test_annotations_that_are_read_are_not_written_over(refused, model, calls, tmp_path):
    folder = tmp_path / "marked"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.rttm").write_text(f"SPEAKER {name}/call 1 0.5 1.0 <NA> <NA> anna <NA> <NA>\n")
    asked = ["predict", model, "--table", folder / "a.rttm", f"audio_root={calls}", "--annotations"]
    refused([*asked, folder / "a.rttm"], f"--annotations would be written over {folder / 'a.rttm'}")


def test_two_outputs_are_not_one_file(refused, model, calls, tmp_path):
    asked = ["predict", model, calls, "--csv", tmp_path / "out.csv", "--segments", calls / ".." / "out.csv"]
    refused(asked, "--csv and --segments are both", "give each a file of its own")
    asked = ["predict", model, calls / "a" / "call.wav", "--srt", tmp_path / "out.srt", "--csv", tmp_path / "out.srt"]
    refused(asked, "--csv and --srt are both", "give each a file of its own")
    assert not (tmp_path / "out.csv").exists()


def test_recordings_of_one_name_are_marked_apart(command_line, model, calls, tmp_path):
    pytest.importorskip("praatio")
    for name in ("{}.TextGrid", "all.rttm", "{}-heard.rttm"):
        assert command_line("predict", model, calls, "--annotations", tmp_path / "out" / name)[0] == 0
    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    alone = {f"{folder}/call{ending}" for folder in "ab" for ending in (".TextGrid", "-heard.rttm")}
    assert found == {"all.rttm", *alone}
    lines = (tmp_path / "out" / "all.rttm").read_text().splitlines()
    assert [line.split()[1] for line in lines] == ["a/call", "b/call"]


def test_recordings_in_a_table_are_marked_by_their_ids(command_line, refused, model, calls, tmp_path):
    pytest.importorskip("praatio")
    sound = (calls / "a" / "call.wav").read_bytes()
    rows = {
        "utterance_id": ["call.1", "call.2"],
        "audio": [{"path": None, "bytes": sound}] * 2,
        "emotion": ["sad"] * 2,
    }
    Dataset.from_dict(rows).cast_column("audio", Audio(decode=False)).to_parquet(tmp_path / "rows.parquet")
    asked = ["predict", model, "--table", tmp_path / "rows.parquet", "--annotations"]
    assert command_line(*asked, tmp_path / "out" / "{}.TextGrid")[0] == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"call.1.TextGrid", "call.2.TextGrid"}
    refused([*asked, tmp_path / "one.TextGrid"], "one.TextGrid is of one recording, not of 2")


def test_a_row_of_a_long_name_has_a_file_of_its_own(calls, tmp_path):
    long = ["ä/" * 80 + end for end in "xy"]
    lines = "\n".join(f"{name},{calls / 'a' / 'call.wav'},sad" for name in [*long, "short"])
    (tmp_path / "rows.csv").write_text(f"utterance_id,audio,emotion\n{lines}\n", encoding="utf-8")
    paths = find_inputs([], str(tmp_path / "rows.csv")).paths(tmp_path / "out", ".srt")
    assert paths["short"].name == "short.srt" and len(set(paths.values())) == 3
    assert all(len(path.name.encode()) < 240 for path in paths.values())


def test_annotations_of_what_was_heard_are_there_after_an_interruption(calls, tmp_path):
    name = str(calls / "a" / "call.wav")
    with pytest.raises(KeyboardInterrupt), AnnotationFiles(tmp_path / "all.rttm", Files([str(calls)])) as files:
        files.write({"file": name, "emotion": RANKED}, Recording(name, name, 3.0))
        raise KeyboardInterrupt
    assert (tmp_path / "all.rttm").read_text().split()[:5] == ["SPEAKER", "a/call", "1", "0.000", "3.000"]


def test_turns_are_of_one_recording(command_line, refused, model, calls, tmp_path):
    first, second = calls / "a" / "call.wav", calls / "b" / "call.wav"
    (tmp_path / "turns.csv").write_text("file,start,end,speaker\ncall,0.5,1.5,anna\n")
    asked = ["predict", model, first, second, "--turns", tmp_path / "turns.csv"]
    refused(asked, f"the turns of call could be of {first} or of {second}", "name the file with its folders")
    names = ("a/call", "b/call.wav")
    lines = [
        f"SPEAKER {name} 1 0.5 1 <NA> <NA> {who} <NA> <NA>" for name, who in zip(names, ("anna", "bela"), strict=True)
    ]
    (tmp_path / "turns.rttm").write_text("\n".join(lines))
    asked = [*asked[:-1], tmp_path / "turns.rttm"]
    assert command_line(*asked, "--segments", tmp_path / "told.csv")[0] == 0
    rows = list(csv.DictReader((tmp_path / "told.csv").open()))
    assert [(row["file"], row["speaker"]) for row in rows] == [(str(first), "anna"), (str(second), "bela")]


def test_turns_of_which_some_have_a_channel(command_line, model, calls, tmp_path):
    (tmp_path / "turns.csv").write_text("start,end,speaker,channel\n0,1,anna,\n1.5,2.5,bela,1\n")
    asked = ["predict", model, calls / "a" / "call.wav", "--turns", tmp_path / "turns.csv", "--channels", "separate"]
    assert command_line(*asked, "--segments", tmp_path / "told.csv")[0] == 0
    rows = list(csv.DictReader((tmp_path / "told.csv").open()))
    assert [(row["speaker"], row["channel"]) for row in rows] == [("anna", ""), ("bela", "1")]


def test_speakers_over_time_need_labels(refused, model, calls, tmp_path):
    asked = ["predict", model, calls / "a" / "call.wav", "--turns", "found", "--speakers", tmp_path / "s.csv"]
    refused([*asked, "--task", "transcript"], "--speakers", "name a --task that has one label at a time")


def test_what_goes_on_in_parts_leaves_no_half_table(refused, command_line, model, calls, tmp_path):
    asked = ["predict", model, calls, "--parquet", tmp_path / "parts", "--csv", tmp_path / "told.csv"]
    assert command_line(*asked)[0] == 0
    told = (tmp_path / "told.csv").read_bytes()
    refused(asked, "has 2 of the recordings already", "leave --csv out, or give a new folder")
    assert (tmp_path / "told.csv").read_bytes() == told and command_line(*asked[:-2])[0] == 0


def test_a_pattern_means_the_folders_that_it_matches_too(calls, refused, model):
    both = [str(calls / name / "call.wav") for name in "ab"]
    assert find_recordings([f"{calls}/*"]) == find_recordings([f"{calls}/**"]) == both
    (calls / "c").mkdir()
    assert find_recordings([f"{calls}/*"]) == both
    refused(["predict", model, calls / "c*"], f"{calls}/c* means folders without sound files: name one with some")
    refused(["predict", model, "x" * 300 + ".wav"], "no such file: xxx")


def test_several_labels_that_are_abstained_from_are_no_answer(capsys):
    result = {"file": "a.wav", "emotion": SEVERAL, "gender": RANKED, "abstained": True}
    row = flat_row(result)
    assert row["emotion"] is None and row["emotion_sad"] == 0.6 and row["gender"] == "sad"
    assert flat_row({**result, "abstained": False})["emotion"] == "sad;angry"
    print_predictions([result])
    assert "uncertain, sad 0.60, angry 0.40" in capsys.readouterr().out
