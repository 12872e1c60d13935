"""The ClickHouse HTTP interface as values: requests in, header lines and error bodies out."""

import base64
import binascii
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.parser import BytesParser
from email.policy import HTTP
from typing import Final
from urllib.parse import parse_qsl

import lz4.frame
import zstandard

from wire.errors import PermanentError

# Fields of the HTTP interface that are no settings of the statement: read here, or ignored.
TRANSPORT: Final = frozenset(
    {"query", "database", "user", "password", "session_id", "session_timeout", "session_check"}
    | {"query_id", "quota_key", "compress", "decompress", "wait_end_of_query", "buffer_size"}
    | {
        "client_protocol_version",
        "role",
        "enable_http_compression",
        "default_format",
        "close_session",
    }
    | {"http_zlib_compression_level", "send_progress_in_http_headers", "add_http_cors_header"}
    | {"http_headers_progress_interval_ms", "cancel_http_readonly_queries_on_client_close"}
    | {"http_wait_end_of_query", "stacktrace", "http_make_head_request"}
)
_INSERT: Final = re.compile(
    rb"\s*INSERT\s+INTO\s+(?P<target>[^'\n]*?)\s+FORMAT\s+(?P<format>[A-Za-z0-9]+)"
    rb"[ \t\r]*(?:\n|;|$)",
    re.IGNORECASE,
)
_INSERT_HEAD_BYTES_MAX: Final = 65_536
_FORMAT_CLAUSE: Final = re.compile(r"\bFORMAT\s+([A-Za-z0-9]+)\s*$", re.IGNORECASE)
_CHUNK_BYTES: Final = 1 << 20
_CONTENT_TYPES: Final = {
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
}
# ClickHouse's own mapping of its codes to HTTP, the part a reader can meet.
_STATUS: Final = {
    516: 403, 497: 403, 164: 403, 36: 400, 62: 400, 60: 404, 81: 404, 46: 404, 47: 404,
    202: 503, 159: 408, 160: 408, 396: 413, 307: 413, 158: 413, 43: 400, 42: 400, 27: 400, 16: 400,
    117: 400, 115: 404, 6: 400, 53: 400, 386: 400, 215: 400, 44: 400, 48: 501, 33: 400, 73: 404,
    456: 400, 457: 400, 116: 400, 452: 400, 20: 400, 184: 400, 179: 400,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Insert:
    """An INSERT that carries its rows: the statement without FORMAT, and the format."""

    head: str
    input_format: str


@dataclass(frozen=True, slots=True)
class StatementRequest:
    """One request, decoded but not judged."""

    sql: str
    insert: Insert | None
    body: bytes
    output_format: str
    database: str
    query_id: str
    settings: Mapping[str, str]
    params: Mapping[str, str]


def credentials(query: Mapping[str, str], headers: Mapping[str, str]) -> tuple[str, str]:
    """User and password, from Basic authentication, ClickHouse's headers, or the URL."""
    authorization = headers.get("authorization", "")
    if authorization.startswith("Basic "):
        try:
            text = base64.b64decode(authorization[6:], validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        user, _, password = text.partition(":")
        return user, password
    user = headers.get("x-clickhouse-user") or query.get("user", "")
    return user, headers.get("x-clickhouse-key") or query.get("password", "")


def url_fields(query_string: bytes) -> dict[str, str]:
    """The fields of the URL; of a repeated one the last."""
    return dict(parse_qsl(query_string.decode("ascii", "replace"), keep_blank_values=True))


def read_request(
    query: Mapping[str, str], headers: Mapping[str, str], body: bytes
) -> StatementRequest:
    """The statement of a request whose body is already inflated."""
    fields = dict(query)
    if headers.get("content-type", "").startswith("multipart/form-data"):
        fields |= _form_fields(headers["content-type"], body)
        body = b""
    if fields.get("decompress") == "1":
        raise PermanentError(
            "native_framing_unsupported",
            "decompress=1 is not spoken here",
            accepted="Content-Encoding: gzip, lz4 or zstd",
        )
    sql, insert, rows_at = _statement(fields.get("query", ""), body)
    named = _FORMAT_CLAUSE.search(sql)
    return StatementRequest(
        sql=sql,
        insert=insert,
        body=body[rows_at:] if insert else b"",
        output_format=named.group(1)
        if named
        else fields.get("default_format") or headers.get("x-clickhouse-format") or "TabSeparated",
        database=fields.get("database") or headers.get("x-clickhouse-database", ""),
        query_id=fields.get("query_id", ""),
        settings={
            name: value
            for name, value in fields.items()
            if name not in TRANSPORT and not name.startswith("param_")
        },
        params={n[6:]: value for n, value in fields.items() if n.startswith("param_")},
    )


def _statement(named: str, body: bytes) -> tuple[str, Insert | None, int]:
    text = named.encode() if named.strip() else body
    match = _INSERT.match(text, 0, _INSERT_HEAD_BYTES_MAX)
    try:
        if match:
            head = "INSERT INTO " + match.group("target").decode()
            insert = Insert(head, match.group("format").decode())
            return head, insert, 0 if named.strip() else match.end()
        sql = "\n".join(part for part in (named, body.decode()) if part)
    except UnicodeDecodeError as error:
        raise PermanentError("statement_not_utf8", "a statement must be UTF-8") from error
    return sql.strip().rstrip(";").rstrip(), None, 0


def _form_fields(content_type: str, body: bytes) -> dict[str, str]:
    head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1", "replace")
    message = BytesParser(policy=HTTP).parsebytes(head + body)
    fields = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        payload = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(payload, bytes):
            fields[name] = payload.decode("utf-8", "replace")
    return fields


def inflated(body: bytes, encoding: str, *, bytes_max: int) -> bytes:
    """The body without its Content-Encoding; refused as soon as it grows past `bytes_max`."""
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate", "lz4", "zstd"):
        raise PermanentError(
            "unknown_encoding", f"unknown Content-Encoding {encoding!r}", accepted="gzip, lz4, zstd"
        )
    try:
        whole = bytearray()
        for chunk in _inflate(body, encoding):
            whole += chunk
            if len(whole) > bytes_max:
                raise PermanentError("body_too_large", f"more than {bytes_max} bytes when inflated")
    except (zlib.error, RuntimeError, zstandard.ZstdError, EOFError) as error:
        raise PermanentError("body_corrupt", f"the body is no valid {encoding}") from error
    return bytes(whole)


def _inflate(body: bytes, encoding: str) -> Iterator[bytes]:
    if encoding == "zstd":
        yield from zstandard.ZstdDecompressor().read_to_iter(body, write_size=_CHUNK_BYTES)
    elif encoding == "lz4":
        frame = lz4.frame.LZ4FrameDecompressor()
        yield frame.decompress(body, max_length=_CHUNK_BYTES)
        while not frame.eof:
            chunk = frame.decompress(b"", max_length=_CHUNK_BYTES)
            if not chunk and frame.needs_input:
                raise EOFError
            yield chunk
    else:
        stream = zlib.decompressobj(31 if encoding == "gzip" else 15)
        yield stream.decompress(body, _CHUNK_BYTES)
        while stream.unconsumed_tail:
            yield stream.decompress(stream.unconsumed_tail, _CHUNK_BYTES)
        if not stream.eof:
            raise EOFError


def deflated(body: bytes, accepted: str) -> tuple[bytes, str]:
    """The body in the best encoding that the client takes, and its name ('' if none)."""
    offers = {part.partition(";")[0].strip() for part in accepted.split(",")}
    if "lz4" in offers:
        return lz4.frame.compress(body), "lz4"
    if "zstd" in offers:
        return zstandard.ZstdCompressor(level=1).compress(body), "zstd"
    if "gzip" in offers:
        return zlib.compress(body, 1, 31), "gzip"
    return body, ""


def content_type(output_format: str) -> str:
    """The MIME type that ClickHouse gives a format."""
    return _CONTENT_TYPES.get(output_format, "application/octet-stream")


def status_of(code: int) -> int:
    """HTTP status of a ClickHouse error code; 500 where ClickHouse says 500."""
    return _STATUS.get(code, 500)


def error_body(code: int, name: str, detail: str) -> str:
    """An error as ClickHouse writes it, which clients parse."""
    return f"Code: {code}. DB::Exception: {detail}. ({name})\n"
