"""YAML as it was written: where a setting's type asks for text, a scalar stays the text that a reader sees.

YAML itself reads `05` as 5, `0011` as 9, `1_000` as 1000, and `on` and `no` as true and false.
"""

import re
import types
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import is_dataclass
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import yaml

NULL = "tag:yaml.org,2002:null"
TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "value", "seq", "map")}
TIMESTAMP = "tag:yaml.org,2002:timestamp"
DEEPEST = 20  # lists and mappings inside each other

Text = Annotated[Any, "text"]
"""The type of a setting whose scalars are text, `null` too: alone, or within lists and mappings."""


class _Reader(yaml.SafeLoader):
    """PyYAML's, to which `1e-4` is a number and a date is text."""

    yaml_implicit_resolvers = {
        first: [(tag, form) for tag, form in resolvers if tag != TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Reader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read(text: str, kind: Any = Any) -> Any:
    """What YAML says, by the type `kind`: a dataclass, `list[...]`, `dict[...]`, `str`, `Text`, `Any`, or one or None.

    A scalar of `str` is its text, but for `null`; of `Text`, in any case. One of `int` is read in tens, so that `0011`
    is eleven; what is no number, and truth values, stay text for OmegaConf to convert or refuse. Of `Any` it is what
    YAML makes of it, but for a whole number in another form, such as `01`, which stays text. Nothing at all is None.

    Raises:
        yaml.YAMLError: the text is no YAML, repeats parts of itself by `*` aliases, or is nested too deep.
    """
    _check_form(text)
    node = yaml.compose(text, Loader=_Reader)
    return None if node is None else _value(node, kind)


def kind_at(kind: Any, keys: list[str]) -> Any:
    """The type of the setting at the end of a path of keys; `Any` where the path leads out of what is known."""
    for key in keys:
        kind = kind_of(kind, key)
    return kind


def _check_form(text: str) -> None:
    """Refuses YAML of which little stands for gigabytes or minutes: lists that repeat lists, and deep nesting."""
    depth = 0
    for event in yaml.parse(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError(
                "it repeats parts of itself by * aliases: write them out, and quote a word that begins with *"
            )
        if depth > DEEPEST:
            raise yaml.YAMLError(f"it is nested more than {DEEPEST} levels deep: nothing needs that")


def _value(node: yaml.Node, kind: Any) -> Any:
    if node.tag not in TAGS:
        raise yaml.YAMLError(f"it has the tag {node.tag!r}: write plain words, numbers, lists and mappings")
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, kind_of(kind, None)) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        pairs = list(_pairs(node, kind))
        keys = [key for key, _ in pairs]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.YAMLError(f"it has the key {twice[0]!r} twice")
        return dict(pairs)
    return _scalar(node, kind)


def _pairs(node: yaml.MappingNode, kind: Any) -> Iterator[tuple[Any, Any]]:
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise yaml.YAMLError("a key must be a word, not a list or a mapping")
        key = _value(key_node, Any if kind is Any else Text)
        yield key, _value(value_node, kind_of(kind, key))


def _scalar(node: yaml.ScalarNode, kind: Any) -> Any:
    if kind is Text:
        return node.value
    if node.tag == NULL:
        return None
    if kind is Any or is_dataclass(kind):
        value = _Reader("").construct_object(node)
        # 01 is a code rather than the number 1, as 09 is to YAML too
        return node.value if type(value) is int and str(value) != node.value else value
    if kind in (int, float):
        with suppress(ValueError):
            return kind(node.value)
    return node.value


def kind_of(kind: Any, key: Any) -> Any:
    """The type of what a list, a mapping or a dataclass of this type holds under a key."""
    kind = _without_none(kind)
    if kind is Text:
        return Text
    if is_dataclass(kind):
        return _without_none(get_type_hints(kind, include_extras=True).get(key, Any))
    held = get_args(kind) if isinstance(get_origin(kind), type) and get_origin(kind) in (list, dict) else ()
    return _without_none(held[-1]) if held else Any


def _without_none(kind: Any) -> Any:
    """Of `str | None` the `str`."""
    if get_origin(kind) in (Union, types.UnionType):
        return next(part for part in get_args(kind) if part is not type(None))
    return kind


def nested(keys: list[str], value: Any) -> Mapping[str, Any]:
    """`{"a": {"b": value}}` for the keys a and b."""
    for key in reversed(keys):
        value = {key: value}
    return value
