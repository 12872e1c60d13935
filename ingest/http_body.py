"""Reading a request on the raw ASGI path: headers, key, body within caps and a deadline.

No header but the four named here is looked at, and none is kept.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ingest.admission import Admission
from ingest.bodies import SMALL_FOLDED_BYTES, BodyLimits, check_wire_size, decompress
from ingest.commit import Sent
from ingest.keys import bearer
from ingest.ports import Keys
from ingest.quota import Quotas
from wire.decode import Encoding
from wire.errors import PermanentError

Scope = MutableMapping[str, Any]  # ASGI is untyped by nature
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_LARGE_BYTES: Final = 64 * 1024
"""A body of less comes whole and is unfolded at once."""
_GLANCE_BYTES: Final = 16 * 1024  # as much as a head may have
_AUTHORIZATION: Final = b"\r\nauthorization:"
SLOT: Final = "holdfast.slot"
"""In a request's scope: where the quota counts its connection's address prefix."""
KEYED: Final = "holdfast.keyed"
"""In a request's scope once its key was found valid."""


class ClientGoneError(Exception):
    """The client hung up before its body was whole. There is nobody to answer."""


_SWEEPS: Final = 8  # per deadline: a read ends at most an eighth of it late
_EXPIRED: Final = -1


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Caps of one request. `body_deadline_s` is absolute, from headers to the last byte; half of
    it is grace for a bad network, and then a body must have come at `body_bytes_s_min` so far.
    """

    body: BodyLimits = field(default_factory=BodyLimits)
    body_deadline_s: float = 15.0
    body_bytes_s_min: float = 500.0


@dataclass(slots=True)
class _Reading:
    """A body that is being read: since which sweep, and how much of it has come."""

    began: int
    size: int = 0


@dataclass(slots=True)
class _Paid:
    """Who pays for a body, and for how many bytes it was paid."""

    app_id: str
    slot: int
    size: int


MEANT: Final = frozenset(
    (b"authorization", b"content-type", b"content-encoding", b"content-length")
)
"""Headers that mean something here; no other is read."""


@dataclass(slots=True)
class Headers:
    """The four headers that mean something here."""

    token: str = ""
    content_type: bytes = b""
    encoding: str = ""
    length: int = 0

    def take(self, name: bytes, value: bytes) -> None:
        """Keep a header if it is one of them; `name` in lower case."""
        if name == b"authorization":
            self.token = bearer(value.decode("latin-1")) or self.token
        elif name == b"content-type":
            self.content_type = value.partition(b";")[0].strip().lower()
        elif name == b"content-encoding":
            self.encoding = value.decode("latin-1").strip().lower()
        elif name == b"content-length":
            self.length = int(value)  # the HTTP parser let only digits through


def read_headers(scope: Scope) -> Headers:
    """Take what is needed of the request's headers (ASGI gives their names in lower case)."""
    found = Headers()
    for name, value in scope["headers"]:
        found.take(name, value)
    return found


def upload_encoding(content_type: bytes) -> Encoding:
    """How the body is written. Raises PermanentError ``content_type_unknown``."""
    if content_type == b"application/x-protobuf":
        return Encoding.PROTOBUF
    if content_type == b"application/json":
        return Encoding.JSON
    raise PermanentError(
        "content_type_unknown",
        "this Content-Type is not read here",
        field="content-type",
        accepted="application/x-protobuf, application/json",
    )


class RequestReader:
    """Requests -> uploads that may be received."""

    def __init__(
        self, keys: Keys, admission: Admission, quotas: Quotas, limits: RequestLimits
    ) -> None:
        self._keys = keys
        self._admission = admission
        self._quotas = quotas
        self._limits = limits
        self._unfolding = asyncio.Semaphore(1)  # one large body unfolds at a time
        self._reading: dict[asyncio.Task[object], _Reading] = {}
        self._sweeps = 0

    async def upload(self, scope: Scope, receive: Receive) -> Sent:
        """The upload of this request; cheap refusals come before the body is read.

        Raises
        ------
        PermanentError
            The key, the headers or the body are refused.
        TransientError
            Too many bytes are being read already, or the quota is used up.
        ClientGoneError
            Nobody waits for an answer.
        """
        if scope["method"] != "POST":
            raise PermanentError("method_not_allowed", "uploads are POSTed", accepted="POST")
        headers, app_id = self._shown(scope)
        encoding = upload_encoding(headers.content_type)
        body = await self._paid_body(scope, receive, headers, app_id, self._limits.body)
        if headers.encoding in ("", "identity"):
            return Sent(encoding, body, app_id)
        if len(body) < SMALL_FOLDED_BYTES:
            return Sent(encoding, decompress(body, headers.encoding, self._limits.body), app_id)
        self._admission.take(len(body))
        try:
            async with self._unfolding:
                unfolded = await asyncio.to_thread(
                    decompress, body, headers.encoding, self._limits.body
                )
        finally:
            self._admission.give_back(len(body))
        return Sent(encoding, unfolded, app_id)

    async def question(self, scope: Scope, receive: Receive, bytes_max: int) -> tuple[str, bytes]:
        """The app and the small plain body of a request that is no upload.

        Raises as `upload` does; PermanentError ``body_too_large`` beyond `bytes_max`.
        """
        headers, app_id = self._shown(scope)
        limits = replace(self._limits.body, wire_bytes_max=bytes_max)
        body = await self._paid_body(scope, receive, headers, app_id, limits)
        check_wire_size(len(body), limits)
        return app_id, body

    def _shown(self, scope: Scope) -> tuple[Headers, str]:
        """The headers, and the app whose valid key is among them."""
        headers = read_headers(scope)
        app_id = self._keys.app_of(headers.token)
        scope[KEYED] = True
        return headers, app_id

    async def _paid_body(
        self, scope: Scope, receive: Receive, headers: Headers, app_id: str, limits: BodyLimits
    ) -> bytes:
        """The body; what it announces is refused, or paid for, before it is read."""
        check_wire_size(headers.length, limits)
        paid = _Paid(app_id, scope[SLOT], headers.length)
        self._quotas.spend(app_id, paid.slot, paid.size)
        return await self._in_time(receive, paid)

    async def keep_deadlines(self) -> None:
        """End reads that take too long, for ever. One sweep for all: a timer each would cost more
        than the rest of a small request.
        """
        sweep_s = self._limits.body_deadline_s / _SWEEPS
        while True:
            await asyncio.sleep(sweep_s)
            self._sweeps += 1
            for task, reading in list(self._reading.items()):
                sweeps = self._sweeps - reading.began
                is_late = sweeps > _SWEEPS
                wanted = self._limits.body_bytes_s_min * sweep_s * sweeps
                is_slow = sweeps > _SWEEPS // 2 and reading.size < wanted
                if reading.began != _EXPIRED and (is_late or is_slow):
                    reading.began = _EXPIRED
                    task.cancel()

    async def _in_time(self, receive: Receive, paid: _Paid) -> bytes:
        task = asyncio.current_task()
        assert task is not None, "a request runs in a task"  # noqa: S101
        reading = self._reading[task] = _Reading(self._sweeps)
        try:
            return await self._body(receive, paid, reading)
        except asyncio.CancelledError as error:
            if reading.began != _EXPIRED:
                raise
            task.uncancel()
            raise PermanentError(
                "body_too_slow",
                "the body did not come in time",
                field="body",
                accepted=f"within {self._limits.body_deadline_s:g} s, "
                f"at {self._limits.body_bytes_s_min:g} bytes/s or more",
            ) from error
        finally:
            del self._reading[task]

    def is_small(self, headers: Headers, body: bytes) -> bool:
        """Whether a whole body is small enough to be unfolded at once."""
        is_folded = headers.encoding not in ("", "identity")
        return len(body) < (SMALL_FOLDED_BYTES if is_folded else _LARGE_BYTES)

    def app_shown(self, data: bytes) -> str | None:
        """The app whose valid key is in the head that begins `data`, by a glance.

        It decides who comes first and nothing else: whoever serves the request judges it.
        """
        head = data[:_GLANCE_BYTES].partition(b"\r\n\r\n")[0]
        at = head.lower().find(_AUTHORIZATION)
        if at < 0:
            return None
        shown = head[at + len(_AUTHORIZATION) :].partition(b"\r")[0]
        try:
            return self._keys.app_of(bearer(shown.decode("latin-1")))
        except PermanentError:
            return None

    def goes_first(self, app_id: str | None, slot: int) -> bool:
        """Whether a key was shown, and what it may ask is not used up. Counts it as asked."""
        return app_id is not None and self._quotas.goes_first(app_id, slot, 1)

    def slot_of(self, address: str) -> int:
        """Where the quota counts this address's prefix."""
        return self._quotas.slot_of(address)

    def whole(self, headers: Headers, body: bytes, slot: int) -> Sent:
        """The upload of a request that has come whole. Raises PermanentError, or TransientError
        if the quota is used up.
        """
        app_id = self._keys.app_of(headers.token)
        encoding = upload_encoding(headers.content_type)
        self._quotas.spend(app_id, slot, len(body))
        return Sent(encoding, decompress(body, headers.encoding, self._limits.body), app_id)

    async def _body(self, receive: Receive, paid: _Paid, reading: _Reading) -> bytes:
        message = await receive()
        if not message.get("more_body", False) and message["type"] == "http.request":
            body: bytes = message["body"]
            check_wire_size(len(body), self._limits.body)
            self._pay_beyond(paid, len(body))
            return body
        pieces: list[bytes] = []
        try:
            while True:
                if message["type"] != "http.request":
                    raise ClientGoneError
                piece = message.get("body", b"")
                self._admission.take_part(len(piece), paid.app_id)
                reading.size += len(piece)
                self._pay_beyond(paid, reading.size)
                pieces.append(piece)
                check_wire_size(reading.size, self._limits.body)
                if not message.get("more_body", False):
                    return b"".join(pieces)
                message = await receive()
        finally:
            self._admission.give_part_back(reading.size, paid.app_id)

    def _pay_beyond(self, paid: _Paid, size: int) -> None:
        """A chunked body announces nothing: it pays as it comes."""
        if size > paid.size:
            self._quotas.spend(paid.app_id, paid.slot, size - paid.size, uploads=0)
            paid.size = size
