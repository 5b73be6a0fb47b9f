"""A fold is what its name says, and a side what its word says."""

import pytest
from datasets import Dataset

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.training.corpora import load_corpus
from ser_meta.training.planning.folds import Folds, assign_folds, find_side, read_sides
from ser_meta.training.planning.sides import describe_sides, describe_unused_sides, split
from ser_meta.training.runs.preparation import prepare
from ser_meta.training.runs.start import announcement

RECIPE = """
data: {{corpus: table, root: /nowhere, {fold}}}
model: {{encoder: some/encoder}}
stages:
  emotion: {{loss_weights: {{emotion: 1}}, epochs: 1, encoder_learning_rate: 1e-4, head_learning_rate: 1e-3}}
"""
DIGITS = [
    "05",
    "0011",
    "1",
    "10",
    "1_000",
    "1e3",
    "0x1F",
    "1:30",
    "1.0",
    "on",
    "no",
    "null",
    "~",
    "true",
    "impro",
    "-1",
]


@pytest.fixture
def asked(tmp_path):
    """What a recipe, and an override of it, ask for when they are written so."""

    def read(written: str) -> list:
        path = tmp_path / "mine.yaml"
        path.write_text(RECIPE.format(fold=f"test_fold: {written}"), encoding="utf-8")
        recipes = load_recipe(str(path)), load_recipe("demo", [f"data.test_fold={written}"])
        return [recipe.data.test_fold for recipe in recipes]

    return read


@pytest.mark.parametrize("name", DIGITS)
def test_a_name_is_found_as_it_is_written(asked, name):
    folds = Folds(DIGITS)
    assert [folds.find(each) for each in asked(name)] == [name, name]
    others = Folds([other for other in DIGITS if other != name])
    for each in asked(name):
        with pytest.raises(UserError, match="there is no fold"):
            others.find(each)


@pytest.mark.parametrize(
    ("names", "number", "remedy"),
    [
        (["01", "02", "03", "04"], "2", "did you mean 02"),
        (["0011", "0012", "09"], "9", "did you mean 09"),
        (["Session1", "Session2", "Session3"], "2", "did you mean Session2"),
        (["01+02", "03+04", "05+06"], "1", r"did you mean 01\+02"),
        (["01+02", "03+04", "05+06"], "03", r"did you mean 03\+04"),
        (["11", "12", "13", "14"], "1", "choose one of 11, 12"),
        (["F1", "M2", "F3", "M4"], "0003", "did you mean F3"),
        (["00", "01", "02"], "0", "did you mean 00"),
        (["Anna", "Bela"], "anna", "did you mean Anna"),
        (["Anna", "Bela"], "2", "choose one of Anna, Bela, a place from 0 to 1"),
    ],
)
def test_a_number_that_could_be_a_name_is_no_place(asked, names, number, remedy):
    for each in asked(number):
        with pytest.raises(UserError, match=remedy):
            Folds(names).find(each)


def test_a_number_that_is_in_no_name_is_a_place(asked):
    assert [Folds(["03", "01", "02"]).find(each) for each in asked("0")] == ["01", "01"]
    assert [Folds(["anna", "bela", "cleo"]).find(each) for each in asked("2")] == ["cleo", "cleo"]
    for each in asked("00"):
        with pytest.raises(UserError, match="there is no fold '00'"):
            Folds(["anna"]).find(each)


def test_a_place_is_asked_for_in_so_many_words(asked):
    numbers = Folds(["3", "1", "2"])
    assert [numbers.find(each) for each in asked("{place: 1}")] == ["2", "2"]
    assert load_recipe("demo", ["data.test_fold.place=2"]).data.test_fold == {"place": 2}
    with pytest.raises(UserError, match="no fold at place 3"):
        numbers.find({"place": 3})
    for wrong in ("{place: -1}", "{place: one}", "{spot: 1}", "{place: 1, name: 2}", ""):
        with pytest.raises(UserError, match=r"data\.test_fold=.* must be a fold's name, none, or a place"):
            asked(wrong)


def test_nothing_said_is_the_first_by_name(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(RECIPE.format(fold=""), encoding="utf-8")
    assert Folds(["b", "a"]).find(load_recipe(str(path)).data.test_fold) == "a"


def test_no_fold_at_all_is_asked_for_by_none(asked):
    assert [Folds(["a", "b"]).find(each) for each in asked("none")] == [None, None]
    for each in asked("none"):
        with pytest.raises(UserError, match=r"one has that name: .* data\.test_fold\.place=1"):
            Folds(["a", "none"]).find(each)


def test_many_names_are_not_all_listed():
    with pytest.raises(UserError, match="and 71 more") as refused:
        Folds([str(1001 + number) for number in range(91)]).find("nobody")
    assert len(str(refused.value)) < 300


SIDES = {
    "train": ["train", "Train", "TRAINING", "trn", "tr", " train "],
    "validation": ["dev", "Devel", "development", "Val", "valid", "VALIDATION"],
    "test": ["test", "Test", "tst", "testing", "eval", "Evaluation", "test1", "Test1", "test_1"],
    "test2": ["Test2", "test-2", "TEST 2", "test02"],
    "test3": ["Test3"],
    None: ["holdout", "1", "fold1", "", "testament", "train2", "val2", "test0"],
}


@pytest.mark.parametrize(("side", "word"), [(side, word) for side, words in SIDES.items() for word in words])
def test_a_side_in_any_usual_spelling_is_that_side(side, word):
    assert find_side(word) == side


@pytest.fixture
def official():
    """Rows with the corpus's own sides, however spelled."""
    sides = ["Train", "training", "Dev", "Test1", "Test2"]
    rows = {"audio": list("abcde"), "speaker": list("stuvw"), "emotion": ["sad", "calm", "sad", "calm", "sad"]}
    return Dataset.from_dict({**rows, "split": sides})


@pytest.mark.parametrize("asked", ["test", "Test", "test1", "Test1", "TST", {"place": 0}])
def test_the_corpus_own_sides_are_never_learned_from(official, asked):
    folds = assign_folds(official, by="split")
    assert folds.names == ["test", "test2"]
    assert split(official, folds, asked, "split") == {"train": [0, 1], "validation": [2], "test": [3]}
    assert split(official, folds, "Test2") == {"train": [0, 1], "validation": [], "test": [4]}
    with pytest.raises(UserError, match="the corpus has a test side of its own"):
        split(official, folds, "none")


def test_words_that_are_no_side_are_refused(official):
    other = official.remove_columns("split").add_column("split", ["Train", "holdout", "fold1", "holdout", "Test"])
    with pytest.raises(UserError, match=r"3 utterances are on the side holdout, fold1, which is none of train \(trai"):
        assign_folds(other, by="split")
    with pytest.raises(UserError, match=r"'eval' and 'test' both read as the test side: spell .* as dev"):
        read_sides(["train", "eval", "test"])
    with pytest.raises(UserError, match="'Test' and 'Test1' both read as the test side"):
        read_sides(["train", "Test", "Test1"])
    assert read_sides(["Test", "tst", "TEST"]) == ["test"] * 3


def test_a_speaker_called_train_is_no_side():
    rows = {"audio": list("abcd"), "speaker": ["train", "test", "ann", "validation"], "emotion": ["sad"] * 4}
    speakers = Dataset.from_dict(rows)
    folds = assign_folds(speakers)
    assert folds.names == ["ann", "test", "train", "validation"]
    assert split(speakers, folds, "test") == {"train": [0, 2, 3], "validation": [], "test": [1]}
    with pytest.raises(UserError, match="no validation side of its own"):
        split(speakers, folds, "test", "split")


def test_sides_that_stand_in_another_column_are_refused(official):
    mistaken = official.remove_columns("split").add_column("session", ["Train", "train", "Dev", "Test", "Test"])
    with pytest.raises(UserError, match=r"session holds sides \(Dev, Test, Train, train\): .* data\.folds=split"):
        assign_folds(mistaken, by="session")


def test_who_is_tested_is_said_before_the_training(official, speech_table, recipe_file):
    rows = {"train": [0, 1], "validation": [2], "test": [3, 4]}
    assert describe_sides(official, rows, "test", {"place": 0}) == (
        "tested is the fold test (data.test_fold.place=0): 2 utterances of v, w; 2 utterances train, 1 validate"
    )
    shared = {"train": [0, 3], "validation": [], "test": [3, 4]}
    assert "of v, w, who are trained on too (1 of 2)" in describe_sides(official, shared, "test", "test")
    assert describe_sides(official, {**rows, "test": []}, None) == (
        "no fold is tested: 2 utterances train, 1 validate, and nothing judges this model itself"
    )
    assert describe_unused_sides(official, "speaker") == (
        "the corpus has sides of its own (Dev 1, Test1 1, Test2 1, Train 1, training 1), which data.folds=speaker "
        "passes over: data.folds=split takes them"
    )
    assert describe_unused_sides(official, "split") is describe_unused_sides(load(speech_table), "speaker") is None
    said = announcement(prepare(load_recipe(str(recipe_file), ["data.test_fold=cleo+dora"])))
    assert said == ["tested is the fold cleo+dora: 12 utterances of cleo, dora; 24 utterances train, 0 validate"]


def load(table):
    return load_corpus("table", table)
