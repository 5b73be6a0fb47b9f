"""`ser-meta check`: every recording of a corpus, or of a recipe's, is read, and what is wrong or odd is told."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from datasets import Dataset

from ...configuration.recipe import Recipe
from ...configuration.run_folder import write_json
from ..corpora.quarantine import write_quarantine
from ..corpora.recordings import ABSENT, find_absent, recording_columns, recordings
from ..corpora.remarks import REMARKS as READING
from ..corpora.rows import Rows
from ..machine.decoder_messages import without_decoder_messages
from ..planning.evaluation import Check, find_check
from .duplicates import same_bytes, same_segments, same_speech
from .findings import (
    LEFT_OUT,
    REMARKS,
    corpus_findings,
    duplicate_findings,
    find_fault,
    utterance_findings,
)
from .labels import LABEL_REMARKS, label_findings
from .planning import OF_FOLDS, REFUSED, plan_findings
from .recordings import BANDS, FACTS, NO_FACTS, measure
from .spoils import SPOILS, spoiling_findings

HARMS = {
    **dict.fromkeys([*REFUSED, *SPOILS], "spoils"),
    **dict.fromkeys([*ABSENT, *LEFT_OUT], "left_out"),
    **{name: "remark" for name in (*OF_FOLDS, *READING, *LABEL_REMARKS, *REMARKS) if name not in SPOILS},
}
"""By finding, the worst first, what it does: it spoils a result, its utterances are left out, or it is a remark."""
MEANINGS = READING | LABEL_REMARKS | REMARKS | ABSENT | LEFT_OUT | SPOILS | REFUSED | OF_FOLDS


def check_corpus(corpus: str, root: str, options: Sequence[str] = (), workers: int | None = None) -> dict[str, Any]:
    """Reads every recording of a corpus and looks at its metadata.

    Args:
        corpus: a name that `load_corpus` knows.
        root: the corpus's folder or table.
        options: of the corpus's loader, as `key=value`, and what a recipe has beside them.
        workers: processes that read (default: one a core).

    Returns:
        the report, see `check_asked`.

    Raises:
        UserError: whatever of the corpus `load_rows` refuses.
    """
    return check_asked(find_check([corpus, root, *options]), workers)


def check_asked(asked: Check, workers: int | None = None) -> dict[str, Any]:
    """Reads every recording of a corpus, or of a recipe's, looks at their metadata, and plans the recipe's trainings.

    Returns:
        the report: `utterances` and `speakers` (numbers), `durations` in seconds and `rates` in Hz of the readable,
        `counts` (a mapping a fold and gender, in `folds_by`: the official split, session or speaker), and `findings`,
        the worst first, each with `finding`, `meaning`, `harm` (`spoils` a result, `left_out` of a training, or
        `remark`), `left_out` (whether a training should leave its utterances out) and `details` by utterance, or by
        what else it is about; `leave_out` has those utterances with their reasons. `recipe` is the name of one.
    """
    of_recipe = {"recipe": asked.name} if asked.recipe else {}
    with without_decoder_messages(), _same_environment():
        report = check_rows(asked.rows, workers, asked.recipe)
    return {"kind": "check", "corpus": asked.corpus, "root": asked.root, **of_recipe, **report}


def check_rows(rows: Rows, workers: int | None = None, recipe: Recipe | None = None) -> dict[str, Any]:
    """As `check_asked`, of rows at hand."""
    target = recipe.model.target_task if recipe else "emotion"
    workers = workers or os.cpu_count() or 1
    absent = {row: finding for finding, these in find_absent(rows).items() for row in these}
    present = [row for row in range(len(rows)) if row not in absent]
    facts = [{**NO_FACTS, "absent": absent.get(row)} for row in range(len(rows))]
    spectra = np.zeros((len(rows), BANDS), np.float32)
    if present:
        dataset = rows.select(present).dataset()
        measured = measure_all(dataset, workers)
        spectra[present] = measured.with_format("numpy")["spectrum"][:]
        for row, fact in zip(present, measured.remove_columns("spectrum"), strict=True):
            facts[row] |= fact
    names = [name for name in rows.column_names if name != "audio"]
    metadata = [dict(zip(names, values, strict=True)) for values in zip(*(rows[name] for name in names), strict=True)]
    described = [one | other for one, other in zip(metadata, facts, strict=True)]
    found = rows.remarks | spoiling_findings(rows, target) | label_findings(rows, target)
    found |= utterance_findings(described)
    found |= corpus_findings(described, recipe and [target, *recipe.model.auxiliary_tasks])
    if recipe is not None:
        found |= plan_findings(recipe, rows, [row["samples"] / row["rate"] if row["rate"] else 0 for row in described])
    if present:
        found |= find_duplicates(dataset, [described[row] for row in present], spectra[present], workers, target)
    findings = [
        {
            "finding": name,
            "meaning": MEANINGS[name],
            "harm": harm,
            "left_out": harm == "left_out",
            "details": dict(found[name]),
        }
        for name, harm in HARMS.items()
        if found.get(name)
    ]
    return {
        "utterances": len(rows),
        "speakers": len(set(rows["speaker"]) - {None}),
        "durations": durations(described),
        "rates": dict(Counter(str(row["rate"]) for row in described if row["rate"]).most_common()),
        **count_utterances(described, target),
        "findings": findings,
        "leave_out": to_leave_out(findings),
    }


def measure_all(dataset: Dataset, workers: int) -> Dataset:
    """The `FACTS` of every recording."""
    columns = recording_columns(dataset)
    return dataset.select_columns(columns).map(
        measure,
        remove_columns=columns,
        features=FACTS,
        num_proc=min(workers, len(dataset)),
        desc="reading",
    )


@contextmanager
def _same_environment() -> Iterator[None]:
    """Keeps `os.environ` itself, in whose place datasets leaves a copy that others, such as rich, do not look into."""
    environment, before = os.environ, dict(os.environ)
    try:
        yield
    finally:
        os.environ = environment  # noqa: B003 - the object that it was
        for name in environment.keys() - before.keys():
            del environment[name]
        environment.update(before)


def spoils(report: Mapping[str, Any]) -> bool:
    """Whether a check has found what would spoil a result."""
    return any(finding["harm"] == "spoils" for finding in report["findings"])


def find_duplicates(
    dataset: Dataset, rows: Sequence[Mapping[str, Any]], spectra: np.ndarray, workers: int, target: str
) -> dict[str, dict[str, str]]:
    """The duplicates among the usable recordings; those of the same bytes are compared with others once."""
    usable = [number for number, row in enumerate(rows) if find_fault(row) is None]
    twins = same_bytes({number: rows[number]["digest"] for number in usable})
    again = {number for _, *others in twins for number in others}
    segments = same_segments(list(recordings(dataset)), [number for number in usable if number not in again])
    again |= {number for _, *others in segments for number in others}
    alike = same_speech(dataset, spectra, [number for number in usable if number not in again], workers)
    groups = {"same bytes": twins, "same segment": segments, "same speech": alike}
    return {finding: duplicate_findings(rows, found, target) for finding, found in groups.items()}


def durations(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Seconds of the recordings that can be read: their sum, the shortest, the median, the longest."""
    seconds = [row["samples"] / row["rate"] for row in rows if row["rate"]] or [0.0]
    return {"total": sum(seconds), "shortest": min(seconds), "median": median(seconds), "longest": max(seconds)}


def count_utterances(rows: Sequence[Mapping[str, Any]], target: str = "emotion") -> dict[str, Any]:
    """How many utterances each fold, gender and emotion, or label of the target, has; a missing one is "-"."""
    by = next((name for name in ("split", "session") if any(row.get(name) for row in rows)), "speaker")
    counts = Counter((row[by], row["gender"], str(row.get(target) or "-")) for row in rows)
    labels = sorted({label for _, _, label in counts})
    groups = sorted({(fold, gender) for fold, gender, _ in counts}, key=lambda group: tuple(map(str, group)))
    return {
        "folds_by": by,
        "counts": [
            {"fold": fold, "gender": gender, "emotions": {label: counts[fold, gender, label] for label in labels}}
            for fold, gender in groups
        ],
    }


def write_reports(
    report: Mapping[str, Any], output: Path | None, quarantine: Path | None, quarantined: Mapping[str, str]
) -> None:
    """Writes the whole report, and what a training should leave out, each as JSON where wanted.

    What is `quarantined` already stays so, each utterance with its reason.
    """
    if output is not None:
        write_json(output, report)
    if quarantine is not None:
        write_quarantine(quarantine, report["corpus"], {**quarantined, **report["leave_out"]})


def to_leave_out(findings: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The utterances that a training should leave out, each with its reasons."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for finding in findings:
        for name, detail in finding["details"].items() if finding["left_out"] else ():
            reasons[name].append(f"{finding['finding']}: {detail}")
    return {name: "; ".join(parts) for name, parts in reasons.items()}
