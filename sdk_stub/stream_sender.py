"""The gRPC side of a fleet's network: one bidirectional stream per app, each in a thread."""

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import grpc

from sdk_stub.fleet import Outgoing
from sdk_stub.sender import SendCounts
from sdk_stub.transport import retry_info_s
from wire.pb import telemetry_pb2 as pb

_POLL_S: Final = 0.05
_GIVE_UP: Final = frozenset({grpc.StatusCode.INVALID_ARGUMENT})


class AppStream:
    """One app's stream. What was not acknowledged when a stream broke goes into the next one."""

    def __init__(
        self,
        channel: grpc.Channel,
        key: str,
        *,
        sleep: Callable[[float], None],
        send_times: int = 1,
        retry_s: float = 0.2,
    ) -> None:
        self._stream = channel.stream_stream(
            "/holdfast.v1.Telemetry/UploadStream", response_deserializer=pb.Receipt.FromString
        )
        self._metadata = (("authorization", f"Bearer {key}"),)
        self._sleep = sleep
        self._send_times = send_times
        self._retry_s = retry_s
        self._queue: queue.SimpleQueue[tuple[bytes, bytes]] = queue.SimpleQueue()
        self._open: dict[bytes, tuple[bytes, int]] = {}  # batch id -> upload, copies to come
        self._generation = 0
        self._ending = threading.Event()
        self.counts = SendCounts()
        self._thread = threading.Thread(target=self._run, name="fleet-grpc", daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        """Uploads that are not acknowledged yet."""
        return self._queue.qsize() + len(self._open)

    def put(self, upload: Outgoing) -> None:
        """Send this upload, as often as was asked for."""
        self.counts.sent += 1
        self.counts.rows_sent += upload.rows
        self._queue.put((pb.UploadRequest.FromString(upload.body).batch_id, upload.body))

    def stop(self, timeout_s: float = 5.0) -> None:
        """Let the server answer what it has, then end the thread."""
        self._ending.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not (self._ending.is_set() and self.pending == 0):
            self._generation += 1
            call = self._stream(
                self._feed(self._generation),
                metadata=self._metadata,
                compression=grpc.Compression.Gzip,
            )
            try:
                for receipt in call:
                    self._acknowledge(receipt)
            except grpc.RpcError as error:
                if self._ending.is_set():
                    return
                self._broken(error)

    def _feed(self, generation: int) -> Iterator[bytes]:
        for upload, copies in list(self._open.values()):
            yield from [upload] * copies
        while generation == self._generation:
            try:
                batch_id, upload = self._queue.get(timeout=_POLL_S)
            except queue.Empty:
                if self._ending.is_set():
                    return
                continue
            if generation != self._generation:  # a newer stream reads the queue now
                self._queue.put((batch_id, upload))
                return
            self._open[batch_id] = (upload, self._send_times)
            yield from [upload] * self._send_times

    def _acknowledge(self, receipt: pb.Receipt) -> None:
        upload, copies = self._open.pop(receipt.batch_id, (b"", 0))
        if copies > 1:
            self._open[receipt.batch_id] = (upload, copies - 1)
        if copies > 0:
            self.counts.acknowledge(receipt, is_copy=copies < self._send_times)

    def _broken(self, error: grpc.RpcError) -> None:
        code = error.code()
        if code in _GIVE_UP:
            for _ in range(len(self._open)):
                self.counts.refuse(code.value[0])
            self._open.clear()
        self.counts.retries += len(self._open)
        self._sleep(max(self._retry_s, retry_info_s(error)))


class StreamSender:
    """All apps' streams over one channel."""

    def __init__(
        self,
        target: str,
        keys: Mapping[str, str],
        *,
        sleep: Callable[[float], None],
        send_times: int = 1,
    ) -> None:
        self._channel = grpc.insecure_channel(target)
        self._streams = {
            app: AppStream(self._channel, key, sleep=sleep, send_times=send_times)
            for app, key in keys.items()
        }

    @property
    def pending(self) -> int:
        """Uploads that are not acknowledged yet."""
        return sum(s.pending for s in self._streams.values())

    def put(self, upload: Outgoing) -> None:
        """Send this upload on its app's stream."""
        self._streams[upload.app_id].put(upload)

    def counts(self) -> list[SendCounts]:
        """What became of the uploads, per app."""
        return [s.counts for s in self._streams.values()]

    def stop(self) -> None:
        """End the streams and close the channel."""
        for stream in self._streams.values():
            stream.stop()
        self._channel.close()
