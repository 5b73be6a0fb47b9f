"""Tables in every form that people have them in: each is read the same, or refused with the remedy."""

import json

import pandas as pd
import pytest

from ser_meta.configuration.errors import UserError
from ser_meta.training.corpora import load_rows

NAMES = ("audio", "emotion", "speaker", "transcript", "valence")
ROWS = [("a.wav", "Fröhlich", "05", 'sie sagte "ja", dann', 1.5), ("b c.wav", "wütend", "5", "nein; nie | tja", 2.25)]


def delimited(delimiter: str, decimal: str = ".") -> str:
    def cell(value) -> str:
        text = str(value).replace(".", decimal) if isinstance(value, float) else value
        return '"' + text.replace('"', '""') + '"' if set(text) & {delimiter, '"'} else text

    return "\n".join(delimiter.join(map(cell, row)) for row in (NAMES, *ROWS)) + "\n"


COMMAS = delimited(",")
FORMS = {
    "commas.csv": COMMAS.encode(),
    "capital.CSV": COMMAS.encode(),
    "semicolons.csv": delimited(";").encode(),
    "decimal commas.csv": delimited(";", ",").encode(),
    "tabs.csv": delimited("\t").encode(),
    "tabs.txt": delimited("\t").encode(),
    "tabs.tsv": delimited("\t").encode(),
    "bars.txt": delimited("|").encode(),
    "unquoted.tsv": delimited("\t").replace('""', "@").replace('"', "").replace("@", '"').encode(),
    "excel.csv": ("sep=;\r\n" + delimited(";").replace("\n", "\r\n")).encode("utf-8-sig"),
    "old mac.csv": COMMAS.replace("\n", "\r").encode(),
    "byte order mark.csv": COMMAS.encode("utf-8-sig"),
    "utf-16.csv": COMMAS.encode("utf-16"),
    "utf-16 big.csv": b"\xfe\xff" + COMMAS.encode("utf-16-be"),
    "utf-16 without mark.txt": delimited("\t").encode("utf-16-le"),
    "spaces.csv": COMMAS.replace(NAMES[0], " audio ").replace("emotion", "emotion ").encode(),
    "blank lines.csv": ("\n\n".join(COMMAS.split("\n")) + "\n,,,,\n").encode(),
    "other case.csv": COMMAS.replace("emotion", "Emotion").replace("speaker", "SPEAKER").encode(),
    "an index.csv": "\n".join(f"{row},{line}" for row, line in enumerate(COMMAS.splitlines()))
    .replace("0,", ",", 1)
    .encode(),
    "lines.jsonl": "\n".join(json.dumps(dict(zip(NAMES, row, strict=True))) for row in ROWS).encode(),
    "list.json": json.dumps([dict(zip(NAMES, row, strict=True)) for row in ROWS]).encode("utf-8-sig"),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_rows(tmp_path, name):
    (tmp_path / name).write_bytes(FORMS[name])
    check(load_rows("table", tmp_path / name), tmp_path)


@pytest.mark.parametrize("encoding", ["cp1252", "cp1250", "latin-1", "mac_roman"])
def test_a_code_page_is_asked_for_and_then_read(tmp_path, encoding):
    path = tmp_path / "my.csv"
    path.write_bytes(COMMAS.encode(encoding))
    with pytest.raises(UserError, match=r"line 2 is not utf-8: save it as UTF-8, or give its encoding, .*cp1252"):
        load_rows("table", path)
    check(load_rows("table", path, encoding=encoding), tmp_path)
    with pytest.raises(UserError, match="no encoding is called 'windows'"):
        load_rows("table", path, encoding="windows")


def test_parquet_gives_the_same_rows(tmp_path):
    pd.DataFrame(ROWS, columns=NAMES).to_parquet(tmp_path / "my.parquet")
    check(load_rows("table", tmp_path / "my.parquet"), tmp_path)


def check(rows, folder) -> None:
    assert rows["audio"] == [str(folder / name) for name in ("a.wav", "b c.wav")]
    for place, name in enumerate(NAMES[1:], start=1):
        assert rows[name] == [row[place] for row in ROWS], name


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("my.xlsx", b"PK", r"a spreadsheet is not read: save it as CSV \(UTF-8\)"),
        ("my.csv", b"", "it is empty"),
        ("my.csv", b"audio,emotion\na.wav,happy,sad\n", r"line 2 has 3 cells for 2 columns"),
        ("my.csv", b"audio,emotion,emotion\na.wav,happy,sad\n", "two columns are called 'emotion'"),
        ("my.csv", b'audio,emotion\na.wav,"happy\n', "quotation marks"),
        ("my.json", b'{"audio": "a.wav"}', "expected a list of objects"),
        ("my.jsonl", b'{"audio": "a.wav"}\n{"audio": \n', "line 2 is no JSON"),
        ("my.jsonl", b'["a.wav"]', "expected an object for each utterance"),
        ("my.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        ("my.feather", b"", r"expected a name in \.csv, \.tsv, \.txt, \.jsonl, \.json, \.parquet"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_remedy(tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"^table: .*{name} cannot be read: .*{told}"):
        load_rows("table", tmp_path / name)


def test_cells_that_are_wanting_at_a_rows_end_are_empty(tmp_path):
    (tmp_path / "my.csv").write_text("audio,emotion,speaker\na.wav,happy\nb.wav\n")
    rows = load_rows("table", tmp_path / "my.csv")
    assert rows["emotion"] == ["happy", None] and rows["speaker"] == [None, None]


def test_a_blank_before_a_quotation_is_no_part_of_it(tmp_path):
    (tmp_path / "my.csv").write_text('audio, emotion\na.wav, "happy, or so"\n')
    assert load_rows("table", tmp_path / "my.csv")["emotion"] == ["happy, or so"]


def test_a_folder_that_is_no_saved_data_set_says_what_to_give(tmp_path):
    with pytest.raises(UserError, match="no saved data set: give the table itself, or corpus=folders"):
        load_rows("table", tmp_path)


def test_a_quotation_over_several_rows_of_tabs_hides_none_of_them(tmp_path):
    said = ['"I came,', "I saw,", 'I won."']
    rows = [f"{place}.wav\t{words}\t{place}" for place, words in enumerate(said)]
    (tmp_path / "my.tsv").write_text("\n".join(["audio\ttranscript\tspeaker", *rows]))
    assert load_rows("table", tmp_path / "my.tsv")["transcript"] == said
    # a line break that is quoted stays one
    (tmp_path / "my.tsv").write_text('audio\ttranscript\na.wav\t"one\nand two"\nb.wav\tthree\n')
    assert load_rows("table", tmp_path / "my.tsv")["transcript"] == ["one and two", "three"]
