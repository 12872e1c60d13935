"""Reading a request on the raw ASGI path: headers, key, body within caps and a deadline.

No header but the four named here is looked at, and none is kept. The client's address is not read.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final

from ingest.admission import Admission
from ingest.bodies import BodyLimits, check_wire_size, decompress
from ingest.commit import Sent
from ingest.ports import Keys
from wire.decode import Encoding
from wire.errors import PermanentError

Scope = MutableMapping[str, Any]  # ASGI is untyped by nature
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_LARGE_BYTES: Final = 64 * 1024
"""Above it a body is admitted by its size while it is read, and unfolded outside the loop."""
_BEARER: Final = b"bearer "


class ClientGoneError(Exception):
    """The client hung up before its body was whole. There is nobody to answer."""


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Caps of one request. `body_deadline_s` is absolute, from headers to the last byte."""

    body: BodyLimits = field(default_factory=BodyLimits)
    body_deadline_s: float = 15.0


@dataclass(slots=True)
class Headers:
    """The four headers that mean something here."""

    token: str = ""
    content_type: bytes = b""
    encoding: str = ""
    length: int = 0


def read_headers(scope: Scope) -> Headers:
    """Take what is needed of the request's headers (ASGI gives their names in lower case)."""
    found = Headers()
    for name, value in scope["headers"]:
        if name == b"authorization":
            if value[: len(_BEARER)].lower() == _BEARER:
                found.token = value[len(_BEARER) :].decode("latin-1").strip()
        elif name == b"content-type":
            found.content_type = value.partition(b";")[0].strip().lower()
        elif name == b"content-encoding":
            found.encoding = value.decode("latin-1").strip().lower()
        elif name == b"content-length":
            found.length = int(value)  # the HTTP parser let only digits through
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

    def __init__(self, keys: Keys, admission: Admission, limits: RequestLimits) -> None:
        self._keys = keys
        self._admission = admission
        self._limits = limits
        self._unfolding = asyncio.Semaphore(1)  # one large body unfolds at a time

    async def upload(self, scope: Scope, receive: Receive) -> Sent:
        """The upload of this request; cheap refusals come before the body is read.

        Raises
        ------
        PermanentError
            The key, the headers or the body are refused.
        TransientError
            Too many bytes are being read already.
        ClientGoneError
            Nobody waits for an answer.
        """
        if scope["method"] != "POST":
            raise PermanentError("method_not_allowed", "uploads are POSTed", accepted="POST")
        headers = read_headers(scope)
        app_id = self._keys.app_of(headers.token)
        encoding = upload_encoding(headers.content_type)
        check_wire_size(headers.length, self._limits.body)
        try:
            async with asyncio.timeout(self._limits.body_deadline_s):
                body = await self._body(receive, headers.length)
        except TimeoutError as error:
            raise PermanentError(
                "body_too_slow",
                "the body did not come in time",
                field="body",
                accepted=f"within {self._limits.body_deadline_s:g} s",
            ) from error
        if headers.encoding in ("", "identity"):
            return Sent(encoding, body, app_id)
        if len(body) < _LARGE_BYTES // 16:
            return Sent(encoding, decompress(body, headers.encoding, self._limits.body), app_id)
        async with self._unfolding:
            unfolded = await asyncio.to_thread(
                decompress, body, headers.encoding, self._limits.body
            )
        return Sent(encoding, unfolded, app_id)

    async def _body(self, receive: Receive, length: int) -> bytes:
        message = await receive()
        if not message.get("more_body", False) and message["type"] == "http.request":
            body: bytes = message["body"]
            check_wire_size(len(body), self._limits.body)
            return body
        held = max(length, _LARGE_BYTES)
        self._admission.take(held)
        try:
            pieces: list[bytes] = []
            size = 0
            while True:
                if message["type"] != "http.request":
                    raise ClientGoneError
                pieces.append(message.get("body", b""))
                size += len(pieces[-1])
                check_wire_size(size, self._limits.body)
                if not message.get("more_body", False):
                    return b"".join(pieces)
                message = await receive()
        finally:
            self._admission.give_back(held)
