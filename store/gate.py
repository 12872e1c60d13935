"""Who may read what, with which settings, limits and formats; `store.judge` applies it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from store import allowed_settings
from store.allowed_settings import CLAMPED
from store.sql_tree import refused
from wire.errors import PermanentError


class Role(StrEnum):
    """Whose credential a request carries."""

    WRITER = "writer"
    ANALYST = "analyst"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one statement of an analyst may use."""

    seconds_max: int = 30
    memory_bytes_max: int = 1_000_000_000
    result_rows_max: int = 2_000_000
    result_bytes_max: int = 256_000_000
    threads_max: int = 2
    block_rows_max: int = 65_409


@dataclass(frozen=True, slots=True)
class Reader:
    """What a credential may read: whole databases, and single tables as they are."""

    databases: frozenset[str]
    unnamed: bool  # whether a name alone is a table of `hf`
    tables: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()


ANALYST: Final = Reader(frozenset({"hf"}), unnamed=True)
WRITER: Final = Reader(
    frozenset({"hf", "hf_store"}),
    unnamed=False,
    tables=frozenset({"system.tables", "system.columns", "system.parts", "system.events"}),
    functions=frozenset({"formatquery"}),
)


_ELEMENTS_MAX: Final = 50_000
"""Of a statement once its names are resolved: a name that stands for two of the next, twenty deep,
keeps the engine busy for seconds before anything runs, where it cannot be cancelled."""


def check_database(role: Role, name: str) -> str:
    """The database a request may start in; `hf` if it names none."""
    if role is Role.ANALYST and name.lower() not in ("", "default", "hf"):
        raise PermanentError("access_denied", f"analysts may not use the database {name!r}")
    if role is Role.WRITER and name not in ("", "default", "hf", "hf_store"):
        raise PermanentError("access_denied", f"the writer may not use the database {name!r}")
    if name in ("", "default"):
        return "hf" if role is Role.ANALYST else ""
    return name.lower()


def check_format(name: str) -> str:
    """The format of an answer, if it is one that reads and tells nothing else."""
    if name not in allowed_settings.OUTPUT_FORMATS:
        raise refused(f"the format {name!r} is refused", accepted="JSON, CSV, Arrow, Parquet, ...")
    return name


def analyst_settings(asked: Mapping[str, str], limits: Limits) -> dict[str, str]:
    """The settings of an analyst's statement: what was asked, within the limits."""
    settings = {name: str(getattr(limits, bound)) for name, bound in CLAMPED.items()}
    settings |= {"result_overflow_mode": "throw", "timeout_overflow_mode": "throw"}
    settings |= {"session_timezone": "UTC", "max_expanded_ast_elements": str(_ELEMENTS_MAX)}
    for name, value in asked.items():
        if name in CLAMPED:
            bound = int(settings[name])
            wanted = int(value) if value.isdecimal() else 0
            settings[name] = str(min(wanted, bound) if wanted > 0 else bound)
        elif name in allowed_settings.KEPT:
            settings[name] = _short(name, value)
        elif name not in allowed_settings.DROPPED:
            raise refused(f"the setting {name!r} may not be changed")
    return settings


def check_within(written: Mapping[str, str], limits: Limits) -> None:
    """Refuse a SETTINGS clause that asks for more than the limits.

    What a client adds to each request by itself is brought within them without a word; what
    somebody wrote into a statement is not.
    """
    if "readonly" in written:
        raise refused("readonly may not be changed")
    for name in written.keys() & CLAMPED.keys():
        most = int(getattr(limits, CLAMPED[name]))
        if not (written[name].isdecimal() and 1 <= int(written[name]) <= most):
            raise refused(f"{name} is at most {most}", accepted=f"1 to {most}")


def writer_settings(asked: Mapping[str, str]) -> dict[str, str]:
    """The settings of the writer's statement: it has no limits, but no more names either."""
    kept = allowed_settings.KEPT | allowed_settings.INSERTS | set(CLAMPED)
    if unknown := sorted(set(asked) - kept - allowed_settings.DROPPED):
        raise refused(f"the setting {unknown[0]!r} may not be changed")
    return {name: _short(name, value) for name, value in asked.items() if name in kept}


def _short(name: str, value: str) -> str:
    if len(value) > allowed_settings.VALUE_CHARACTERS_MAX:
        raise refused(f"the value of {name} is too long", accepted="64 characters at most")
    return value
