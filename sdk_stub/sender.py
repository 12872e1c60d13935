"""Many uploads over a few keep-alive connections: what a simulated fleet's network does."""

import asyncio
import heapq
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import numpy as np
from google.protobuf.message import DecodeError

from sdk_stub.connection import Answer, Connection
from sdk_stub.fleet import Outgoing
from sdk_stub.refusals import is_final, retry_after_s
from sdk_stub.retry import Backoff
from wire.pb import telemetry_pb2 as pb

_GZIP_WINDOW: Final = 16 + 12  # gzip framing, 4 KiB: an upload is no longer, and set-up is cheap
_GZIP_MEMORY: Final = 5
_RECONNECT_S: Final = 0.2
_OK: Final = 200


@dataclass(slots=True)
class SendCounts:
    """What became of the uploads. `rows` and `events` count inferences.

    `sent` uploads were made; each was tried `sent * send_times + retries` times in all.
    `duplicates` were acknowledged copies beyond the first; `refused` were given up (4xx).
    """

    sent: int = 0
    rows_sent: int = 0
    acknowledged: int = 0
    rows_acknowledged: int = 0
    rows_refused: int = 0
    duplicates: int = 0
    refused: int = 0
    retries: int = 0
    refused_statuses: dict[int, int] = field(default_factory=dict)
    retried_statuses: dict[int, int] = field(default_factory=dict)

    def retry(self, status: int) -> None:
        """One try failed and there will be another."""
        self.retries += 1
        self.retried_statuses[status] = self.retried_statuses.get(status, 0) + 1

    def refuse(self, status: int) -> None:
        """One upload was refused for good."""
        self.refused += 1
        self.refused_statuses[status] = self.refused_statuses.get(status, 0) + 1

    def acknowledge(self, receipt: pb.Receipt, *, is_copy: bool) -> None:
        """One upload, or another copy of it, is durable."""
        if is_copy:
            self.duplicates += 1
            return
        self.acknowledged += 1
        self.rows_acknowledged += receipt.received_rows
        self.rows_refused += receipt.received_rows - receipt.accepted_rows


@dataclass(slots=True)
class _Job:
    message: bytes
    copy: int
    failures: int = 0


def gzip_fast(body: bytes) -> bytes:
    """A gzip member of columns: runs and letter frequencies; floats have no repeated words.

    A fifth less time than matching words, and no larger.
    """
    packer = zlib.compressobj(1, zlib.DEFLATED, _GZIP_WINDOW, _GZIP_MEMORY, zlib.Z_RLE)
    return packer.compress(body) + packer.flush()


def read_receipt(answer: Answer) -> pb.Receipt | None:
    """The receipt, if this answer is one."""
    if answer.status != _OK:
        return None
    try:
        return pb.Receipt.FromString(answer.body)
    except DecodeError:
        return None


class Sender:
    """Sends over `connections` sockets at once; must be used inside a running event loop."""

    def __init__(
        self,
        base_url: str,
        keys: Mapping[str, str],
        *,
        now_ms: Callable[[], int],
        rng: np.random.Generator,
        connections: int = 32,
        send_times: int = 1,
        backoff: Backoff | None = None,
        gzip: bool = True,
    ) -> None:
        url = urlsplit(base_url)
        self._host, self._port = url.hostname or "", url.port or 80
        self._heads = {
            app: (
                f"POST /v1/telemetry HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n"
                f"Authorization: Bearer {key}\r\nContent-Type: application/x-protobuf\r\n"
                f"{'Content-Encoding: gzip' if gzip else 'Accept: application/x-protobuf'}\r\n"
                "Content-Length: "
            ).encode()
            for app, key in keys.items()
        }
        self._gzip = gzip
        self._now_ms = now_ms
        self._rng = rng
        self._send_times = send_times
        self._backoff = backoff or Backoff(base_ms=200, cap_ms=5_000)
        self._waiting: deque[_Job] = deque()
        self._later: list[tuple[int, int, _Job]] = []
        self._later_number = 0
        self._idle: list[Connection] = []
        self._open_ones: set[Connection] = set()
        self._busy_count = 0
        self._connections = connections
        self._workers: list[asyncio.Task[None]] = []
        self._stopping = False
        self.counts = SendCounts()

    @property
    def pending(self) -> int:
        """Uploads that are not acknowledged yet."""
        return len(self._waiting) + len(self._later) + self._busy_count

    def put(self, upload: Outgoing) -> None:
        """Send this upload, `send_times` times."""
        self.counts.sent += 1
        self.counts.rows_sent += upload.rows
        body = gzip_fast(upload.body) if self._gzip else upload.body
        message = b"%b%d\r\n\r\n%b" % (self._heads[upload.app_id], len(body), body)
        for copy in range(self._send_times):
            self._waiting.append(_Job(message, copy))

    def pump(self) -> None:
        """Give waiting uploads to idle connections."""
        now_ms = self._now_ms()
        while self._later and self._later[0][0] <= now_ms:
            self._waiting.append(heapq.heappop(self._later)[2])
        while self._waiting and self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                self._start(connection, self._waiting.popleft())
            else:
                self._open_ones.discard(connection)
                self._reopen()

    def _start(self, connection: Connection, job: _Job) -> None:
        self._busy_count += 1

        def answered(answer: Answer) -> None:
            self._busy_count -= 1
            self._settle(job, answer)
            if not connection.is_open:
                self._open_ones.discard(connection)
                self._reopen()
            elif self._waiting:
                self._start(connection, self._waiting.popleft())
            else:
                self._idle.append(connection)

        connection.request(job.message, answered)

    def _settle(self, job: _Job, answer: Answer) -> None:
        receipt = read_receipt(answer)
        if receipt is not None:
            self.counts.acknowledge(receipt, is_copy=job.copy > 0)
            return
        asked = answer.header(b"retry-after") if answer.head else ""
        if is_final(answer.status, asked):
            self.counts.refuse(answer.status)
            return
        job.failures += 1  # 200 without a receipt, too
        self.counts.retry(answer.status)
        delay_ms = self._backoff.delay_ms(
            job.failures, retry_after_s=retry_after_s(asked), rng=self._rng
        )
        self._later_number += 1
        heapq.heappush(self._later, (self._now_ms() + delay_ms, self._later_number, job))

    def _reopen(self) -> None:
        if not self._stopping:
            self._workers = [w for w in self._workers if not w.done()]
            self._workers.append(asyncio.ensure_future(self._open()))

    async def _open(self) -> None:
        """Open one connection, however long the server is away."""
        loop = asyncio.get_running_loop()
        while not self._stopping:
            try:
                _, connection = await loop.create_connection(Connection, self._host, self._port)
            except OSError:
                await asyncio.sleep(_RECONNECT_S)
            else:
                self._open_ones.add(connection)
                self._idle.append(connection)
                return

    def start(self) -> None:
        """Open the connections in the background."""
        for _ in range(self._connections):
            self._reopen()

    async def stop(self) -> None:
        """Close everything; what is pending stays unsent."""
        self._stopping = True
        for connection in list(self._open_ones):
            connection.close()
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        await asyncio.sleep(0)
