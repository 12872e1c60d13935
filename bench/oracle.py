"""An oracle: sends a simulated fleet's uploads, and remembers what was acknowledged.

As an SDK does, it sends an upload again, under the same id, until a receipt comes. What it was
told is durable must be counted once; what it was never told about may be, and is kept apart.
"""

import gzip
import http.client
import itertools
import os
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from google.protobuf.message import DecodeError

from holdfast.clock import now_ms
from sdk_stub.faults import FAULTS, FaultTarget
from sdk_stub.fleet import FleetSettings, Outgoing
from sdk_stub.releases import parse_config
from sdk_stub.simulate import Fleet
from wire.pb import telemetry_pb2 as pb

_OK: Final = 200
_BAD_REQUEST: Final = 400
_SERVER_ERROR: Final = 500
_AGAIN: Final = frozenset({_OK, 408, 425, 429})  # 200 without a receipt is none
_SAID_BYTES: Final = 200
_TICK_S: Final = 0.05
_POLL_S: Final = 0.25
_PAUSE_S: Final = 0.1
_ANSWER_S: Final = 10.0
_WAITING_MAX: Final = 2_000
_NICE: Final = 10

Release = tuple[str, str]
"""Model and version."""


@dataclass(slots=True)
class Account:
    """Events by release. `maybe`: sent at least once, and no receipt came."""

    acknowledged: Counter[Release] = field(default_factory=Counter)
    maybe: Counter[Release] = field(default_factory=Counter)
    uploads: int = 0
    retries: int = 0
    refused: int = 0
    answers: Counter[int] = field(default_factory=Counter)  # by HTTP status
    refusals: Counter[str] = field(default_factory=Counter)  # by what the server said

    def add(self, other: "Account") -> None:
        """Take another fleet's account in."""
        self.acknowledged += other.acknowledged
        self.maybe += other.maybe
        self.uploads += other.uploads
        self.retries += other.retries
        self.refused += other.refused
        self.answers += other.answers
        self.refusals += other.refusals


@dataclass(slots=True)
class Oracle:
    """A fleet with one bad release, on threads of its own."""

    ports: Sequence[int]  # of all doors; whoever is not answered tries the next one
    keys: Mapping[str, str]
    fleet: FleetSettings
    target: FaultTarget
    seed: int
    fault: str = "latency"
    workers: int = 8
    account: Account = field(default_factory=Account)
    _door: Iterator[int] = field(init=False)
    _waiting: queue.Queue[Outgoing] = field(default_factory=queue.Queue)
    _quiet: threading.Event = field(default_factory=threading.Event)
    _over: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _threads: list[threading.Thread] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._door = itertools.cycle(self.ports)

    def start(self) -> None:
        """Let the fleet live."""
        for work in (self._live, *[self._send] * self.workers):
            thread = threading.Thread(target=self._guarded, args=(work,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def quiet(self) -> None:
        """Nothing new from now on; what is under way is still sent."""
        self._quiet.set()

    @property
    def is_done(self) -> bool:
        """Whether all has been acknowledged or refused, and nothing more will be made.

        A fleet that was told to be quiet may still be in the middle of a tick.
        """
        is_living = bool(self._threads) and self._threads[0].is_alive()
        return not is_living and self._waiting.unfinished_tasks == 0

    @property
    def unacknowledged(self) -> int:
        """Uploads that wait or are under way."""
        return self._waiting.unfinished_tasks

    def stop(self) -> Account:
        """End; what is still under way stays a maybe."""
        self._quiet.set()
        self._over.set()
        for thread in self._threads:
            thread.join(2 * _ANSWER_S)
        if self.errors:
            raise self.errors[0]
        return self.account

    def _guarded(self, work: Callable[[], None]) -> None:
        # phones have processors of their own: here they must not starve a server that restarts
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # told by `stop`
            self.errors.append(error)

    def _live(self) -> None:
        fleet = Fleet(
            self.fleet,
            rng=np.random.default_rng(self.seed),
            fault=FAULTS[self.fault],
            target=self.target,
        )
        look_s = 0.0
        while not self._quiet.wait(_TICK_S):
            if time.monotonic() >= look_s:
                self._obey(fleet)
                look_s = time.monotonic() + _POLL_S
            if self._waiting.qsize() < _WAITING_MAX:  # our memory has an end
                for upload in fleet.tick(now_ms()):
                    self._waiting.put(upload)

    def _obey(self, fleet: Fleet) -> None:
        for app_id, key in self.keys.items():
            connection = self._connected()
            try:
                path = f"/v1/releases/{app_id}"
                connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
                answer = connection.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException):
                return  # the server is away; the last config holds
            finally:
                connection.close()
            if answer.status == _OK:
                fleet.obey(parse_config(body), now_ms())

    def _send(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._over.is_set():
            try:
                upload = self._waiting.get(timeout=_PAUSE_S)
            except queue.Empty:
                continue
            connection = self._until_acknowledged(upload, connection)
            self._waiting.task_done()
        if connection is not None:
            connection.close()

    def _until_acknowledged(
        self, upload: Outgoing, connection: http.client.HTTPConnection | None
    ) -> http.client.HTTPConnection | None:
        context = pb.UploadRequest.FromString(upload.body).context
        release = (context.model_id, context.model_version)
        headers = {
            "Authorization": f"Bearer {self.keys[upload.app_id]}",
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "gzip",
        }
        body = gzip.compress(upload.body, 1)
        with self._lock:
            self.account.uploads += 1
            self.account.maybe[release] += upload.rows
        while not self._over.is_set():
            try:
                connection = connection or self._connected()
                connection.request("POST", "/v1/telemetry", body, headers)
                answer = connection.getresponse()
                if self._settle(release, upload.rows, answer.status, answer.read()):
                    return connection
            except (OSError, http.client.HTTPException):
                pass  # it may be durable all the same
            if connection is not None:
                connection.close()
            connection = None
            with self._lock:
                self.account.retries += 1
            self._over.wait(_PAUSE_S)
        return connection

    def _connected(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", next(self._door), timeout=_ANSWER_S)

    def _settle(self, release: Release, rows: int, status: int, body: bytes) -> bool:
        """Whether this upload is over."""
        accepted = 0
        with self._lock:
            self.account.answers[status] += 1
        if status == _OK:
            try:
                accepted = pb.Receipt.FromString(body).accepted_rows
            except DecodeError:
                return False
        elif status in _AGAIN or status >= _SERVER_ERROR or status < _BAD_REQUEST:
            return False
        with self._lock:
            self.account.maybe[release] -= rows
            self.account.acknowledged[release] += accepted
            if status != _OK:
                self.account.refused += 1
                self.account.refusals[body[:_SAID_BYTES].decode(errors="replace")] += 1
        return True
