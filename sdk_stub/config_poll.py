"""A fleet's configs through the reference client's verifiers: one phone asks for all of an app."""

import contextlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from sdk_stub.header_releases import HeaderReleases
from sdk_stub.held_config import HeldConfig
from sdk_stub.ports import Verifier
from sdk_stub.releases import ReleaseConfig, parse_config
from sdk_stub.transport import HttpTransport
from sdk_stub.tuf_releases import TufReleases
from wire.errors import PermanentError, TransientError


@dataclass(frozen=True, slots=True)
class Unverified:
    """Takes what comes: for runs that measure something else."""

    source: HttpTransport

    def refresh(
        self, app_id: str, held: HeldConfig | None, *, now_ms: int, at: int
    ) -> HeldConfig | None:
        answer = self.source.fetch(app_id, held.etag if held is not None else "")
        if answer is None:
            return None
        return HeldConfig(answer[0], "", 0, None, None, etag=answer[2])

    def believes(self, held: HeldConfig, app_id: str) -> bool:
        return True


@dataclass(slots=True)
class ConfigPoll:
    """Asks for each app's config; `ask` may be called from any thread, one at a time."""

    base_url: str
    keys: Mapping[str, str]
    public_key: bytes | None
    root: bytes | None
    now_ms: Callable[[], int]
    _held: dict[str, HeldConfig] = field(default_factory=dict)
    _left: set[str] = field(default_factory=set)
    _sources: dict[str, HttpTransport] = field(default_factory=dict)
    _folder: tempfile.TemporaryDirectory[str] = field(
        default_factory=lambda: tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    )

    def ask(self, app_id: str) -> ReleaseConfig | None:
        """What phones are to obey from now on, if that changed.

        What is refused, or does not come, changes nothing until the config that is held expires.
        """
        held, now_ms = self._held.get(app_id), self.now_ms()
        with contextlib.suppress(PermanentError, TransientError):
            new = self._verifier(app_id).refresh(app_id, held, now_ms=now_ms, at=now_ms)
            if new is not None:
                self._held[app_id] = new
                self._left.discard(app_id)
                return parse_config(new.body)
        if held is None or held.is_good(now_ms=now_ms, at=now_ms) or app_id in self._left:
            return None
        self._left.add(app_id)
        config = parse_config(held.body)
        stable = tuple(replace(model, rollout=None) for model in config.models)
        return replace(config, models=stable)

    def close(self) -> None:
        """Close the connections and forget the files."""
        for source in self._sources.values():
            source.close()
        self._folder.cleanup()

    def _verifier(self, app_id: str) -> Verifier:
        if app_id not in self._sources:
            self._sources[app_id] = HttpTransport(self.base_url, self.keys[app_id])
        source = self._sources[app_id]
        if self.root is not None:
            return TufReleases(self.root, Path(self._folder.name) / app_id, source)
        if self.public_key is not None:
            return HeaderReleases(self.public_key, source)
        return Unverified(source)
