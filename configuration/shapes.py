"""Shapes of settings: mappings, lists and single values, where their types ask for them, and laid over each other."""

from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any, get_origin

from .written import Text, kind_of

WORDS = {dict: "a mapping, as {key: value}", list: "a list, as [one,two]"}


def misshapen(value: Any, kind: Any, name: str = "") -> Iterator[str]:
    """What of a setting `name` has another shape than its type, see `written.read`; null and unknown keys pass."""
    wanted = shape(kind)
    if value is None or kind is Any:
        return
    if wanted is None:
        if isinstance(value, list) or (isinstance(value, dict) and kind is not Text):
            yield f"{name}={value} must be a single value"
    elif not isinstance(value, wanted):
        yield f"{name} must be {WORDS[wanted]}"
    elif wanted is list:
        for place, part in enumerate(value):
            yield from misshapen(part, kind_of(kind, None), f"{name}[{place}]")
    else:
        for key, part in value.items():
            yield from misshapen(part, kind_of(kind, key), f"{name}.{key}" if name else str(key))


def shape(kind: Any) -> type | None:
    """What settings of this type are written as: `dict`, `list`, or None for a single value."""
    return dict if is_dataclass(kind) else get_origin(kind) if get_origin(kind) in WORDS else None


def laid_over(settings: Any, others: Any, kind: Any) -> Any:
    """Settings of the type `kind` with others on top. Mappings are joined; an empty one empties what it is laid over.

    An empty section of the recipe, which has settings of its own, changes nothing.
    """
    if not (isinstance(settings, dict) and isinstance(others, dict) and (others or is_dataclass(kind))):
        return others
    laid = {key: laid_over(settings.get(key), part, kind_of(kind, key)) for key, part in others.items()}
    return {**settings, **laid}
