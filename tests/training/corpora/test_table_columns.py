"""What the columns of a table mean: ours, left out, or such that they say what a row is."""

import pandas as pd
import pytest

from ser_meta.configuration.errors import UserError
from ser_meta.training.corpora import load_rows
from ser_meta.training.corpora.table_columns import says_what_a_row_is


@pytest.fixture
def table(tmp_path):
    """Writes a table with a column or more, by name the cells of two rows of one recording."""

    def write(delimiter=",", **columns):
        lines = [["audio", *columns], *(["a.wav", *cells] for cells in zip(*columns.values(), strict=True))]
        path = tmp_path / "my.csv"
        path.write_text("\n".join(delimiter.join(line) for line in lines), encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    "name",
    [
        *("start_s", "Start Time", "startTime", "starttime", "begin", "Beginning", "stop", "clip_end"),
        *("offset", "Offset(s)", "onset", "duration", "Duration_ms", "dur", "channels", "Channel-No", "tmin", "t1"),
        *("from", "to", "xmax", "end_frame"),
    ],
)
def test_a_column_that_may_say_what_a_row_is_is_refused_until_it_is_settled(table, name):
    path = table(**{name: ["1", "2"], "utterance_id": ["x", "y"]})
    with pytest.raises(UserError, match=r"which may say what part of a recording a row is: use it, .*or leave it out"):
        load_rows("table", path)
    rows = load_rows("table", path, columns={name: None})
    assert name not in rows.column_names and not rows.remarks


@pytest.mark.parametrize(
    "name", ["gender", "standard", "together", "friend", "legend", "notes", "label", "timestamp", "research", "string"]
)
def test_a_name_that_only_looks_alike_is_no_such_column(name):
    assert not says_what_a_row_is(name)


def test_columns_that_are_left_out_are_named_once(table):
    path = table(notes=["x", "y"], Mood=["x", "y"], utterance_id=["x", "y"], split=["a", "b"])
    rows = load_rows("table", path)
    assert rows.remarks == {"columns left out": {path.name: "notes, Mood"}}
    assert rows["split"] == ["a", "b"]  # a data set's own sides need no entry
    path = table(notes=["x", "y"], age=["7", "8"], utterance_id=["x", "y"])
    rows = load_rows("table", path, columns={"notes": None, "age": None})
    assert rows["age"] == [None, None] and not rows.remarks
    with pytest.raises(UserError, match="no column 'nots' to leave out, only audio, notes"):
        load_rows("table", path, columns={"nots": None})


def test_where_the_recordings_may_be_is_suggested(tmp_path):
    (tmp_path / "my.csv").write_text("file_name,label\na.wav,happy\n")
    with pytest.raises(UserError, match=r"no column 'audio' .*only file_name, label; .*columns=\{audio: file_name\}"):
        load_rows("table", tmp_path / "my.csv")


TIMES = [
    ("s", ["0", "1.5"], [0.0, 1.5]),
    ("s", ["", "2e1"], [None, 20.0]),
    ("ms", ["250", "1500"], [0.25, 1.5]),
    ("h:m:s", ["0:00:01.5", "1:02:03"], [1.5, 3723.0]),
    ("h:m:s", ["02:30,25", "7"], [150.25, 7.0]),
]


@pytest.mark.parametrize(("unit", "written", "seconds"), TIMES)
def test_times_in_every_unit(table, unit, written, seconds):
    rows = load_rows("table", table(";", start=written, end=["", ""]), time_unit=unit)
    assert rows["start"] == seconds and rows["end"] == [None, None]
    assert rows.dataset().features["start"].dtype == "float64"


def test_times_that_are_durations_need_no_unit(tmp_path):
    (tmp_path / "a.wav").touch()
    times = {name: pd.to_timedelta([seconds], unit="s") for name, seconds in (("start", 0.5), ("end", 2.25))}
    pd.DataFrame({"audio": ["a.wav"], **times}).to_parquet(tmp_path / "my.parquet")
    rows = load_rows("table", tmp_path / "my.parquet")
    assert (rows["start"], rows["end"]) == ([0.5], [2.25])


def test_a_row_is_named_by_its_recording_and_its_times(table):
    rows = load_rows("table", table(start=["", "1.5"], end=["1.5", "2.0625"]))
    assert rows["utterance_id"] == ["a.wav[-1.5]", "a.wav[1.5-2.062]"]
    rows = load_rows("table", table(start=["", ""], utterance_id=["x", "y"]))
    assert rows["utterance_id"] == ["x", "y"]
    with pytest.raises(UserError, match=r"'a\.wav\[1-2\]' occurs twice"):
        load_rows("table", table(start=["1", "1"], end=["2", "2"]))


def test_a_duration_takes_the_place_of_an_end_where_it_is_mapped(table):
    path = table(offset=["0", "2"], dur=["1", "0.5"])
    rows = load_rows("table", path, columns={"start": "offset", "duration": "dur"})
    assert (rows["start"], rows["end"]) == ([0.0, 2.0], [1.0, 2.5])
    path = table(end=["1", "2"], start=["0", "1"], duration=["1", "1"])
    with pytest.raises(UserError, match="both an end and a duration"):
        load_rows("table", path, columns={"duration": "duration"})


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"start": ["0:00", "0:01"]}, r"column 'start' holds '0:00' in row 0, which is no time in s: .*h:m:s"),
        ({"start": ["-1", "0"]}, "holds '-1' in row 0"),
        ({"start": ["inf", "0"]}, "holds 'inf' in row 0"),
        ({"start": ["0", "3"], "end": ["1", "2"]}, "row 1 starts at 3 s and ends at 2 s"),
        ({"start": ["0", "2"], "end": ["1", "2"]}, "row 1 starts at 2 s and ends at 2 s"),
        ({"end": ["0", "2"]}, "row 0 starts at 0 s and ends at 0 s"),
    ],
)
def test_times_that_are_none_are_refused(table, columns, told):
    with pytest.raises(UserError, match=told):
        load_rows("table", table(**columns))


def test_an_unknown_unit_is_refused(table):
    with pytest.raises(UserError, match="time_unit=min must be one of s, ms, h:m:s"):
        load_rows("table", table(start=["0", "1"]), time_unit="min")
