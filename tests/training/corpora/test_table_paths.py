"""Recordings as tables name them: with Windows's strokes, accents in either form, and files that are not there."""

import unicodedata

import pytest

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe import CorpusRecipe
from ser_meta.training.corpora import load_corpus, load_rows
from ser_meta.training.corpora.mixture import load_corpora
from ser_meta.training.corpora.quarantine import write_quarantine
from ser_meta.training.corpora.recordings import find_absent

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{:064d}\nsize 72862\n"


@pytest.fixture
def table(tmp_path):
    """Writes a table of these paths; the recordings of `clips/` are there."""
    (tmp_path / "clips").mkdir()
    for name in ("a.wav", "b.wav", unicodedata.normalize("NFC", "é.wav")):
        (tmp_path / "clips" / name).write_bytes(b"RIFF")

    def write(*paths):
        path = tmp_path / "my.csv"
        path.write_text("\n".join(["audio", *paths]), encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    "written",
    ["clips/a.wav", " clips/a.wav ", "./clips/a.wav", r"clips\a.wav", r".\clips\a.wav", r"clips\..\clips\a.wav"],
)
def test_a_path_leads_to_its_file(table, tmp_path, written):
    assert load_rows("table", table(written))["audio"] == [str(tmp_path / "clips" / "a.wav")]


def test_accents_are_found_in_either_form(table, tmp_path):
    for form in ("NFC", "NFD"):
        rows = load_rows("table", table(unicodedata.normalize(form, "clips/é.wav")))
        assert rows["audio"] == [str(tmp_path / "clips" / unicodedata.normalize("NFC", "é.wav"))]


def test_a_path_with_a_drive_is_of_another_machine(table):
    for path in (r"C:\data\a.wav", "d:/data/a.wav"):
        with pytest.raises(UserError, match=r"of another machine, with Windows \(1 such paths\).*audio_root"):
            load_rows("table", table("clips/a.wav", path))
    with pytest.raises(UserError, match=r"\\data\\a\.wav leads out of"):
        load_rows("table", table(r"\data\a.wav"))


def test_what_stands_in_a_recordings_place_is_told_by_name(table, tmp_path):
    (tmp_path / "clips" / "p.wav").write_text(POINTER.format(1))
    (tmp_path / "clips" / "._a.wav").write_bytes(b"\0\5\x16\7")
    paths = ("clips/a.wav", "clips/no.wav", "clips/p.wav", "clips/._a.wav")
    found = find_absent(load_rows("table", table(*paths)))
    assert {name: list(rows) for name, rows in found.items()} == {
        "missing recording": [1],
        "Git LFS pointer": [2],
        "macOS leftover": [3],
    }
    for path, told in (
        ("clips/no.wav", r"no such recording: .*no\.wav \(1 of 2 are missing\).*data\.leave_out_missing=true"),
        ("clips/p.wav", r"p\.wav is a Git LFS pointer \(1 of 2 are\): fetch it with git lfs pull"),
        ("clips/._a.wav", r"\._a\.wav is a macOS leftover \(1 of 2 are\): remove it"),
    ):
        with pytest.raises(UserError, match=told):
            load_corpus("table", table("clips/b.wav", path))


def test_missing_recordings_are_left_out_by_a_setting_or_a_quarantine(table, tmp_path):
    source = CorpusRecipe("table", str(table("clips/a.wav", "clips/no.wav", "clips/b.wav")))
    with pytest.raises(UserError, match=r"^my: no such recording"):
        load_corpora([source])
    source.leave_out_missing = True
    rows = load_corpora([source])
    assert rows["utterance_id"] == ["clips/a.wav", "clips/b.wav"]
    assert rows.remarks["left out"] == {"my: missing recording": "1 of 3 rows"}
    write_quarantine(tmp_path / "q.json", "table", {"clips/no.wav": "missing recording"})
    source = CorpusRecipe("table", source.root, quarantine=str(tmp_path / "q.json"))
    assert load_corpora([source])["utterance_id"] == ["clips/a.wav", "clips/b.wav"]
    source = CorpusRecipe("table", str(table("clips/no.wav")), leave_out_missing=True)
    with pytest.raises(UserError, match=r"no such recording: .* \(1 of 1 are missing\)"):
        load_corpora([source])
