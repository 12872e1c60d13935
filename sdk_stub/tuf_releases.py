"""Release configs through TUF: python-tuf's own client, and the phone's clock and files around it.

Replay, freeze, mix-and-match, tampering and endless answers are refused there. What is added: files
that were damaged are put aside, versions go forwards even then, and what expires expires by a clock
that no one can set back.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

from tuf.api.exceptions import DownloadError, DownloadHTTPError, RepositoryError
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from sdk_stub.damage import put_aside
from sdk_stub.held_config import HeldConfig, end_of
from sdk_stub.ports import FileSource
from sdk_stub.releases import CONFIG_BYTES_MAX, parse_config
from wire.errors import PermanentError, TransientError

_LIMITS: Final = UpdaterConfig(
    root_max_length=64_000,
    timestamp_max_length=16_384,
    snapshot_max_length=16_384,
    targets_max_length=64_000,
)
_NOT_FOUND: Final = 404


@dataclass(frozen=True, slots=True)
class TufReleases:
    """`root`: the root metadata that ships with the app. `folder` is the client's own."""

    root: bytes
    folder: Path
    source: FileSource

    @property
    def trust(self) -> str:
        """Names the root."""
        return sha256(self.root).hexdigest()

    def refresh(
        self, app_id: str, held: HeldConfig | None, *, now_ms: int, at: int
    ) -> HeldConfig | None:
        """The config to hold from now on; None if nothing says more than the one that is held.

        Raises PermanentError if what came is not to be obeyed, TransientError if nothing came.
        """
        try:
            try:
                updater = self._updated(app_id, now_ms)
            except OSError:  # what lies in the way of its files is no file of its
                put_aside(self.folder)
                updater = self._updated(app_id, now_ms)
            body = self._target(updater, app_id)
        except DownloadError as error:
            raise TransientError("unreachable", type(error).__name__, retry_after_s=0) from error
        except RepositoryError as error:
            raise PermanentError(
                "release_config_refused", f"{type(error).__name__}: {error}"
            ) from error
        except OSError as error:
            raise TransientError("folder_unusable", str(error), retry_after_s=0) from error
        return self._taken(updater, body, app_id, held, now_ms=now_ms, at=at)

    def believes(self, held: HeldConfig, app_id: str) -> bool:
        """Whether what was saved came under the root that the app ships."""
        try:
            return held.trust == self.trust and parse_config(held.body).app_id == app_id
        except PermanentError:
            return False

    def _taken(
        self,
        updater: Updater,
        body: bytes,
        app_id: str,
        held: HeldConfig | None,
        *,
        now_ms: int,
        at: int,
    ) -> HeldConfig | None:
        timestamp = updater._trusted_set.timestamp  # noqa: SLF001 - it gives it in no other way
        config = parse_config(body)
        if config.app_id != app_id:
            raise PermanentError("release_config_foreign", "the config is of another app")
        if held is not None and held.trust == self.trust:
            if timestamp.version < held.version:  # its own files were damaged, ours were not
                raise PermanentError(
                    "release_config_older", f"version {timestamp.version} after {held.version}"
                )
            if timestamp.version == held.version:
                return None
        expires_ms = int(timestamp.expires.timestamp() * 1000)
        until = end_of(expires_ms, now_ms=now_ms, at=at)
        return HeldConfig(body, self.trust, timestamp.version, expires_ms, until)

    def _updated(self, app_id: str, now_ms: int) -> Updater:
        base = f"/v1/tuf/{app_id}"
        self.folder.mkdir(parents=True, exist_ok=True)
        updater = Updater(
            metadata_dir=str(self.folder),
            metadata_base_url=f"{base}/metadata",
            target_dir=str(self.folder),
            target_base_url=f"{base}/targets",
            fetcher=_Fetcher(self.source),
            config=_LIMITS,
            bootstrap=self.root,
        )
        # the phone's time is told, as everywhere in this client; the library reads the system's
        updater._trusted_set.reference_time = _time(now_ms)  # noqa: SLF001
        updater.refresh()
        return updater

    def _target(self, updater: Updater, app_id: str) -> bytes:
        found = updater.get_targetinfo(f"{app_id}.json")
        if found is None:
            raise RepositoryError("no config of this app")
        if found.length > CONFIG_BYTES_MAX:
            raise RepositoryError("longer than any config")
        held = updater.find_cached_target(found)
        return Path(held or updater.download_target(found)).read_bytes()


def _time(ms: int) -> datetime:
    try:
        return datetime.fromtimestamp(ms // 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.max.replace(tzinfo=UTC)  # a clock beyond all years: everything is over


class _Fetcher(FetcherInterface):
    """The client's own transport under python-tuf's limits."""

    def __init__(self, source: FileSource) -> None:
        self._source = source

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            yield from self._source.open(url)
        except PermanentError as error:
            raise DownloadHTTPError(error.detail, _NOT_FOUND) from error
        except TransientError as error:
            raise DownloadError(error.detail) from error
