"""Labels as real tables have them: each kind of trouble is told with its mend, and clean labels with nothing."""

import pytest

from ser_meta.training.checking.labels import LABEL_REMARKS, label_findings
from ser_meta.training.corpora.rows import Rows
from ser_meta.training.corpora.values import spelling_remarks

CLEAN = ["neutral", "sad", "sad", "neutral", None]


def found(labels, **columns):
    names = [f"{number}.wav" for number in range(len(labels))]
    rows = Rows(names, {"utterance_id": names, "emotion": labels} | columns)
    return {name: told["emotion"] for name, told in label_findings(rows).items()}


@pytest.mark.parametrize(
    ("labels", "finding", "told"),
    [
        (["neu", "neu"], "shortened labels", "'neu' (2) and 'neutral' (2)"),
        (["NEU", "NEU"], "shortened labels", "'NEU' (2) and 'neutral' (2)"),
        (["0", "0", "11", "11"], "numbers as labels", "'0' (2), '11' (2)"),
        (["False", "False"], "misread labels", "'False' (2)"),
        (["11.0", "11.0", "1e5", "1e5"], "misread labels", "'11.0' (2), '1e5' (2)"),
        (["happy, sad", "happy, sad"], "several labels", "'happy, sad' (2)"),
        (["bored"], "lone labels", "bored"),
    ],
)
def test_each_kind_of_trouble_is_told_with_its_count(labels, finding, told):
    assert found(CLEAN + labels) == {finding: told}
    assert any(word in LABEL_REMARKS[finding] for word in ("label_map", "; or |"))


def test_clean_labels_have_no_finding():
    assert found(CLEAN) == {}
    assert found(["not sure", "not sure", "sad-angry", "sad-angry", "on", "on"]) == {}


def test_of_votes_ties_and_rows_that_nobody_rated_are_counted():
    votes = {"emotion:sad": [2, 1, 0, None], "emotion:Sad": [0, 1, 3, None], "emotion:calm": [0, 1, 3, None]}
    told = found([None] * 4, **votes)
    assert told == {"ties": "2 of 4 rows", "not rated": "1 of 4 rows"}
    rows = Rows(list("abcd"), {"utterance_id": list("abcd")} | votes)
    assert spelling_remarks(rows, ["emotion"]) == {"emotion": "'sad' (2) and 'Sad' (2)"}
