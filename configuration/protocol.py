"""What a figure was measured on and how: no report is made without it."""

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar


@dataclass(kw_only=True)
class Protocol:
    """All that changes what a figure means, in the order in which it is told; what does not apply is None or empty.

    Attributes:
        corpus: its name, or those of several.
        label_map: in words, which labels of the corpora read otherwise.
        left_out: reason -> in words, how many rows of the corpus are on no side for it.
        side: of a model that was judged again: which utterances.
        folds: in words, what the folds are made of; of a probe, their names.
        test_fold: of one training, the fold that was its test side.
        allow_speaker_overlap: whether speakers of the test side may have been trained on.
        validation: how the validation side is chosen, as `data.validation`.
        validation_fraction: of the training side, where it is drawn.
        longest: in words, what was too long to be trained on.
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
    label_map: str | None = None
    left_out: dict[str, str] = field(default_factory=dict)
    side: str | None = None
    folds: str | list[str] | None = None
    test_fold: str | None = None
    allow_speaker_overlap: bool = False
    validation: str | None = None
    validation_fraction: float | None = None
    longest: str | None = None
    epoch_rule: str | None = None
    seed: int | None = None
    started_from: str | None = None
    long_recordings: str | None = None
    states_centred_by: str | None = None
    recordings_to_centre_by: int | None = None
    seeds: list[int] = field(default_factory=list)
    judged_on: str | None = None
    folds_left_out: dict[str, str] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """What applies, by its name in words."""
        values = {each.name.replace("_", " "): getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in values.items() if value not in (None, False, "", [], {})}
