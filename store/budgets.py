"""Uvicorn's HTTP protocol with budgets of connections, heads and bodies; no password is needed.

The store listens on loopback, but other programs of the machine are strangers too. One sweep looks
at all connections; one too many makes the one go that waited longest without a request.
"""

import asyncio
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_NEVER: Final = math.inf


@dataclass(frozen=True, slots=True)
class ConnectionBudgets:
    """Times in seconds. A head may carry a statement in its URL."""

    connections_max: int = 256
    head_bytes_max: int = 256 * 1024
    head_s: float = 10.0  # from accept, or from a request's first byte, to the end of its head
    keep_alive_s: float = 75.0
    body_stalled_s: float = 15.0  # between two pieces of a body
    sweep_s: float = 0.5


class StoreProtocol(HttpToolsProtocol):
    """Its states: before or in a head, in a body, owed an answer, between requests."""

    def __init__(self, *, budgets: ConnectionBudgets, **uvicorns: Any) -> None:  # noqa: ANN401  # passed on
        super().__init__(**uvicorns)
        self._budgets = budgets
        self._head_bytes = 0
        self._is_in_body = False
        self.deadline_s = _NEVER
        self.waits_since_s = _NEVER  # for a request; one that is answered never makes room

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401  # uvicorn narrows it
        super().connection_made(transport)
        self.waits_since_s = self.loop.time()
        self.deadline_s = self.waits_since_s + self._budgets.head_s
        if len(self.connections) > self._budgets.connections_max:
            oldest = min(_of(self.connections), key=lambda one: one.waits_since_s)
            oldest.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Count a head's bytes; time a body's pieces."""
        if self._is_in_body:
            self.deadline_s = self.loop.time() + self._budgets.body_stalled_s
        elif self.waits_since_s != _NEVER:
            if not self._head_bytes:
                self.deadline_s = min(self.deadline_s, self.loop.time() + self._budgets.head_s)
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > self._budgets.head_bytes_max:
            self.transport.abort()

    def on_headers_complete(self) -> None:
        self._head_bytes, self._is_in_body = 0, True
        self.waits_since_s = _NEVER
        self.deadline_s = self.loop.time() + self._budgets.body_stalled_s
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_in_body = False
        self.deadline_s = _NEVER  # the statement has a time limit of its own
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not (self.transport.is_closing() or self._is_in_body or self.pipeline):
            self.waits_since_s = self.loop.time()
            self.deadline_s = self.waits_since_s + self._budgets.keep_alive_s


def _of(connections: Iterable[object]) -> list[StoreProtocol]:
    return [one for one in connections if isinstance(one, StoreProtocol)]


async def keep(connections: set[Any], budgets: ConnectionBudgets) -> None:
    """End what has had its time, for ever."""
    while True:
        await asyncio.sleep(budgets.sweep_s)
        now_s = asyncio.get_running_loop().time()
        for one in _of(connections):
            if now_s >= one.deadline_s:
                one.transport.abort()
