"""The road into the store: ClickHouse over HTTP, with explicit timeouts, compression and retries.

The same for the endpoint of this project and for a ClickHouse server. What may pass by itself (the
store restarts, is busy, drops a connection) is a TransientError; what the store refuses for good is
a PermanentError. The statements here are reads and idempotent writes, so all may be sent again.
"""

import gc
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import clickhouse_connect
import pyarrow as pa
import urllib3
from clickhouse_connect.driver.exceptions import ClickHouseError

from store.cluster import INSERT_SETTINGS
from wire.errors import PermanentError, TransientError

_T = TypeVar("_T")

# ClickHouse's numbers for what passes: timeouts, too many queries, memory, network, shutdown.
_TRANSIENT_CODES: Final = frozenset(
    {159, 202, 203, 209, 210, 241, 242, 243, 252, 319, 394, 425, 473}
)


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where the store is and how long to wait for it."""

    host: str = "127.0.0.1"
    port: int = 8123
    user: str = "holdfast"
    password: str = ""
    database: str = ""
    secure: bool = False
    connect_timeout_s: int = 5
    answer_timeout_s: int = 60
    retry_total_s: float = 15.0
    compression: str = "lz4"  # of answers
    insert_compression: str = "lz4"  # of Arrow buffers: lz4, zstd, or "" for none
    cluster: str = ""  # name of the cluster whose Distributed tables are written; "": one server

    def __repr__(self) -> str:
        """Without the password."""
        return f"StoreSettings({self.user}@{self.host}:{self.port})"


@dataclass(frozen=True, slots=True)
class Table:
    """A query's answer: names and rows."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[object]]


class Client:
    """One connection pool. Methods may be called from any thread."""

    def __init__(
        self,
        settings: StoreSettings,
        *,
        sleep: Callable[[float], None] = time.sleep,
        on_retry: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._on_retry = on_retry
        self._sleep = sleep
        self._client = self._retried(self._open)

    def command(self, sql: str) -> None:
        """Run a statement that gives no rows; it must be safe to run twice."""
        self._retried(lambda: self._client.command(sql))

    def rows(
        self, sql: str, parameters: Mapping[str, object] | None = None
    ) -> Sequence[Sequence[object]]:
        """Run a query; its rows."""
        return self.table(sql, parameters).rows

    def table(self, sql: str, parameters: Mapping[str, object] | None = None) -> Table:
        """Run a query; `parameters` fill placeholders like ``{name:String}``."""
        result = self._retried(
            lambda: self._client.query(sql, parameters=dict(parameters) if parameters else None)
        )
        return Table(tuple(result.column_names), result.result_rows)

    def insert_arrow(self, table: str, rows: pa.Table) -> None:
        """Insert all rows or none; answered when they are durable.

        The client library's own insert_arrow would import pandas, 60 MB and a second.
        """
        names = [str(name) for name in rows.column_names]
        body = _arrow_stream(rows, self._settings.insert_compression)
        settings = INSERT_SETTINGS if self._settings.cluster else None
        self._retried(
            lambda: self._client.raw_insert(
                table, names, body, settings=settings, fmt="ArrowStream"
            )
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _open(self):  # type: ignore[no-untyped-def]  # noqa: ANN202  # clickhouse_connect's own type
        s = self._settings
        return clickhouse_connect.get_client(
            host=s.host,
            port=s.port,
            username=s.user,
            password=s.password,
            database=s.database or "__default__",
            secure=s.secure,
            connect_timeout=s.connect_timeout_s,
            send_receive_timeout=s.answer_timeout_s,
            compress=s.compression,
            query_retries=0,
            autogenerate_session_id=False,
            pool_mgr=urllib3.PoolManager(maxsize=8, retries=False),
        )

    def _retried(self, attempt: Callable[[], _T]) -> _T:
        pause_s, waited_s = 0.05, 0.0
        while True:
            try:
                return attempt()
            except (ClickHouseError, urllib3.exceptions.HTTPError, OSError) as error:
                # Errors of urllib3 refer to themselves through their frames, and those have the
                # insert: what the tries before this one left must not wait for a seldom look.
                gc.collect()
                known = _as_known(error)
                if isinstance(known, PermanentError) or waited_s >= self._settings.retry_total_s:
                    raise known from error
            self._on_retry()
            self._sleep(pause_s)
            waited_s += pause_s
            pause_s = min(pause_s * 2, 2.0)


def connect(settings: StoreSettings, *, on_retry: Callable[[], None] = lambda: None) -> Client:
    """A client of a store that answers, else TransientError ``store_unreachable``.

    `on_retry` is called whenever the store was busy, slow or away, and is asked again.
    """
    return Client(settings, on_retry=on_retry)


def _as_known(error: Exception) -> PermanentError | TransientError:
    text = str(error)
    match = re.search(r"[Cc]ode:? (\d+)", text)
    code = int(match.group(1)) if match else 0
    if not code:
        return TransientError("store_unreachable", _short(text))
    if code in _TRANSIENT_CODES:
        return TransientError("store_busy", _short(text))
    if code == 516:  # noqa: PLR2004  # AUTHENTICATION_FAILED
        return PermanentError("store_credential_refused", "the store refused user or password")
    return PermanentError("store_refused", _short(text))


def _arrow_stream(rows: pa.Table, compression: str) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression or None)
    with pa.ipc.new_stream(sink, rows.schema, options=options) as stream:
        stream.write_table(rows)
    return bytes(sink.getvalue())


def _short(text: str) -> str:
    return text.split(" (for url", maxsplit=1)[0][:1000]
