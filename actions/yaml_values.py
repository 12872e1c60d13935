"""Events of a YAML file -> plain values, within a budget of nodes, levels and aliases.

The core schema of YAML 1.2, with merge keys (``<<``); times stay text: the manifests say what they
mean by them.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from yaml.error import MarkedYAMLError
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

NODES_MAX: Final = 50_000
"""Of one file. The largest manifest that is of use, a policy with 10,000 versions, has 10,100."""
DEPTH_MAX: Final = 50
"""libyaml is quadratic in depth: 240,000 open brackets took 226 s."""
Plain = object
"""A dict, a list or a scalar."""

_TAG: Final = "tag:yaml.org,2002:"
_INT: Final = re.compile(r"[-+]?[0-9]+")
_OCTAL: Final = re.compile(r"0o[0-7]+")
_HEX: Final = re.compile(r"0x[0-9a-fA-F]+")
_BASES: Final = ((_INT, 10), (_OCTAL, 8), (_HEX, 16))
_DIGITS_MAX: Final = 250
"""Of an integer in any base: it still fits a double, and Python still writes it in decimals."""
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: Final = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_BOUND: Final = object()  # an alias within its own anchor's value


@dataclass(slots=True)
class Budget:
    """What a file may still cost."""

    nodes: int = NODES_MAX
    aliases_max: int | None = None
    aliases: int = 0

    def take(self, event: Event, depth: int) -> None:
        """Raises MarkedYAMLError if it is used up."""
        self.nodes -= 1
        self.aliases += isinstance(event, AliasEvent)
        if self.nodes < 0:
            raise _error(event, f"more than {NODES_MAX} nodes")
        if depth > DEPTH_MAX:
            raise _error(event, f"nested deeper than {DEPTH_MAX} levels")
        if self.aliases_max is not None and self.aliases > self.aliases_max:
            raise _error(event, f"more than {self.aliases_max} aliases")


def values_of(events: Iterator[Event], budget: Budget) -> Iterator[Plain]:
    """Each document's value.

    Raises
    ------
    MarkedYAMLError
        A duplicate key, a tag that is not of the core schema, or the budget is used up.
    """
    for event in events:
        if isinstance(event, DocumentStartEvent):
            yield _Document(events, budget).value(next(events), 1)


@dataclass(slots=True)
class _Document:
    events: Iterator[Event]
    budget: Budget
    anchors: dict[str, Plain] = field(default_factory=dict)

    def value(self, event: Event, depth: int) -> Plain:
        self.budget.take(event, depth)
        if isinstance(event, AliasEvent):
            found = self.anchors.get(str(event.anchor), _BOUND)
            if found is _BOUND:
                raise _error(event, "an alias of nothing, or of what it stands in")
            return found
        make: Callable[[Event, int], Plain] = {
            ScalarEvent: self._scalar,
            MappingStartEvent: self._mapping,
            SequenceStartEvent: self._sequence,
        }[type(event)]
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self.anchors[anchor] = _BOUND
        value = make(event, depth)
        if anchor is not None:
            self.anchors[anchor] = value
        return value

    def _sequence(self, event: Event, depth: int) -> Plain:
        _check_tag(event, "seq")
        items = []
        while not isinstance(item := next(self.events), SequenceEndEvent):
            items.append(self.value(item, depth + 1))
        return items

    def _mapping(self, event: Event, depth: int) -> Plain:
        _check_tag(event, "map")
        own: dict[Plain, Plain] = {}
        merged: dict[Plain, Plain] = {}
        while not isinstance(name := next(self.events), MappingEndEvent):
            key = self.value(name, depth + 1)
            value = self.value(next(self.events), depth + 1)
            if isinstance(name, ScalarEvent) and name.implicit[0] and key == "<<":
                merged = {**_merged(name, value), **merged}
                continue
            if isinstance(key, dict | list):
                raise _error(name, "a key that is not a scalar")
            if key in own:
                raise _error(name, "a duplicate key")
            own[key] = value
        return {**merged, **own}

    def _scalar(self, event: Event, _: int) -> Plain:
        assert isinstance(event, ScalarEvent)  # noqa: S101 - by `value`
        text = event.value
        if event.tag is None:
            return _resolved(event, text) if event.implicit[0] else text
        match event.tag.removeprefix(_TAG):
            case "!" | "str" | "timestamp":
                return text
            case "null" | "bool" | "int" | "float" as kind:
                value = _resolved(event, text)
                found = "null" if value is None else type(value).__name__
                if found == kind:
                    return value
                if (found, kind) == ("int", "float"):
                    return float(value)  # type: ignore[arg-type]  # it is an int
        raise _error(event, "a tag that its value does not fit, or that is not known here")


def _merged(at: Event, value: Plain) -> dict[Plain, Plain]:
    sources = value if isinstance(value, list) else [value]
    merged: dict[Plain, Plain] = {}
    for source in reversed(sources):  # the first one wins
        if not isinstance(source, dict):
            raise _error(at, "a merge key without a mapping")
        merged |= source
    return merged


def _check_tag(event: Event, kind: str) -> None:
    tag = getattr(event, "tag", None)
    if tag not in (None, "!", _TAG + kind):
        raise _error(event, "a tag that is not known here")


def _resolved(event: Event, text: str) -> Plain:
    if text in _WORDS:
        return _WORDS[text]
    for pattern, base in _BASES:
        if pattern.fullmatch(text):
            if len(text) > _DIGITS_MAX:
                raise _error(event, "a number with too many digits")
            return int(text, base)
    return float(text) if _FLOAT.fullmatch(text) else text


def _error(event: Event, problem: str) -> MarkedYAMLError:
    return MarkedYAMLError(problem=problem, problem_mark=event.start_mark)  # type: ignore[arg-type]  # libyaml's
