"""Which utterances train, validate and test: folds of speakers, sessions or corpora, and no speaker on two sides."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, zip_longest

from datasets import Dataset

from ..configuration.errors import UserError
from ..configuration.recipe import FOLDS, VALIDATIONS

OFFICIAL = ("train", "validation")  # sides of a corpus's own split that are no fold to test on
NEEDED_FOR = {"corpus": "several: list them in data.corpora", "split": "a corpus that has sides of its own"}


def assign_folds(dataset: Dataset, by: str = "speaker", group_size: int = 1) -> list[str]:
    """Each row's fold, named after its speaker, session or corpus, or after its side in the corpus's own split.

    Names in sorted order are taken `group_size` at a time and joined: "21+22+23+24". The paper's folds on IEMOCAP are
    its sessions, a pair of speakers each (section III-A).
    Raises `UserError` for another `by`, and for a row without it; a lone corpus has no column `corpus`.
    """
    if by not in FOLDS:
        raise UserError(f"folds cannot be made by {by!r}: choose one of {', '.join(FOLDS)}")
    if by in NEEDED_FOR and by not in dataset.column_names:
        raise UserError(f"folds by {by} need {NEEDED_FOR[by]}, or choose speaker or session")
    if group_size < 1:
        raise UserError(f"a fold of {group_size} {by}s is empty: choose a group_size of at least 1")
    owners = read_known(dataset, by, range(len(dataset)))
    names = sorted(set(owners))
    groups = [names[start : start + group_size] for start in range(0, len(names), group_size)]
    fold_of = {name: "+".join(group) for group in groups for name in group}
    return [fold_of[owner] for owner in owners]


def fold_names(folds: Iterable[str]) -> list[str]:
    """The names of the folds that can be tested on, sorted: the order that an index counts in."""
    return sorted(set(folds) - set(OFFICIAL))


def split(
    dataset: Dataset,
    folds: Sequence[str],
    test_fold: str | int,
    validation: str = "none",
    seed: int = 0,
    fraction: float = 0.2,
    allow_speaker_overlap: bool = False,
) -> dict[str, list[int]]:
    """Row numbers of the sides "train", "validation" and "test"; a text names the test fold, a number counts to it.

    The paper does not say how it validates, so the choice has a name (our reading) and never touches the test fold:

    - `none`: nothing is held back.
    - `random`: `fraction` of the training utterances, of every emotion alike. Their speakers train too.
    - `speaker`: `fraction` of the training speakers, at least one, of both genders alike where known.
    - `session`: one training session of which no row is in the test fold.
    - `split`: the corpus's own validation side.

    Of a corpus's own split only `train` is trained on: other test sides are left out, and so is its validation side
    unless it is chosen.

    Raises `UserError` for an unknown fold or choice, for a side that would be empty, and, unless
    `allow_speaker_overlap`, for a speaker on two sides (under `random` train and validation may share speakers).
    """
    if validation not in VALIDATIONS:
        raise UserError(f"unknown validation {validation!r}: choose one of {', '.join(VALIDATIONS)}")
    if not 0 < fraction < 1:
        raise UserError(f"the fraction for validation is {fraction}: choose one between 0 and 1")
    name = find_fold(folds, test_fold)
    test = [row for row, fold in enumerate(folds) if fold == name]
    official = "train" in folds
    training = [row for row, fold in enumerate(folds) if (fold == "train" if official else fold != name)]
    if validation == "split":
        held_back = {row for row, fold in enumerate(folds) if fold == "validation"}
        if not held_back:
            raise UserError("the corpus has no validation side of its own: choose random, speaker, session or none")
    else:
        held_back = set(choose_validation(dataset, training, test, validation, random.Random(seed), fraction))
    sides = {
        "train": [row for row in training if row not in held_back],
        "validation": sorted(held_back),
        "test": test,
    }
    if not sides["train"]:
        raise UserError(
            f"nothing is left to train on beside the test fold {name!r} and validation {validation!r}: make smaller "
            "folds with data.group_size, or other ones with data.folds"
        )
    if not allow_speaker_overlap:
        refuse_shared_speakers(dataset, sides, may_share=validation == "random")
    return sides


def find_fold(folds: Sequence[str], test_fold: str | int) -> str:
    """The name of the test fold; `UserError` with the names there are if it is none of them."""
    names = fold_names(folds)
    if test_fold in names:
        return test_fold
    if isinstance(test_fold, int) and 0 <= test_fold < len(names):
        return names[test_fold]
    raise UserError(f"no fold {test_fold!r}: choose one of {', '.join(names)}, or a number from 0 to {len(names) - 1}")


def choose_validation(
    dataset: Dataset, training: list[int], test: list[int], validation: str, chance: random.Random, fraction: float
) -> list[int]:
    """The rows of the training side that are held back."""
    if validation == "random":
        return choose_utterances(read(dataset, "emotion"), training, chance, fraction)
    if validation == "speaker":
        return choose_speakers(dataset, training, chance, fraction)
    if validation == "session":
        return choose_session(dataset, training, test, chance)
    return []


def choose_utterances(
    emotions: list[str | None], training: list[int], chance: random.Random, fraction: float
) -> list[int]:
    """`fraction` of each emotion's rows, drawn by chance; one row of each stays behind."""
    by_emotion = defaultdict(list)
    for row in training:
        by_emotion[emotions[row]].append(row)
    chosen = [
        row
        for rows in by_emotion.values()
        for row in chance.sample(rows, min(round(fraction * len(rows)), len(rows) - 1))
    ]
    if not chosen:
        raise UserError(f"validation 'random' holds nothing back: raise the fraction {fraction}, or choose 'none'")
    return chosen


def choose_speakers(dataset: Dataset, training: list[int], chance: random.Random, fraction: float) -> list[int]:
    """The rows of `fraction` of the speakers, drawn by chance, with genders taking turns."""
    speakers = dict(zip(training, read_known(dataset, "speaker", training), strict=True))
    genders = read(dataset, "gender")
    gender_of: dict[str, str] = {}
    for row, speaker in speakers.items():
        gender_of[speaker] = gender_of.get(speaker) or genders[row] or ""
    by_gender = defaultdict(list)
    for speaker in sorted(gender_of):
        by_gender[gender_of[speaker]].append(speaker)
    shuffled = [chance.sample(group, len(group)) for group in by_gender.values()]
    # the larger group first, so that a lone speaker comes from it
    turns = chain.from_iterable(zip_longest(*sorted(shuffled, key=len, reverse=True)))
    drawn = [speaker for speaker in turns if speaker is not None][: max(1, round(fraction * len(gender_of)))]
    return [row for row, speaker in speakers.items() if speaker in drawn]


def choose_session(dataset: Dataset, training: list[int], test: list[int], chance: random.Random) -> list[int]:
    """The rows of one session, drawn by chance among those that the test fold has no part of."""
    sessions = dict(zip([*training, *test], read_known(dataset, "session", [*training, *test]), strict=True))
    whole = sorted({sessions[row] for row in training} - {sessions[row] for row in test})
    if not whole:
        raise UserError(
            "validation 'session': the test fold has part of every session; choose random, speaker or none"
        )
    drawn = chance.choice(whole)
    return [row for row in training if sessions[row] == drawn]


def refuse_shared_speakers(dataset: Dataset, sides: Mapping[str, list[int]], may_share: bool) -> None:
    """Raise `UserError` for a speaker on two sides; `may_share` lets train and validation share. Null is nobody."""
    speakers = read(dataset, "speaker")
    heard = {side: {speakers[row] for row in rows} - {None} for side, rows in sides.items()}
    pairs = [("train", "test"), ("validation", "test"), ("train", "validation")]
    for one, other in pairs[:2] if may_share else pairs:
        shared = sorted(heard[one] & heard[other])
        if shared:
            raise UserError(
                f"{len(shared)} speakers are on two sides ({one} and {other}): {', '.join(shared[:5])}"
                f"{' ...' if len(shared) > 5 else ''}; make folds by speaker, or set allow_speaker_overlap"
            )


def require_emotions(
    dataset: Dataset, sides: Mapping[str, list[int]], labels: Iterable[str], target: str = "emotion"
) -> None:
    """Raise `UserError` if one of these sides lacks a label of the target's altogether.

    What must be learned has to be in "train". A test side may rightly lack an emotion: one of nEMO's speakers does.
    """
    emotions = read(dataset, target)
    for side, rows in sides.items():
        present = {emotions[row] for row in rows}
        absent = [label for label in labels if label not in present]
        if absent:
            raise UserError(
                f"the {side} side has no utterance of {', '.join(absent)}: "
                "choose another fold or larger ones, or leave that label out"
            )


def read(dataset: Dataset, column: str) -> list[str | None]:
    """A column's values, null where the data set does not have it."""
    return list(dataset[column]) if column in dataset.column_names else [None] * len(dataset)


def read_known(dataset: Dataset, column: str, rows: Sequence[int]) -> list[str]:
    """The values of some rows; `UserError` for a null among them."""
    values = read(dataset, column)
    unknown = [row for row in rows if values[row] is None]
    if unknown:
        raise UserError(
            f"{len(unknown)} utterances have no {column}, the first in row {unknown[0]}: "
            f"add it to the corpus, or do not divide by {column}"
        )
    return [values[row] for row in rows]
