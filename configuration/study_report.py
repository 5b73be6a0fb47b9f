"""The report of a study, which is many trainings: its parts, and how it is kept as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from .errors import UserError
from .protocol import Protocol
from .records import from_json, to_json
from .report import Change, Findings, InCondition, Measures, Speakers, TeacherFacts
from .run_folder import read_json, write_json


class Spread(TypedDict):
    """Of a measure over the folds, each fold the mean of its seeds."""

    mean: float
    sd: float


class McNemar(TypedDict):
    """How many utterances only one of two models recognises, and the two-sided p of McNemar's exact test."""

    only_this: int
    only_other: int
    p: float


class LeaderboardRow(TypedDict):
    """What a leaderboard has of one encoder on the same folds, as fractions."""

    encoder: str
    ua: float
    wa: float
    macro_f1: float


@dataclass(kw_only=True)
class TrainingFacts:
    """One training of a study; its own report, in `folder`, says more.

    Attributes:
        seed: of the training.
        fold: the test fold.
        folder: within the study's.
        seconds: of all stages.
        metrics: task -> its figures, each a single number.
        sides: side -> utterances.
        layer_shares: as in `Report`.
    """

    seed: int
    fold: str
    folder: str
    seconds: float
    metrics: dict[str, Measures]
    sides: dict[str, int] = field(default_factory=dict)
    layer_shares: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self):
        """Keeps single numbers alone: what is told class by class or bin by bin stands in the training's report."""
        self.metrics = {task: _figures(measures) for task, measures in self.metrics.items()}


@dataclass(kw_only=True)
class RecipeFindings:
    """What the trainings of one recipe show together.

    Attributes:
        recipe: all of its settings.
        protocol: what the figures were measured on and how.
        pooled: of all folds' utterances together, each once a seed.
        summary: task -> measure -> mean and standard deviation over the folds.
        runs: the trainings.
        speakers: of all folds; reports of older versions do not say.
        degraded: condition -> the target's figures in it, of all folds' utterances together.
        teacher: of students, those of all folds together.
    """

    recipe: dict[str, Any]
    protocol: Protocol
    pooled: Findings
    summary: dict[str, dict[str, Spread]]
    runs: list[TrainingFacts]
    speakers: Speakers | None = None
    degraded: dict[str, InCondition] = field(default_factory=dict)
    teacher: TeacherFacts | None = None

    @property
    def target(self) -> str:
        """The task that the recipe is for."""
        return self.recipe["model"]["target_task"]

    @property
    def measures(self) -> Measures:
        """The target's, over all folds together."""
        return self.pooled.metrics[self.target]


@dataclass(kw_only=True)
class CrossvalReport(RecipeFindings):
    """A cross-validation.

    Attributes:
        versions: of the packages, and the device.
        leaderboard: others' figures on the same folds.
    """

    versions: dict[str, str]
    leaderboard: list[LeaderboardRow] = field(default_factory=list)


@dataclass(kw_only=True)
class AblationRow(RecipeFindings):
    """One row of an ablation.

    Attributes:
        encoder: name of the recipe that the row changes.
        name: of the row.
        reads: in words, which layers its trainings read, where they have chosen them.
    """

    encoder: str
    name: str
    reads: str | None = None


@dataclass(kw_only=True)
class Difference:
    """The full method against one row, on the same utterances.

    Attributes:
        encoder: name of the recipe of both.
        name: of the full method's row.
        against: the other row's name.
        ua, wa: how much better the full method is; empty where there may be several labels at once.
        average_precision, macro_f1: the same where there may be several; empty elsewhere.
        mcnemar: whose right answers are more; of several labels at once all must be right.
        speakers: over how many the intervals are; None where they are not all known.
        slices: column -> value -> the same two on those utterances alone.
        votes: measure of `VoteMeasures` -> how much more of it the full method has, where there are raters' votes.
        degraded: condition -> the same two with both in it.
    """

    encoder: str
    name: str
    against: str
    mcnemar: McNemar
    ua: Change = field(default_factory=Change)
    wa: Change = field(default_factory=Change)
    average_precision: Change = field(default_factory=Change)
    macro_f1: Change = field(default_factory=Change)
    speakers: int | None = None
    slices: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    votes: dict[str, Change] = field(default_factory=dict)
    degraded: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(kw_only=True)
class AblationReport:
    """The rows of a table, each cross-validated.

    Attributes:
        table: "1" to "4", or a file's name.
        title: of the table.
        protocol: of the full method's row.
        rows: each encoder's.
        differences: of the full method to each other row.
        paper: the paper's own figures in percent, where they are of the same corpus.
        leaderboard: others' figures on the same folds.
        versions: of the packages, and the device.
    """

    table: str
    title: str
    protocol: Protocol
    rows: list[AblationRow]
    differences: list[Difference]
    versions: dict[str, str]
    paper: list[dict[str, Any]] = field(default_factory=list)
    leaderboard: list[LeaderboardRow] = field(default_factory=list)


@dataclass(kw_only=True)
class ProbeRow:
    """What a linear probe of some layers shows, over all folds together."""

    name: str
    pooled: Findings


@dataclass(kw_only=True)
class SuggestedLayers:
    """How few of an encoder's lowest layers are as good as the best number of them.

    Attributes:
        encoder_layers: the suggested number.
        best: the best one.
        differences: by number, the UA of the best less that of this one.
    """

    encoder_layers: int
    best: int
    differences: list[Change]


@dataclass(kw_only=True)
class ProbeReport:
    """Linear probes of a frozen encoder.

    Attributes:
        target: the task that is probed.
        protocol: what the figures were measured on and how.
        rows: each layer alone, the lowest ones together, and all.
        versions: of the packages, and the device.
        encoder, suggested: reports of older versions do not say.
    """

    target: str
    protocol: Protocol
    rows: list[ProbeRow]
    versions: dict[str, str]
    encoder: str | None = None
    suggested: SuggestedLayers | None = None


StudyReport = CrossvalReport | AblationReport | ProbeReport
KINDS: Mapping[str, type] = {"crossval": CrossvalReport, "ablation": AblationReport, "probe": ProbeReport}


def _figures(measures: Measures) -> Measures:
    found = {name: value for name, value in measures.items() if not isinstance(value, dict | list)}
    return {**found, "votes": _figures(measures["votes"])} if "votes" in measures else found


def study_json(report: StudyReport) -> dict[str, Any]:
    """A study's report as JSON has it: with its `kind`."""
    (kind,) = (name for name, made in KINDS.items() if isinstance(report, made))
    return {"kind": kind, **to_json(report)}


def write_study_report(path: Path, report: StudyReport) -> None:
    """Writes a study's report as JSON."""
    write_json(path, study_json(report))


def read_study_report(path: Path) -> StudyReport:
    """Reads what `write_study_report` or an older version has written; `UserError` where it is no study's report."""
    value = read_json(path)
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if kind not in KINDS:
        raise UserError(f"{path} is no report of a study: give that of ser-meta crossval, ablate or probe")
    return from_json(KINDS[kind], value, str(path))
