"""The secret under which batch ids are digested: without it nobody can try ids against the log."""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

from wire.errors import PermanentError
from wire.times import HOUR_MS

_KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True, repr=False)
class BatchKey:
    """`secret` is empty for digests without a key.

    Uploads that were made before `since_ms` are digested without it, as before there was a key: a
    retry says the same time of making as its first try, so it finds that over an upgrade.
    """

    secret: bytes = b""
    since_ms: int = 0

    def digests(self, batch_ids: list[bytes], size: int) -> bytes:
        """Digests of `size` bytes, end to end."""
        key = self.secret
        return b"".join([blake2b(i, digest_size=size, key=key).digest() for i in batch_ids])


NO_KEY: Final = BatchKey()


def load_or_make(path: Path, *, first_ms: int, write: Callable[[Path, str], None]) -> BatchKey:
    """The key of a file, made at the first use for uploads made from `first_ms` on.

    Raises PermanentError ``batch_key_invalid``.
    """
    if not path.exists():
        made = {"secret": secrets.token_hex(_KEY_BYTES), "since_ms": first_ms}
        write(path, json.dumps(made))
    try:
        found = json.loads(path.read_text("utf-8"))
        secret = bytes.fromhex(found["secret"])
        since_ms = int(found["since_ms"])
    except (ValueError, KeyError, TypeError) as error:
        raise _invalid(path) from error
    if len(secret) != _KEY_BYTES:
        raise _invalid(path)
    return BatchKey(secret, since_ms)


def next_hour(now_ms: int) -> int:
    """From here on uploads may be digested under a new key; none has been seen yet."""
    return (now_ms // HOUR_MS + 2) * HOUR_MS  # a phone's clock may be ahead by minutes


def _invalid(path: Path) -> PermanentError:
    return PermanentError(
        "batch_key_invalid",
        f"{path} is no key of batch ids",
        accepted="the file as it was made; without it retries of these days count twice",
    )
