"""The page on an ablation: the rows of a table, each cross-validated, compared in pairs."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from ...configuration.study_report import AblationReport, Change, Difference
from ..document import (
    Page,
    Picture,
    Section,
    Table,
    change_cells,
    compared_cells,
    compared_headings,
    filled,
    leaderboard_section,
    mean_and_spread,
    over_speakers,
    protocol_line,
    protocol_section,
    task_columns,
    with_interval,
)
from ..pictures.study import plot_differences
from ..wording import (
    NAMES,
    NEARER,
    NO_FRACTIONS,
    NOTHING,
    VOTE_MEASURES,
    VOTES_KEY,
    compared_by,
    figure,
    no_interval,
    speakers_basis,
    speakers_line,
    votes_words,
    words,
)

PAPER = {"CER": "cer", "WER": "wer", "gender": "gender", "style": "style", "UA": "ua", "WA": "wa"}


def ablation_page(report: AblationReport) -> Page:
    """What the report of an ablation says."""
    sections = [
        _table(report),
        _paper_only(report),
        leaderboard_section(report.leaderboard),
        _differences(report),
        _raters(report),
        _differences_of_votes(report),
        _conditions(report),
        _differences_in_conditions(report),
        _spread(report),
        protocol_section(report.protocol),
        Section("Versions", texts=[words(report.versions)]),
    ]
    return Page(
        report.title,
        protocol_line(report.protocol),
        speakers=speakers_line(report.rows[0].speakers),
        sections=filled(sections),
    )


def _table(report: AblationReport) -> Section:
    table = _every_task(report) if report.table == "3" else _by_encoder(report)
    side = "validation" if report.protocol.judged_on else "test"
    interval = report.rows[0].measures.get("interval")
    brackets = f"; {over_speakers(interval)}" if interval else ""
    texts = [f"All {side} utterances of all folds together{brackets}."]
    several = len({row.encoder for row in report.rows}) > 1
    texts += [
        f"{f'{row.encoder}, ' if several else ''}{row.name}: {row.reads}, chosen by a linear probe on speakers of "
        "each fold's training side."
        for row in report.rows
        if row.reads
    ]
    if report.paper:
        texts.append("The paper's figures are its own, on its own folds and seeds.")
    return Section("Results", texts, [table], brief=True)


def _by_encoder(report: AblationReport) -> Table:
    """A row of the paper's table a line, the two figures of each encoder beside each other."""
    compared = compared_by(report.rows[0].measures)
    own = [NAMES[measure] for measure in compared]
    rows = {(row.encoder, row.name): row for row in report.rows}
    encoders, names = (list(dict.fromkeys(key[place] for key in rows)) for place in (0, 1))
    paper = {(each["encoder"], each["name"]): each for each in report.paper}
    with_paper = {encoder for encoder, _ in paper}
    tasks = _auxiliary(report) if report.table == "4" else []
    names_columns = tasks or ["row"]
    columns = [*names_columns], [""] * len(names_columns)
    for encoder in encoders:
        measures = [*own, *(["paper's UA", "paper's WA"] if encoder in with_paper else [])]
        columns[0].extend(measures)
        columns[1].extend([encoder] * len(measures))
    lines = []
    for name in names:
        kept = set(next(row for key, row in rows.items() if key[1] == name).pooled.metrics)
        line = ["✓" if task in kept else "" for task in tasks] if tasks else [name]
        for encoder in encoders:
            row = rows.get((encoder, name))
            line += [with_interval(row.measures, measure) for measure in compared] if row else [NOTHING] * 2
            line += _figures(paper.get((encoder, name), {}), ["ua", "wa"]) if encoder in with_paper else []
        lines.append(line)
    header, groups = columns
    return Table(header, lines, names=len(names_columns), groups=groups)


def _auxiliary(report: AblationReport) -> list[str]:
    """Every auxiliary task of any row, in the order of the full method's."""
    tasks = max((list(row.pooled.metrics) for row in report.rows), key=len)
    return [task for task in tasks if task != report.rows[0].target]


def _every_task(report: AblationReport) -> Table:
    """An encoder's row a line, and every task's measure beside each other, the auxiliary tasks' first."""
    target = report.rows[0].target
    columns = task_columns(report.rows[0].pooled.metrics, target)
    columns = dict(sorted(columns.items(), key=lambda item: item[1][0] == target))
    paper = {(each["encoder"], each["name"]): each for each in report.paper}
    lines = []
    for row in report.rows:
        line = [row.encoder, row.name]
        line += [with_interval(row.pooled.metrics[task], measure) for task, measure in columns.values()]
        lines.append(line + (_figures(paper.get((row.encoder, row.name), {}), PAPER.values()) if paper else []))
    header = ["encoder", "row", *columns, *(f"paper's {name}" for name in PAPER if paper)]
    return Table(header, lines, names=2)


def _figures(paper: Mapping[str, Any], measures: Iterable[str]) -> list[str]:
    return [f"{paper[measure]:.2f}" if measure in paper else NOTHING for measure in measures]


def _paper_only(report: AblationReport) -> Section:
    """The paper's rows that have no counterpart here, such as a mean over its encoders."""
    ours = {(row.encoder, row.name) for row in report.rows}
    left = [each for each in report.paper if (each["encoder"], each["name"]) not in ours]
    shown = {name: key for name, key in PAPER.items() if any(key in each for each in left)}
    rows = [[each["encoder"], each["name"], *_figures(each, shown.values())] for each in left]
    if not rows:
        return Section("The paper's other rows")
    table = Table(["encoder", "row", *shown], rows, names=2)
    return Section("The paper's other rows", ["In percent, as its text gives them."], [table])


def _differences(report: AblationReport) -> Section:
    found, compared = report.differences, compared_by(report.rows[0].measures)
    if not found:
        return Section("Differences")
    several = len({each.encoder for each in found}) > 1
    rows = [
        [*([each.encoder] if several else []), f"{each.name} against {each.against}", *_comparison(each)]
        for each in found
    ]
    names = [*(["encoder"] if several else []), "comparison"]
    header = [*names, *["difference", "95 % interval"] * 2, "only the first right", "only the second right", "p"]
    groups = [*[""] * len(names), *compared_headings(report.rows[0].measures), *["McNemar's test"] * 3]
    texts = [
        f"Percentage points, on the same utterances; {_drawn(found[0])}.",
        "McNemar's exact test takes the utterances as independent, which those of one speaker are not: where the two "
        "disagree, trust the interval. With several seeds an utterance counts once, for the side that recognises it "
        "with more of them.",
    ]
    if "exact_match" in report.rows[0].measures:
        texts.append("Here an utterance is right where all of its labels are.")
    if len(found) > 1:
        texts.append(f"There are {len(found)} comparisons, and neither intervals nor p are corrected for that.")
    pictures = [
        Picture(
            f"differences-{measure.replace('_', '-')}",
            f"Differences of {NAMES[measure]} with their 95 % intervals",
            partial(plot_differences, found, measure=measure),
        )
        for measure in compared
    ]
    return Section("Differences", texts, [Table(header, rows, names=len(names), groups=groups)], pictures, brief=True)


def _conditions(report: AblationReport) -> Section:
    """Each row where the test recordings were made worse on purpose."""
    names = list(dict.fromkeys(name for row in report.rows for name in row.degraded))
    if not names:
        return Section("Conditions")
    rows, (main, _) = [], compared_by(report.rows[0].measures)
    for row in report.rows:
        found = {name: with_interval(each.metrics, main) for name, each in row.degraded.items()}
        cells = [found.get(name, NOTHING) for name in names]
        rows.append([row.encoder, row.name, with_interval(row.measures, main), *cells])
    texts = [f"{NAMES[main]} of the same test utterances, as recorded and made worse on purpose."]
    return Section("Conditions", texts, [Table(["encoder", "row", "as recorded", *names], rows, names=2)], brief=True)


def _differences_in_conditions(report: AblationReport) -> Section:
    """The rows compared in each condition."""
    rows = [
        [each.encoder, f"{each.name} against {each.against}", name, *compared_cells(found)]
        for each in report.differences
        if each.degraded
        for name, found in {"as recorded": vars(each), **each.degraded}.items()
    ]
    if not rows:
        return Section("Differences in the conditions")
    header = ["encoder", "comparison", "condition", *["difference", "95 % interval"] * 2]
    groups = ["", "", "", *compared_headings(report.rows[0].measures)]
    table = Table(header, rows, names=3, groups=groups)
    texts = ["Percentage points, in pairs: the same utterances in the same condition."]
    return Section("Differences in the conditions", texts, [table], brief=True)


def _drawn(compared: Difference) -> str:
    main, _ = compared_by(vars(compared))
    if "interval" not in getattr(compared, main):
        return no_interval(compared.speakers)
    over = f" (over {speakers_basis(compared.speakers)})" if compared.speakers else ""
    return f"the intervals{over} come from drawing whole speakers for both sides of a comparison at once"


def _comparison(each: Difference) -> list[str]:
    test = each.mcnemar
    counts = [str(test["only_this"]), str(test["only_other"])]
    return [*compared_cells(vars(each)), *counts, _p(test["p"])]


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _raters(report: AblationReport) -> Section:
    """The rows beside the raters' votes."""
    rows = [row for row in report.rows if "votes" in row.measures]
    keys = [key for key in VOTE_MEASURES if any(row.measures["votes"].get(key) is not None for row in rows)]
    cells = [
        [row.encoder, row.name, *(figure(key, votes.get(key)) for key in keys), f"{votes['n']:,}"]
        for row in rows
        for votes in [row.measures["votes"]]
    ]
    if not rows:
        return Section("Raters")
    header = ["encoder", "row", *(VOTE_MEASURES[key] for key in keys), "utterances"]
    texts = [*votes_words(rows[0].measures, rows[0].target, f"the row {rows[0].name}"), VOTES_KEY]
    return Section("Raters", texts, [Table(header, cells, names=2)], brief=True)


def _differences_of_votes(report: AblationReport) -> Section:
    found = [each for each in report.differences if each.votes]
    rows = [
        [each.encoder, f"{each.name} against {each.against}", VOTE_MEASURES[key], *_change(key, each.votes[key])]
        for each in found
        for key in VOTE_MEASURES
        if key in each.votes
    ]
    if not rows:
        return Section("Differences beside the raters' votes")
    texts = [
        f"The first less the second, on the same utterances; {_drawn(found[0])}.",
        NEARER,
    ]
    header = ["encoder", "comparison", "measure", "difference", "95 % interval"]
    return Section("Differences beside the raters' votes", texts, [Table(header, rows, names=3)], brief=True)


def _change(measure: str, found: Change) -> list[str]:
    """A difference with its interval: in points, or as a number where percent means nothing."""
    if measure not in NO_FRACTIONS:
        return change_cells(found)
    ends = found.get("interval")
    between = f"{ends[0]:+.4f} to {ends[1]:+.4f}" if ends else NOTHING
    return [f"{found['difference']:+.4f}", between]


def _spread(report: AblationReport) -> Section:
    """Mean and standard deviation over the folds, of every task."""
    fullest = max((row.pooled.metrics for row in report.rows), key=len)
    columns = task_columns(fullest, report.rows[0].target)
    rows = [
        [
            row.encoder,
            row.name,
            *(" ± ".join(mean_and_spread(row.summary, *place)) for place in columns.values()),
        ]
        for row in report.rows
    ]
    rows = [[cell.replace(f"{NOTHING} ± {NOTHING}", NOTHING) for cell in row] for row in rows]
    texts = ["Mean and standard deviation over the folds, each fold the mean of its seeds."]
    return Section("Folds", texts, [Table(["encoder", "row", *columns], rows, names=2)])
