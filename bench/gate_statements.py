"""Statements for the gate of the store: honest ones written, hostile ones from the engine itself.

The hostile ones are made of what this very engine has (its functions, table functions, tables,
settings and formats) and is not on the store's lists, in every place where a statement can hold
such a thing. So a newer engine brings its own attacks.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Final

import numpy as np

from store import allowed_functions, allowed_settings
from store.catalogue import TABLES
from store.http_format import TRANSPORT

_FOLDER: Final = Path(__file__).with_name("statements")
Rows = Callable[[str], Sequence[Sequence[object]]]


def written(name: str) -> list[str]:
    """The statements of ``honest`` or ``hostile``: one a line, ``--`` heads a section."""
    lines = (_FOLDER / f"{name}.sql").read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("--")]


@dataclass(frozen=True, slots=True)
class Hostile:
    """One request that must be refused: a statement, and fields of the URL beside it."""

    sql: str
    fields: dict[str, str] = field(default_factory=dict)
    way: str = "body"


@dataclass(frozen=True, slots=True)
class Closed:
    """What the engine has and readers do not."""

    functions: list[str]
    table_functions: list[str]
    tables: list[str]
    settings: list[str]
    formats: list[str]


def closed(rows: Rows) -> Closed:
    """Everything of the engine that is on no list, by the engine's own names."""

    def names(sql: str) -> list[str]:
        return sorted(str(row[0]) for row in rows(sql))

    aliases = {
        str(name).lower(): str(target).lower()
        for name, target in rows("SELECT name, alias_to FROM system.functions WHERE alias_to != ''")
    }
    settings = allowed_settings.KEPT | allowed_settings.DROPPED | set(allowed_settings.CLAMPED)
    return Closed(
        functions=[
            name
            for name in names("SELECT name FROM system.functions")
            if not allowed_functions.may_call(name.lower(), aliases)
        ],
        table_functions=[
            name
            for name in names("SELECT name FROM system.table_functions")
            if name.lower() not in allowed_functions.TABLE_FUNCTIONS
        ],
        tables=[
            name
            for name in names(
                "SELECT concat(database, '.', name) FROM system.tables WHERE database != 'hf'"
            )
            if name not in TABLES
        ],
        settings=[n for n in names("SELECT name FROM system.settings") if n not in settings],
        formats=[
            name
            for name in names("SELECT name FROM system.formats")
            if name not in allowed_settings.OUTPUT_FORMATS
        ],
    )


_ARGUMENTS: Final = ("'/etc/passwd'", "'a', 'b'", "", "1", "'x', 'y', 'z'", "[1], 2")
_ADDRESSES: Final = (
    "'/etc/passwd'",
    "'hf_store', 'verdict'",
    "",
    "'http://127.0.0.1:1/', 'CSV', 'a String'",
)
_FILES: Final = ("default.`/etc/passwd`", "`/etc/passwd`", "'/etc/passwd'", "`hf_store.verdict`")
_VALUES: Final = ("1", "'file(\\'/etc/passwd\\')'", "'hf_store'", "0", "''", "DEFAULT")
_WAYS: Final = ("body", "url", "both", "form")


def _places() -> dict[str, list[str]]:
    """The places of ``places.sql`` by section."""
    found: dict[str, list[str]] = {}
    section: list[str] = []
    for line in (_FOLDER / "places.sql").read_text("utf-8").splitlines():
        if line.startswith("-- "):
            section = found.setdefault(line[3:].partition(":")[0], [])
        else:
            section.append(line)
    return found


def hostile(has: Closed, *, count: int, rng: np.random.Generator) -> Iterator[Hostile]:
    """`count` requests, every one to be refused; all things and all places come round."""
    places = _places()
    kinds: Iterator[Iterator[str | Hostile]] = cycle(
        [
            _filled(_calls(has.functions, _ARGUMENTS, rng), places["values"], "{e}", rng),
            _filled(_calls(has.table_functions, _ADDRESSES, rng), places["sources"], "{t}", rng),
            _filled(_changes(has, rng), places["settings"], "{s}", rng),
            _filled(_endless(has.functions, rng), places["names"], "{f}", rng),
            _filled(_tables(has.tables, rng), places["sources"] + places["tables"], "{t}", rng),
            _filled(_endless(_FILES, rng), places["sources"], "{t}", rng),
            _filled(_endless(has.formats, rng), places["formats"], "{f}", rng),
            _beside(has, rng),
        ]
    )
    for _ in range(count):
        made = next(next(kinds))
        if isinstance(made, str):
            made = Hostile(_disguised(made, rng), way=str(rng.choice(_WAYS)))
        yield made


def _filled(
    things: Iterator[str], places: Sequence[str], hole: str, rng: np.random.Generator
) -> Iterator[str]:
    for thing, place in zip(things, _endless(places, rng), strict=False):
        yield place.replace(hole, thing)


def _endless(things: Sequence[str], rng: np.random.Generator) -> Iterator[str]:
    while True:
        yield from (things[int(i)] for i in rng.permutation(len(things)))


def _calls(
    names: Sequence[str], arguments: Sequence[str], rng: np.random.Generator
) -> Iterator[str]:
    for name, given in zip(_endless(names, rng), _endless(arguments, rng), strict=False):
        yield f"{_spelled(name, rng)}({given})"


def _tables(names: Sequence[str], rng: np.random.Generator) -> Iterator[str]:
    for name in _endless(names, rng):
        yield ".".join(_spelled(part, rng) for part in name.split(".", 1))


def _changes(has: Closed, rng: np.random.Generator) -> Iterator[str]:
    for name, value in zip(_endless(has.settings, rng), _endless(_VALUES, rng), strict=False):
        yield f"{name} = {value}"


def _beside(has: Closed, rng: np.random.Generator) -> Iterator[Hostile]:
    """Harmless statements with a hostile field of the URL or the form."""
    for change, name in zip(_changes(has, rng), _endless(has.formats, rng), strict=False):
        setting, _, value = change.partition(" = ")
        way = str(rng.choice(["body", "form"]))
        if setting in TRANSPORT:  # of the connection, not of the statement: read or left aside
            continue
        yield Hostile("SELECT 1", {setting: value.strip("'").replace("\\", "")}, way)
        yield Hostile("SELECT 1", {"default_format": name}, way)


def _spelled(name: str, rng: np.random.Generator) -> str:
    """The name as it is, quoted, or quoted with one letter written as its number."""
    way = rng.integers(4)
    if way == 0 or not name:
        return name
    if way == 1:
        return f"`{name}`"
    if way == 2:
        return f'"{name}"'
    at = int(rng.integers(len(name)))
    return f"`{name[:at]}\\x{ord(name[at]):02x}{name[at + 1 :]}`"


def _disguised(sql: str, rng: np.random.Generator) -> str:
    """The same statement with other space, comments or an end that a reader may overlook."""
    way = rng.integers(8)
    if way == 0:
        return sql.replace(" ", " /* ' */ ", 1)
    if way == 1:
        return sql.replace(" ", "\n-- ` \n", 1)
    if way == 2:
        return f"{sql} -- '"
    if way == 3:
        return sql.replace(" ", "\t\r\n ", 1)
    if way == 4:
        return f"/* $$ */ {sql} # $$"
    return sql
