import pytest

from ser_meta.configuration.errors import UserError
from ser_meta.training.corpora.mapping import map_labels
from ser_meta.training.corpora.rows import Rows

REAL = ["Happy", "happy ", "HAPPINESS", "neutral", "Neu", "not_sure", "Other", None]


def labelled(labels, **columns) -> Rows:
    names = [str(number) for number in range(len(labels))]
    return Rows([f"{name}.wav" for name in names], {"utterance_id": names, "emotion": labels} | columns)


def test_one_pattern_takes_the_place_of_every_spelling():
    names = {"happ*": "joy", "NEU*": "calm", "Not Sure": None, "*": "else"}
    mapped = map_labels(labelled(REAL), {"emotion": names}, "emotion", "mine")
    assert mapped["emotion"] == ["joy", "joy", "joy", "calm", "calm", "else", None]
    assert mapped["utterance_id"] == ["0", "1", "2", "3", "4", "6", "7"]


def test_a_labels_own_name_goes_before_one_alike_and_that_before_a_pattern():
    names = {"h*": "pattern", "HAPPY": "alike", "Happy": "own"}
    mapped = map_labels(labelled(["happy", "Happy", "HAPPY", "hot"]), {"emotion": names}, "emotion", "mine")
    assert mapped["emotion"] == ["alike", "own", "alike", "pattern"]


def test_what_no_name_fits_stays_as_it_is():
    assert map_labels(labelled(["a", "b"]), {"emotion": {"A": "x"}}, "emotion", "mine")["emotion"] == ["x", "b"]
    assert map_labels(labelled(["1-1", "11"]), {"emotion": {"1-*": "x"}}, "emotion", "mine")["emotion"] == ["x", "11"]


@pytest.mark.parametrize("name", ["anx*", "joy"])
def test_a_name_that_no_label_has_is_refused(name):
    with pytest.raises(UserError, match=rf"mine: label_map names the emotion '{name[:3]}.*which the corpus does not"):
        map_labels(labelled(["sad", "glad"]), {"emotion": {name: "x"}}, "emotion", "mine")


VOTES = {
    "emotion:happy": [2, None, 0, 1, None],
    "emotion:excited": [1, None, 0, 0, None],
    "emotion:sad": [0, None, 3, 1, None],
    "emotion:other": [0, None, 0, 2, 3],
}


def test_votes_for_labels_that_become_one_are_added_and_those_for_null_are_taken_away():
    rows = labelled([None] * 5, **VOTES)
    mapped = map_labels(rows, {"emotion": {"excited": "happy", "other": None}}, "emotion", "mine")
    assert {name: mapped[name] for name in mapped.column_names if ":" in name} == {
        "emotion:happy": [3, None, 0, 1],
        "emotion:sad": [0, None, 3, 1],
    }
    assert mapped["utterance_id"] == ["0", "1", "2", "3"]  # 4 had votes for other alone; 1 was not rated at all
    assert mapped.remarks == {"votes left out": {"mine: emotion": "5 of 13 (other 5)"}}


def test_an_utterance_whose_label_is_null_leaves_whatever_its_votes_are():
    rows = labelled(["happy", None, "sad", "other", None], **VOTES)
    mapped = map_labels(rows, {"emotion": {"other": None}}, "emotion", "mine")
    assert mapped["utterance_id"] == ["0", "1", "2"]
    kept = map_labels(rows.with_columns({"mood": ["x"] * 5}), {"emotion": {"other": None}}, "mood", "mine")
    assert len(kept) == 5 and kept["emotion:sad"] == VOTES["emotion:sad"]


def test_a_map_that_takes_every_vote_is_refused():
    with pytest.raises(UserError, match="label_map drops every utterance"):
        map_labels(labelled([None], **{"emotion:other": [1]}), {"emotion": {"*": None}}, "emotion", "mine")
