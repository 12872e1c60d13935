"""The config that a phone holds, and the rule by which it takes another: forwards, and in time."""

from dataclasses import dataclass
from typing import Final

from sdk_stub.releases import ReleaseConfig, Whole
from wire.errors import PermanentError
from wire.times import DAY_MS

_LIFE_MAX_MS: Final = 31 * DAY_MS
"""A phone whose clock is years behind would obey for years; no server says so much."""


@dataclass(frozen=True, slots=True)
class HeldConfig:
    """A config as it came. `trust` names whom the app believed: a key, or a root.

    It is good until the wall clock says `expires_ms` or the steady one `good_until`, which no jump
    moves; None: a server of before did not say.
    """

    body: bytes
    trust: str
    version: Whole
    expires_ms: Whole | None
    good_until: Whole | None
    signature: str = ""
    etag: str = ""

    def is_good(self, *, now_ms: int, at: int) -> bool:
        """Whether it may still be obeyed, at this wall time and this steady moment."""
        if self.expires_ms is None or self.good_until is None:
            return True
        return now_ms < self.expires_ms and at < self.good_until


def check_newer(config: ReleaseConfig, held: HeldConfig | None, body: bytes) -> None:
    """Raises PermanentError ``release_config_older``: it is behind what this phone has obeyed."""
    if held is None or config.version > held.version or body == held.body:
        return
    if config.version == held.version == 0:
        return  # of a server of before, which cannot say
    raise PermanentError("release_config_older", f"version {config.version} after {held.version}")


def end_of(expires_ms: int | None, *, now_ms: int, at: int) -> int | None:
    """The steady moment at which a config that came now is over.

    Raises PermanentError ``release_config_expired``: it is over already.
    """
    if expires_ms is None:
        return None
    if expires_ms <= now_ms:
        raise PermanentError("release_config_expired", "nobody has said for long that it holds")
    return at + min(expires_ms - now_ms, _LIFE_MAX_MS)
