"""The key that signs release configs, so that phones obey this service and no one in between."""

import base64
import contextlib
import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from ingest.keys import write_private
from wire.errors import PermanentError


class Signer:
    """Signs with one Ed25519 key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @property
    def public_key(self) -> str:
        """The raw public key in base64, to be built into apps."""
        raw = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return base64.b64encode(raw).decode()

    def sign(self, body: bytes) -> str:
        """The value of the ``Holdfast-Signature`` header for this body."""
        return f"ed25519={base64.b64encode(self._key.sign(body)).decode()}"


def load_or_make(path: Path) -> Signer:
    """The signer whose key lies at `path`; made, mode 0600, if there is none.

    Processes that start together on one folder end up with one key.
    """
    if not path.exists():
        _make(path)
    key = load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise PermanentError("signing_key_invalid", "the signing key is not Ed25519")
    return Signer(key)


def _make(path: Path) -> None:
    made = Ed25519PrivateKey.generate()
    own = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    write_private(own, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with contextlib.suppress(FileExistsError):  # another process was faster: its key holds
        os.link(own, path)
    own.unlink()
