"""The pages of a study's tables, and its summary, from its report.json files alone.

python examples/studies/pages.py examples/studies/whisper-base
"""

from pathlib import Path
from typing import Annotated

import typer
from summary import summarize

from ser_meta.configuration.study_report import read_study_report
from ser_meta.hub_cards.study.write import write_study


def main(
    study: Annotated[Path, typer.Argument(help="The folder that run.py writes.")],
    output: Annotated[Path | None, typer.Option(help="Where to write them (default: beside the reports).")] = None,
) -> None:
    """Writes report.md, report.html and the pictures of every table, and summary.md."""
    write_pages(study, output or study)


def write_pages(study: Path, output: Path) -> None:
    """Draws every page anew into the folders of `output` that are named as those of the study."""
    for path in sorted([*study.glob("*/table-*/report.json"), *study.glob("*/*/ours/report.json")]):
        write_study(read_study_report(path), output / path.parent.relative_to(study))
    (output / "summary.md").write_text(summarize(study), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
