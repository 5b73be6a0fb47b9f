"""Tables with what several people said: the four forms give the same rows, and what cannot be is named by its row."""

import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from ser_meta.configuration.errors import UserError
from ser_meta.training.corpora import load_corpus, load_rows

SPEAKERS = ["s1", "s1", "s2", "s2"]
VOTES = [["angry", "sad", "angry"], ["sad"], ["angry", "sad"], None]  # the last was not rated
COUNTS = {"emotion:angry": [2, 0, 1, None], "emotion:sad": [1, 1, 1, None]}
NAMES = [f"{number}.wav" for number in range(4)]


def write(folder, name: str, columns: dict):
    frame = pd.DataFrame(columns)
    path = folder / name
    if name.endswith("csv"):
        frame.to_csv(path, index=False)
    elif name.endswith("jsonl"):
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path)
    for audio in frame["audio"]:
        (folder / audio).touch()
    return path


def in_columns(folder):
    return write(folder, "a.csv", {"audio": NAMES, "speaker": SPEAKERS} | {n: pd.array(v) for n, v in COUNTS.items()})


def in_lists(folder):
    cells = [None if votes is None else ";".join(votes) for votes in VOTES]
    return write(folder, "b.csv", {"audio": NAMES, "speaker": SPEAKERS, "emotion": cells})


def in_json_lists(folder):
    return write(folder, "c.jsonl", {"audio": NAMES, "speaker": SPEAKERS, "emotion": VOTES})


def in_lists_of_pandas(folder):
    cells = [None if votes is None else str(votes) for votes in VOTES]
    return write(folder, "d.csv", {"audio": NAMES, "speaker": SPEAKERS, "emotion": cells})


def in_objects(folder):
    cells = [None if votes is None else json.dumps({v: votes.count(v) for v in votes}) for votes in VOTES]
    return write(folder, "e.csv", {"audio": NAMES, "speaker": SPEAKERS, "emotion": cells})


def in_structs(folder):
    cells = [None if votes is None else {v: votes.count(v) for v in votes} for votes in VOTES]
    return write(folder, "f.parquet", {"audio": NAMES, "speaker": SPEAKERS, "emotion": cells})


def by_rater(folder):
    rows = [
        {"audio": name, "speaker": speaker, "rater": f"r{number}", "emotion": vote}
        for name, speaker, votes in zip(NAMES, SPEAKERS, VOTES, strict=True)
        for number, vote in enumerate(votes or [None])
    ]
    return write(folder, "g.csv", pd.DataFrame(rows).sample(frac=1, random_state=1).to_dict("list"))


def in_arrays_of_numpy(folder):
    cells = [None if votes is None else str(np.array(votes)) for votes in VOTES]
    return write(folder, "h.csv", {"audio": NAMES, "speaker": SPEAKERS, "emotion": cells})


def in_counters(folder):
    cells = [None if votes is None else str(Counter(votes)) for votes in VOTES]
    return write(folder, "i.csv", {"audio": NAMES, "speaker": SPEAKERS, "emotion": cells})


FORMS = [
    in_arrays_of_numpy,
    in_counters,
    in_columns,
    in_lists,
    in_json_lists,
    in_lists_of_pandas,
    in_objects,
    in_structs,
    by_rater,
]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_votes_gives_the_same_rows(tmp_path, form):
    found = load_corpus("table", form(tmp_path)).sort("utterance_id")
    assert found["utterance_id"][:] == NAMES and found["speaker"][:] == SPEAKERS
    assert found["emotion"][:] == ["angry", "sad", None, None]  # the third is tied
    assert {name: found[name][:] for name in found.column_names if ":" in name} == COUNTS


@pytest.mark.parametrize("form", ["a.csv", "a.jsonl", "a.parquet"])
def test_a_box_that_is_checked_is_a_vote(tmp_path, form):
    boxes = {"emotion:calm": [True, False, None], "emotion:sad": [False, True, True]}
    rows = load_rows("table", write(tmp_path, form, {"audio": NAMES[:3]} | boxes))
    assert rows["emotion:calm"] == [1, 0, None] and rows["emotion:sad"] == [0, 1, 1]


def test_a_table_with_one_label_a_row_has_no_votes(tmp_path):
    path = write(tmp_path, "a.csv", {"audio": NAMES, "emotion": ["angry", "sad", None, "sad, or so"]})
    rows = load_rows("table", path)
    assert rows["emotion"] == ["angry", "sad", None, "sad, or so"]
    assert not any(":" in name for name in rows.column_names)


def test_raters_may_have_weights_and_ratings_and_differ_on_a_task_of_the_users_own(tmp_path):
    table = {
        "audio": ["0.wav"] * 3 + ["1.wav"] * 2,
        "rater": ["a", "b", "c", "a", None],
        "rater_weight": [1, 0.5, 2, 1, ""],
        "emotion": ["angry", "angry", "sad", None, None],
        "valence": [1, 3, None, 2, None],
        "mood": ["dark", "light", "dark", "light", None],
        "city": ["Bonn"] * 5,
    }
    path = write(tmp_path, "a.csv", table)
    rows = load_rows("table", path, columns={"mood": "mood", "city": "city"})
    assert rows["utterance_id"] == ["0.wav", "1.wav"]
    # of weights the sum is no number of raters: they are shares
    assert rows["emotion:angry"] == [pytest.approx(1.5 / 3.5), None] and rows["emotion:sad"][0] == pytest.approx(4 / 7)
    assert rows["valence"] == [pytest.approx((1 + 1.5) / 1.5), 2]
    assert rows["mood:dark"] == [pytest.approx(6 / 7), 0] and rows["mood:light"] == [pytest.approx(1 / 7), 1]
    assert rows["city"] == ["Bonn", "Bonn"] and "rater" not in rows.column_names


def test_percentages_are_shares(tmp_path):
    percent = {"emotion:angry": [60, 33.3, None], "emotion:sad": [40, 66.6, None]}
    rows = load_rows("table", write(tmp_path, "a.csv", {"audio": NAMES[:3]} | percent))
    assert rows["emotion:angry"] == [0.6, pytest.approx(1 / 3), None]
    assert rows.remarks == {"votes": {"a.csv: percentages": "read as shares"}}
    counts = {"emotion:angry": [60, 3], "emotion:sad": [40, 2]}
    assert load_rows("table", write(tmp_path, "b.csv", {"audio": NAMES[:2]} | counts))["emotion:angry"] == [60, 3]


def test_small_weights_are_no_shares_that_miss_one(tmp_path):
    table = {"audio": ["0.wav"] * 3, "rater": list("abc"), "rater_weight": [0.1, 0.2, 0.3]}
    path = write(tmp_path, "a.csv", table | {"emotion": ["angry", "angry", "sad"]})
    assert load_corpus("table", path)["emotion"][:] == [None]  # a tie, whatever rounding makes of 0.1 + 0.2


def test_votes_beside_a_label_of_the_tables_own(tmp_path):
    table = {"audio": NAMES[:2], "emotion": ["angry", None], "all": ["angry;sad;angry", "sad"], "mood": ["a|b", "a"]}
    path = write(tmp_path, "a.csv", table)
    rows = load_rows("table", path, columns={"emotion:*": "all", "mood:*": "mood"})
    assert rows["emotion"] == ["angry", None] and rows["emotion:sad"] == [1, 1]
    assert rows["mood:b"] == [1, 0]


def test_votes_for_several_spellings_are_one_on_request(tmp_path):
    path = write(tmp_path, "a.csv", {"audio": NAMES[:3], "emotion": ["Sad;sad;calm", "sad", "sad;Calm;calm"]})
    columns = {name for name in load_rows("table", path).column_names if ":" in name}
    assert columns == {"emotion:Sad", "emotion:sad", "emotion:calm", "emotion:Calm"}
    rows = load_rows("table", path, same_spelling=True)
    assert {name: rows[name] for name in rows.column_names if ":" in name} == {
        "emotion:calm": [1, 0, 2],
        "emotion:sad": [2, 1, 1],
    }


TWICE = {"audio": ["0.wav"] * 2, "rater": ["a", "b"]}
IMPOSSIBLE = [
    ({"emotion:a": [1, -1]}, "column 'emotion:a' holds '-1' in row 1, which is no number of votes"),
    ({"emotion:a": [1, "few"]}, "column 'emotion:a' holds 'few' in row 1"),
    ({"emotion:a": [0.5, 0.7], "emotion:b": [0.5, 0.2]}, r"row 1 \(1.wav\) has shares of the emotion that sum to 0.9"),
    ({"emotion:a": [0, None], "emotion:b": [0, None]}, "no row has a vote in emotion:a, emotion:b"),
    ({"emotion": ["a", "a"], "emotion:a": [2, 1], "emotion:b": [1, 2]}, r"row 1 \(1.wav\) has the emotion 'a', but"),
    ({"emotion": ["a", "c"], "emotion:a": [2, 1]}, "the emotion 'c', but most votes are for a"),
    ({"emotion": ["{'a': 1}", "{a: 1}"]}, "column 'emotion' holds '{a: 1}' in row 1, which is neither"),
    ({"emotion": ['{"a": 1}', '{"a": -1}']}, "column 'emotion' holds -1 votes in row 1: give a number from 0 on"),
    ({"emotion": ['{"a": "x"}', '{"a": 1}']}, "column 'emotion' holds 'x' votes in row 0"),
    (TWICE | {"rater": ["a", "a"], "emotion": ["a", "b"]}, "rater 'a' rates 0.wav more than once, in rows 0 and 1"),
    (TWICE | {"speaker": ["x", "y"]}, "rows 0 and 1 are of one recording, but have speaker 'x' and 'y'"),
    (TWICE | {"rater_weight": [1, -2], "emotion": ["a", "b"]}, "rater_weight is '-2' in row 1"),
]


@pytest.mark.parametrize(("table", "told"), IMPOSSIBLE)
def test_votes_that_cannot_be_are_named_with_their_row(tmp_path, table, told):
    path = write(tmp_path, "a.csv", {"audio": NAMES[:2]} | table)
    with pytest.raises(UserError, match=told) as refused:
        load_rows("table", path)
    assert len(str(refused.value).splitlines()) == 1
