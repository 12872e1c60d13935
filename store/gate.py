"""Who may run what: the writer's inserts and migrations, the analyst's single read on `hf`.

Pure: the class of a statement comes from the engine's own classifier, passed in. Three locks, each
useful without the others: the class, a token-level deny list, and ``readonly=1`` with limits on a
connection of its own. ``readonly=1`` alone is not enough: it lets ``INTO OUTFILE``, ``SYSTEM``,
``KILL`` and the scalar function ``file()`` through.
"""

import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

from store.sql_tokens import Token, TokenKind, tokens
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


@dataclass(frozen=True, slots=True)
class StatementClass:
    """The engine's word on a statement: read_only, mutating, control, mutating_global."""

    name: str
    statements: int


SETTINGS_PROBE: Final = "SELECT name, value, readonly FROM system.settings LIMIT 10000"
"""What clickhouse-connect asks on connecting; under readonly=1 the answer would be that nothing can
be set, and the client would refuse every `settings=` by itself. So this one text is answered under
readonly=2."""

_FIRST_WORDS: Final = frozenset(
    {"select", "with", "from", "show", "describe", "desc", "explain", "exists"}
)
_TABLE_FUNCTIONS_ALLOWED: Final = frozenset(
    {"numbers", "numbers_mt", "zeros", "zeros_mt", "generate_series", "generateseries", "values"}
    | {"format", "null", "view", "primes"}
)
_FUNCTIONS_DENIED: Final = frozenset(
    {"file", "sleep", "sleepeachrow", "joinget", "joingetornull", "catboostevaluate", "input"}
    | {"executable", "python", "url", "remote", "remotesecure", "merge", "loop", "s3", "cluster"}
    | {
        "getserverport",
        "getmacro",
        "addresstoline",
        "addresstosymbol",
        "demangle",
        "showcertificate",
    }
)
_WORDS_DENIED: Final = frozenset({"outfile", "processlist", "infile"})
_SYSTEM_TABLES: Final = frozenset(
    {"one", "numbers", "settings", "databases", "tables", "columns", "functions", "formats"}
    | {"table_functions", "data_type_families", "time_zones", "build_options", "contributors"}
    | {"licenses", "completions", "keywords", "table_engines", "collations", "dictionaries"}
    | {"aggregate_function_combinators", "data_skipping_indices"}
)
_STORE: Final = "hf_store"
_DATABASES: Final = frozenset({"hf", "default", "information_schema"})
_ENGINES: Final = re.compile(
    r"(replacing|aggregating|summing|)mergetree|view|memory", re.IGNORECASE
)

_CLAMPED: Final = {
    "max_execution_time": "seconds_max",
    "max_memory_usage": "memory_bytes_max",
    "max_result_rows": "result_rows_max",
    "max_result_bytes": "result_bytes_max",
    "max_threads": "threads_max",
}
_SETTING_ALLOWED: Final = re.compile(
    r"output_format_(?!schema)\w+|format_(csv|tsv|custom)_\w+|date_time_(in|out)put_format"
    r"|cast_string_to_\w+|join_use_nulls|max_block_size|extremes|limit|offset|session_timezone"
    r"|prefer_column_name_to_alias|group_by_use_nulls|union_default_mode|final|timeout_overflow_mode"
    r"|connect_timeout|receive_timeout|send_timeout|max_query_size|readonly"
    r"|allow_experimental_\w+_type|allow_suspicious_\w+|use_client_time_zone|log_comment"
)


def check_analyst(
    sql: str,
    statement: StatementClass,
    *,
    params: Mapping[str, str],
    table_functions: AbstractSet[str],
) -> None:
    """Refuse everything but one read of `hf` and of the catalogue.

    `table_functions` are the engine's, in lower case: those not known as harmless are refused, so a
    new engine cannot bring a new hole.
    """
    if statement.statements != 1 or statement.name != "read_only":
        raise _refused("an analyst may run single read-only statements only")
    words = tokens(sql)
    first = next((t.identifier for t in words if t.text != "("), "")
    if first not in _FIRST_WORDS:
        raise _refused(f"a statement may not begin with {first.upper() or 'that'}")
    _check_names(words)
    check_calls(words, table_functions)
    if any(t.identifier == "identifier" for t in words):
        for value in params.values():
            if re.search(r"hf_store|system|[.`\"]", value, re.IGNORECASE):
                raise _refused("this value may not be used as an identifier")


def _check_names(words: Sequence[Token]) -> None:
    for at, token in enumerate(words):
        name = token.identifier
        if not name:
            continue
        following = words[at + 1].text if at + 1 < len(words) else ""
        if _STORE in name:
            raise _refused("the tables of hf_store are not for analysts; read the views of hf")
        if name in _WORDS_DENIED and token.kind is TokenKind.WORD:
            raise _refused(f"{name.upper()} is refused")
        if name == "system" and following == ".":
            table = words[at + 2].identifier if at + 2 < len(words) else ""
            if table not in _SYSTEM_TABLES:
                raise _refused("this table of system is not for analysts")


def check_calls(words: Sequence[Token], table_functions: AbstractSet[str]) -> None:
    """Refuse functions that reach outside of the store: files, networks, programs."""
    for token, following in pairwise(words):
        name = token.identifier
        if following.text != "(" or name not in table_functions | _FUNCTIONS_DENIED:
            continue
        if name not in _TABLE_FUNCTIONS_ALLOWED:
            raise _refused(f"the function {name} is refused")


def check_writer(sql: str, statement: StatementClass, *, table_functions: AbstractSet[str]) -> None:
    """Refuse what would leave the store unopenable or reach outside of it.

    A failed CREATE TABLE with an engine that needs the world (Kafka, S3, URL) leaves metadata on
    which the folder can no longer be opened.
    """
    if statement.statements != 1:
        raise _refused("one statement at a time")
    words = tokens(sql)
    check_calls(words, table_functions)
    if statement.name == "read_only":
        return
    if statement.name not in ("mutating", "control"):
        raise _refused("the writer may not change users or grants")
    for at, token in enumerate(words):
        if token.kind is TokenKind.WORD and token.identifier == "outfile":
            raise _refused("INTO OUTFILE is refused")
        if token.kind is TokenKind.WORD and token.identifier == "engine":
            rest = [t for t in words[at + 1 : at + 3] if t.text != "="]
            if not rest or not _ENGINES.fullmatch(rest[0].text):
                raise _refused("only engines of the MergeTree family are taken")


def check_database(role: Role, name: str) -> str:
    """The database a request may start in; `hf` if it names none."""
    if role is Role.ANALYST and name and name.lower() not in _DATABASES:
        raise PermanentError("access_denied", f"analysts may not use the database {name!r}")
    if role is Role.ANALYST and name in ("", "default"):
        return "hf"
    return name


def analyst_settings(asked: Mapping[str, str], limits: Limits) -> dict[str, str]:
    """The settings of an analyst's statement: what was asked, within the limits."""
    settings = {name: str(getattr(limits, bound)) for name, bound in _CLAMPED.items()}
    settings |= {"result_overflow_mode": "throw", "timeout_overflow_mode": "throw"}
    for name, value in asked.items():
        if name in _CLAMPED:
            bound = int(settings[name])
            wanted = int(value) if value.isdigit() else 0
            settings[name] = str(min(wanted, bound) if wanted > 0 else bound)
        elif not _SETTING_ALLOWED.fullmatch(name):
            raise _refused(f"the setting {name!r} may not be changed")
        elif name not in ("readonly", "timeout_overflow_mode"):
            settings[name] = value
    return settings


def _refused(why: str) -> PermanentError:
    return PermanentError("statement_refused", why, accepted="SELECT ... FROM hf.<view>")
