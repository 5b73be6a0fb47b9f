from collections import Counter

import pytest
from datasets import Dataset

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe import DataRecipe, Recipe
from ser_meta.training.corpora import load_corpus
from ser_meta.training.corpora.rows import gather
from ser_meta.training.planning.folds import Folds, assign_folds
from ser_meta.training.planning.sides import left_out_of_all, require_labels, rows_on_no_side, split

EMOTIONS = ["neutral", "happy", "angry", "sad"]


@pytest.fixture
def dataset():
    """Five sessions of a woman and a man, with ten utterances of each emotion each."""
    return gather(
        [
            {
                "audio": "x.wav",
                "utterance_id": f"{session}{letter}{emotion}{take}",
                "emotion": emotion,
                "speaker": f"Ses0{session}{letter}",
                "gender": {"F": "female", "M": "male"}[letter],
                "session": f"Session{session}",
            }
            for session in range(1, 6)
            for letter in "FM"
            for emotion in EMOTIONS
            for take in range(10)
        ]
    ).dataset()


def of(dataset, rows, column):
    values = list(dataset[column])
    return [values[row] for row in rows]


def assert_partition(dataset, sides):
    assert list(sides) == ["train", "validation", "test"]
    assert sorted(row for rows in sides.values() for row in rows) == list(range(len(dataset)))


def test_folds_by_session_and_by_speaker(dataset):
    assert assign_folds(dataset, by="session").names == [f"Session{number}" for number in range(1, 6)]
    assert assign_folds(dataset).of_rows == list(dataset["speaker"])


def test_speakers_are_grouped_in_sorted_order_whatever_the_order_of_rows(dataset):
    folds = assign_folds(dataset, group_size=4)
    groups = ["Ses01F+Ses01M+Ses02F+Ses02M", "Ses03F+Ses03M+Ses04F+Ses04M", "Ses05F+Ses05M"]
    assert folds.names == groups
    assert all(speaker in fold.split("+") for speaker, fold in zip(dataset["speaker"], folds.of_rows, strict=True))
    shuffled = dataset.shuffle(seed=1)
    assert sorted(zip(shuffled["utterance_id"], assign_folds(shuffled, group_size=4).of_rows, strict=True)) == sorted(
        zip(dataset["utterance_id"], folds.of_rows, strict=True)
    )


def test_folds_that_cannot_be_made(dataset):
    with pytest.raises(UserError, match="by 'gender': choose one of speaker, session"):
        assign_folds(dataset, by="gender")
    with pytest.raises(UserError, match="group_size of at least 1"):
        assign_folds(dataset, group_size=0)
    nobody = gather([{"audio": "x.wav", "utterance_id": "x"}])
    for by in ("speaker", "session"):
        with pytest.raises(UserError, match=f"1 utterances have no {by}, the first in row 0"):
            assign_folds(nobody, by=by)


def test_the_test_fold_by_name_and_by_number(dataset):
    folds = assign_folds(dataset, by="session")
    by_name, by_number = split(dataset, folds, "Session4"), split(dataset, folds, {"place": 3})
    assert by_name == by_number
    assert_partition(dataset, by_name)
    assert set(of(dataset, by_name["test"], "session")) == {"Session4"}
    assert by_name["validation"] == [] and len(by_name["train"]) == 320


@pytest.mark.parametrize("fold", ["Session9", "5", "-1", "Session", {"place": 5}])
def test_an_unknown_fold_lists_those_there_are(dataset, fold):
    folds = assign_folds(dataset, by="session")
    with pytest.raises(UserError, match=r"there is no fold .*choose one of Session1, .*Session5, a place from 0 to 4"):
        split(dataset, folds, fold)


def test_random_validation_is_stratified_and_spares_the_test_fold(dataset):
    sides = split(dataset, assign_folds(dataset, by="session"), "Session1", validation="random", fraction=0.25)
    assert_partition(dataset, sides)
    assert Counter(of(dataset, sides["validation"], "emotion")) == dict.fromkeys(EMOTIONS, 20)
    assert "Session1" not in of(dataset, sides["validation"], "session")


def test_random_validation_leaves_one_utterance_of_each_emotion(dataset):
    lonely = dataset.filter(lambda row: row["emotion"] == "happy" or row["utterance_id"][-1] == "0")
    sides = split(
        lonely.select(range(13)), Folds(["a"] * 12 + ["b"]), "b", "random", fraction=0.9, allow_speaker_overlap=True
    )
    assert len(sides["validation"]) == 9 and len(set(of(lonely, sides["train"], "emotion"))) == 3


def test_speaker_validation_takes_whole_speakers_of_both_genders(dataset):
    folds = assign_folds(dataset, by="session")
    for seed in range(10):
        sides = split(dataset, folds, "Session2", validation="speaker", fraction=0.25, seed=seed)
        assert_partition(dataset, sides)
        speakers = {side: set(of(dataset, rows, "speaker")) for side, rows in sides.items()}
        assert len(speakers["validation"]) == 2 and len(speakers["train"]) == 6
        assert not speakers["validation"] & (speakers["train"] | speakers["test"])
        assert Counter(of(dataset, sides["validation"], "gender")) == {"female": 40, "male": 40}


def test_speaker_validation_takes_at_least_one(dataset):
    sides = split(dataset, assign_folds(dataset), "Ses01F", validation="speaker", fraction=0.01)
    assert len(set(of(dataset, sides["validation"], "speaker"))) == 1
    unknown = dataset.remove_columns("gender")
    assert len(split(unknown, assign_folds(unknown), "Ses01F", "speaker", fraction=0.3)["validation"]) == 120


def test_session_validation_is_one_session_apart_from_the_test_fold(dataset):
    folds = assign_folds(dataset, by="speaker")
    drawn = set()
    for seed in range(20):
        sides = split(dataset, folds, "Ses02F", validation="session", seed=seed)
        assert_partition(dataset, sides)
        sessions = set(of(dataset, sides["validation"], "session"))
        assert len(sessions) == 1 and len(sides["validation"]) == 80
        drawn |= sessions
    assert drawn == {"Session1", "Session3", "Session4", "Session5"}


@pytest.mark.parametrize("validation", ["random", "speaker", "session"])
def test_the_seed_alone_decides(dataset, validation):
    folds = assign_folds(dataset, by="session")
    splits = [
        split(dataset, folds, "Session1", validation=validation, seed=seed)["validation"] for seed in (1, 1, 2, 3, 4)
    ]
    assert splits[0] == splits[1] and any(other != splits[0] for other in splits[2:])


def test_a_speaker_on_two_sides_is_refused_unless_asked_for(dataset):
    folds = Folds(["odd" if row % 2 else "even" for row in range(len(dataset))])
    with pytest.raises(UserError, match=r"10 speakers are on two sides \(train and test\): Ses01F, Ses01M, Ses02F, "):
        split(dataset, folds, "odd")
    assert_partition(dataset, split(dataset, folds, "odd", allow_speaker_overlap=True))


def test_a_speaker_of_two_sessions_may_not_both_train_and_validate(dataset):
    wanderer = dataset.map(
        lambda row: {"speaker": "Ann" if row["speaker"] in ("Ses02F", "Ses03F") else row["speaker"]}
    )
    folds = assign_folds(wanderer, by="session")
    with pytest.raises(UserError, match=r"1 speakers are on two sides \(train and validation\): Ann"):
        for seed in range(20):
            split(wanderer, folds, "Session1", validation="session", seed=seed)
    split(wanderer, folds, "Session1", validation="random")
    with pytest.raises(UserError, match=r"two sides \(train and test\): Ann"):
        split(wanderer, folds, "Session2")


def test_speakers_that_validate_do_not_test(dataset):
    folds = Folds(["test" if name[1:] == "Fsad0" else "rest" for name in dataset["utterance_id"]])
    with pytest.raises(UserError, match="two sides"):
        split(dataset, folds, "test", validation="speaker", fraction=0.5)


def test_unknown_speakers_are_nobody(dataset):
    anonymous = dataset.remove_columns("speaker")
    assert_partition(anonymous, split(anonymous, assign_folds(anonymous, by="session"), "Session1"))
    with pytest.raises(UserError, match="320 utterances have no speaker"):
        split(anonymous, assign_folds(anonymous, by="session"), "Session1", validation="speaker")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": "test"}, "unknown validation 'test': choose one of none, random, session, speaker"),
        ({"validation": "random", "fraction": 1.0}, "the fraction for validation is 1.0"),
        ({"validation": "random", "fraction": 0.001}, "holds nothing back: raise the fraction 0.001"),
    ],
)
def test_choices_that_make_no_sense(dataset, options, message):
    with pytest.raises(UserError, match=message):
        split(dataset, assign_folds(dataset, by="session"), "Session1", **options)


def test_something_must_be_left(dataset):
    with pytest.raises(UserError, match="nothing is left to train on"):
        split(dataset, Folds(["all"] * len(dataset)), "all")
    pair = dataset.filter(lambda row: row["session"] in ("Session1", "Session2"))
    with pytest.raises(UserError, match="nothing is left to train on beside the test fold 'Session1'"):
        split(pair, assign_folds(pair, by="session"), "Session1", validation="session")
    single = dataset.filter(lambda row: row["session"] == "Session1")
    with pytest.raises(UserError, match="the test fold has part of every session"):
        split(single, assign_folds(single), "Ses01F", validation="session")


def test_a_side_without_an_emotion_is_named(dataset):
    present = {"train": set(dataset["emotion"]) - {"sad"}}
    require_labels(present, EMOTIONS[:3])
    with pytest.raises(UserError, match="the train side has no utterance of sad"):
        require_labels(present, EMOTIONS)


def test_real_folds_share_no_speaker(shared):
    ravdess = load_corpus("ravdess", shared / "data" / "ravdess")
    folds = assign_folds(ravdess, group_size=4)
    assert folds.names[5] == "21+22+23+24"
    sides = split(ravdess, folds, "21+22+23+24", validation="speaker")
    assert_partition(ravdess, sides)
    assert Counter(of(ravdess, sides["test"], "style")) == {"speech": 240, "song": 176}
    assert len(set(of(ravdess, sides["validation"], "speaker"))) == 4
    nemo = load_corpus("nemo", shared / "data" / "nemo")
    sides = split(nemo, assign_folds(nemo), "MK0")
    present = {side: set(of(nemo, rows, "emotion")) for side, rows in sides.items() if rows}
    assert present["train"] == set(nemo["emotion"])
    with pytest.raises(UserError, match="the test side has no utterance of surprised"):
        require_labels(present, set(nemo["emotion"]))


@pytest.fixture
def official():
    """Rows with the corpus's own sides."""
    sides = ["train", "train", "validation", "test", "test2"]
    rows = {"audio": list("abcde"), "speaker": list("stuvw"), "emotion": ["sad", "calm", "sad", "calm", "sad"]}
    return Dataset.from_dict({**rows, "split": sides})


def test_the_corpus_own_sides_are_taken_as_they_are(official):
    folds = assign_folds(official, by="split")
    assert folds.names == ["test", "test2"]
    assert split(official, folds, "test", "split") == {"train": [0, 1], "validation": [2], "test": [3]}
    assert split(official, folds, "test2") == {"train": [0, 1], "validation": [], "test": [4]}


def test_a_side_that_a_training_passes_over_is_told(official):
    recipe = Recipe(data=DataRecipe(corpus="table", folds="split"))
    folds = assign_folds(official, by="split")
    left_out = [rows_on_no_side(official, recipe, split(official, folds, name)) for name in folds.names]
    unused = {"the corpus's own side validation, which data.validation=none does not use": "1 of 5 rows"}
    assert left_out[0] == unused | {"the corpus's own side test2, which is not tested": "1 of 5 rows"}
    assert left_out_of_all(left_out) == unused
    all_used = official.select([0, 1, 2, 3])
    sides = split(all_used, assign_folds(all_used, by="split"), "test", "split")
    assert rows_on_no_side(all_used, recipe, sides) == {}


def test_a_corpus_without_a_validation_side_of_its_own_is_refused_where_it_is_asked_for(official):
    unpacked = official.select([0, 1, 3])
    with pytest.raises(UserError, match="no validation side of its own: choose"):
        split(unpacked, assign_folds(unpacked, by="split"), "test", "split")


def test_a_corpus_without_sides_of_its_own_is_refused(official):
    with pytest.raises(UserError, match="sides of its own"):
        assign_folds(official.remove_columns("split"), by="split")
