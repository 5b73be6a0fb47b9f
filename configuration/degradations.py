"""What is done to recordings on purpose, in words: by name for a judgement, and by chance for a training."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import NamedTuple

from .errors import UserError

CODINGS = ("alaw", "gsm")  # of a telephone line
CODECS = ("mp3", "opus")
COLOURS = ("pink", "white", "brown")  # of noise: its power by frequency is 1 / f, flat, 1 / f^2


class Kind(NamedTuple):
    """One way to make a recording worse: what its amount is, from which to which, its default, and its varieties,
    the default first."""

    unit: str
    low: float
    high: float
    amount: float | None
    varieties: tuple[str, ...] = ()


KINDS = {
    "reverb": Kind("seconds until the echo is 60 dB softer", 0.05, 10, 0.6),
    "noise": Kind("decibels that the speech is above it", -20, 60, 10, COLOURS),
    "gain": Kind("decibels", -60, 40, None),
    "clipping": Kind("percent of the samples", 0.01, 50, 5),
    "telephone": Kind("", 0, 0, 0, CODINGS),
    "codec": Kind("kbit/s", 9, 128, 32, CODECS),
}
"""In the order in which a room, a microphone and a line meet the speech."""
EXAMPLES = (
    "telephone, telephone:gsm, noise:10, noise:10:white, noise:5:FOLDER, reverb:0.6, mp3:32, opus:16, gain:-30, "
)
EXAMPLES += "clipping:5, or several as noise:10+telephone"


class Effect(NamedTuple):
    """One thing that is done to a recording.

    Args:
        kind: of `KINDS`.
        amount: in the kind's unit.
        variety: of the kind's; of noise also a folder of recordings.
    """

    kind: str
    amount: float
    variety: str


def effects_of(condition: str) -> list[Effect]:
    """What a condition such as `noise:10+telephone` does, in its order; `UserError` for one that is not known."""
    return [_effect(part, condition) for part in str(condition).split("+")]


def condition_faults(key: str, conditions: list[str]) -> Iterator[str]:
    """What is wrong with conditions, one by one."""
    for condition in conditions:
        try:
            effects_of(condition)
        except UserError as error:
            yield f"{key}: {error}"
    if repeated := [one for one in dict.fromkeys(conditions) if conditions.count(one) > 1]:
        yield f"{key} names {repeated[0]} twice: name each condition once"


def _effect(part: str, condition: str) -> Effect:
    name, *given = part.split(":", 2)
    if name in CODECS:
        name, given = "codec", [*given, *[""] * (1 - len(given)), name]
    if name not in KINDS:
        raise UserError(f"{condition!r} is no condition that is known: choose among {EXAMPLES}")
    kind = KINDS[name]
    if name == "telephone":
        given = ["0", *given]
    amount, variety = [*given, "", ""][:2]
    value = kind.amount if amount == "" else _number(amount)
    if value is None or not kind.low <= value <= kind.high:
        raise UserError(f"{condition!r} needs {kind.unit}, from {kind.low:g} to {kind.high:g}: as in {EXAMPLES}")
    variety = variety or (kind.varieties[0] if kind.varieties else "")
    if variety and (unknown := _unknown_varieties(name, [variety])):
        raise UserError(f"{condition!r}: {unknown}")
    return Effect(name, value, variety)


def _unknown_varieties(kind: str, varieties: Iterable[str]) -> str:
    """What is wrong with the first variety that is unknown; of noise it may be a folder."""
    known = KINDS[kind].varieties
    for variety in varieties:
        if variety not in known and not (kind == "noise" and Path(variety).expanduser().is_dir()):
            also = ", and no folder" if kind == "noise" else ""
            return f"{variety} is none of {', '.join(known) or 'the varieties, as there are none'}{also}"
    return ""


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


@dataclass
class ChanceRecipe:
    """How often one thing is done to an utterance, and how much of it.

    Args:
        probability: from 0, never, to 1, always.
        between: the least and the most, of which every amount is as likely.
        among: the varieties, each as likely.
    """

    probability: float = 0.0
    between: list[float] = field(default_factory=list)
    among: list[str] = field(default_factory=list)


def _never(low: float, high: float, *among: str) -> Callable[[], ChanceRecipe]:
    return lambda: ChanceRecipe(0.0, [low, high], list(among))


@dataclass
class AugmentationRecipe:
    """What else than its speed is changed of a training utterance, drawn anew each epoch; nothing by default (ours).

    Args:
        copies: draw among so many worsened copies of each utterance, which are the same in every training, instead of
            a new one each epoch. With a `cache`, which keeps what the frozen encoder makes of each copy, it is needed.
        reverb: of a room; seconds until the echo is 60 dB softer.
        noise: decibels that the speech is above it; among its colours `white`, `pink`, `brown`, or folders of
            recordings.
        gain: decibels; the recording stays one of 16 bits.
        clipping: percent of the samples that are cut off at the loudest that is left.
        telephone: a band of 300 to 3,400 Hz at 8 kHz, coded as `alaw` or `gsm`.
        codec: kbit/s, of `mp3` or `opus` (which takes far longer).
    """

    copies: int | None = None
    reverb: ChanceRecipe = field(default_factory=_never(0.2, 1.0))
    noise: ChanceRecipe = field(default_factory=_never(0, 20, *COLOURS))
    gain: ChanceRecipe = field(default_factory=_never(-30, 6))
    clipping: ChanceRecipe = field(default_factory=_never(1, 10))
    telephone: ChanceRecipe = field(default_factory=_never(0, 0, *CODINGS))
    codec: ChanceRecipe = field(default_factory=_never(16, 64, "mp3"))

    @property
    def chances(self) -> dict[str, ChanceRecipe]:
        """By kind, in the order of `KINDS`."""
        return {kind: getattr(self, kind) for kind in KINDS}

    @property
    def active(self) -> bool:
        """Whether anything is ever done."""
        return any(chance.probability for chance in self.chances.values())


def augmentation_faults(recipe: AugmentationRecipe, cached: bool) -> Iterator[str]:
    """What is wrong with an augmentation, in a recipe with a `cache` or without."""
    assert [each.name for each in fields(recipe)] == ["copies", *KINDS]
    for name, chance in recipe.chances.items():
        yield from _chance_faults(name, chance)
    if recipe.copies is not None and recipe.copies < 1:
        yield f"data.augmentation.copies={recipe.copies} must be 1 or more, or null"
    if recipe.active and cached and recipe.copies is None:
        yield (
            "data.augmentation draws anew each epoch, which a cache cannot keep: set data.augmentation.copies=4, say, "
            "or cache=null"
        )


def _chance_faults(name: str, chance: ChanceRecipe) -> Iterator[str]:
    key, kind, ends = f"data.augmentation.{name}", KINDS[name], list(chance.between)
    if not 0 <= chance.probability <= 1:
        yield f"{key}.probability={chance.probability} must be from 0 to 1"
    if len(ends) != 2 or not kind.low <= ends[0] <= ends[1] <= kind.high:
        yield f"{key}.between={ends} must be the least and the most, from {kind.low:g} to {kind.high:g}"
    if unknown := _unknown_varieties(name, chance.among):
        yield f"{key}.among={list(chance.among)}: {unknown}"
    if kind.varieties and not chance.among:
        yield f"{key}.among is empty: name at least one of {', '.join(kind.varieties)}"
