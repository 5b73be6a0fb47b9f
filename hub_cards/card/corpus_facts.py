"""What a card says of the data behind a model, and what the data's licence leaves possible for the model."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .terms import Terms

_CREATIVE_COMMONS = re.compile(r"\bCC[ -]BY((?:-(?:NC|SA|ND))*)[ -](\d\.\d)", re.IGNORECASE)
_CONDITIONS = {
    "NC": "allows non-commercial use only",
    "SA": "asks the same licence of what is adapted from it",
    "ND": "does not allow sharing what is adapted from it",
}
SPEECH = {
    "acted": "The emotions of {name} are acted: those of everyday speech are weaker and mixed, and not measured.",
    "spontaneous": "The speech of {name} is spontaneous, and its emotions are what listeners heard in it.",
    "synthetic": "The speech of {name} is synthetic, and its emotions follow rules: no human voice was measured.",
}


@dataclass(frozen=True)
class CorpusFacts:
    """What a card says of a corpus behind a model; an empty field is left out.

    Attributes:
        name: as people know it, e.g. "RAVDESS".
        license: the corpus's licence, in its own words.
        citation: BibTeX, or a line of text.
        languages: ISO 639-1 codes of the speech, e.g. ("en",).
        speech: how its emotions come about: `acted`, `spontaneous` or `synthetic`.
        terms: what its licence forbids, and where it stands; None where that is not known.
        dataset: its name on the Hub, `owner/name`.
    """

    name: str
    license: str = ""
    citation: str = ""
    languages: tuple[str, ...] = ()
    speech: str = ""
    terms: Terms | None = None
    dataset: str = ""

    def limits(self) -> list[str]:
        """One sentence each."""
        return [SPEECH[self.speech].format(name=self.name)] if self.speech else []


def licence_left(corpora: Sequence[CorpusFacts]) -> str | None:
    """The Hub identifier of the one licence that those of the corpora leave to a model, read cautiously, or None.

    Corpora that ask for no more than attribution leave the choice to the publisher: None as well.
    """
    conditions = {_conditions(corpus) for corpus in corpora}
    if None in conditions:
        return None
    binding = {condition for condition in conditions if condition[0]}
    if len(binding) != 1:
        return None
    names, version = binding.pop()
    return None if "ND" in names else "-".join(["cc-by", *(name.lower() for name in names), version])


def licence_warnings(corpora: Sequence[CorpusFacts]) -> list[str]:
    """What the terms of the corpora forbid, one line each."""
    return [
        f"{corpus.name} forbids {corpus.terms.forbids} ({corpus.terms.source}), and a model that has learned from it "
        "may be bound by that"
        for corpus in corpora
        if corpus.terms and corpus.terms.forbids
    ]


def licence_sentences(corpora: Sequence[CorpusFacts]) -> list[str]:
    """What each corpus's licence asks, and what is concluded from them for the model."""
    sentences = [f"{_terms(corpus)}{_where(corpus)}" for corpus in corpora]
    conditions = [_conditions(corpus) for corpus in corpora]
    if not corpora or any(condition is None or "ND" in condition[0] for condition in conditions):
        return [*sentences, "Do not share this model, or use it for gain, before you know that these terms allow it."]
    if any(names for names, _ in conditions):
        left = licence_left(corpora)
        under = f"under that licence ({left})" if left else "under terms that satisfy all of these"
        sentences.append(
            "Whether a model is adapted from its training data is not settled; this card takes the cautious reading, "
            f"in which the model is used and shared {under}."
        )
    return sentences


def _conditions(corpus: CorpusFacts) -> tuple[tuple[str, ...], str] | None:
    """A Creative Commons licence's conditions beside attribution, and its version; None for any other licence."""
    if corpus.license.startswith("CC0"):
        return (), ""
    found = _CREATIVE_COMMONS.search(corpus.license)
    return (tuple(filter(None, found[1].upper().split("-"))), found[2]) if found else None


def _where(corpus: CorpusFacts) -> str:
    """What a licence of a corpus's own forbids, and where the terms stand."""
    if corpus.terms is None:
        return ""
    forbids = "" if _conditions(corpus) else corpus.terms.forbids
    return "".join([f" It forbids {forbids}." if forbids else "", f" Its terms: {corpus.terms.source}"])


def _terms(corpus: CorpusFacts) -> str:
    if not corpus.license:
        return f"The licence of the corpus {corpus.name} is not known to this card."
    if corpus.license.startswith("CC0"):
        return f"The corpus {corpus.name} sets no condition ({corpus.license})."
    conditions = _conditions(corpus)
    if conditions is None:
        return f"The corpus {corpus.name} has terms of its own: {corpus.license}."
    asked = ["asks for attribution", *(_CONDITIONS[name] for name in conditions[0])]
    listed = " and ".join(filter(None, [", ".join(asked[:-1]), asked[-1]]))
    return f"The corpus {corpus.name} {listed} ({corpus.license})."
