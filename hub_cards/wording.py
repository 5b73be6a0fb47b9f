"""How a report's facts read: the same words on the terminal and on a card."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..configuration.report import Interval, JudgedBy, Measures, Report, Speakers, TeacherFacts, VoteMeasures

NOTHING = "-"
MEASURES = {
    **{"WA": "wa", "UA": "ua", "macro F1": "macro_f1", "AP": "average_precision", "all right": "exact_match"},
    **{"CER": "cer", "WER": "wer", "CCC": "ccc", "RMSE": "rmse"},
}
NAMES = {key: name for name, key in MEASURES.items()}
VOTE_MEASURES = {
    "jensen_shannon": "Jensen-Shannon, bits",
    "kl": "Kullback-Leibler, nats",
    "total_variation": "total variation",
    "brier": "Brier score",
    "cosine": "cosine",
    "ece": "calibration error",
    "accepted": "accepted label",
    "accepted_macro_f1": "accepted, macro F1",
    "rater_agreement": "model and a rater agree",
    "raters_agreement": "two raters agree",
    "most_agreement": "most that can agree",
    "alpha": "alpha of the raters",
    "alpha_with_model": "alpha with the model",
}
VOTES_HEADER = ["beside the raters' votes", "value", "95 % interval", "utterances"]
VOTES_KEY = (
    "Jensen-Shannon, Kullback-Leibler, Brier score and calibration error are 0, and the cosine 1, where the scores "
    "are the raters' shares; total variation is the share of the votes that would have to be other ones. A label is "
    "accepted where more than 1 / labels of the raters name it. Two raters agree as often as one more person would "
    "with the others, and most can agree on the label that most of them name. Krippendorff's alpha is 1 where raters "
    "always agree and 0 by chance; with the model as one more rater it is no less where that answers as people do."
)
NEARER = (
    "Of the divergences, the total variation, the Brier score and the calibration error less is nearer to the raters."
)
OF_SEVERAL = (
    *("rater_agreement", "raters_agreement", "most_agreement"),
    *("alpha", "alpha_with_model"),
)  # where raters can be counted
NO_FRACTIONS = (
    "ccc",
    "rmse",
    "jensen_shannon",
    "kl",
    "total_variation",
    "brier",
    "cosine",
    "alpha",
    "alpha_with_model",
)
VALIDATION = {
    "none": "no utterance was held out, so no epoch was chosen by a score",
    "random": "random utterances of the training side",
    "session": "one whole session of the training side",
    "speaker": "whole speakers of the training side",
    "split": "the corpus's own validation side",
}
FEW_SPEAKERS = 10  # with fewer an interval over speakers is too narrow


def compared_by(measures: Mapping[str, Any]) -> tuple[str, str]:
    """By which two figures models are compared, the main one first: UA and WA; of several labels at once AP and F1."""
    return ("average_precision", "macro_f1") if measures.get("average_precision", {}) != {} else ("ua", "wa")


def percent(fraction: float | None) -> str:
    """A fraction as percent with one decimal; a dash for a missing one."""
    return NOTHING if fraction is None else f"{fraction:.1%}"


def signed_points(fraction: float) -> str:
    """A difference of fractions in percentage points, with its sign."""
    return f"{100 * fraction:+.1f}"


def figure(measure: str, value: float | None) -> str:
    """A measure's value: percent, or a number with three decimals where percent means nothing."""
    return f"{value:.3f}" if measure in NO_FRACTIONS and value is not None else percent(value)


def span(interval: Sequence[float] | None) -> str:
    """An interval of fractions in percent; a dash for a missing one."""
    return NOTHING if interval is None else f"{100 * interval[0]:.1f}-{100 * interval[1]:.1f}%"


def bounds(measure: str, interval: Sequence[float] | None) -> str:
    """The ends of a measure's interval; a dash for a missing one."""
    if interval is None or measure not in NO_FRACTIONS:
        return span(interval)
    return f"{interval[0]:.3f} to {interval[1]:.3f}"


def votes_words(measures: Measures, target: str, model: str = "the model") -> list[str]:
    """What users should know of a task about which people disagree, one sentence each; nothing without votes."""
    votes = measures.get("votes")
    if votes is None:
        return []
    sentences = []
    if votes.get("raters_agreement") is not None:
        sentences.append(
            f"People who heard the same utterance disagree about its {target}: two of them say the same in "
            f"{percent(votes['raters_agreement'])} of cases, and {model} says what one of them says in "
            f"{percent(votes['rater_agreement'])}; no answer could do so in more than "
            f"{percent(votes['most_agreement'])}."
        )
    apart = votes["n"] - measures.get("n", 0)
    if apart > 0:
        sentences.append(
            f"WA, UA and macro F1 know only the {measures.get('n', 0):,} utterances with a majority; what follows is "
            f"on all {votes['n']:,} that somebody rated."
        )
    elif sentences:
        sentences.append(f"What follows is on the {votes['n']:,} utterances that somebody rated.")
    return sentences


def calibration_words(measures: Measures) -> list[str]:
    """What a calibration error is of where raters' votes have one of their own; nothing elsewhere."""
    if measures.get("votes", {}).get("ece") is None:
        return []
    return [
        "That is beside the label that most raters chose. Beside the shares of all their votes it is "
        f"{percent(measures['votes']['ece'])}."
    ]


def votes_rows(votes: VoteMeasures) -> list[list[str]]:
    """The measures of a classification beside its raters' votes: name, value, interval, utterances."""
    interval, counted = votes.get("interval", {}), votes["n_several"] or votes["n"]
    return [
        [
            name,
            figure(key, votes[key]),
            bounds(key, interval.get(key)),
            f"{counted if key in OF_SEVERAL else votes['n']:,}",
        ]
        for key, name in VOTE_MEASURES.items()
        if votes.get(key) is not None
    ]


def words(value: Any) -> str:
    """A setting's value in words: numbers short, lists joined, mappings as `name value` pairs."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {words(item)}" for name, item in value.items()) or NOTHING
    if isinstance(value, list | tuple):
        return ", ".join(map(words, value)) or NOTHING
    return str(value)


def interval_words(interval: Interval, measure: str) -> str:
    """The 95 % interval of a measure with the number of speakers that it stands on, or why there is none."""
    if measure not in interval:
        return no_interval(interval["speakers"])
    return f"95 % interval {span(interval[measure])}, over {speakers_basis(interval.get('speakers'))}"


def no_interval(speakers: int | None) -> str:
    """Why there is no interval over so many speakers."""
    if not speakers:
        return "no interval: the speaker of some utterances is not known"
    return f"no interval: {speakers_words(speakers)} {'is' if speakers == 1 else 'are'} too few"


def speakers_basis(speakers: int | None) -> str:
    """What an interval stands on; reports of older versions do not say how many speakers."""
    if speakers is None:
        return "speakers"
    few = ", so few that it is too narrow" if speakers < FEW_SPEAKERS else ""
    return f"{speakers_words(speakers)}{few}"


def speakers_words(speakers: int) -> str:
    """How many speakers."""
    return f"{speakers} speaker{'s' if speakers != 1 else ''}"


def speakers_line(speakers: Speakers | None) -> str:
    """Whether the speakers that a figure was measured on were trained on; nothing where the report does not say.

    Speaker-independent is said only where all speakers are known and none was trained on.
    """
    if speakers is None:
        return ""
    if speakers.trained_on is None and speakers.repeated:
        return f"speaker-dependent: {speakers.repeated:,} of the utterances have names of ones that it was trained on"
    if speakers.trained_on is None:
        return "speaker-dependent, as far as is known: nothing tells whether these speakers were trained on"
    fold = ", counted fold by fold" if speakers.folds > 1 else ""
    certain = [
        f"{count:,} of {speakers.judged:,} test speakers {what}{fold}"
        for count, what in (
            (speakers.trained_on, "were trained on"),
            (speakers.validated_on, "are on the validation side"),
        )
        if count
    ]
    if speakers.repeated:
        certain.append(f"{speakers.repeated:,} of the utterances were trained on themselves")
    unknown = [
        f"the speaker of {count:,} {side} utterances is not known"
        for count, side in ((speakers.unknown, "test"), (speakers.unknown_in_training, "training"))
        if count
    ]
    if not certain and not unknown:
        own = " in its fold" if speakers.folds > 1 else ""
        return f"speaker-independent: none of the {speakers.judged:,} test speakers was trained on{own}"
    doubt = "" if certain else ", as far as is known"
    return f"speaker-dependent{doubt}: {'; '.join([*certain, *unknown])}"


def not_judged_itself(judged_by: JudgedBy | None) -> list[str]:
    """What is known of a model that learned from all speakers, one sentence each; nothing of any other model."""
    if judged_by is None:
        return []
    sentences = ["This model was not judged itself: it learned from all speakers, and none was left to test it on."]
    if judged_by.study is None:
        return [*sentences, "No cross-validation of its recipe was named, so nothing is known of how good it is."]
    measures, seeds = judged_by.metrics, max(1, len(judged_by.seeds))
    judged = f"{measures['n'] // seeds} utterances{' with each' if seeds > 1 else ''}"  # all are judged once a seed
    main, _ = compared_by(measures)
    basis = f" ({interval_words(measures['interval'], main)})" if "interval" in measures else ""
    figures = ", ".join(
        f"{name} {figure(key, measures[key])}{basis if key == main else ''}"
        for name, key in MEASURES.items()
        if key in measures
    )
    line, untrained = speakers_line(judged_by.speakers), judged_by.folds_left_out
    left_out = f" (without {words(untrained)}, which could not be trained)" if untrained else ""
    return [
        *sentences,
        f"Its recipe was judged by the cross-validation {judged_by.study}: {judged_by.folds} folds{left_out}, "
        f"seed{'s' if seeds > 1 else ''} {words(judged_by.seeds)}, {judged}: {figures}.",
        *([f"{line[0].upper()}{line[1:]}."] if line else []),
    ]


def taught_by(teacher: TeacherFacts | None) -> list[str]:
    """Who taught a student, and what it loses against its teacher, one sentence each; nothing of any other model."""
    if teacher is None:
        return []
    more = f" and from {teacher.unlabelled:,} recordings without labels ({teacher.unlabelled_minutes:g} minutes)"
    sentences = [
        f"It is the student of a teacher ({teacher.model}, {teacher.parameters:,} parameters), from which it learned"
        f"{more if teacher.unlabelled else ''} by the losses {words(teacher.loss_weights)}, at a temperature of "
        f"{teacher.temperature:g}.",
        f"The teacher is {teacher.heard}.",
    ]
    if not teacher.ua:
        return sentences
    if bounds := teacher.ua.get("interval"):
        low, high = map(signed_points, bounds)
        basis = f" (95 % interval {low} to {high}, over {speakers_basis(teacher.speakers)})"
    else:
        basis = f" ({no_interval(teacher.speakers)})"
    return [
        *sentences,
        f"On the same test utterances the teacher has a UA of {percent(teacher.metrics['ua'])}, and the student "
        f"{signed_points(teacher.ua['difference'])} points{basis}. Both give the same label to "
        f"{percent(teacher.agreement)} of them.",
    ]


def remarks(metrics: Mapping[str, Measures]) -> list[str]:
    """What is not counted, or not defined, of the tasks' figures: one sentence each, without its full stop."""
    left_out = [
        f"{task}: {n:,} utterance{'s' if n != 1 else ''} not counted ({reason})"
        for task, measures in metrics.items()
        for reason, n in measures.get("left_out", {}).items()
    ]
    undefined = [
        f"{task}: no {NAMES.get(measure) or VOTE_MEASURES.get(measure, measure)}, {reason}"
        for task, measures in metrics.items()
        for found in (measures, measures.get("votes", {}))
        for measure, reason in found.get("undefined", {}).items()
    ]
    return left_out + undefined


def protocol_facts(report: Report, brief: bool = False) -> dict[str, str]:
    """What a result was measured on and how, as name -> words; `brief` is without what does not apply."""
    told = report.protocol.facts() if brief else report.protocol.all_facts()
    facts = {name: words(value) for name, value in told.items()}
    sides = {name: n for name, n in report.sides.items() if n}
    if sides:
        facts["utterances"] = ", ".join(f"{n} {name}" for name, n in sides.items())
    return facts


def result_rows(report: Report) -> list[tuple[str, str, Measures]]:
    """The lines of a results table as `(kind, name, measures)`, without what is not applicable.

    Kinds, in this order: `target`, its `slice`s, its `yardstick`, and each other `task`. A slice that lacks some of
    the target's classes says how many it has, since its UA is over those.
    """
    metrics, target = report.metrics, report.target
    rows = [("target", target, metrics[target])]
    rows += [
        ("slice", f"{column} = {value}{classes_words(measures, metrics[target])}", measures)
        for column, values in report.slices.items()
        for value, measures in values.items()
    ]
    rows.append(("yardstick", "logistic regression", report.yardstick or {}))
    rows += [("task", name, measures) for name, measures in metrics.items() if name != target]
    return [row for row in rows if row[2] and "not_applicable" not in row[2]]


def classes_words(part: Measures, whole: Measures) -> str:
    """How many of the whole's classes a part of it has, where it lacks some."""
    present, of = (sum(n > 0 for n in measures.get("support", {}).values()) for measures in (part, whole))
    return f" ({present} of {of} classes)" if present < of and "support" in part else ""


def abstaining_words(measures: Measures) -> list[str]:
    """What is won where the model does not answer, a sentence each."""
    if "risk_and_coverage" not in measures:
        return []
    found = measures["risk_and_coverage"]
    half = min(found["points"], key=lambda point: abs(point["coverage"] - 0.5))
    sentences = [
        f"Of all recordings {percent(found['points'][-1]['risk'])} are answered wrongly, and of the surest half, "
        f"those with a score of {words(half['score'])} or more, {percent(half['risk'])}; the area under the curve of "
        f"error by coverage is {words(found['aurc'])}."
    ]
    if "familiar" in measures:
        sentences.append(
            f"{percent(measures['familiar']['unfamiliar'])} of the recordings are unfamiliar to the model."
        )
    return sentences


def not_applicable(metrics: Mapping[str, Measures]) -> dict[str, str]:
    """Task -> why it has no result."""
    reasons = {task: measures.get("not_applicable") for task, measures in metrics.items()}
    return {task: reason for task, reason in reasons.items() if reason}
