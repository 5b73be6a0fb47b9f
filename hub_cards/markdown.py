"""Values on a Markdown page: escaped, so that text from a corpus or a user never becomes markup."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from .wording import NOTHING

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\\": "&#92;"}
_MARKUP = re.compile(r"[&<>\\`*_\[\]|~#$!]")


def markdown_environment() -> Environment:
    """Templates of this folder, in which every value is escaped for Markdown and HTML, unless it is Markup already.

    Filters: `cells` (of a table's row), `fenced` (a code block) and `python` (a string literal).
    """
    environment = Environment(
        loader=FileSystemLoader([Path(__file__).parent / room for room in ("card", "study")]),
        undefined=StrictUndefined,
        finalize=_escape,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"cells": _cells, "fenced": _fenced, "python": _python}
    return environment


def one_line(text: str) -> str:
    """Without line breaks: a new line could begin a heading, a list, or the end of the metadata."""
    return " ".join(text.split())


def _escape(value: Any) -> str:
    if isinstance(value, Markup):
        return value
    text = _MARKUP.sub(lambda match: _ENTITIES.get(match[0], f"\\{match[0]}"), one_line(str(value)))
    return text or NOTHING


def _cells(values: Iterable[str]) -> Markup:
    return Markup(" | ".join(_escape(value) for value in values))


def _fenced(text: str) -> Markup:
    """A code block that its own content cannot close."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    language = "bibtex" if text.lstrip().startswith("@") else "text"
    return Markup(f"{fence}{language}\n{text.strip()}\n{fence}")


def _python(value: str) -> Markup:
    """A Python string literal on one line."""
    return Markup(json.dumps(value))
