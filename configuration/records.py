"""Dataclasses as JSON and back: what has its default is left out, and what is not known is passed over."""

import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints, is_typeddict

from .errors import UserError

Record = TypeVar("Record")

WORDS = {
    dict: "a mapping",
    list: "a list",
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


def to_json(record: Any) -> Any:
    """A dataclass, and what it holds, as JSON has it."""
    if is_dataclass(record):
        values = ((each, getattr(record, each.name)) for each in fields(record))
        return {each.name: to_json(value) for each, value in values if value != _default(each)}
    if isinstance(record, Mapping):
        return {name: to_json(value) for name, value in record.items()}
    if isinstance(record, list | tuple):
        return [to_json(value) for value in record]
    return record


def from_json(kind: type[Record], value: Any, where: str) -> Record:
    """The dataclass that `to_json` has made such a value of.

    A part that the dataclass does not have is passed over, unless its class attribute `complete` is true.

    Args:
        kind: the dataclass.
        value: as JSON has it.
        where: what a message names.

    Raises:
        UserError: a part that must be there is missing, or is something else.
    """
    given, hints = _of(dict, value, where), get_type_hints(kind)
    known = {each.name: each for each in fields(kind)}
    if getattr(kind, "complete", False) and (unknown := [name for name in given if name not in known]):
        raise UserError(f"{where} has {unknown[0]}, which this version does not know: use the version that wrote it")
    if missing := [name for name, each in known.items() if name not in given and _default(each) is MISSING]:
        raise UserError(f"{where} lacks {missing[0]}: it was written by something else, or is damaged")
    return kind(**{name: _value(hints[name], given[name], f"{where}: {name}") for name in known if name in given})


def _value(kind: Any, value: Any, where: str) -> Any:
    if get_origin(kind) in (Union, types.UnionType):
        if value is None:
            return None
        kinds = [part for part in get_args(kind) if part is not types.NoneType]
        kind = next((part for part in kinds if (get_origin(part) or part) is type(value)), kinds[0])
    if kind is Any:
        return value
    if is_dataclass(kind):
        return from_json(kind, value, where)
    if is_typeddict(kind):
        return _of(dict, value, where)
    if get_origin(kind) is dict:
        return {
            name: _value(get_args(kind)[1], each, f"{where}, {name}") for name, each in _of(dict, value, where).items()
        }
    if get_origin(kind) is list:
        return [_value(get_args(kind)[0], each, where) for each in _of(list, value, where)]
    return _scalar(kind, value, where)


def _scalar(kind: Any, value: Any, where: str) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is float and number:
        return value
    if kind is str and number:  # names of folds, which were numbers once
        return str(value)
    return _of(kind, value, where, number=number)


def _of(kind: type, value: Any, where: str, number: bool = False) -> Any:
    """The value, if it is of this type; a truth value is no number."""
    if not isinstance(value, kind) or (kind is int and not number):
        raise UserError(f"{where} is {value!r:.40} and must be {WORDS[kind]}: it was written by something else")
    return value


def _default(field: Field) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()
