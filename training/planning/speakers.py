"""Whether the speakers that a model is judged on were trained on, counted from the rows of the sides."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace

from ...configuration.report import Speakers

NOT_KNOWN = {"speaker": "nothing here tells whether these speakers were trained on"}


def speaker_facts(
    judged: Sequence[str | None], train: Sequence[str | None], validation: Sequence[str | None] = (), repeated: int = 0
) -> Speakers:
    """What is known of the speakers of a figure.

    Args:
        judged, train, validation: each row's speaker on these sides, None where it is not known.
        repeated: how many of the judged utterances are on the training side themselves.
    """
    known = set(judged) - {None}
    return Speakers(
        judged=len(known),
        trained_on=len(known & set(train)),
        validated_on=len(known & set(validation)),
        unknown=sum(speaker is None for speaker in judged),
        unknown_in_training=sum(speaker is None for speaker in train),
        repeated=repeated,
    )


def speakers_not_known(judged: Sequence[str | None]) -> Speakers:
    """The same where nothing tells on whom a model was trained: `trained_on` is None."""
    return replace(speaker_facts(judged, ()), trained_on=None)


def together(facts: Iterable[Speakers]) -> Speakers:
    """The facts of several folds, added up; a speaker of several folds counts in each of them, and `folds` counts."""
    found = [asdict(each) for each in facts]
    return Speakers(**{name: sum(each[name] for each in found) for name in found[0]})


def not_judged(speakers: Speakers) -> dict[str, str]:
    """For `evaluate_predictions` on folds together: the speaker task, unless all test speakers were trained on."""
    seen, judged = speakers.trained_on, speakers.judged
    if seen == judged and not speakers.unknown:
        return {}
    return {"speaker": f"{seen or 'none'} of the {judged} test speakers {'were' if seen > 1 else 'was'} trained on"}
