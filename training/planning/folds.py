"""Folds: the parts of a corpus of which each is tested in its turn, and how one is asked for."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from ...configuration.errors import UserError
from ...configuration.recipe import DEALT, FOLDS, NO_FOLD, DataRecipe, Recipe

if TYPE_CHECKING:
    from datasets import Dataset

    from ..corpora.rows import Rows


SPELLINGS = {
    "train": ("train", "training", "trn", "tr"),
    "validation": ("validation", "valid", "val", "dev", "devel", "development"),
    "test": ("test", "testing", "tst", "eval", "evaluation"),
}
"""Sides of a corpus's own, and how they are spelled, in any case; a number may follow one of the last: Test2."""

NUMBERED = re.compile(r"(\D+?)[\s._-]*0*(\d+)")
NEEDED_FOR = {
    "corpus": "several: list them in data.corpora",
    "split": "a corpus that has sides of its own",
    "emobox": "its lists: set data.emobox",
}
FOLD_COUNT = 5  # where the recipe does not say
NAMES_SHOWN = 20


@dataclass(frozen=True)
class Folds:
    """The fold of each row.

    Args:
        of_rows: its name, by row.
        own_sides: whether the corpus's own sides are among the names: `train`, `validation`, `test`, `test2`, ...
        each_trains: whether a fold is trained on where another is tested.
    """

    of_rows: Sequence[str]
    own_sides: bool = False
    each_trains: bool = True

    @property
    def names(self) -> list[str]:
        """Those that can be tested on, sorted: the order in which places count."""
        return sorted(set(self.of_rows) - ({"train", "validation"} if self.own_sides else set()))

    def rows_on(self, name: str | None) -> list[int]:
        """The rows of a fold or side."""
        return [row for row, fold in enumerate(self.of_rows) if fold == name]

    def training_rows(self, tested: str | None) -> list[int]:
        """The rows that are trained on where a fold is tested, or none is; the corpus's validation side is not."""
        if not self.each_trains:
            return self.rows_on("train")
        left_out = {tested, "validation"} if self.own_sides else {tested}
        return [row for row, fold in enumerate(self.of_rows) if fold not in left_out]

    def find(self, asked: Any) -> str | None:
        """The name of the fold that is asked for; None for `none`, the wish to test on nothing.

        What is asked for is a name first: `05` is no 5. Of a corpus's own sides any spelling will do. `{"place": 0}`
        counts among the names. So does a bare number where no name has a digit in it; and 0, which is rarely a name,
        where none has that number.

        Raises:
            UserError: there is no such fold, or a number could be meant as a name.
        """
        names = self.names
        if isinstance(asked, Mapping):
            if not asked["place"] < len(names):
                raise UserError(f"there is no fold at place {asked['place']}: {_choices(names)}")
            return names[asked["place"]]
        name = (find_side(asked) if self.own_sides else None) or asked
        if name == NO_FOLD and name in names:
            raise UserError(
                f"test_fold={name} asks for no test fold, but one has that name: rename it in the corpus, or give its "
                f"place, as data.test_fold.place={names.index(name)}"
            )
        if name in names or name == NO_FOLD:
            return name if name in names else None
        close = _meant(name, names)
        numbered = any(character.isdecimal() for each in names for character in each)
        if re.fullmatch("0" if numbered else "0|[1-9][0-9]*", name) and int(name) < len(names) and not close:
            return names[int(name)]
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise UserError(f"there is no fold {asked!r}: {hint}{_choices(names)}")


def recipe_folds(dataset: Dataset | Rows, recipe: Recipe) -> Folds:
    """The folds that a recipe asks for; see `assign_folds`."""
    data = recipe.data
    return assign_folds(dataset, data.folds, data.group_size, data.fold_count, recipe.model.target_task)


def assign_folds(
    dataset: Dataset | Rows,
    by: str = "speaker",
    group_size: int = 1,
    fold_count: int | None = None,
    target: str = "emotion",
) -> Folds:
    """Each row's fold, named after its speaker, session or corpus, or after its side in the corpus's own split.

    Names in sorted order are taken `group_size` at a time and joined: "21+22+23+24". The paper's folds on IEMOCAP are
    its sessions, a pair of speakers each (section III-A).

    By `groups`, speakers are dealt into `fold_count` folds (5 by default) of like size and like shares of the target's
    labels, named "group-1", ...; who shares a session stays together. By `utterances`, these are dealt likewise, named
    "part-1", ..., whoever speaks them. The same corpus is always dealt alike, in any order of its rows.

    By `emobox`, they are its lists': "fold_1", ...; a row that is in none of them, of another corpus, is trained on
    whichever is tested.

    Raises `UserError` for another `by`, and for a row without it; a lone corpus has no column `corpus`. For a side in
    a spelling that is not known, for speakers or sessions that are sides, and for too few to deal.
    """
    if by not in FOLDS:
        raise UserError(f"folds cannot be made by {by!r}: choose one of {', '.join(FOLDS)}")
    if by in NEEDED_FOR and by not in dataset.column_names:
        raise UserError(f"folds by {by} need {NEEDED_FOR[by]}, or choose speaker or session")
    if group_size < 1:
        raise UserError(f"a fold of {group_size} {by}s is empty: choose a group_size of at least 1")
    if by in DEALT:
        deal = _deal_groups if by == "groups" else _deal_utterances
        return Folds(deal(dataset, fold_count or FOLD_COUNT, target))
    if by == "emobox":
        return Folds([fold or "train" for fold in dataset[by]], own_sides=True)
    owners = read_known(dataset, by, range(len(dataset)))
    if by == "split":
        return Folds(read_sides(owners), own_sides=True, each_trains=False)
    names = sorted(set(owners))
    _refuse_sides(by, names)
    groups = [names[start : start + group_size] for start in range(0, len(names), group_size)]
    fold_of = {name: "+".join(group) for group in groups for name in group}
    return Folds([fold_of[owner] for owner in owners])


def describe_folds(data: DataRecipe) -> str:
    """What the folds of a recipe are made of, in words."""
    by, count = data.folds, data.fold_count or FOLD_COUNT
    if by == "emobox":
        return "EmoBox's lists"
    if by == "groups":
        return f"{count} groups of speakers, of like size and labels"
    if by == "utterances":
        return f"{count} parts of the utterances, whoever speaks them"
    return f"groups of {data.group_size} {by}s" if data.group_size > 1 else by


def find_side(word: str) -> str | None:
    """The side that a word spells: `train`, `validation`, `test`, `test2`, ...; None for another word.

    Test1 is the test side, as in MSP-Podcast.
    """
    stem, number = word.strip().casefold(), 1
    if match := NUMBERED.fullmatch(stem):
        stem, number = match[1], int(match[2])
    side = next((side for side, spellings in SPELLINGS.items() if stem in spellings), None)
    if match is None or side is None:
        return side
    return None if side != "test" or number < 1 else side if number == 1 else f"{side}{number}"


def read_sides(words: Sequence[str]) -> list[str]:
    """The corpus's own side of each row; `UserError` for words that are none, and for two test sides that mix."""
    sides = {word: find_side(word) for word in dict.fromkeys(words)}
    if unknown := [word for word, side in sides.items() if side is None]:
        count = sum(words.count(word) for word in unknown)
        known = "; ".join(f"{side} ({', '.join(spelled[1:])})" for side, spelled in SPELLINGS.items())
        raise UserError(
            f"{count} utterances are on the side {_listed(unknown)}, which is none of {known}: spell it so, or, if "
            "these are folds, read that column as session and set data.folds=session"
        )
    tested = sorted(word for word, side in sides.items() if side == "test")
    if len({(word.strip().casefold().startswith("eval"), word.strip()[-1].isdigit()) for word in tested}) > 1:
        raise UserError(
            f"the sides {' and '.join(map(repr, tested))} both read as the test side: spell the one that validates as "
            "dev, or number them as Test1 and Test2"
        )
    return [sides[word] for word in words]


def read(dataset: Dataset | Rows, column: str) -> list[str | None]:
    """A column's values, null where the data set does not have it."""
    return list(dataset[column]) if column in dataset.column_names else [None] * len(dataset)


def read_known(dataset: Dataset | Rows, column: str, rows: Sequence[int]) -> list[str]:
    """The values of some rows; `UserError` for a null among them."""
    values = read(dataset, column)
    unknown = [row for row in rows if values[row] is None]
    if unknown:
        remedy = (
            "; data.options.speaker=REGEX reads it from the paths of data.corpus=folders; a corpus without speakers "
            "has data.folds=utterances"
            if column == "speaker"
            else ""
        )
        raise UserError(
            f"{len(unknown)} utterances have no {column}, the first in row {unknown[0]}: "
            f"add it to the corpus, or do not divide by {column}{remedy}"
        )
    return [values[row] for row in rows]


def _refuse_sides(by: str, names: Sequence[str]) -> None:
    """Sides that stand in the column of speakers or sessions would be learned from and tested in turn."""
    sides = {find_side(name) for name in names}
    if "train" in sides and None not in sides and len(sides) > 1:
        raise UserError(f"the column {by} holds sides ({_listed(names)}): read it as split, and set data.folds=split")


def _meant(asked: str, names: Sequence[str]) -> list[str]:
    """The names that could be meant by what is none of them: those with that number, with that part, or like it."""
    if asked.isdecimal():
        return [name for name in names if int(asked) in map(int, re.findall(r"\d+", name))][:NAMES_SHOWN]
    parts = [name for name in names if asked in name.split("+")]
    alike = [name for name in names if name.casefold() == asked.casefold()]
    return parts or alike or get_close_matches(asked, names)


def _choices(names: Sequence[str]) -> str:
    return (
        f"choose one of {_listed(names)}, a place from 0 to {len(names) - 1} as data.test_fold.place=0, or none for a "
        "model that is not tested"
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def _deal_groups(dataset: Dataset | Rows, count: int, target: str) -> list[str]:
    from sklearn.model_selection import StratifiedGroupKFold  # takes a second: a mistake is told without it

    owners = _kept_together(dataset)
    there = len(set(owners))
    if there < count:
        raise UserError(
            f"{count} groups cannot be made of {there} speaker{'s' if there > 1 else ''} (those of a session stay "
            'together): lower data.fold_count; where each speaker has a session 1, set data.label_map={session: {"*": '
            "null}}; or choose data.folds=utterances, which is speaker-dependent"
        )
    return _deal(StratifiedGroupKFold(count), read(dataset, target), owners, "group")


def _deal_utterances(dataset: Dataset | Rows, count: int, target: str) -> list[str]:
    from sklearn.model_selection import StratifiedKFold

    ids = read(dataset, "utterance_id")
    order = sorted(range(len(dataset)), key=lambda row: (ids[row] or "", row))
    labels = read(dataset, target)
    dealt = _deal(StratifiedKFold(count, shuffle=True, random_state=0), [labels[row] for row in order], order, "part")
    part_of = dict(zip(order, dealt, strict=True))
    return [part_of[row] for row in range(len(dataset))]


def _deal(folding: Any, labels: Sequence[str | None], owners: Sequence[Any], name: str) -> list[str]:
    """Each row's fold, as scikit-learn deals them; a missing label counts as one more."""
    count, folds = folding.get_n_splits(), [""] * len(labels)
    known = ["" if label is None else str(label) for label in labels]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a rare label, which is not in every fold
            for number, (_, rows) in enumerate(folding.split(known, known, owners), start=1):
                for row in rows:
                    folds[row] = f"{name}-{number:0{len(str(count))}d}"
    except ValueError as error:
        most = max(Counter(known).values(), default=0)
        raise UserError(
            f"{count} folds cannot be made where no label has more than {most} utterances: lower data.fold_count"
        ) from error
    return folds


def _kept_together(dataset: Dataset | Rows) -> list[str]:
    """The owner of each row: its speaker, or the first by name of all speakers that sessions tie together."""
    speakers = read_known(dataset, "speaker", range(len(dataset)))
    above: dict[tuple[str, str], tuple[str, str]] = {}

    def top(owner: tuple[str, str]) -> tuple[str, str]:
        while owner in above:
            owner = above[owner]
        return owner

    for speaker, session in sorted(set(zip(speakers, read(dataset, "session"), strict=True)), key=str):
        pair = {top(("speaker", speaker)), top(("session", session) if session is not None else ("speaker", speaker))}
        first = min(pair, key=lambda owner: (owner[0] == "session", owner))
        above.update(dict.fromkeys(pair - {first}, first))
    return [top(("speaker", speaker))[1] for speaker in speakers]
