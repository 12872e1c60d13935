"""One request's statement, judged and run: an analyst's reads, the writer's rows and schema."""

import re
from collections.abc import Mapping
from typing import Final

from store.embedded import Answer, EmbeddedStore
from store.gate import (
    ANALYST,
    WRITER,
    Limits,
    Reader,
    Role,
    analyst_settings,
    check_database,
    check_format,
    check_within,
    writer_settings,
)
from store.http_format import StatementRequest
from store.sql_tree import refused
from store.templates import check_insert, is_ours

_SETTINGS_PROBE: Final = "SELECT name, value, readonly FROM system.settings LIMIT 10000"
"""What clickhouse-connect asks on connecting; under readonly=1 the answer would be that nothing can
be set, and the client would refuse every `settings=` by itself. So this one text is answered under
readonly=2."""
_WRITER_FIRST: Final = {"date_time_input_format": "best_effort", "session_timezone": "UTC"}


def run(store: EmbeddedStore, role: Role, request: StatementRequest, limits: Limits) -> Answer:
    """Run the statement of `role`; PermanentError ``statement_refused`` if it may not run."""
    database = check_database(role, request.database)
    if role is Role.WRITER:
        return _run_writer(store, request, database)
    if request.insert:
        raise refused("an analyst may not insert")
    settings = analyst_settings(request.settings, limits)  # before anything is parsed
    return _read(store, request, database, reader=ANALYST, settings=settings, limits=limits)


def _run_writer(store: EmbeddedStore, request: StatementRequest, database: str) -> Answer:
    settings = _WRITER_FIRST | writer_settings(request.settings)
    if request.insert:
        return store.insert(
            check_insert(request.insert.head, request.insert.input_format),
            input_format=request.insert.input_format,
            chunks=[request.body] if request.body else [],
            database=database,
            settings=settings,
        )
    if is_ours(request.sql):
        return store.run(
            request.sql,
            output_format="TabSeparated",
            database=database,
            settings=settings,
            params={},
        )
    # Where no database is named a name alone means nothing: in `default` it could be a file.
    return _read(store, request, database or "system", reader=WRITER, settings=settings)


def _read(
    store: EmbeddedStore,
    request: StatementRequest,
    database: str,
    *,
    reader: Reader,
    settings: Mapping[str, str],
    limits: Limits | None = None,
) -> Answer:
    if not all(re.fullmatch(r"\w{1,64}", name, re.ASCII) for name in request.params):
        raise refused("a parameter's name is one plain word", accepted="param_<word>")
    read = store.reads.prepare(request.sql, reader=reader, params=request.params)
    asked = {**request.settings, **read.settings}
    if limits:
        check_within(read.settings, limits)
    chosen = analyst_settings(asked, limits) if limits else {**settings, **writer_settings(asked)}
    chosen["readonly"] = "2" if read.sql == _SETTINGS_PROBE else "1"
    return store.run(
        read.sql,
        output_format=check_format(read.output_format or request.output_format),
        database=database,
        settings=chosen,
        params=request.params,
    )
