"""Sending what waits: one upload at a time, oldest first, never sooner than the server asks."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sdk_stub.buffer import UploadQueue
from sdk_stub.ports import Transport
from sdk_stub.retry import Backoff
from wire.errors import PermanentError, TransientError


@dataclass(slots=True)
class Outbox:
    """The queue and its way to the server. Counts are uploads, since the app started."""

    queue: UploadQueue
    transport: Transport
    backoff: Backoff
    now_ms: Callable[[], int]
    rng: np.random.Generator
    acknowledged_count: int = 0
    refused_count: int = 0
    retry_count: int = 0
    _failures: int = 0
    _not_before_ms: int = 0

    def send_due(self) -> int | None:
        """Send until the queue is empty or the server says later.

        Returns
        -------
        int or None
            Milliseconds until the next try makes sense; None if nothing waits.
        """
        while (waiting := self.queue.oldest()) is not None:
            wait_ms = self._not_before_ms - self.now_ms()
            if wait_ms > 0:
                return wait_ms
            name, upload = waiting
            try:
                self.transport.send(upload)
            except TransientError as error:
                self._postpone(error.retry_after_s)
                continue
            except PermanentError:
                self.refused_count += 1
            else:
                self.acknowledged_count += 1
            self._failures = 0
            self.queue.remove(name)
        return None

    def _postpone(self, retry_after_s: int) -> None:
        self._failures += 1
        self.retry_count += 1
        delay_ms = self.backoff.delay_ms(self._failures, retry_after_s=retry_after_s, rng=self.rng)
        self._not_before_ms = self.now_ms() + max(delay_ms, 1)
