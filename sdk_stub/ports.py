"""What the client needs of the world."""

from typing import Protocol

from wire.pb import telemetry_pb2 as pb


class Transport(Protocol):
    """Carries one serialised `UploadRequest` to the server."""

    def send(self, upload: bytes) -> pb.Receipt:
        """The receipt: the rows are durable.

        Raises PermanentError if the same bytes will always be refused, TransientError with the
        server's Retry-After (0 if it gave none) if they may be taken later.
        """


class ReleaseSource(Protocol):
    """Where the release config comes from."""

    def fetch(self, app_id: str, etag: str) -> tuple[bytes, str, str] | None:
        """(body, signature header, new ETag), or None if `etag` is still the newest.

        Raises as `Transport.send` does.
        """
