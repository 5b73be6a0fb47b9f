"""A study on paper: its report as a Markdown page, as one HTML page that needs nothing else, and on the terminal."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.image import imread
from rich.console import Console
from rich.text import Text

from ...configuration.study_report import AblationReport, CrossvalReport, StudyReport
from ..document import Page, Section
from ..markdown import markdown_environment
from ..terminal.tables import print_table
from .ablation import ablation_page
from .crossval import crossval_page
from .probe import probe_page

PIXELS_PER_POINT = 1.5  # of the pictures, so that they are sharp on a dense screen

Curves = Mapping[str, Mapping[str, Sequence[Mapping[str, float]]]]


def write_study(report: StudyReport, folder: Path, curves: Curves | None = None) -> None:
    """Writes `report.md`, `report.html` and the pictures `plots/*.png`; every figure is the report's.

    The HTML page holds its pictures and its style itself and fetches nothing.

    Args:
        report: of a cross-validation, an ablation or a probe.
        folder: is made where it is missing.
        curves: run -> stage -> the Trainer's log history, for the training curves of a cross-validation.
    """
    folder = Path(folder)
    page = _page(report, curves)
    drawn = {
        picture.name: picture.draw(path=folder / "plots" / f"{picture.name}.png")
        for section in page.sections
        for picture in section.pictures
    }
    folder.mkdir(parents=True, exist_ok=True)
    markdown = markdown_environment().get_template("study.md").render(page=page)
    (folder / "report.md").write_text(markdown, encoding="utf-8")
    pictures = {name: _embedded(path) for name, path in drawn.items()}
    html = _html_environment().get_template("study.html").render(page=page, pictures=pictures)
    (folder / "report.html").write_text(html, encoding="utf-8")


def print_study(report: StudyReport, console: Console | None = None) -> None:
    """Prints the main tables of a report (default: on standard output)."""
    console = console or Console()
    page = _page(report)
    console.print(Text(page.title, style="bold"))
    if page.speakers:
        console.print(Text(page.speakers))
    for name, (value, note) in page.headline.items():
        console.print(Text(f"{name} {value}  {note}"))
    for section in page.sections:
        if section.brief:
            _print_section(section, console)
    console.print(Text(page.protocol))


def _page(report: StudyReport, curves: Curves | None = None) -> Page:
    if isinstance(report, CrossvalReport):
        return crossval_page(report, curves)
    return ablation_page(report) if isinstance(report, AblationReport) else probe_page(report)


def _print_section(section: Section, console: Console) -> None:
    console.print(Text(f"\n{section.title}", style="bold"))
    for text in () if section.tables else section.texts:
        console.print(Text(text))
    for table in section.tables:
        print_table(table, console)
        console.print()


def _html_environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _embedded(path: Path) -> dict[str, Any]:
    height, width = imread(path).shape[:2]
    return {
        "data": base64.b64encode(path.read_bytes()).decode(),
        "width": round(width / PIXELS_PER_POINT),
        "height": round(height / PIXELS_PER_POINT),
    }
