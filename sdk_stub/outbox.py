"""Sending what waits: one upload at a time, never sooner than the server asks.

An upload that cannot be taken now waits by itself; what the server says about everybody lets all
wait. Those that failed least go first, then the oldest: no upload stands in the way of others.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from google.protobuf.message import DecodeError

from sdk_stub.buffer import UploadQueue
from sdk_stub.ports import Transport
from sdk_stub.retry import Backoff
from wire.errors import PermanentError, TransientError
from wire.pb import telemetry_pb2 as pb

WAITS_ALONE: Final = "upload_waits"
"""Code of a TransientError that is about this upload and says nothing of its neighbours."""
_ID_BYTES: Final = 16


@dataclass(slots=True)
class _Wait:
    failures: int = 0
    not_before_ms: int = 0


@dataclass(slots=True)
class Outbox:
    """The queue and its way to the server. Counts are uploads, since the app started.

    `steady_ms` never goes back and knows nothing of the wall clock. `id_for` gives an id to an
    upload of the queue that has none yet, always the same; `settled` hears that it left the queue.
    """

    queue: UploadQueue
    transport: Transport
    backoff: Backoff
    steady_ms: Callable[[], int]
    rng: np.random.Generator
    id_for: Callable[[str], bytes | None] = lambda _: None
    settled: Callable[[str], None] = lambda _: None
    acknowledged_count: int = 0
    refused_count: int = 0
    retry_count: int = 0
    _all: _Wait = field(default_factory=_Wait)
    _waits: dict[str, _Wait] = field(default_factory=dict)

    def send_due(self) -> int | None:
        """Send until the queue is empty or everything that is left has to wait.

        Returns
        -------
        int or None
            Milliseconds until the next try makes sense; None if nothing waits.
        """
        while names := self.queue.names():
            self._waits = {name: self._waits.get(name, _Wait()) for name in names}
            now_ms = self.steady_ms()
            due_ms = min(wait.not_before_ms for wait in self._waits.values())
            wait_ms = max(self._all.not_before_ms, due_ms) - now_ms
            if wait_ms > 0:
                return wait_ms
            ready = [name for name in names if self._waits[name].not_before_ms <= now_ms]
            self._send(min(ready, key=lambda name: self._waits[name].failures))
        return None

    def _send(self, name: str) -> None:
        upload = self.queue.read(name)
        if upload is None:
            return
        batch_id = _batch_id(upload)
        if batch_id is None:
            self.queue.put_aside(name)
            return
        if not batch_id:
            batch_id = self.id_for(name)
            if batch_id is None:
                self._postpone(self._waits[name], 0)
                return
            upload = _with_id(upload, batch_id)
        try:
            _check_receipt(self.transport.send(upload), batch_id)
        except TransientError as error:
            self._postpone(self._waits[name], error.retry_after_s)
            if error.code != WAITS_ALONE:
                self._postpone(self._all, error.retry_after_s)
            self.retry_count += 1
            return
        except PermanentError:
            self.refused_count += 1
        else:
            self.acknowledged_count += 1
        self._all = _Wait()
        self.queue.remove(name)
        self.settled(name)

    def _postpone(self, wait: _Wait, retry_after_s: int) -> None:
        wait.failures += 1
        delay_ms = self.backoff.delay_ms(wait.failures, retry_after_s=retry_after_s, rng=self.rng)
        wait.not_before_ms = self.steady_ms() + max(delay_ms, 1)


def _check_receipt(receipt: pb.Receipt, batch_id: bytes) -> None:
    if receipt.batch_id != batch_id:  # a captive portal says 200 to everything
        raise TransientError("receipt_foreign", "not of this upload", retry_after_s=0)


def _batch_id(upload: bytes) -> bytes | None:
    """Its id, empty if it has none yet; None if these bytes are no upload."""
    try:
        batch_id = pb.UploadRequest.FromString(upload).batch_id
    except DecodeError:
        return None
    return batch_id if len(batch_id) in {0, _ID_BYTES} and upload else None


def _with_id(upload: bytes, batch_id: bytes) -> bytes:
    message = pb.UploadRequest.FromString(upload)
    message.batch_id = batch_id
    return message.SerializeToString()
