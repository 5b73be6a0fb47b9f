"""Segments in the formats in which people mark them: the same rows as a table has."""

import sys

import numpy as np
import pandas as pd
import pytest
import soundfile

from ser_meta.configuration.errors import UserError
from ser_meta.training.corpora import load_rows
from ser_meta.training.corpora.recordings import require_recordings

RATE = 16_000
SEGMENTS = ((0.5, 1.5, "angry"), (1.5, 2.25, "happy"), (3.0, 4.0, "sad"))


@pytest.fixture
def folder(tmp_path):
    """Two calls of five seconds, and a telephone's file of the first one's name, which comes after WAV."""
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, np.zeros((5 * RATE, 2)), RATE)
    (tmp_path / "a.amr").touch()
    return tmp_path


def write_textgrid(path, tiers, encoding="utf-8"):
    textgrid = pytest.importorskip("praatio.textgrid")
    grid = textgrid.Textgrid(0, 5.0)
    for name, entries in tiers.items():
        grid.addTier(textgrid.IntervalTier(name, list(entries), 0, 5.0))
    grid.addTier(textgrid.PointTier("clicks", [(0.7, "x")], 0, 5.0))
    grid.save(str(path), format="long_textgrid", includeBlankSpaces=True)
    path.write_text(path.read_text(encoding="utf-8"), encoding=encoding)


def write_elan(path, tiers):
    pympi = pytest.importorskip("pympi")
    document = pympi.Elan.Eaf(author="")
    document.remove_tier("default")
    document.add_linked_file(f"file:///elsewhere/{path.stem}.wav", mimetype="audio/x-wav")
    for (name, participant), entries in tiers.items():
        document.add_tier(name, part=participant)
        for start, end, label in entries:
            document.add_annotation(name, round(1000 * start), round(1000 * end), label)
    document.to_file(str(path))


def segments(rows):
    return list(zip(rows["start"], rows["end"], rows["emotion"], strict=True))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_tiers_of_a_textgrid_are_columns(folder, encoding):
    tiers = {"emotion": SEGMENTS, "speaker": [(0.0, 2.0, "jörg"), (2.0, 5.0, "anna")], "style": [(3.0, 3.2, "read")]}
    write_textgrid(folder / "a.TextGrid", tiers, encoding)
    rows = load_rows("table", folder / "a.TextGrid")
    assert segments(rows) == list(SEGMENTS)
    assert rows["speaker"] == ["jörg", "jörg", "anna"] and rows["style"] == [None, None, "read"]
    assert rows["utterance_id"][0] == "a.wav[0.5-1.5]" and set(rows["audio"]) == {str(folder / "a.wav")}
    require_recordings(rows, "table")


def test_a_tier_is_named_as_a_column_is(folder):
    write_textgrid(folder / "a.TextGrid", {"affect": SEGMENTS, "who": [(0.0, 5.0, "anna")]})
    rows = load_rows("table", folder / "a.TextGrid", columns={"emotion": "affect", "speaker": "who"})
    assert segments(rows) == list(SEGMENTS) and set(rows["speaker"]) == {"anna"}


def test_without_a_tier_of_emotions_each_tier_is_a_speaker(folder):
    write_textgrid(folder / "a.TextGrid", {"anna": SEGMENTS[:2], "bob": SEGMENTS[2:]})
    rows = load_rows("table", folder / "a.TextGrid", columns={"emotion": "label"})
    assert segments(rows) == list(SEGMENTS) and rows["speaker"] == ["anna", "anna", "bob"]


def test_tiers_of_elan_belong_to_their_speakers(folder):
    tiers = {
        ("emotion@anna", None): SEGMENTS,
        ("style@anna", None): [(0.0, 5.0, "read")],
        ("emotion", "bob"): [(0.5, 1.5, "sad")],
    }
    write_elan(folder / "notes.eaf", tiers)
    (folder / "a.wav").rename(folder / "notes.wav")
    rows = load_rows("table", folder / "notes.eaf")
    assert segments(rows) == [*SEGMENTS, (0.5, 1.5, "sad")]
    assert rows["speaker"] == ["anna"] * 3 + ["bob"] and rows["style"] == ["read"] * 3 + [None]
    assert rows["utterance_id"][::3] == ["notes.wav[0.5-1.5] anna", "notes.wav[0.5-1.5] bob"]


def test_the_turns_of_an_rttm(folder):
    lines = [
        "SPKR-INFO a 1 <NA> <NA> <NA> unknown anna <NA> <NA>",
        "SPEAKER a 1 0.50 1.00 <NA> <NA> anna <NA> <NA>",
        "SPEAKER b 1 0.70 1.10 <NA> happy <NA> 0.9 <NA>",
    ]
    (folder / "turns.rttm").write_text("\n".join(lines))
    rows = load_rows("table", folder / "turns.rttm", columns={"emotion": "label"})
    assert segments(rows) == [(0.5, 1.5, None), (0.7, 1.8, "happy")]
    assert rows["speaker"] == ["anna", "<NA>"] and "channel" not in rows.column_names
    (folder / "turns.rttm").write_text("\n".join(lines).replace("SPEAKER b 1", "SPEAKER b 2"))
    assert load_rows("table", folder / "turns.rttm", columns={"label": None})["channel"] == ["0", "1"]
    (folder / "turns.rttm").write_text("SPEAKER a 1 half 1.00 <NA> <NA> anna <NA> <NA>")
    with pytest.raises(UserError, match=r"turns\.rttm: line 1 is not SPEAKER file channel start duration"):
        load_rows("table", folder / "turns.rttm")


def test_a_folder_of_annotations_is_one_table(folder):
    (folder / "marks").mkdir()
    for name, part in (("a", SEGMENTS[:2]), ("b", SEGMENTS[2:])):
        write_textgrid(folder / "marks" / f"{name}.TextGrid", {"emotion": part})
    rows = load_rows("table", folder / "marks", audio_root=folder)
    assert segments(rows) == list(SEGMENTS) and rows["audio"][-1] == str(folder / "b.wav")
    assert load_rows("table", folder / "marks", audio_root=folder, channel="left")["channel"] == ["left"] * 3


def test_recordings_of_one_name_are_told_apart_by_their_folders(folder):
    for name, part in (("s1", SEGMENTS[:2]), ("s2", SEGMENTS[2:])):
        (folder / "marks" / name).mkdir(parents=True)
        (folder / "wav" / name).mkdir(parents=True)
        write_textgrid(folder / "marks" / name / "01.TextGrid", {"emotion": part})
        (folder / "wav" / name / "01.wav").write_bytes((folder / "a.wav").read_bytes())
    (folder / "marks" / "._a.TextGrid").write_bytes(b"what a Mac leaves")
    rows = load_rows("table", folder / "marks", audio_root=folder / "wav")
    assert [audio.removeprefix(f"{folder}/wav/") for audio in rows["audio"]] == ["s1/01.wav", "s1/01.wav", "s2/01.wav"]
    assert segments(rows) == list(SEGMENTS)
    (folder / "marks" / "s2").rename(folder / "marks" / "s3")
    with pytest.raises(UserError, match=r"s3/01 may be of .*s1/01.wav or of .*s2/01.wav: give each recording a name"):
        load_rows("table", folder / "marks", audio_root=folder / "wav")


def test_what_an_annotation_names_beside_it_is_taken_however_many_have_that_name(folder):
    for name in ("one", "two"):
        (folder / name).mkdir()
        (folder / name / "notes.wav").write_bytes((folder / "a.wav").read_bytes())
    (folder / "marks").mkdir()
    (folder / "marks" / "notes.wav").write_bytes((folder / "a.wav").read_bytes())
    write_elan(folder / "marks" / "notes.eaf", {("emotion", "bob"): SEGMENTS})
    rows = load_rows("table", folder / "marks", audio_root=folder)
    assert set(rows["audio"]) == {str(folder / "marks" / "notes.wav")}


def in_labels(database, audformat):
    return audformat.Scheme(labels={"anna": {"gender": "female", "age": 30}, "bob": {"gender": "male", "age": 20}})


def in_a_table(database, audformat):
    people = audformat.MiscTable(pd.Index(["anna", "bob"], name="speaker", dtype="string"))
    database["people"] = people
    for name, values in (("gender", ["female", "male"]), ("age", [30, 20])):
        people[name] = audformat.Column()
        people[name].set(values)
    return audformat.Scheme("str", labels="people")


@pytest.mark.parametrize("told", [in_labels, in_a_table])
def test_a_database_of_audformat(folder, told):
    audformat = pytest.importorskip("audformat")
    database = audformat.Database("mine")
    database.schemes["emotion"] = audformat.Scheme(labels=["angry", "happy", "sad"])
    database.schemes["speaker"] = told(database, audformat)
    index = audformat.segmented_index(["a.wav", "a.wav", "b.wav"], ["0.5s", "1.5s", "3s"], ["1.5s", "2.25s", None])
    database["segments"] = audformat.Table(index)
    for name, values in (("emotion", ["angry", "happy", "sad"]), ("speaker", ["anna", "bob", None])):
        database["segments"][name] = audformat.Column(scheme_id=name)
        database["segments"][name].set(values)
    database.save(str(folder))
    rows = load_rows("table", folder)
    assert segments(rows) == [*SEGMENTS[:2], (3.0, None, "sad")]
    assert rows["speaker"] == ["anna", "bob", None] and rows["gender"] == ["female", "male", None]
    assert rows["age"] == [30, 20, None] and rows["audio"][2] == str(folder / "b.wav")
    database["files"] = audformat.Table(audformat.filewise_index(["a.wav"]))
    database["files"]["emotion"] = audformat.Column(scheme_id="emotion")
    database["files"]["emotion"].set(["sad"])
    database.save(str(folder))
    with pytest.raises(UserError, match="several tables: choose one of files, segments as subset="):
        load_rows("table", folder)
    assert load_rows("table", folder / "db.yaml", subset="files")["emotion"] == ["sad"]


@pytest.mark.parametrize("name", ["a.TextGrid", "a.eaf", "db.yaml"])
def test_what_is_no_annotation_is_refused(folder, name):
    for library in ("praatio", "pympi", "audformat"):
        pytest.importorskip(library)
    (folder / name).write_text("nothing of the sort")
    with pytest.raises(UserError, match=r"(is no|has no)") as refused:
        load_rows("table", folder / name)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["a.TextGrid", "a.eaf", "db.yaml"])
def test_without_the_library_one_line_names_the_extra(folder, name, monkeypatch):
    for library in ("praatio.textgrid", "pympi", "audformat"):
        monkeypatch.setitem(sys.modules, library, None)
    (folder / name).touch()
    with pytest.raises(UserError, match=r"missing: pip install \"ser-meta\[annotations\]\""):
        load_rows("table", folder / name)
