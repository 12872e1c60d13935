"""The Kubernetes objects in a file's documents: each by itself, or among the items of a list."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from actions.yaml_text import Step
from actions.yaml_values import Plain

_LISTS_MAX: Final = 5  # lists within lists


@dataclass(frozen=True, slots=True)
class Placed:
    """An object, in which document of the file, and where in it (``items``, 3)."""

    document: int
    place: tuple[Step, ...]
    value: Mapping[str, Any]


def objects_of(documents: Iterable[Plain]) -> Iterator[Placed]:
    """Every mapping of a file; a ``kind: List`` stands for its items."""
    for i, document in enumerate(documents):
        yield from _objects(i, (), document)


def _objects(document: int, place: tuple[Step, ...], value: Plain) -> Iterator[Placed]:
    if not isinstance(value, dict):
        return
    items = value.get("items")
    is_list = str(value.get("kind", "")).endswith("List")
    if not is_list or not isinstance(items, list) or len(place) > 2 * _LISTS_MAX:
        yield Placed(document, place, value)
        return
    for i, item in enumerate(items):
        yield from _objects(document, (*place, "items", i), item)
