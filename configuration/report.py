"""The report of a training, or of a trained model judged on other speech: its parts, and how it is kept as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from .protocol import Protocol
from .records import from_json, to_json
from .run_folder import read_json, write_json


class Interval(TypedDict, total=False):
    """95 % intervals over speakers: measure -> its ends, and how many `speakers` they stand on."""

    speakers: int | None
    wa: list[float]
    ua: list[float]
    macro_f1: list[float]
    average_precision: list[float]
    exact_match: list[float]


class Calibration(TypedDict):
    """Expected calibration error, and the bins of confidence that it is the mean over."""

    ece: float
    bins: list[dict[str, float]]


class VoteMeasures(TypedDict, total=False):
    """What a classification's scores are beside its raters' votes; see `measures.votes`.

    `n` counts the utterances that somebody rated, `n_several` those of which several raters are counted.
    """

    jensen_shannon: float
    kl: float
    cosine: float
    total_variation: float
    brier: float
    accepted: float
    accepted_macro_f1: float
    rater_agreement: float
    raters_agreement: float | None
    most_agreement: float | None
    ece: float
    alpha: float | None
    alpha_with_model: float | None
    confusion: list[list[float]]
    n: int
    n_several: int
    interval: dict[str, Any]
    undefined: dict[str, str]


class Measures(TypedDict, total=False):
    """What was measured of one task; which of these there are depends on its kind.

    `familiar` has the median of how familiar the recordings are, and as `unfamiliar` the share that is not.

    Fractions are from 0 to 1. `not_applicable` stands alone: why nothing was measured.
    """

    wa: float
    ua: float | None
    macro_f1: float | None
    recall: dict[str, float | None]
    support: dict[str, int]
    confusion: list[list[int]]
    cer: float
    wer: float
    average_precision: float | None
    exact_match: float
    precision: dict[str, float | None]
    ccc: float | None
    rmse: float
    n: int
    votes: VoteMeasures
    interval: Interval
    calibration: Calibration
    risk_and_coverage: "RiskAndCoverage"
    familiar: dict[str, float]
    left_out: dict[str, int]
    undefined: dict[str, str]
    not_applicable: str


class Change(TypedDict, total=False):
    """How much better one side of a comparison is, a fraction, and the 95 % interval of that where there is one."""

    difference: float
    interval: list[float]


@dataclass(kw_only=True)
class InCondition:
    """The target's figures where the judged recordings were made worse on purpose.

    Attributes:
        metrics: of the recordings in the condition.
        ua, wa: how much better they are than those of the recordings as they are, on the same utterances; empty where
            there may be several labels at once, of which it is `average_precision` and `macro_f1`.
        speakers: over how many the intervals are; None where they are not all known.
    """

    metrics: Measures
    ua: Change = field(default_factory=Change)
    wa: Change = field(default_factory=Change)
    average_precision: Change = field(default_factory=Change)
    macro_f1: Change = field(default_factory=Change)
    speakers: int | None = None


@dataclass(kw_only=True)
class Speakers:
    """Whether the speakers that a figure was measured on were trained on.

    Attributes:
        judged: how many known speakers the judged side has; one of several folds counts in each.
        trained_on: how many of them have other utterances on the training side; None where nothing tells.
        validated_on: how many of them have some on the validation side.
        unknown: judged utterances whose speaker is not known.
        unknown_in_training: training utterances whose speaker is not known.
        repeated: judged utterances that are on the training side themselves.
        folds: how many folds are counted together.
    """

    judged: int
    trained_on: int | None
    validated_on: int
    unknown: int
    unknown_in_training: int
    repeated: int
    folds: int = 1


@dataclass(kw_only=True)
class Findings:
    """What predictions show.

    Attributes:
        metrics: task -> its measures.
        slices: column -> value -> the target's measures on those utterances alone.
    """

    metrics: dict[str, Measures] = field(default_factory=dict)
    slices: dict[str, dict[str, Measures]] = field(default_factory=dict)


@dataclass(kw_only=True)
class SideFindings(Findings):
    """What the predictions of one side show, and who speaks there; reports of older versions do not say."""

    speakers: Speakers | None = None


@dataclass(kw_only=True)
class Temperature:
    """By what the target's logits are divided.

    Attributes:
        value: 1 where none was fitted.
        fitted_on: the side; None for none.
        n: of how many utterances.
        on_shares: whether it was fitted to the raters' shares, and not to one label an utterance.
    """

    value: float
    fitted_on: str | None
    n: int
    on_shares: bool = False


class RiskAndCoverage(TypedDict):
    """How often the model errs where it answers the part alone that it is surest of.

    `aurc` is the area under the curve (Geifman and El-Yaniv, NeurIPS 2017): the mean error over all coverages; each of
    the `points` has its `coverage`, the error there as `risk`, and the least `score` that is answered.
    """

    aurc: float
    points: list[dict[str, float]]


@dataclass(kw_only=True)
class FamiliarityFacts:
    """By what a model tells how familiar a recording is.

    Attributes:
        fitted_on: which recordings it is set against.
        n: how many.
        threshold: of how familiar a recording must be, the share of those that would not be.
    """

    fitted_on: str
    n: int
    threshold: float


@dataclass(kw_only=True)
class JudgedBy:
    """The cross-validation that stands for a final model, which itself has no test side; empty where none is known.

    Attributes:
        study: its name.
        folds: how many it has.
        folds_left_out: those that could not be trained.
        seeds: of its trainings.
        speakers: of all folds.
        protocol: of all folds.
        metrics: the target's, over all folds together.
    """

    study: str | None = None
    folds: int = 0
    folds_left_out: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    speakers: Speakers | None = None
    protocol: Protocol | None = None
    metrics: Measures = field(default_factory=Measures)


@dataclass(kw_only=True)
class DataFacts:
    """How much speech there is.

    Attributes:
        speakers: side -> how many are known.
        minutes: side -> of speech.
        too_long: utterances that `data.longest` has taken from the training side.
    """

    speakers: dict[str, int] = field(default_factory=dict)
    minutes: dict[str, float] = field(default_factory=dict)
    too_long: int = 0


@dataclass(kw_only=True)
class ModelFacts:
    """What was trained.

    Attributes:
        encoder: what it started from.
        parameters: how many.
        tasks: as in the model's config.
        adapter: through which the encoder has learned, its settings; None where it has learned without one.
        new_parts: of a model that started from a trained one, those that started anew; None for all other models.
    """

    encoder: str
    parameters: int
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    adapter: dict[str, Any] | None = None
    new_parts: list[str] | None = None


@dataclass(kw_only=True)
class TeacherFacts:
    """The teacher of a student, and what the student loses against it on the same test utterances.

    Attributes:
        model: in words, which encoder it has, and its name on the Hub.
        parameters: how many.
        heard: in words, what of the test side it was trained on.
        loss_weights, temperature: as in the recipe.
        unlabelled: recordings without labels that the student learned from.
        unlabelled_minutes: how long they are.
        metrics: its own figures on the test side: WA, UA and macro F1.
        ua, wa: how much better the student is than the teacher, with a 95 % interval that draws speakers.
        speakers: over how many the intervals are.
        agreement: the share of the test utterances to which both give the same label.
    """

    model: str
    parameters: int
    heard: str
    loss_weights: dict[str, float]
    temperature: float
    unlabelled: int = 0
    unlabelled_minutes: float = 0.0
    metrics: Measures = field(default_factory=Measures)
    ua: dict[str, Any] = field(default_factory=dict)
    wa: dict[str, Any] = field(default_factory=dict)
    speakers: int | None = None
    agreement: float | None = None


@dataclass(kw_only=True)
class Report(SideFindings):
    """All that is known of a model's figures; `metrics`, `slices` and `speakers` are of what it was tested on.

    Attributes:
        target: the task that the model is for.
        protocol: what the figures were measured on and how.
        validation: the same of the validation side.
        judged_by: of a final model, which has no metrics.
        temperature: of the target's scores.
        familiarity: by what the model tells it; None where it does not.
        sides: side -> utterances.
        data: how much speech.
        model: what was trained.
        layer_shares: task -> how much of what it reads comes from each layer of the encoder.
        stages: stage -> its settings, and what was recorded of it.
        degraded: condition -> what it costs; see `degradations.effects_of`.
        teacher: of a student.
        yardstick: the target's measures of a logistic regression on acoustic statistics.
        versions: of the packages, and the device.
    """

    target: str
    protocol: Protocol
    validation: SideFindings | None = None
    judged_by: JudgedBy | None = None
    temperature: Temperature | None = None
    familiarity: FamiliarityFacts | None = None
    sides: dict[str, int] = field(default_factory=dict)
    data: DataFacts = field(default_factory=DataFacts)
    model: ModelFacts | None = None
    layer_shares: dict[str, list[float]] = field(default_factory=dict)
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    degraded: dict[str, InCondition] = field(default_factory=dict)
    teacher: TeacherFacts | None = None
    yardstick: Measures | None = None
    versions: dict[str, str] = field(default_factory=dict)


def write_report(path: Path, report: Report) -> None:
    """Writes a report as JSON."""
    write_json(path, to_json(report))


def read_report(path: Path) -> Report:
    """Reads what `write_report` or an older version has written; `UserError` where it is no report."""
    return from_json(Report, _renamed(read_json(path)), str(path))


def _renamed(value: Any) -> Any:
    """With the names of this version: the temperature was called `calibration`, which is an error's name too."""
    if not isinstance(value, Mapping):
        return value
    renamed = dict(value)
    if isinstance(fitted := renamed.pop("calibration", None), Mapping):
        renamed["temperature"] = {"value": fitted.get("temperature"), **fitted}
    if renamed.get("judged_by", renamed) is None:
        renamed["judged_by"] = {}
    return renamed
