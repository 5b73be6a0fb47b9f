"""Whether the speakers that a model is judged on were trained on, counted from the rows of the sides."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

NOT_KNOWN = {"speaker": "nothing here tells whether these speakers were trained on"}


def speaker_facts(
    judged: Sequence[str | None], train: Sequence[str | None], validation: Sequence[str | None] = (), repeated: int = 0
) -> dict[str, int]:
    """What is known of the speakers of a figure.

    Args:
        judged, train, validation: each row's speaker on these sides, None where it is not known.
        repeated: how many of the judged utterances are on the training side themselves.

    Returns:
        `judged`: how many known speakers the judged side has; `trained_on` and `validated_on`: how many of them have
        other rows on those sides; `unknown` and `unknown_in_training`: judged and training utterances whose speaker
        is not known; `repeated`.
    """
    known = set(judged) - {None}
    return {
        "judged": len(known),
        "trained_on": len(known & set(train)),
        "validated_on": len(known & set(validation)),
        "unknown": sum(speaker is None for speaker in judged),
        "unknown_in_training": sum(speaker is None for speaker in train),
        "repeated": repeated,
    }


def speakers_not_known(judged: Sequence[str | None]) -> dict[str, int | None]:
    """The same where nothing tells on whom a model was trained: `trained_on` is None."""
    return {**speaker_facts(judged, ()), "trained_on": None}


def together(facts: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """The facts of several folds, added up; a speaker of several folds counts in each of them, and `folds` counts."""
    found = list(facts)
    return {**{name: sum(each[name] for each in found) for name in found[0]}, "folds": len(found)}


def not_judged(facts: Mapping[str, Any]) -> dict[str, str]:
    """For `evaluate_predictions` on folds together: the speaker task, unless all test speakers were trained on."""
    seen, speakers = facts["trained_on"], facts["judged"]
    if seen == speakers and not facts["unknown"]:
        return {}
    return {"speaker": f"{seen or 'none'} of the {speakers} test speakers {'were' if seen > 1 else 'was'} trained on"}
