"""YAML as text: the plain values of a file, and the spans of scalars in it.

Both come from libyaml's events, one by one, so that a file that would cost more than linear time is
left before it does. JSON is read the same way. Scalars mean what YAML 1.2 says they mean.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from actions.yaml_values import Budget, Plain, values_of
from wire.errors import PermanentError

ALIASES_MAX: Final = 20
"""Nested aliases multiply ("billion laughs"); 20 cannot make more than about 1,500 copies."""
Step = str | int
Path = tuple[Step, ...]
_Wanted = dict[Step, "_Wanted"]
_BOM: Final = "\ufeff"
_PAIR: Final = re.compile(r"(?<!\\)\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})", re.IGNORECASE)


def text_of(content: bytes) -> str:
    """The text of a file; PermanentError ``yaml_unreadable`` if it is not UTF-8."""
    try:
        return content.decode().removeprefix(_BOM)
    except UnicodeDecodeError as error:
        raise PermanentError("yaml_unreadable", "not UTF-8") from error


def bytes_of(text: str, like: bytes) -> bytes:
    """The inverse of `text_of`; with a byte order mark if `like` has one."""
    return (_BOM + text if like.startswith(_BOM.encode()) else text).encode()


def plain_values(content: bytes, *, aliases_max: int | None = None) -> list[Plain]:
    """The documents of a YAML file; a duplicate key is an error.

    Raises
    ------
    PermanentError
        ``yaml_unreadable``: with the line; also too many nodes, levels or (given `aliases_max`)
        aliases. The words hold nothing of the file but its line numbers.
    """
    try:
        events = _events(_joined(text_of(content), _character))
        return list(values_of(events, Budget(aliases_max=aliases_max)))
    except (yaml.YAMLError, ValueError) as error:
        raise PermanentError("yaml_unreadable", _where(error)) from error


def _joined(text: str, join: Callable[[re.Match[str]], str]) -> str:
    """JSON's escaped surrogate pairs as YAML has them: one character, one escape."""
    return _PAIR.sub(join, text) if text.lstrip()[:1] in ("{", "[") else text


def _character(pair: re.Match[str]) -> str:
    high, low = int(pair[1], 16) - 0xD800, int(pair[2], 16) - 0xDC00
    return f"\\U{0x10000 + (high << 10) + low:08x}"


def _events(text: str) -> Iterator[Event]:
    return yaml.parse(text, Loader=yaml.CSafeLoader)


def _where(error: Exception) -> str:
    """Line and problem. A problem of libyaml quotes no text, but a tag or an anchor; so cut."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or type(error).__name__
    problem = re.sub(r"""["'`].*""", "...", str(problem))
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


def find_scalars(text: str, paths: Iterable[Path]) -> dict[Path, Span | PermanentError]:
    """Where the scalars at `paths` stand, in one reading; those that are absent are left out.

    A path begins with the document's number, and none continues another. The error is
    ``scalar_not_editable``: an alias, anchored, tagged, a block, of several lines, or no scalar.

    Raises PermanentError ``yaml_unreadable``.
    """
    spans: dict[Path, Span | PermanentError] = {}
    with _reading():
        for path, found in _found(_events_of(text), paths):
            try:
                spans[path] = _span(text, found)
            except PermanentError as error:
                spans[path] = error
    return spans


def find_mapping(text: str, document: int, path: Sequence[Step]) -> tuple[int, bool] | None:
    """Where the first key of the mapping at `path` stands, and whether in flow style (``{...}``).

    Of a flow mapping it is the place right after the brace. None if there is no mapping, or if it
    is a block without a key.
    """
    with _reading():
        events = _events_of(text)
        for _, found in _found(events, [(document, *path)]):
            if not isinstance(found.event, MappingStartEvent):
                return None
            if found.event.flow_style:
                return text.index("{", _marks(found.event)[0]) + 1, True
            first = next(events)
            return None if isinstance(first, MappingEndEvent) else (_marks(first)[0], False)
    return None


@dataclass(frozen=True, slots=True)
class _Found:
    """A node on the way to a path, or at its end. `rest`: what lies behind an alias."""

    event: Event
    key: ScalarEvent | None
    in_flow: bool
    rest: Path = ()


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except (yaml.YAMLError, RecursionError) as error:
        raise PermanentError("yaml_unreadable", _where(error)) from error


def _events_of(text: str) -> Iterator[Event]:
    return _events(_joined(text, lambda found: "x" * len(found[0])))


def _found(events: Iterator[Event], paths: Iterable[Path]) -> Iterator[tuple[Path, _Found]]:
    """What stands at `paths`, in the file's order; right then the events go on behind it."""
    wanted: _Wanted = {}
    for path in paths:
        branch = wanted
        for step in path:
            branch = branch.setdefault(step, {})
    document = -1
    for event in events:
        if isinstance(event, DocumentStartEvent):
            document += 1
            root = _Found(next(events), None, in_flow=False)
            yield from _below(events, root, (document,), wanted.get(document))


def _below(
    events: Iterator[Event], found: _Found, at: Path, wanted: "_Wanted | None"
) -> Iterator[tuple[Path, _Found]]:
    """What is `wanted` of the node at `at`; its events are used up then."""
    event, flow = found.event, bool(getattr(found.event, "flow_style", False))
    if wanted is None:
        _skip(events, event)
    elif not wanted:
        yield at, found
        _skip(events, event)
    elif isinstance(event, AliasEvent):
        yield from ((at + rest, replace(found, rest=rest)) for rest in _leaves(wanted))
    elif isinstance(event, MappingStartEvent):
        while not isinstance(name := next(events), MappingEndEvent):
            key = name if isinstance(name, ScalarEvent) else None
            _skip(events, name)
            value = _Found(next(events), key, flow)
            step = key.value if key is not None else ""
            branch = wanted.get(step) if key is not None else None
            yield from _below(events, value, (*at, step), branch)
    elif isinstance(event, SequenceStartEvent):
        index = 0
        while not isinstance(item := next(events), SequenceEndEvent):
            yield from _below(events, _Found(item, None, flow), (*at, index), wanted.get(index))
            index += 1


def _leaves(wanted: "_Wanted") -> Iterator[Path]:
    for step, branch in wanted.items():
        yield from ((step, *rest) for rest in _leaves(branch)) if branch else ((step,),)


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


def _span(text: str, found: _Found) -> Span:
    event, key, in_flow = found.event, found.key, found.in_flow
    if isinstance(event, AliasEvent):
        before = (
            f"an alias stands before {found.rest[0]!r}" if found.rest else "the value is an alias"
        )
        raise PermanentError(_REFUSED, before)
    if not isinstance(event, ScalarEvent):
        raise PermanentError(_REFUSED, "the value is not a scalar")
    if event.anchor is not None or event.tag is not None:
        raise PermanentError(_REFUSED, "the value has an anchor or a tag")
    start, end = _marks(event)
    key_start, key_end = _marks(key) if key is not None else (start, end)
    is_empty = start == end
    if is_empty:  # libyaml places an empty scalar at the next token
        if key is None:
            raise PermanentError(_REFUSED, "an empty item of a sequence")
        colon = re.compile(r"[ \t]*:").match(text, key_end)
        if colon is None:
            raise PermanentError(_REFUSED, "an empty value away from its key")
        start = end = colon.end()
    if event.style in ("|", ">") or "\n" in text[start:end]:
        raise PermanentError(_REFUSED, "the value has several lines")
    return Span(start, end, event.style or "", key_start, in_flow, is_empty)


def _marks(event: Event) -> tuple[int, int]:
    """Characters before its start and its end."""
    start, end = event.start_mark, event.end_mark
    assert start is not None, "libyaml marks every event"  # noqa: S101
    assert end is not None, "libyaml marks every event"  # noqa: S101
    return start.index, end.index


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
