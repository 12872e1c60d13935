"""The ClickHouse HTTP interface as a raw ASGI application.

Statements block, so they run on two bounded pools of threads: one of the writer, one of the
analysts. A hundred slow analysts queue behind each other, and the next gets 503 with Retry-After;
an insert never waits behind them. The access log holds role, class, status and time: no address,
no statement, no parameter.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Final

from store import http_format, native_hello, statements
from store.embedded import Answer, EmbeddedStore, StatementError
from store.gate import Limits, Role
from store.native_blocks import framed
from wire.errors import PermanentError, TransientError

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

Run = Callable[[EmbeddedStore, Role, http_format.StatementRequest, Limits], Answer]
"""Judges a request and runs it."""

_LOG: Final = logging.getLogger("holdfast.store")
_STATUS_OF: Final = {
    "statement_refused": (403, 164, "READONLY"),
    "access_denied": (403, 497, "ACCESS_DENIED"),
    "statement_unreadable": (400, 62, "SYNTAX_ERROR"),
    "unknown_setting": (404, 115, "UNKNOWN_SETTING"),
    "body_too_large": (413, 396, "TOO_MANY_ROWS_OR_BYTES"),
    "body_corrupt": (400, 432, "UNKNOWN_CODEC"),
    "unknown_encoding": (415, 432, "UNKNOWN_CODEC"),
}


@dataclass(frozen=True, slots=True)
class Credential:
    """One user and the SHA-256 of a long random password."""

    role: Role
    user: str
    password_sha256: str


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Bounds on what all requests together may take."""

    analyst: Limits = field(default_factory=Limits)
    body_bytes_max: int = 128_000_000
    inflated_bytes_max: int = 512_000_000
    analyst_body_bytes_max: int = 1_000_000
    analyst_threads: int = 4
    analyst_waiting_max: int = 32
    writer_threads: int = 4
    writer_waiting_max: int = 32


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Lane:
    """One role's threads, how many statements may run or wait on them, and which do."""

    pool: ThreadPoolExecutor
    places: int
    taken: set[Future[_Reply]] = field(default_factory=set)


class HttpApp:
    """ASGI callable; `close` once the server has stopped."""

    def __init__(
        self,
        store: EmbeddedStore,
        credentials: list[Credential],
        limits: ServerLimits,
        run: Run = statements.run,
    ) -> None:
        self._store = store
        self._run_statement = run
        self._began: dict[int, float] = {}  # an analyst's thread -> when its statement began
        self._credentials = credentials
        self._limits = limits
        self._lanes = {
            Role.ANALYST: _Lane(
                ThreadPoolExecutor(limits.analyst_threads, "analyst"), limits.analyst_waiting_max
            ),
            Role.WRITER: _Lane(
                ThreadPoolExecutor(limits.writer_threads, "writer"), limits.writer_waiting_max
            ),
        }

    @property
    def running(self) -> int:
        """Statements that run or wait."""
        return sum(len(lane.taken) for lane in self._lanes.values())

    def overrun_s(self) -> float:
        """By how much the oldest of the analysts' statements is over its time; below 0 if none."""
        began = list(self._began.values())
        now = time.monotonic()
        return now - min(began) - self._limits.analyst.seconds_max if began else -1.0

    def close(self) -> None:
        """Take no statement any more; what runs goes on until its end."""
        for lane in self._lanes.values():
            lane.pool.shutdown(wait=False, cancel_futures=True)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        began = time.perf_counter()
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        query = http_format.url_fields(scope["query_string"])
        query_id = query.get("query_id") or str(uuid.uuid4())
        role = None
        try:
            if scope["path"] in ("/ping", "/replicas_status") or (
                scope["path"] == "/" and scope["method"] in ("GET", "HEAD") and "query" not in query
            ):
                reply = _Reply(200, b"Ok.\n", {"Content-Type": "text/html; charset=UTF-8"})
            elif scope["path"] not in ("/", "/query"):
                reply = _Reply(404, b"There is no handle " + scope["path"].encode() + b"\n")
            else:
                role = self._role(*http_format.credentials(query, headers))
                reply = await self._answer(role, query, headers, receive)
        except (PermanentError, TransientError, StatementError) as error:
            reply = _error_reply(error, self._store.version)
        if role is not None:
            _LOG.info(
                "statement_answered role=%s status=%d bytes=%d ms=%.1f",
                role, reply.status, len(reply.body), (time.perf_counter() - began) * 1e3,
            )  # fmt: skip
        if role is None:  # no password, no second question on this connection
            reply.headers["Connection"] = "close"
        await _send(send, reply, query_id)

    def _role(self, user: str, password: str) -> Role:
        digest = hashlib.sha256(password.encode()).hexdigest()
        role = None
        for known in self._credentials:  # all of them, so that time says nothing
            same_user = hmac.compare_digest(known.user.encode(), user.encode())
            same_password = hmac.compare_digest(known.password_sha256, digest)
            if same_user and same_password:
                role = known.role
        if role is None:
            raise StatementError(
                http_format.error_body(
                    516, "AUTHENTICATION_FAILED", "Authentication failed: wrong user or password"
                )
            )
        return role

    async def _answer(
        self, role: Role, query: dict[str, str], headers: dict[str, str], receive: Receive
    ) -> _Reply:
        is_writer = role is Role.WRITER
        limits = self._limits
        body = await _body(
            receive, limits.body_bytes_max if is_writer else limits.analyst_body_bytes_max
        )
        lane = self._lanes[role]
        if len(lane.taken) >= lane.places:
            raise TransientError("store_busy", "too many statements at once")
        future = lane.pool.submit(self._run, role, query, headers, body)
        # the thread goes on when the client leaves, so the place is free only when it is done
        lane.taken.add(future)
        future.add_done_callback(lane.taken.discard)
        return await asyncio.wrap_future(future)

    def _run(
        self, role: Role, query: dict[str, str], headers: dict[str, str], body: bytes
    ) -> _Reply:
        """On a thread of the role's pool: inflate, judge, run, deflate."""
        is_writer = role is Role.WRITER
        bytes_max = (
            self._limits.inflated_bytes_max if is_writer else self._limits.analyst_body_bytes_max
        )
        body = http_format.inflated(body, headers.get("content-encoding", ""), bytes_max=bytes_max)
        request = http_format.read_request(query, headers, body)
        if "client_protocol_version" in query and request.sql == native_hello.QUESTION:
            answer = Answer(native_hello.hello(self._store.version), 1, output_format="Native")
        else:
            answer = self._timed(role, request)
        if query.get("compress") == "1":
            answer = replace(answer, body=framed(answer.body))
        return _answer_reply(
            answer,
            headers.get("accept-encoding", "")
            if query.get("enable_http_compression") == "1"
            else "",
        )

    def _timed(self, role: Role, request: http_format.StatementRequest) -> Answer:
        """Run it, and let `overrun_s` see how long an analyst's statement has been running."""
        thread = threading.get_ident()
        if role is Role.ANALYST:
            self._began[thread] = time.monotonic()
        try:
            return self._run_statement(self._store, role, request, self._limits.analyst)
        finally:
            self._began.pop(thread, None)


async def _body(receive: Receive, bytes_max: int) -> bytes:
    whole = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise TransientError("client_left", "the client left before its request was whole")
        whole += message.get("body", b"")
        if len(whole) > bytes_max:
            raise PermanentError("body_too_large", f"more than {bytes_max} bytes")
        if not message.get("more_body"):
            return bytes(whole)


def _answer_reply(answer: Answer, accepted: str) -> _Reply:
    headers = {
        "Content-Type": http_format.content_type(answer.output_format),
        "X-ClickHouse-Timezone": "UTC",
        "X-ClickHouse-Summary": json.dumps(
            {
                "read_rows": str(answer.rows_read),
                "read_bytes": str(answer.bytes_read),
                "written_rows": str(answer.rows_written),
                "result_rows": str(answer.rows),
                "elapsed_ns": str(int(answer.seconds * 1e9)),
            }
        ),
    }
    body = answer.body
    if body:
        headers["X-ClickHouse-Format"] = answer.output_format
        if accepted:
            body, encoding = http_format.deflated(body, accepted)
            headers |= {"Content-Encoding": encoding} if encoding else {}
    return _Reply(200, body, headers)


def _error_reply(error: PermanentError | TransientError | StatementError, version: str) -> _Reply:
    headers = {"Content-Type": "text/plain; charset=UTF-8"}
    if isinstance(error, StatementError):
        text = str(error).rstrip()
        if "(version " not in text:
            text = f"{text} (version {version})"
        headers["X-ClickHouse-Exception-Code"] = str(error.code)
        return _Reply(http_format.status_of(error.code), f"{text}\n".encode(), headers)
    if isinstance(error, TransientError):
        body = http_format.error_body(202, "TOO_MANY_SIMULTANEOUS_QUERIES", error.detail)
        headers |= {"Retry-After": str(error.retry_after_s), "X-ClickHouse-Exception-Code": "202"}
        return _Reply(503, body.encode(), headers)
    status, code, name = _STATUS_OF.get(error.code, (400, 36, "BAD_ARGUMENTS"))
    detail = f"{error.detail}; accepted: {error.accepted}" if error.accepted else error.detail
    headers["X-ClickHouse-Exception-Code"] = str(code)
    return _Reply(status, http_format.error_body(code, name, detail).encode(), headers)


async def _send(send: Send, reply: _Reply, query_id: str) -> None:
    headers = {
        **reply.headers,
        "X-ClickHouse-Query-Id": query_id,
        "X-ClickHouse-Server-Display-Name": "holdfast",
        "Content-Length": str(len(reply.body)),
    }
    lines = [(n.lower().encode(), v.encode("latin-1", "replace")) for n, v in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": lines})
    await send({"type": "http.response.body", "body": reply.body})
