"""A study's figures on one page, from its report.json files alone.

python examples/studies/summary.py studies/whisper-base
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ser_meta.configuration.report import Findings
from ser_meta.configuration.study_report import AblationReport, Change, CrossvalReport, ProbeReport, read_study_report
from ser_meta.hub_cards.document import protocol_line, signed_points, with_interval
from ser_meta.hub_cards.wording import NAMES, NOTHING, percent


def main(study: Annotated[Path, typer.Argument(help="The folder that run.py writes.")]) -> None:
    """Prints the page."""
    print(summarize(study), end="")


def summarize(study: Path) -> str:
    """The linear probes and every finished table of a study, in Markdown.

    UA in percent, on all utterances that are judged in all folds and seeds; a difference is the full method less the
    row, in points, on the same utterances; in brackets the 95 % interval over speakers.
    """
    lines = []
    for folder in sorted(path for path in study.iterdir() if path.is_dir()):
        if folder.name.endswith("-probe"):
            probed = folder.name.removesuffix("-probe")
            lines += [f"## {probed}, linear probes", "", *_probes(read_study_report(folder / "report.json")), ""]
        for path in sorted(folder.glob("*/ours/report.json")):
            lines += [f"## {folder.name}, and others on the same folds", "", *_alone(read_study_report(path)), ""]
        for path in sorted(folder.glob("table-*/report.json")):
            report = read_study_report(path)
            lines += [f"## {folder.name}, {report.title}", "", *_table(report), ""]
    return "\n".join(lines)


def _probes(report: ProbeReport) -> Iterator[str]:
    styles = _styles(report.rows[0].pooled)
    yield f"{protocol_line(replace(report.protocol, folds=str(len(report.protocol.folds))))}."
    yield ""
    yield from heading(["frozen states", "UA", *styles])
    for row in report.rows:
        measured = with_interval(row.pooled.metrics[report.target], "ua")
        yield line([row.name, measured, *_of_styles(row.pooled, styles)])


def _alone(report: CrossvalReport) -> Iterator[str]:
    """A recipe's own figures, and others' on the same folds."""
    measures = ("ua", "wa", "macro_f1")
    yield f"{protocol_line(report.protocol)}."
    yield ""
    tuned = any(stage["freeze_layers"] != "all" for stage in report.recipe["stages"].values())
    encoder, ours, others = ("encoder", "ours, fine-tuned", ", frozen") if tuned else ("frozen encoder", "ours", "")
    yield from heading([encoder, *(NAMES[measure] for measure in measures)])
    yield line([ours, *(with_interval(report.measures, measure) for measure in measures)])
    for row in report.leaderboard:
        yield line([f"{row['encoder']}{others}", *(percent(row[measure]) for measure in measures)])


def _table(report: AblationReport) -> Iterator[str]:
    styles = _styles(report.rows[0].pooled)
    differences = {each.against: each for each in report.differences}
    yield f"{protocol_line(report.protocol)}."
    yield ""
    yield from heading(["row", "UA", "full less row", *(f"{style}{of}" for style in styles for of in ("", ", less"))])
    for row in report.rows:
        compared = differences.get(row.name)
        by_style = compared.slices.get("style", {}) if compared else {}
        cells = [row.name, with_interval(row.measures, "ua"), difference(compared.ua if compared else None)]
        for style, figure in zip(styles, _of_styles(row.pooled, styles), strict=True):
            cells += [figure, difference(by_style.get(style, {}).get("ua"))]
        yield line(cells)


def _styles(found: Findings) -> list[str]:
    """The speaking styles that are judged apart, such as speech and song."""
    return list(found.slices.get("style", {}))


def _of_styles(found: Findings, styles: list[str]) -> list[str]:
    return [percent(found.slices["style"][style].get("ua")) for style in styles]


def difference(found: Change | None) -> str:
    """In points, with its interval; a dash for none."""
    if found is None:
        return NOTHING
    between = " to ".join(map(signed_points, found["interval"])) if "interval" in found else "no interval"
    return f"{signed_points(found['difference'])} ({between})"


def heading(names: list[str]) -> Iterator[str]:
    """A table's first two lines in Markdown, a name and then figures."""
    yield line(names)
    yield "|---" + "|--:" * (len(names) - 1) + "|"


def line(cells: list[str]) -> str:
    """A row of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    typer.run(main)
