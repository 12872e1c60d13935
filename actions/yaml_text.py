"""YAML as text: the plain values of a file, and the span of one scalar in it.

Values come from ruamel's safe loader, spans from its events: its composed nodes give an alias the
span of its anchor, which would splice into another place.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.nodes import ScalarNode

from wire.errors import PermanentError

ALIASES_MAX: Final = 20
"""Nested aliases multiply ("billion laughs"); 20 cannot make more than about 1,500 copies."""
DEPTH_MAX: Final = 50
"""ruamel's scanner is quadratic in depth: 5,000 open brackets took 9 s."""
Step = str | int
Plain = object
"""A dict, a list or a scalar, as the safe loader makes them."""


class _Constructor(SafeConstructor):
    """Times stay text: the manifests say what they mean by them."""


def _text(_: SafeConstructor, node: ScalarNode) -> str:
    return str(node.value)


_Constructor.add_constructor("tag:yaml.org,2002:timestamp", _text)


def plain_values(content: bytes, *, aliases_max: int | None = None) -> list[Plain]:
    """The documents of a YAML file; a duplicate key is an error.

    Raises
    ------
    PermanentError
        ``yaml_unreadable``: with the line; given `aliases_max`, also too many aliases or levels.
    """
    try:
        text = content.decode()
        if aliases_max is not None:
            _check_shape(text, aliases_max)
        yaml = YAML(typ="safe", pure=True)
        yaml.Constructor = _Constructor
        return list(yaml.load_all(text))
    except (YAMLError, ValueError, RecursionError, TypeError) as error:  # TypeError: odd keys
        raise PermanentError("yaml_unreadable", _where(error)) from error


def _check_shape(text: str, aliases_max: int) -> None:
    """Refuse what would cost the loader more than linear time. Events come one by one."""
    depth = aliases = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        if isinstance(event, MappingStartEvent | SequenceStartEvent):
            depth += 1
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            depth -= 1
        aliases += isinstance(event, AliasEvent)
        if aliases > aliases_max:
            raise PermanentError("yaml_unreadable", f"more than {aliases_max} aliases")
        if depth > DEPTH_MAX:
            raise PermanentError("yaml_unreadable", f"nested deeper than {DEPTH_MAX} levels")


def _where(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or type(error).__name__
    return f"line {mark.line + 1}: {problem}" if mark else str(problem)


@dataclass(frozen=True, slots=True)
class Span:
    """A scalar's characters ``[start, end)`` in the text.

    `style` is ``""`` for plain, else the quote. `is_empty`: a key without a value; the span is then
    right after its colon. `in_flow`: the mapping is written ``{...}``.
    """

    start: int
    end: int
    style: str
    key_start: int
    in_flow: bool
    is_empty: bool


_REFUSED: Final = "scalar_not_editable"


def find_scalar(text: str, document: int, path: Sequence[Step]) -> Span | None:
    """Where the scalar at `path` of the `document`-th document stands; None if it is absent.

    Raises
    ------
    PermanentError
        ``scalar_not_editable``: it is an alias, anchored, tagged, a block, of several lines, or
        not a scalar; ``yaml_unreadable``.
    """
    try:
        events = YAML(typ="safe", pure=True).parse(text)
        for _ in range(document + 1):
            for event in events:
                if isinstance(event, DocumentStartEvent):
                    break
        return _descend(text, events, next(events), path, None, in_flow=False)
    except (YAMLError, RecursionError) as error:
        raise PermanentError("yaml_unreadable", _where(error)) from error


def _descend(
    text: str,
    events: Iterator[Event],
    event: Event,
    path: Sequence[Step],
    key: ScalarEvent | None,
    *,
    in_flow: bool,
) -> Span | None:
    if not path:
        return _span(text, event, key, in_flow=in_flow)
    if isinstance(event, AliasEvent):
        raise PermanentError(_REFUSED, f"an alias stands before {path[0]!r}")
    if isinstance(event, MappingStartEvent):
        while not isinstance(name := next(events), MappingEndEvent):
            if isinstance(name, ScalarEvent) and name.value == path[0]:
                flow = bool(event.flow_style)
                return _descend(text, events, next(events), path[1:], name, in_flow=flow)
            _skip(events, name)
            _skip(events, next(events))
    elif isinstance(event, SequenceStartEvent):
        index = 0
        while not isinstance(item := next(events), SequenceEndEvent):
            if index == path[0]:
                flow = bool(event.flow_style)
                return _descend(text, events, item, path[1:], None, in_flow=flow)
            _skip(events, item)
            index += 1
    return None


def _skip(events: Iterator[Event], event: Event) -> None:
    depth = 0
    while True:
        if isinstance(event, MappingStartEvent | SequenceStartEvent):
            depth += 1
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            depth -= 1
        if depth == 0:
            return
        event = next(events)


def _span(text: str, event: Event, key: ScalarEvent | None, *, in_flow: bool) -> Span:
    if isinstance(event, AliasEvent):
        raise PermanentError(_REFUSED, "the value is an alias")
    if not isinstance(event, ScalarEvent):
        raise PermanentError(_REFUSED, "the value is not a scalar")
    if event.anchor is not None or event.tag is not None:
        raise PermanentError(_REFUSED, "the value has an anchor or a tag")
    start, end = event.start_mark.index, event.end_mark.index
    key_start = key.start_mark.index if key is not None else start
    is_empty = start == end
    if is_empty:  # ruamel places an empty scalar at the next token
        if key is None:
            raise PermanentError(_REFUSED, "an empty item of a sequence")
        colon = re.compile(r"[ \t]*:").match(text, key.end_mark.index)
        if colon is None:
            raise PermanentError(_REFUSED, "an empty value away from its key")
        start = end = colon.end()
    if event.style in ("|", ">") or "\n" in text[start:end]:
        raise PermanentError(_REFUSED, "the value has several lines")
    return Span(start, end, event.style or "", key_start, in_flow, is_empty)


def spelled(value: str | float, style: str) -> str:
    """`value` as a scalar in the given style; a text that plain style would change gets quotes."""
    if not isinstance(value, str):
        return json.dumps(value)
    if style == "'" and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    if style == "" and _is_plain(value):
        return value
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else f"\\U{ord(character):08x}"


def _is_plain(value: str) -> bool:
    """Whether the plain scalar reads back as the same text, in block and in flow mappings."""
    try:
        read = [plain_values(text.encode()) for text in (f"{{k: {value}}}", f"k: {value} #\n")]
    except PermanentError:
        return False
    return read == [[{"k": value}]] * 2
