"""Which utterances train, validate and test: one fold is tested, and no speaker is on two sides unless asked for."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any

from ...configuration.errors import UserError
from ...configuration.recipe import NO_FOLD, VALIDATIONS, Recipe
from .folds import Folds, read, read_known, recipe_folds

if TYPE_CHECKING:
    from datasets import Dataset

    from ..corpora.rows import Rows


NAMES_SHOWN = 10
OWN_SIDE = "the corpus's own side"


class MissingLabelError(UserError):
    """A side has no utterance of a label."""


def divide(dataset: Dataset | Rows, recipe: Recipe) -> tuple[dict[str, list[int]], str | None]:
    """The rows of a recipe's sides, see `split`, and the name of the tested fold; None where there is none."""
    data, folds = recipe.data, recipe_folds(dataset, recipe)
    sides = split(
        dataset,
        folds,
        data.test_fold,
        validation=data.validation,
        seed=recipe.seed,
        fraction=data.validation_fraction,
        allow_speaker_overlap=data.speakers_may_overlap,
        target=recipe.model.target_task,
    )
    return sides, folds.find(data.test_fold)


def split(
    dataset: Dataset | Rows,
    folds: Folds,
    test_fold: Any,
    validation: str = "none",
    seed: int = 0,
    fraction: float = 0.2,
    allow_speaker_overlap: bool = False,
    target: str = "emotion",
) -> dict[str, list[int]]:
    """Row numbers of the sides "train", "validation" and "test"; `test_fold` is as `Folds.find` takes it.

    The paper does not say how it validates, so the choice has a name (our reading) and never touches the test fold:

    - `none`: nothing is held back.
    - `random`: `fraction` of the training utterances, of every label of the target alike. Their speakers train too.
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
    name = folds.find(test_fold)
    if name is None and not folds.each_trains:
        raise UserError(
            f"test_fold={NO_FOLD} learns from all, but the corpus has a test side of its own: name that, or choose "
            "other folds than split"
        )
    test, training = folds.rows_on(name), folds.training_rows(name)
    if validation == "split":
        held_back = set(folds.rows_on("validation")) if folds.own_sides else set()
        if not held_back:
            raise UserError("the corpus has no validation side of its own: choose random, speaker, session or none")
    else:
        chance = random.Random(seed)
        held_back = set(choose_validation(dataset, training, test, validation, chance, fraction, target))
    sides = {
        "train": [row for row in training if row not in held_back],
        "validation": sorted(held_back),
        "test": test,
    }
    if not sides["train"]:
        raise UserError(
            f"nothing is left to train on beside the test fold {name!r} and validation {validation!r}: make smaller "
            "folds with data.group_size, or other ones with data.folds, such as utterances for a corpus of one voice"
        )
    if not allow_speaker_overlap:
        refuse_shared_speakers(dataset, sides, may_share=validation == "random")
    return sides


def describe_sides(
    dataset: Dataset | Rows, sides: Mapping[str, Sequence[int]], test_fold: str | None, asked: Any = None
) -> str:
    """What is tested and who speaks there, and what is trained on, in one line for before a training.

    `asked` is the recipe's `data.test_fold`, which is told where it is not the fold's name.
    """
    speakers = read(dataset, "speaker")
    counts = f"{len(sides['train'])} utterances train, {len(sides['validation'])} validate"
    if test_fold is None:
        return f"no fold is tested: {counts}, and nothing judges this model itself"
    tested = sorted({speakers[row] for row in sides["test"]} - {None})
    more = f" and {len(tested) - NAMES_SHOWN} more" if len(tested) > NAMES_SHOWN else ""
    who = f" of {', '.join(tested[:NAMES_SHOWN])}{more}" if tested else " of unknown speakers"
    trained = {speakers[row] for row in sides["train"]} & set(tested)
    seen = f", who are trained on too ({len(trained)} of {len(tested)})" if trained else ""
    place = f".place={asked['place']}" if isinstance(asked, Mapping) else f"={asked}"
    how = "" if asked in (None, test_fold) else f" (data.test_fold{place})"
    return f"tested is the fold {test_fold}{how}: {len(sides['test'])} utterances{who}{seen}; {counts}"


def rows_on_no_side(dataset: Dataset | Rows, recipe: Recipe, sides: Mapping[str, Sequence[int]]) -> dict[str, str]:
    """In words, each side of the corpus's own that a training passes over, and how many rows it has."""
    used = {row for rows in sides.values() for row in rows}
    if len(used) == len(dataset):
        return {}
    names = Counter(name for row, name in enumerate(recipe_folds(dataset, recipe).of_rows) if row not in used)
    validates = f"data.validation={recipe.data.validation} does not use"
    return {
        f"{OWN_SIDE} {name}, which {validates if name == 'validation' else 'is not tested'}": (
            f"{count} of {len(dataset)} rows"
        )
        for name, count in sorted(names.items())
    }


def left_out_of_all(reasons: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """What each of several trainings leaves out: a side that one of them passes over may be another's test side."""
    first, *others = reasons
    return {reason: told for reason, told in first.items() if all(other.get(reason) == told for other in others)}


def describe_styles(trained_on: Dataset | Rows | None, judged: Dataset | Rows) -> str | None:
    """In words, the speaking styles of both sides; None where none is known. `trained_on` may not be known at all."""
    heard, tested = (sorted(set(read(side, "style")) - {None}) if side else [] for side in (trained_on, judged))
    if heard == tested or not (heard and tested):
        return ", ".join(heard or tested) or None
    return f"{', '.join(tested)}; trained on {', '.join(heard)}"


def describe_unused_sides(dataset: Dataset | Rows, folds: str) -> str | None:
    """A line about sides of the corpus's own that a recipe's folds pass over; None where there are none."""
    words = Counter(word for word in read(dataset, "split") if word is not None)
    if folds == "split" or not words:
        return None
    found = ", ".join(f"{word} {count}" for word, count in sorted(words.items()))
    return (
        f"the corpus has sides of its own ({found}), which data.folds={folds} passes over: data.folds=split takes them"
    )


def choose_validation(
    dataset: Dataset | Rows,
    training: list[int],
    test: list[int],
    validation: str,
    chance: random.Random,
    fraction: float,
    target: str = "emotion",
) -> list[int]:
    """The rows of the training side that are held back."""
    if validation == "random":
        return choose_utterances(read(dataset, target), training, chance, fraction)
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


def choose_speakers(dataset: Dataset | Rows, training: list[int], chance: random.Random, fraction: float) -> list[int]:
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


def choose_session(dataset: Dataset | Rows, training: list[int], test: list[int], chance: random.Random) -> list[int]:
    """The rows of one session, drawn by chance among those that the test fold has no part of."""
    sessions = dict(zip([*training, *test], read_known(dataset, "session", [*training, *test]), strict=True))
    whole = sorted({sessions[row] for row in training} - {sessions[row] for row in test})
    if not whole:
        raise UserError(
            "validation 'session': the test fold has part of every session; choose random, speaker or none"
        )
    drawn = chance.choice(whole)
    return [row for row in training if sessions[row] == drawn]


def refuse_shared_speakers(dataset: Dataset | Rows, sides: Mapping[str, list[int]], may_share: bool) -> None:
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


def require_labels(present: Mapping[str, Collection[str]], labels: Iterable[str], target: str = "emotion") -> None:
    """Raise `MissingLabelError` if one of these sides lacks a label of the target's altogether.

    What must be learned has to be in "train". A test side may rightly lack an emotion: one of nEMO's speakers does.
    """
    for side, there in present.items():
        absent = [label for label in labels if label not in there]
        if absent:
            without = f'"data.label_map={{{target}: {{{absent[0]}: null}}}}"'
            raise MissingLabelError(
                f"the {side} side has no utterance of {', '.join(absent)}: "
                f"choose another fold or larger ones, or leave that label out by {without}"
            )
