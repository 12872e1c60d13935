"""Answers on the raw ASGI path: receipts, and RFC 9457 problems."""

from typing import Final, NamedTuple

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from ingest.http_body import Send
from ingest.receipt import Receipt, to_json, to_protobuf
from ingest.status import retry_after_s, status_of
from wire.decode import Encoding
from wire.errors import PermanentError, TransientError

PROBLEM_TYPE: Final = "https://holdfast.dev/problems/"
_PROBLEM: Final = b"application/problem+json"
_TYPES: Final = {Encoding.PROTOBUF: b"application/x-protobuf", Encoding.JSON: b"application/json"}
_RECEIPT_HEADS: Final = {
    encoding: b"%bcontent-type: %b\r\ncontent-length: " % (STATUS_LINE[200], kind)
    for encoding, kind in _TYPES.items()
}
Header = tuple[bytes, bytes]


def problem_of(error: PermanentError | TransientError) -> dict[str, str | int]:
    """The problem document: what is wrong, where, and what is accepted."""
    status = status_of(error)
    return {
        "type": PROBLEM_TYPE + error.code,
        "title": status.title,
        "status": status.http,
        "detail": error.detail,
        "code": error.code,
        "field": error.field if isinstance(error, PermanentError) else "",
        "accepted": error.accepted if isinstance(error, PermanentError) else "",
    }


def problem_headers(error: PermanentError | TransientError) -> list[Header]:
    """What belongs to the status beside the document."""
    status = status_of(error).http
    headers = [(b"cache-control", b"no-store")]
    if (seconds := retry_after_s(error)) is not None:
        headers.append((b"retry-after", str(seconds).encode()))
    if status == 401:  # noqa: PLR2004
        headers.append((b"www-authenticate", b'Bearer realm="holdfast"'))
    elif status == 405:  # noqa: PLR2004
        headers.append((b"allow", b"POST"))
    return headers


class Answer(NamedTuple):
    """A whole answer, head and body."""

    status: int
    headers: list[Header]
    body: bytes


def problem_answer(error: PermanentError | TransientError) -> Answer:
    """A refusal, as a problem document."""
    body = msgspec.json.encode(problem_of(error))
    headers = [*problem_headers(error), *_of_body(_PROBLEM, body)]
    return Answer(status_of(error).http, headers, body)


def problem_bytes(error: PermanentError | TransientError, *, closes: bool = False) -> bytes:
    """The same as HTTP/1.1; `closes`: it is the last answer of its connection."""
    answer = problem_answer(error)
    if closes:
        answer.headers.append((b"connection", b"close"))
    head = b"".join(b"%b: %b\r\n" % header for header in answer.headers)
    return b"%b%b\r\n%b" % (STATUS_LINE[answer.status], head, answer.body)


def receipt_bytes(receipt: Receipt, encoding: Encoding) -> bytes:
    """A receipt in the encoding of the upload, as HTTP/1.1."""
    body = _receipt_body(receipt, encoding)
    return b"%b%d\r\n\r\n%b" % (_RECEIPT_HEADS[encoding], len(body), body)


def _receipt_body(receipt: Receipt, encoding: Encoding) -> bytes:
    return to_protobuf(receipt) if encoding is Encoding.PROTOBUF else to_json(receipt)


def _of_body(content_type: bytes, body: bytes) -> list[Header]:
    return [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]


async def send_problem(
    send: Send, error: PermanentError | TransientError, *, is_body_read: bool
) -> None:
    """Refuse. A connection whose body was not read to its end cannot be used again."""
    answer = problem_answer(error)
    if not is_body_read:
        answer.headers.append((b"connection", b"close"))
    await _send(send, answer)


async def send_receipt(send: Send, receipt: Receipt, encoding: Encoding) -> None:
    """A receipt in the encoding of the upload."""
    body = _receipt_body(receipt, encoding)
    await _send(send, Answer(200, _of_body(_TYPES[encoding], body), body))


async def _send(send: Send, answer: Answer) -> None:
    head = {"status": answer.status, "headers": answer.headers}
    await send({"type": "http.response.start", **head})
    await send({"type": "http.response.body", "body": answer.body})
