import numpy as np
import pytest

from ser_meta.training.corpora.rows import Rows, join_rows
from ser_meta.training.corpora.votes import (
    certain_shares,
    learned_shares,
    shares_of,
    voted_labels,
    voted_tasks,
    votes_of,
    with_majority,
)

LABELS = ["angry", "neutral", "sad"]
NONE = [np.nan] * 3


@pytest.fixture
def rows():
    """Five utterances: one clear, one tied, one that raters left without a class or two, one that nobody rated."""
    votes = {
        "emotion:angry": [3, 1, 0, None, None],
        "emotion:neutral": [1, 2, None, None, None],
        "emotion:sad": [0, 2, 0.5, None, None],
    }
    ids = {"utterance_id": list("abcde"), "emotion": [None, None, None, None, None]}
    return Rows([f"{name}.wav" for name in "abcde"], ids | votes)


def test_columns_of_votes_are_numbers_like_any_other_column(rows):
    assert rows.types["emotion:sad"] == "float64"
    assert (voted_tasks(rows), voted_labels(rows, "emotion")) == (["emotion"], LABELS)
    assert rows.dataset().features["emotion:angry"].dtype == "float64"
    assert rows.select([2, 0])["emotion:sad"] == [0.5, 0]


def test_shares_sum_to_one_and_who_was_not_rated_has_none(rows):
    wanted = [[0.75, 0.25, 0], [0.2, 0.4, 0.4], [0, 0, 1], NONE, NONE]
    np.testing.assert_allclose(shares_of(rows, "emotion", LABELS), wanted)
    np.testing.assert_allclose(shares_of(rows.dataset(), "emotion", LABELS), wanted)
    np.testing.assert_array_equal(votes_of(rows, "emotion", LABELS)[2], [0, 0, 0.5])


def test_labels_are_in_the_order_that_is_asked_for_and_others_are_left_aside(rows):
    shares = shares_of(rows, "emotion", ["sad", "happy", "angry"])
    np.testing.assert_allclose(shares, [[0, 0, 1], [2 / 3, 0, 1 / 3], [1, 0, 0], NONE, NONE])


def test_a_row_without_votes_has_its_label_for_sure(rows):
    labelled = rows.with_columns({"emotion": ["angry", None, "neutral", "sad", "elated"]})
    shares = shares_of(labelled, "emotion", LABELS)
    np.testing.assert_allclose(shares[2:], [[0, 0, 1], [0, 0, 1], NONE])
    np.testing.assert_array_equal(certain_shares(labelled, "emotion", LABELS)[2], [0, 1, 0])


@pytest.mark.parametrize(
    ("ties", "wanted"), [("drop", ["angry", None, "sad"]), ("first", ["angry", "neutral", "sad"])]
)
def test_the_majority_is_the_label_and_ties_go_by_their_rule(rows, ties, wanted):
    assert with_majority(rows, ties)["emotion"] == [*wanted, None, None]


def test_labels_of_the_corpus_itself_stay(rows):
    own = rows.with_columns({"emotion": ["sad", None, None, None, "neutral"]})
    assert with_majority(own, "drop")["emotion"] == ["sad", None, None, None, "neutral"]
    assert with_majority(own, "first")["emotion"] == ["sad", "neutral", "sad", None, "neutral"]


def test_what_is_learned(rows):
    labelled = with_majority(rows, "all")
    assert learned_shares(labelled, "emotion", LABELS, "majority", "drop") is None
    np.testing.assert_allclose(
        learned_shares(labelled, "emotion", LABELS, "majority", "all"),
        [[1, 0, 0], [0, 0.5, 0.5], [0, 0, 1], NONE, NONE],
    )
    np.testing.assert_allclose(
        learned_shares(labelled, "emotion", LABELS, "shares", "drop"), shares_of(rows, "emotion", LABELS)
    )


def test_a_corpus_without_votes_beside_one_with_them(rows):
    hard = Rows(["f.wav"], {"utterance_id": ["f"], "emotion": ["sad"]})
    both = join_rows([rows, hard])
    assert both["emotion:sad"][-1] is None
    np.testing.assert_allclose(shares_of(both, "emotion", LABELS)[-2:], [NONE, [0, 0, 1]])
