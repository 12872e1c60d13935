"""The Kubernetes objects in a file's documents: each by itself, or among the items of a list."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from actions.yaml_text import Step
from actions.yaml_values import Plain


@dataclass(frozen=True, slots=True)
class Placed:
    """An object, in which document of the file, and where in it (``items``, 3)."""

    document: int
    place: tuple[Step, ...]
    value: Mapping[str, Any]


def objects_of(documents: Iterable[Plain]) -> Iterator[Placed]:
    """Every mapping of a file; a ``kind: List``, or a plain list, stands for its items."""
    for i, document in enumerate(documents):
        yield from _objects(i, (), document)


def _objects(document: int, place: tuple[Step, ...], value: Plain) -> Iterator[Placed]:
    if isinstance(value, list):
        for i, item in enumerate(value):
            yield from _objects(document, (*place, i), item)
    elif isinstance(value, dict):
        items = value.get("items")
        if isinstance(items, list) and _is_list(value.get("kind")):
            yield from _objects(document, (*place, "items"), items)
        else:
            yield Placed(document, place, value)


def _is_list(kind: Plain) -> bool:
    return kind is None or (isinstance(kind, str) and kind.endswith("List"))
