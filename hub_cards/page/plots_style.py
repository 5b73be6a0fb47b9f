"""What all pictures share: colours, fonts that have the labels' characters, and how a picture is saved."""

from functools import cache
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, fontManager, get_font
from matplotlib.text import Text

DOTS_PER_INCH = 150
INK, FAINT = "#1f2430", "#c9ced8"
TASK_COLOURS = ("#c8442f", "#2f6fb5", "#2b8a5c", "#b07b12", "#7a4fa3", "#0f8b9d", "#a13d6b", "#5f6b7a")
LAST_RESORT = "Last Resort"  # Matplotlib's font of boxes, which claims to have every character


def plain(text: str) -> str:
    """A label as it can be drawn: a dollar sign starts no mathematics, and no character becomes a box.

    A character that no installed font has is written as Python writes it in ASCII, e.g. `\\u6124`: not pretty, but
    two labels stay two, and nothing is guessed.
    """
    known = "".join(c if _font_with(c) is not None else c.encode("ascii", "backslashreplace").decode() for c in text)
    return known.replace("$", r"\$")


def save(figure: Figure, path: str | Path) -> Path:
    """Writes the PNG, each label in fonts that have its characters; makes the folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _use_fonts(figure)
    FigureCanvasAgg(figure).print_figure(
        path, dpi=DOTS_PER_INCH, facecolor="white", bbox_inches="tight", pad_inches=0.15
    )
    return path


def bare(axes: Axes) -> None:
    """Axes with a faint grid and without the upper and right frame."""
    axes.grid(color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _use_fonts(figure: Figure) -> None:
    for axes in figure.axes:  # tick labels exist from here on
        axes.get_xticklabels(), axes.get_yticklabels()
    texts = figure.findobj(Text)
    further = sorted({_font_with(c) for text in texts for c in text.get_text()} - {"", None})
    if further:
        families = [FontProperties().get_family()[0], *further]
        for text in texts:
            text.set_fontfamily(families)


@cache
def _font_with(character: str) -> str | None:
    """The family of an installed font that has a character: "" for the usual one, None if there is none."""
    if character.isspace() or _has(fontManager.findfont(FontProperties()), character):
        return ""
    others = (font for font in fontManager.ttflist if not font.name.startswith(LAST_RESORT))
    return next((font.name for font in others if _has(font.fname, character)), None)


def _has(font: str, character: str) -> bool:
    return ord(character) in _characters(font)


@cache
def _characters(font: str) -> frozenset[int]:
    return frozenset(get_font(font).get_charmap())
