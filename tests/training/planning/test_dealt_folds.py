"""Folds of which there are as many as one asks for: groups of speakers, and parts of the utterances."""

import random
from collections import Counter, defaultdict

import pytest
from datasets import Dataset

from ser_meta.configuration.errors import UserError
from ser_meta.training.planning.folds import assign_folds
from ser_meta.training.planning.sides import split

EMOTIONS = ("angry", "happy", "neutral", "sad")


def corpus(speakers: dict[str, int], sessions: dict[str, str | None] | None = None, seed: int = 0) -> Dataset:
    """Speakers with so many utterances each, in mixed order; each prefers one emotion."""
    chance = random.Random(seed)
    rows = [
        {
            "utterance_id": f"{speaker}-{take:03d}",
            "speaker": speaker,
            "session": (sessions or {}).get(speaker),
            "emotion": chance.choice([*EMOTIONS, EMOTIONS[number % 4]]),
        }
        for number, (speaker, takes) in enumerate(speakers.items())
        for take in range(takes)
    ]
    chance.shuffle(rows)
    return Dataset.from_list(rows)


def uneven(seed: int) -> dict[str, int]:
    """29 speakers, of whom the first by name speak least."""
    chance = random.Random(seed)
    return {f"{number:02d}": min(140, 2 + int(number * chance.expovariate(0.5))) for number in range(29)}


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_of_like_size_and_labels_whatever_the_speakers(seed):
    dataset = corpus(uneven(seed), seed=seed)
    folds = assign_folds(dataset, "groups", fold_count=5)
    assert folds.names == [f"group-{number}" for number in range(1, 6)]
    sizes = Counter(folds.of_rows)
    assert max(sizes.values()) < 1.5 * min(sizes.values())
    by_name = assign_folds(dataset, group_size=6).of_rows
    assert max(sizes.values()) - min(sizes.values()) < max(Counter(by_name).values()) - min(Counter(by_name).values())
    groups = defaultdict(set)
    for speaker, fold in zip(dataset["speaker"], folds.of_rows, strict=True):
        groups[speaker].add(fold)
    assert all(len(found) == 1 for found in groups.values())
    sides = split(dataset, folds, "group-2", validation="speaker")
    assert len(sides["test"]) == sizes["group-2"]


def test_those_of_a_session_stay_together():
    speakers = {f"Ses0{session}{letter}": 30 for session in range(1, 6) for letter in "FM"}
    sessions = {speaker: speaker[:5] for speaker in speakers}
    dataset = corpus(speakers, sessions)
    folds = assign_folds(dataset, "groups", fold_count=5)
    together = set(zip(folds.of_rows, dataset["session"], strict=True))
    assert len(together) == 5 and len({fold for fold, _ in together}) == 5
    with pytest.raises(UserError, match=r"6 groups cannot be made of 5 speakers \(those of a session stay together\)"):
        assign_folds(dataset, "groups", fold_count=6)


def test_a_speaker_of_several_sessions_stays_together_with_all_who_share_them():
    rows = [("a", "1"), ("b", "1"), ("b", "2"), ("c", "2"), ("d", "3"), ("d", None), ("e", None), ("f", "4")]
    dataset = Dataset.from_list(
        [
            {"utterance_id": f"{row}-{emotion}", "speaker": speaker, "session": session, "emotion": emotion}
            for row, (speaker, session) in enumerate(rows)
            for emotion in EMOTIONS
        ]
    )
    fold_of = dict(zip(dataset["speaker"], assign_folds(dataset, "groups", fold_count=4).of_rows, strict=True))
    assert fold_of["a"] == fold_of["b"] == fold_of["c"]
    assert len({fold_of[speaker] for speaker in "adef"}) == 4


@pytest.mark.parametrize("by", ["groups", "utterances"])
def test_the_order_of_the_rows_plays_no_part(by):
    dataset = corpus(uneven(1))
    shuffled = dataset.shuffle(seed=3)
    dealt = [
        dict(zip(each["utterance_id"], assign_folds(each, by, fold_count=4).of_rows, strict=True))
        for each in (dataset, shuffled)
    ]
    assert dealt[0] == dealt[1]


def test_parts_of_the_utterances_have_the_labels_of_the_target_alike():
    dataset = corpus({"anna": 60})
    mood = ["good" if row % 4 else "bad" for row in range(60)]
    dataset = dataset.add_column("mood", mood)
    folds = assign_folds(dataset, "utterances", fold_count=5, target="mood")
    assert Counter(zip(folds.of_rows, mood, strict=True)) == {
        (f"part-{number}", value): count for number in range(1, 6) for value, count in (("good", 9), ("bad", 3))
    }
    with pytest.raises(UserError, match="1 speakers are on two sides"):
        split(dataset, folds, "part-1")
    sides = split(dataset, folds, "part-1", "random", fraction=0.25, allow_speaker_overlap=True, target="mood")
    assert Counter(mood[row] for row in sides["validation"]) == {"good": 9, "bad": 3}


def test_parts_need_no_speaker_and_take_a_missing_label_for_one_more():
    dataset = Dataset.from_dict({"utterance_id": list("abcdef"), "emotion": ["sad", "sad", "sad", None, None, None]})
    dealt = assign_folds(dataset, "utterances", fold_count=3).of_rows
    assert Counter(dealt[:3]) == Counter(dealt[3:]) == {"part-1": 1, "part-2": 1, "part-3": 1}


def test_ten_folds_are_in_the_order_of_their_numbers():
    folds = assign_folds(corpus({"anna": 40}), "utterances", fold_count=10)
    assert folds.names == [f"part-{number:02d}" for number in range(1, 11)]


def test_too_few_to_deal_are_refused():
    with pytest.raises(UserError, match=r"5 groups cannot be made of 1 speaker .* data\.folds=utterances"):
        assign_folds(corpus({"anna": 9}), "groups")
    with pytest.raises(UserError, match="5 folds cannot be made where no label has more than 1 utterances"):
        assign_folds(Dataset.from_dict({"utterance_id": list("abcd"), "emotion": list("abcd")}), "utterances")
    with pytest.raises(UserError, match=r"utterances have no speaker.*data\.folds=utterances"):
        assign_folds(Dataset.from_dict({"utterance_id": ["a"], "emotion": ["sad"], "speaker": [None]}), "groups")
