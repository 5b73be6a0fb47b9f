"""A study's figures on one page, from its report.json files alone.

python examples/studies/summary.py studies/whisper-base
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ser_meta.configuration.run_folder import read_json
from ser_meta.hub_cards.document import protocol_line, signed_points, with_interval
from ser_meta.hub_cards.wording import NOTHING, percent

Report = Mapping[str, Any]


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
            lines += [f"## {probed}, linear probes", "", *_probes(read_json(folder / "report.json")), ""]
        for path in sorted(folder.glob("table-*/report.json")):
            report = read_json(path)
            lines += [f"## {folder.name}, {report['title']}", "", *_table(report), ""]
    return "\n".join(lines)


def _probes(report: Report) -> Iterator[str]:
    target = report["target"]
    styles = _styles(report)
    yield f"{protocol_line({**report['protocol'], 'folds': len(report['protocol']['folds'])})}."
    yield ""
    yield from _heading(["frozen states", "UA", *styles])
    for row in report["rows"]:
        yield _line([row["name"], with_interval(row["pooled"]["metrics"][target], "ua"), *_of_styles(row, styles)])


def _table(report: Report) -> Iterator[str]:
    target = report["rows"][0]["recipe"]["model"]["target_task"]
    styles = _styles(report)
    differences = {each["against"]: each for each in report["differences"]}
    yield f"{protocol_line(report['protocol'])}."
    yield ""
    yield from _heading(["row", "UA", "full less row", *(f"{style}{of}" for style in styles for of in ("", ", less"))])
    for row in report["rows"]:
        compared = differences.get(row["name"], {})
        by_style = compared.get("slices", {}).get("style", {})
        cells = [row["name"], with_interval(row["pooled"]["metrics"][target], "ua"), _difference(compared)]
        for style, figure in zip(styles, _of_styles(row, styles), strict=True):
            cells += [figure, _difference(by_style.get(style, {}))]
        yield _line(cells)


def _styles(report: Report) -> list[str]:
    """The speaking styles that are judged apart, such as speech and song."""
    return list(report["rows"][0]["pooled"]["slices"].get("style", {}))


def _of_styles(row: Report, styles: list[str]) -> list[str]:
    return [percent(row["pooled"]["slices"]["style"][style].get("ua")) for style in styles]


def _difference(compared: Report) -> str:
    if "ua" not in compared:
        return NOTHING
    found = compared["ua"]
    between = " to ".join(map(signed_points, found["interval"])) if "interval" in found else "no interval"
    return f"{signed_points(found['difference'])} ({between})"


def _heading(names: list[str]) -> Iterator[str]:
    yield _line(names)
    yield "|---" + "|--:" * (len(names) - 1) + "|"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    typer.run(main)
