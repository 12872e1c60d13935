"""API keys of phones' apps: they write, and can do nothing else.

A key is ``hfk_<8 hex>_<43 characters>``: an id, and 256 random bits. Stored is only the SHA-256 of
the secret; a slow hash would add nothing, since nobody guesses 256 bits, and would cost a core.
The file is read again when it changes, at most once a second, so a revoked key stops in seconds
on every worker that shares the file.
"""

import contextlib
import fcntl
import hashlib
import hmac
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from wire.errors import PermanentError

_KEY: Final = re.compile(r"hfk_([0-9a-f]{8})_([A-Za-z0-9_-]{43})", re.ASCII)
_LOOK_AGAIN_MS: Final = 1000


class Key(msgspec.Struct, frozen=True):
    """One stored key. `expires_ms` 0 = never."""

    key_id: str
    app_id: str
    secret_sha256: str
    created_ms: int
    expires_ms: int = 0


class KeyFile:
    """The keys of all apps, in one JSON file that only its owner reads."""

    def __init__(self, path: Path, *, now_ms: Callable[[], int]) -> None:
        self._path = path
        self._now_ms = now_ms
        self._looked_ms = -_LOOK_AGAIN_MS
        self._stamp: tuple[int, int, int] | None = None
        self._keys: dict[str, Key] = {}
        self._verified: dict[str, Key] = {}  # by token; good as long as the file stands

    def app_of(self, token: str) -> str:
        """The app that this key is bound to. Raises PermanentError ``key_*``."""
        now_ms = self._now_ms()
        self._look_again(now_ms)
        key = self._verified.get(token) or self._verify(token)
        if key.expires_ms and now_ms >= key.expires_ms:
            raise _refused("key_expired", "this key has been replaced")
        return key.app_id

    def _verify(self, token: str) -> Key:
        if not token:
            raise _refused("key_missing", "no key was given")
        parts = _KEY.fullmatch(token)
        if parts is None:
            raise _refused("key_unknown", "this is not a key")
        key = self._keys.get(parts[1])
        digest = hashlib.sha256(parts[2].encode()).hexdigest()
        # compared even for an unknown id, so that time does not tell which ids exist
        is_right = hmac.compare_digest(digest, key.secret_sha256 if key else "0" * 64)
        if key is None or not is_right:
            raise _refused("key_unknown", "no such key")
        self._verified[token] = key
        return key

    def create(self, app_id: str) -> str:
        """Make a key; the returned text is the only copy of its secret."""
        with self._alone():
            made = self._add(app_id)
            self._write()
        return made

    def rotate(self, key_id: str, *, overlap_ms: int) -> str:
        """Make a successor; the old key is good for `overlap_ms` more."""
        with self._alone():
            old = self._known(key_id)
            until = self._now_ms() + overlap_ms
            expires_ms = min(old.expires_ms or until, until)
            self._keys[key_id] = msgspec.structs.replace(old, expires_ms=expires_ms)
            made = self._add(old.app_id)
            self._write()
        return made

    def revoke(self, key_id: str) -> None:
        """Forget a key; workers stop taking it within about a second."""
        with self._alone():
            self._known(key_id)
            del self._keys[key_id]
            self._write()

    def listed(self) -> list[Key]:
        """All keys, oldest first, without their secrets."""
        self._read()
        return sorted(self._keys.values(), key=lambda key: (key.created_ms, key.key_id))

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Read, and let nobody else change the file until what came of it is written."""
        with alone(self._path.parent):
            self._read()
            yield

    def _add(self, app_id: str) -> str:
        key_id, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
        while key_id in self._keys:
            key_id = secrets.token_hex(4)
        digest = hashlib.sha256(secret.encode()).hexdigest()
        self._keys[key_id] = Key(key_id, app_id, digest, self._now_ms())
        return f"hfk_{key_id}_{secret}"

    def _known(self, key_id: str) -> Key:
        if key_id not in self._keys:
            raise PermanentError(
                "key_id_unknown", "no such key", field="key_id", accepted=", ".join(self._keys)
            )
        return self._keys[key_id]

    def _look_again(self, now_ms: int) -> None:
        if abs(now_ms - self._looked_ms) < _LOOK_AGAIN_MS:
            return
        self._looked_ms = now_ms
        try:
            found = self._path.stat()
        except FileNotFoundError:  # nobody revokes by deleting: the last good keys stand
            return
        if (found.st_mtime_ns, found.st_size, found.st_ino) != self._stamp:
            with contextlib.suppress(PermanentError):  # a broken file: the last good keys stand
                self._read()

    def _read(self) -> None:
        try:
            with self._path.open("rb") as file:
                found = os.fstat(file.fileno())
                keys = msgspec.json.decode(file.read(), type=list[Key])
        except FileNotFoundError:
            self._keys, self._stamp, self._verified = {}, None, {}
            return
        except msgspec.DecodeError as error:
            raise PermanentError("key_file_invalid", "the key file cannot be read") from error
        self._keys, self._verified = {key.key_id: key for key in keys}, {}
        self._stamp = (found.st_mtime_ns, found.st_size, found.st_ino)

    def _write(self) -> None:
        write_private(self._path, msgspec.json.format(msgspec.json.encode([*self._keys.values()])))
        self._stamp = None
        self._looked_ms = -_LOOK_AGAIN_MS


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only process that works in a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_private(path: Path, content: bytes) -> None:
    """Replace a file of mode 0600 in one step: readers see the old or the new, never a half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:  # 0600 by default
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).replace(path)


def bearer(authorization: str) -> str:
    """The token of an `authorization` header; empty if it has none."""
    scheme, _, token = authorization.strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _refused(code: str, detail: str) -> PermanentError:
    return PermanentError(code, detail, field="authorization", accepted="Bearer hfk_<id>_<secret>")
