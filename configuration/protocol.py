"""What a figure was measured on and how: no report is made without it."""

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

ABSENT = {
    "label_map": "none",
    "left_out": "nothing",
    "allow_speaker_overlap": "no",
    "longest": "any length",
    "styles": "not told apart",
    "searched": "not stated",
}
"""What has to be told of every figure, and the words for its absence."""


@dataclass(kw_only=True)
class Protocol:
    """All that changes what a figure means, in the order in which it is told; what does not apply is None or empty.

    The first seven have to be given: a figure is no longer what it seems where one of them is forgotten.

    Attributes:
        corpus: its name, or those of several.
        label_map: in words, which labels of the corpora read otherwise.
        left_out: reason -> in words, how many rows of the corpus are on no side for it: a quarantine, lists of others,
            a side of the corpus's own.
        allow_speaker_overlap: whether speakers of the test side may have been trained on.
        longest: in words, what was too long to be trained on.
        styles: in words, the speaking styles that were trained on and judged, such as song beside speech.
        searched: in words, which settings were chosen by a score, and on what.
        side: of a model that was judged again: which utterances.
        votes: in words, what was learned of a target that several people rated.
        folds: in words, what the folds are made of; of a probe, their names.
        test_fold: of one training, the fold that was its test side.
        validation: how the validation side is chosen, as `data.validation`.
        validation_fraction: of the training side, where it is drawn.
        epoch_rule: which epoch of the last stage counts.
        seed: of one training.
        started_from: of a model that started from a trained one, what that had heard of the test side.
        long_recordings: in words, how many recordings were heard in pieces.
        states_centred_by: by whose mean the states are centred, and over what.
        recordings_to_centre_by: over how many recordings of a test group, where not over all.
        seeds: of several trainings.
        judged_on: in words, on which other side than the test sides.
        folds_left_out: fold -> why it could not be trained.
    """

    complete: ClassVar[bool] = True  # a figure of which a part of the protocol is not understood is not shown

    corpus: str
    label_map: str | None
    left_out: dict[str, str]
    allow_speaker_overlap: bool
    longest: str | None
    styles: str | None
    searched: str | None
    side: str | None = None
    votes: str | None = None
    folds: str | list[str] | None = None
    test_fold: str | None = None
    validation: str | None = None
    validation_fraction: float | None = None
    epoch_rule: str | None = None
    seed: int | None = None
    started_from: str | None = None
    long_recordings: str | None = None
    states_centred_by: str | None = None
    recordings_to_centre_by: int | None = None
    seeds: list[int] = field(default_factory=list)
    judged_on: str | None = None
    folds_left_out: dict[str, str] = field(default_factory=dict)

    @classmethod
    def untold(cls, corpus: str) -> "Protocol":
        """Of figures of which nothing tells how they came about."""
        return cls(corpus=corpus, **dict.fromkeys(ABSENT, None) | {"left_out": {}, "allow_speaker_overlap": False})

    def facts(self) -> dict[str, Any]:
        """What applies, by its name in words."""
        values = {each.name.replace("_", " "): getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in values.items() if value not in (None, False, "", [], {})}

    def all_facts(self) -> dict[str, Any]:
        """The same with what has to be told where it does not apply, too."""
        absent = {name.replace("_", " "): words for name, words in ABSENT.items()}
        told, order = {**absent, **self.facts()}, [each.name.replace("_", " ") for each in fields(self)]
        return {name: told[name] for name in order if name in told}
