"""What is planned for utterances that several people rated."""

from dataclasses import replace

import pytest

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe import DataRecipe, ModelRecipe
from ser_meta.training.corpora.rows import Rows
from ser_meta.training.corpora.votes import several_of, with_majority
from ser_meta.training.planning.labels import check_labels, find_tasks, learned_labels

MAJORITY, SHARES = DataRecipe(), DataRecipe(votes="shares")
MODEL = ModelRecipe(encoder="none", auxiliary_tasks=[])


@pytest.fixture
def rows():
    """Raters who mostly say angry or sad; one of them once afraid; nobody ever calm; one utterance tied."""
    votes = {
        "emotion:afraid": [1, 0, 0, None],
        "emotion:angry": [2, 0, 1, None],
        "emotion:calm": [0, 0, 0, None],
        "emotion:sad": [0, 3, 1, None],
    }
    names = ["1.wav", "2.wav", "3.wav", "4.wav"]
    return with_majority(Rows(names, {"utterance_id": names} | votes))


def labels(rows, data, train=range(4), model=MODEL):
    return find_tasks(rows, train, model, data)["emotion"]["labels"]


def test_labels_are_those_that_are_learned(rows):
    assert labels(rows, MAJORITY) == ["angry", "sad"]
    assert labels(rows, replace(MAJORITY, ties="all")) == ["angry", "sad"]
    assert labels(rows, SHARES) == ["afraid", "angry", "sad"]
    assert learned_labels(rows, "emotion", [2], MAJORITY) == set()
    assert learned_labels(rows, "emotion", [2], replace(MAJORITY, ties="all")) == {"angry", "sad"}
    assert learned_labels(rows, "emotion", [1, 3], SHARES) == {"sad"}


def test_a_side_of_ties_alone_has_nothing_to_learn_unless_they_are_asked_for(rows):
    with pytest.raises(UserError, match="no utterance of the training side has a value of emotion"):
        labels(rows, MAJORITY, train=[2, 3])
    assert labels(rows, replace(MAJORITY, ties="all"), train=[2, 3]) == ["angry", "sad"]


def test_votes_for_a_label_that_the_model_is_not_to_have_are_refused_where_they_are_learned(rows):
    model = replace(MODEL, labels={"emotion": ["angry", "sad"]})
    tasks = find_tasks(rows, range(4), model, SHARES)
    check_labels(rows, tasks, data=MAJORITY)
    told = r"votes for the emotion afraid, not among .* angry, sad: .*label_map=\{emotion: \{afraid: null\}\}"
    with pytest.raises(UserError, match=told):
        check_labels(rows, tasks, data=SHARES)


def test_several_labels_at_once():
    names = ["1.wav", "2.wav", "3.wav", "4.wav"]
    columns = {"emotion:angry": [1, 0, None, 0], "emotion:sad": [1, 1, None, 0], "emotion": [None, None, "sad", None]}
    rows = Rows(names, {"utterance_id": names} | columns)
    task = find_tasks(rows, range(4), replace(MODEL, multilabel=["emotion"]), MAJORITY)["emotion"]
    assert task == {"kind": "multilabel", "labels": ["angry", "sad"]}
    assert several_of(rows, "emotion", task["labels"]).tolist() == [[1, 1], [0, 1], [0, 1], [0, 0]]
    voted = rows.with_columns({"emotion:sad": [1, 2, None, 0]})
    with pytest.raises(UserError, match=r"utterance 2.wav has 2 votes for the emotion sad, but model.multilabel"):
        find_tasks(voted, range(4), replace(MODEL, multilabel=["emotion"]), MAJORITY)
    mapped = replace(MAJORITY, label_map={"emotion": {"gloomy": "sad"}})
    find_tasks(voted, range(4), replace(MODEL, multilabel=["emotion"]), mapped)
