"""Release configs in the header's form: one request, one signature by one key."""

from dataclasses import dataclass, replace
from hashlib import sha256

from sdk_stub.held_config import HeldConfig, check_newer, end_of
from sdk_stub.ports import ReleaseSource
from sdk_stub.releases import accept_config
from wire.errors import PermanentError


@dataclass(frozen=True, slots=True)
class HeaderReleases:
    """`public_key`: raw Ed25519, shipped with the app."""

    public_key: bytes
    source: ReleaseSource

    @property
    def trust(self) -> str:
        """Names the key."""
        return sha256(self.public_key).hexdigest()

    def refresh(
        self, app_id: str, held: HeldConfig | None, *, now_ms: int, at: int
    ) -> HeldConfig | None:
        """The config to hold from now on; None if the one that is held is still the newest.

        Raises PermanentError if what came is not to be obeyed, TransientError if nothing came.
        """
        answer = self.source.fetch(app_id, held.etag if held is not None else "")
        if answer is None:
            return None
        body, signature, etag = answer
        config = accept_config(body, signature, self.public_key, app_id=app_id)
        check_newer(config, held, body)
        if held is not None and body == held.body:
            return replace(held, etag=etag) if etag != held.etag else None
        until = end_of(config.expires_ms, now_ms=now_ms, at=at)
        return HeldConfig(
            body, self.trust, config.version, config.expires_ms, until, signature, etag
        )

    def believes(self, held: HeldConfig, app_id: str) -> bool:
        """Whether what was saved is still signed by the key that the app ships."""
        try:
            accept_config(held.body, held.signature, self.public_key, app_id=app_id)
        except PermanentError:
            return False
        return held.trust == self.trust
