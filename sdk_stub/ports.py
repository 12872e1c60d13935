"""What the client needs of the world."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from sdk_stub.held_config import HeldConfig
from sdk_stub.unit_grants import Given
from wire.pb import telemetry_pb2 as pb


class Transport(Protocol):
    """Carries one serialised `UploadRequest` to the server."""

    def send(self, upload: bytes) -> pb.Receipt:
        """The receipt: the rows are durable.

        Raises PermanentError if the same bytes will always be refused, TransientError with the
        server's Retry-After (0 if it gave none) if they may be taken later.
        """


class GrantSource(Protocol):
    """Where the ids come from under which units count, if the config says that they are needed."""

    def ask_grants(self, count: int, attestation: str) -> Given:
        """Some of them. Raises as `Transport.send` does."""


class FileSource(Protocol):
    """Where files of an app's TUF repository come from."""

    def open(self, path: str) -> Iterator[bytes]:
        """The content in pieces; the caller stops when it has read enough.

        Raises PermanentError ``file_missing`` if there is no such file, else TransientError.
        """


class ReleaseSource(Protocol):
    """Where the release config in the header's form comes from."""

    def fetch(self, app_id: str, etag: str) -> tuple[bytes, str, str] | None:
        """(body, signature header, new ETag), or None if `etag` is still the newest.

        Raises as `Transport.send` does.
        """


@runtime_checkable
class Verifier(Protocol):
    """Who decides which config is to be obeyed: `HeaderReleases` or `TufReleases`."""

    def refresh(
        self, app_id: str, held: HeldConfig | None, *, now_ms: int, at: int
    ) -> HeldConfig | None:
        """The config to hold from now on; None if the one that is held is still the newest.

        Raises PermanentError if what came is not to be obeyed, TransientError if nothing came.
        """

    def believes(self, held: HeldConfig, app_id: str) -> bool:
        """Whether what was saved may be obeyed under what the app ships now."""
