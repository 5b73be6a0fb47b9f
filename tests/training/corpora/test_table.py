import os
import re

import datasets
import pandas as pd
import pytest
from datasets import Audio, ClassLabel, Dataset, DatasetDict, Features, Value

from ser_meta.configuration.errors import UserError
from ser_meta.training.corpora import load_corpus, load_rows
from ser_meta.training.corpora.table import is_on_the_hub
from ser_meta.training.planning.folds import assign_folds
from ser_meta.training.planning.sides import split

RECORDS = [
    {"path": "clips/a.wav", "label": "joy", "who": "007", "years": 23, "arousal": 0.5, "accent": "south"},
    {"path": "clips/b.wav", "label": None, "who": "8", "years": None, "arousal": None, "accent": None},
]
COLUMNS = {"audio": "path", "emotion": "label", "speaker": "who", "age": "years", "accent": "accent"}


@pytest.fixture
def folder(tmp_path):
    clips = tmp_path / "clips"
    clips.mkdir()
    for name in "ab":
        (clips / f"{name}.wav").touch()
    return tmp_path


def write(folder, kind):
    frame = pd.DataFrame(RECORDS)
    path = folder / f"my.{kind}"
    if kind == "csv":
        frame.to_csv(path, index=False)
    elif kind == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    elif kind == "parquet":
        frame.to_parquet(path)
    else:
        Dataset.from_pandas(frame).save_to_disk(path)
    return path


def write_csv(folder, text):
    path = folder / "my.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "saved"])
def test_every_kind_of_table_gives_the_same_rows(folder, kind):
    root = folder if kind == "saved" else None
    dataset = load_corpus("table", write(folder, kind), columns=COLUMNS, audio_root=root)
    first, second = dataset.to_list()
    assert first == {
        "audio": {"bytes": None, "path": str(folder / "clips" / "a.wav")},
        "utterance_id": "clips/a.wav",
        "emotion": "joy",
        "speaker": "007",
        "gender": None,
        "style": None,
        "transcript": None,
        "session": None,
        "language": None,
        "intensity": None,
        "age": 23,
        "arousal": 0.5,
        "accent": "south",
    }
    assert [second[name] for name in ("emotion", "speaker", "age", "arousal", "accent")] == [None, "8"] + [None] * 3
    assert dataset.features["gender"] == Value("string") and dataset.features["audio"].decode is False


def test_columns_with_our_names_need_no_mapping_and_others_are_left_out(folder):
    path = write_csv(folder, "audio,emotion,notes,style\nclips/a.wav, joy ,x,\nclips/b.wav,nan,y,read\n")
    dataset = load_corpus("table", path)
    assert dataset["emotion"] == ["joy", None] and dataset["style"] == [None, "read"]
    assert "notes" not in dataset.column_names


def test_marks_of_missing_values_are_null_but_in_names(folder):
    path = write_csv(
        folder, "audio,emotion,speaker,session,gender\nclips/a.wav,none,NA,-,?\nclips/b.wav,n/a,None,NA,-\n"
    )
    rows = load_rows("table", path)
    assert rows["emotion"] == rows["gender"] == [None, None]
    assert rows["speaker"] == ["NA", "None"] and rows["session"] == ["-", "NA"]
    assert rows.remarks["marks of missing values"] == {
        "emotion": "'none' (1), 'n/a' (1)",
        "gender": "'?' (1), '-' (1)",
    }
    rows = load_rows("table", path, missing=["?"])
    assert rows["emotion"] == ["none", "n/a"] and rows["gender"] == [None, "-"]


def test_options_may_be_plain_numbers_and_words(folder):
    (folder / "2024").mkdir()
    path = write_csv(folder, "0,1,2\nx.wav,joy,99\ny.wav,-1,unknown\n")
    columns = {"audio": 0, "emotion": 1, "gender": 2}
    rows = load_rows("table", path, columns=columns, audio_root=folder / "2024", missing=[99, -1.0])
    assert rows["emotion"] == ["joy", None] and rows["gender"] == [None, "unknown"]
    assert load_rows("table", path, columns=columns, missing="unknown")["gender"] == ["99", None]
    assert load_rows("table", write_csv(folder, "audio,emotion\na.wav,-1.0\n"), missing=-1.0)["emotion"] == [None]
    with pytest.raises(UserError, match=r"missing=\[False\]: quote a word that YAML takes for something else"):
        load_rows("table", path, missing=[False])
    with pytest.raises(UserError, match="columns=audio is no mapping"):
        load_rows("table", path, columns="audio")


def test_a_column_that_is_not_there_lists_those_that_are(folder):
    path = write(folder, "csv")
    columns = "path, label, who, years, arousal, accent"
    with pytest.raises(UserError, match=f"no column 'emo' for 'emotion', only {columns}"):
        load_corpus("table", path, columns={"audio": "path", "emotion": "emo"})
    with pytest.raises(UserError, match=f"no column 'audio' for 'audio', only {columns}"):
        load_corpus("table", path, columns={"emotion": "label"})


@pytest.mark.parametrize("age", ["old", "23.5", "inf", "25-34"])
def test_a_number_that_is_none_makes_its_column_text(folder, age):
    rows = load_rows("table", write_csv(folder, f"audio,age,valence\nclips/a.wav,{age},positive\nclips/b.wav,7,1.5\n"))
    assert rows["age"] == [age, "7"] and rows["valence"] == ["positive", "1.5"]
    assert {"age", "valence"} == set(rows.remarks["numbers that are none"])
    assert rows.dataset().features["age"] == rows.dataset().features["valence"] == Value("string")
    rows = load_rows("table", write_csv(folder, "audio,age\nclips/a.wav,7.0\nclips/b.wav,\n"))
    assert rows["age"] == [7, None] and "numbers that are none" not in rows.remarks


def test_missing_recordings_are_named_and_counted(folder):
    path = write_csv(folder, "audio\nclips/a.wav\nclips/c.wav\nclips/d.wav\n")
    with pytest.raises(UserError, match=r"no such recording: .*clips/c\.wav \(2 of 3 are missing\)"):
        load_corpus("table", path)
    path = write_csv(folder, 'audio,emotion\nclips/a.wav,joy\n"",joy\n')
    with pytest.raises(UserError, match=r"row 1 names no recording"):
        load_corpus("table", path)


def test_a_path_that_leaves_the_audio_root_is_refused(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "c.wav"
    elsewhere.touch()
    (folder / "clips" / "link.wav").symlink_to(elsewhere)
    (folder / "linked").symlink_to(elsewhere.parent)
    upwards = os.path.relpath(elsewhere, folder)
    for outside in (str(elsewhere), upwards, "clips/link.wav", "linked/c.wav", f"clips/../{upwards}"):
        path = write_csv(folder, f"audio\nclips/a.wav\n{outside}\n")
        with pytest.raises(UserError, match=rf"{re.escape(outside)} leads out of {folder} \(1 such paths\)"):
            load_corpus("table", path)
        assert load_corpus("table", path, allow_outside=True)[1]["audio"]["path"] == str(elsewhere)


def test_paths_within_the_audio_root_may_be_absolute_or_wind(folder):
    path = write_csv(folder, f"audio\n{folder}/clips/a.wav\nclips/../clips/b.wav\n")
    files = [audio["path"] for audio in load_corpus("table", path)["audio"]]
    assert files == [f"{folder}/clips/a.wav", f"{folder}/clips/b.wav"]
    path = write_csv(folder, "audio\na.wav\n")
    assert load_corpus("table", path, audio_root=folder / "clips")[0]["utterance_id"] == "a.wav"
    with pytest.raises(UserError, match="no such folder: audio_root"):
        load_corpus("table", path, audio_root=folder / "absent")


def test_an_id_twice_is_refused(folder):
    path = write_csv(folder, "audio,utterance_id\nclips/a.wav,x\nclips/b.wav,x\n")
    with pytest.raises(UserError, match="'x' occurs twice"):
        load_corpus("table", path)
    path = write_csv(folder, "audio\nclips/a.wav\nclips/a.wav\n")
    with pytest.raises(UserError, match=r"'clips/a\.wav' occurs twice"):
        load_corpus("table", path)


def embedded(names):
    return Dataset.from_dict(
        {"clip": [{"bytes": b"RIFF", "path": name} for name in names], "mood": [1] * (len(names) - 1) + [-1]},
        features=Features(
            {"clip": {"bytes": Value("binary"), "path": Value("string")}, "mood": ClassLabel(names=["sad", "joy"])}
        ),
    )


@pytest.mark.parametrize("feature", [None, Audio(), Audio(decode=False)])
def test_recordings_inside_the_table_stay_bytes(tmp_path, feature):
    dataset = embedded(["a.wav", "b.wav"])
    dataset = dataset.cast_column("clip", feature) if feature else dataset
    dataset.save_to_disk(tmp_path / "saved")
    rows = load_corpus("table", tmp_path / "saved", columns={"audio": "clip", "emotion": "mood"}).to_list()
    assert [row["audio"]["bytes"] for row in rows] == [b"RIFF", b"RIFF"]
    assert [row["utterance_id"] for row in rows] == ["a.wav", "b.wav"]
    assert [row["emotion"] for row in rows] == ["joy", None]


def test_recordings_without_bytes_are_read_by_their_path_and_from_the_root_alone(tmp_path, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "secret.wav"
    elsewhere.touch()
    for nothing in (b"", None):
        rows = {"clip": [{"bytes": nothing, "path": str(elsewhere)}]}
        features = Features({"clip": {"bytes": Value("binary"), "path": Value("string")}})
        Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "my.parquet")
        with pytest.raises(UserError, match=r"secret\.wav leads out of"):
            load_corpus("table", tmp_path / "my.parquet", columns={"audio": "clip"})
    rows["clip"].append({"bytes": b"RIFF", "path": "a.wav"})
    Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "my.parquet")
    with pytest.raises(UserError, match="holds audio in some rows and none in 1"):
        load_corpus("table", tmp_path / "my.parquet", columns={"audio": "clip"})


def test_what_would_steer_a_terminal_becomes_a_space(folder):
    table = pd.DataFrame({"audio": ["clips/a.wav"], "style": ["\x1b]0;owned\x07joy\x9b2J"], "transcript": ["a\nb\tc"]})
    table.to_parquet(folder / "my.parquet")
    (row,) = load_corpus("table", folder / "my.parquet").to_list()
    assert (row["style"], row["transcript"]) == ("]0;owned joy 2J", "a b c")
    table.assign(audio="clips/\x1b[2J.wav").to_parquet(folder / "my.parquet")
    with pytest.raises(UserError, match=r"'clips/\\x1b\[2J\.wav' holds control characters"):
        load_corpus("table", folder / "my.parquet")


def test_recordings_without_names_are_numbered(tmp_path):
    embedded(["a.wav", "a.wav"]).save_to_disk(tmp_path / "saved")
    rows = load_corpus("table", tmp_path / "saved", columns={"audio": "clip"})
    assert rows["utterance_id"] == ["0", "1"]


def test_class_labels_in_parquet_keep_their_names(tmp_path):
    embedded(["a.wav", "b.wav"]).to_parquet(tmp_path / "my.parquet")
    rows = load_corpus("table", tmp_path / "my.parquet", columns={"audio": "clip", "emotion": "mood"})
    assert rows["emotion"] == ["joy", None] and rows[0]["audio"] == {"bytes": b"RIFF", "path": "a.wav"}


def test_lists_of_class_labels_keep_their_names(tmp_path):
    labels = datasets.ClassLabel(names=["joy", "grief"])
    feature = datasets.Features({"audio": datasets.Value("string"), "emotion": [labels]})
    table = datasets.Dataset.from_dict({"audio": ["a.wav", "b.wav"], "emotion": [[0, 1], [1]]}, feature)
    table.to_parquet(tmp_path / "my.parquet")
    rows = load_rows("table", tmp_path / "my.parquet")
    assert rows["emotion:joy"] == [1, 0] and rows["emotion:grief"] == [1, 1]


def test_the_splits_of_a_saved_set_are_its_sides(tmp_path):
    parts = {"train": ["a.wav", "b.wav"], "validation": ["c.wav"], "test": ["d.wav"]}
    DatasetDict({name: embedded(paths) for name, paths in parts.items()}).save_to_disk(tmp_path / "saved")
    rows = load_corpus("table", tmp_path / "saved", columns={"audio": "clip"})
    assert rows["utterance_id"] == ["a.wav", "b.wav", "c.wav", "d.wav"]
    assert list(rows["split"]) == ["train", "train", "validation", "test"]
    assert [row["bytes"] for row in rows["audio"]] == [b"RIFF"] * 4
    folds = assign_folds(rows, by="split")
    assert split(rows, folds, "test", "split") == {"train": [0, 1], "validation": [2], "test": [3]}
    rows = load_corpus("table", tmp_path / "saved", columns={"audio": "clip"}, split="test")
    assert rows["utterance_id"] == ["d.wav"] and "split" not in rows.column_names
    with pytest.raises(UserError, match=r"no split 'held': choose one of train, validation, test"):
        load_corpus("table", tmp_path / "saved", columns={"audio": "clip"}, split="held")
    with pytest.raises(UserError, match=r"it has no splits: leave out split=held"):
        load_corpus("table", write_csv(tmp_path, "audio\na.wav\n"), split="held")


def test_a_single_split_is_no_side(tmp_path):
    DatasetDict(train=embedded(["a.wav", "b.wav"])).save_to_disk(tmp_path / "saved")
    rows = load_corpus("table", tmp_path / "saved", columns={"audio": "clip"})
    assert rows["utterance_id"] == ["a.wav", "b.wav"] and "split" not in rows.column_names


def test_a_data_set_of_the_hub(monkeypatch):
    asked = []
    served = {"someone/moods": embedded(["a.wav", "b.wav"]), "someone/paths": Dataset.from_dict({"clip": ["a.wav"]})}

    def hub(name, subset, split):
        asked.append((name, subset, split))
        if name not in served:
            raise ConnectionError(f"Couldn't reach {name!r} on the Hub\nmore")
        return served[name]

    served["someone/sides"] = DatasetDict(dev=embedded(["a.wav"]), eval=embedded(["b.wav"]))
    monkeypatch.setattr(datasets, "load_dataset", hub)
    assert load_corpus("table", "someone/sides", columns={"audio": "clip"})["split"] == ["dev", "eval"]
    assert asked.pop() == ("someone/sides", None, None)
    rows = load_corpus("table", "someone/moods", columns={"audio": "clip"}, subset="polish", split="test")
    assert len(rows) == 2 and asked == [("someone/moods", "polish", "test")]
    with pytest.raises(UserError, match="say with audio_root which folder holds them"):
        load_corpus("table", "someone/paths", columns={"audio": "clip"})
    with pytest.raises(UserError, match=r"nobody/nothing cannot be read: Couldn't reach 'nobody/nothing' on the Hub$"):
        load_corpus("table", "nobody/nothing")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("my.csv", b""),
        ("my.csv", b'audio,emotion\n"a,b\n'),
        ("my.csv", b"audio\n\xff\xfe.wav\n"),
        ("my.jsonl", b'{"audio": '),
        ("my.parquet", b"no parquet"),
        ("my.ods", b"a sheet"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name} cannot be read") as caught:
        load_corpus("table", tmp_path / name)
    assert "\n" not in str(caught.value)


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"absent\.csv cannot be read: .*No such file"):
        load_corpus("table", tmp_path / "absent.csv")
    with pytest.raises(UserError, match=r"tabel\.csv cannot be read: .*No such file"):
        load_corpus("table", "data/tabel.csv")  # which looks like a name of the Hub
    assert is_on_the_hub("someone/moods") and is_on_the_hub("someone/moods-1.5")
    assert not any(is_on_the_hub(f"data/table{ending}") for ending in (".csv", ".TSV", ".parquet", ".xlsx", ".eaf"))
    with pytest.raises(UserError, match="cannot be read"):
        load_corpus("table", tmp_path)
    with pytest.raises(UserError, match="has no rows"):
        load_corpus("table", write_csv(tmp_path, "audio,emotion\n"))


@pytest.mark.parametrize("values", [[1, 2], [[0.1, 0.2], [0.3]], [True, False]])
def test_a_column_that_is_no_audio_is_refused(tmp_path, values):
    Dataset.from_dict({"audio": values}).save_to_disk(tmp_path / "saved")
    with pytest.raises(UserError, match=r"column 'audio' holds neither paths nor audio files but"):
        load_corpus("table", tmp_path / "saved")
