"""The root ceremony: a folder that is kept away from nodes, with the keys that sign roots.

Keys are named by securesystemslib's URIs: ``file2:`` for those made here (PEM, mode 0600), and
``hsm:``, ``awskms:``, ``gcpkms:``, ``azurekms:`` and so on for those that lie elsewhere.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.signer import CryptoSigner, Key, Signer, SSlibKey
from tuf.api.metadata import TOP_LEVEL_ROLE_NAMES, Metadata, Role, Root
from tuf.api.serialization.json import JSONSerializer

from ingest.keys import write_private
from ingest.root_chain import ONLINE_ROLES, read_root
from wire.errors import PermanentError

COMPACT: Final = JSONSerializer(compact=True)
_FILE: Final = "file2:"


class Holder(msgspec.Struct, frozen=True):
    """One root key: where its private half lies, and its public half."""

    uri: str
    keyid: str
    public: dict[str, object]

    def key(self) -> Key:
        """The public half."""
        return Key.from_dict(self.keyid, msgspec.to_builtins(self.public))


@dataclass(frozen=True, slots=True)
class RootFolder:
    """A folder with ``keys.json``, own keys and every root that was made in it."""

    path: Path
    ask_pin: Callable[[str], str] | None = None

    def init(
        self,
        online: Key,
        *,
        keys: int,
        others: Sequence[Holder],
        threshold: int,
        expires_ms: int,
    ) -> bytes:
        """The first root: `keys` own ones are made, `others` lie elsewhere.

        Raises PermanentError ``root_exists``, ``root_threshold``.
        """
        if self._versions():
            raise PermanentError("root_exists", f"{self.path} holds a root already")
        holders = [*[self._make_key() for _ in range(keys)], *others]
        if not 1 <= threshold <= len(holders):
            raise PermanentError(
                "root_threshold",
                f"{threshold} signatures of {len(holders)} keys",
                accepted="1 to the number of root keys",
            )
        roles = {name: Role([], 1) for name in TOP_LEVEL_ROLE_NAMES}
        root = Root(version=1, roles=roles, consistent_snapshot=True)
        root.roles[Root.type].threshold = threshold
        for holder in holders:
            root.add_key(holder.key(), Root.type)
        _put_online(root, online)
        return self._finish(root, holders, holders, expires_ms)

    def rotate_online(self, online: Key, *, expires_ms: int) -> bytes:
        """The next root, with another online key in the place of the last."""
        root = self.newest().signed
        _put_online(root, online)
        return self._finish(root, self.holders(), self.holders(), expires_ms)

    def rotate_root(self, *, others: Sequence[Holder], expires_ms: int) -> bytes:
        """The next root, with as many new root keys; signed by the old ones and by the new.

        Own keys are made anew, those that lie elsewhere are replaced by `others`.
        """
        root, old = self.newest().signed, self.holders()
        own = sum(holder.uri.startswith(_FILE) for holder in old)
        new = [*[self._make_key() for _ in range(own)], *others]
        if len(new) < root.roles[Root.type].threshold:
            raise PermanentError(
                "root_threshold",
                f"{len(new)} new keys",
                accepted=f"{root.roles[Root.type].threshold} or more, see --key",
            )
        for keyid in list(root.roles[Root.type].keyids):
            root.revoke_key(keyid, Root.type)
        for holder in new:
            root.add_key(holder.key(), Root.type)
        return self._finish(root, [*old, *new], new, expires_ms)

    def newest(self) -> Metadata[Root]:
        """The last root made. Raises PermanentError ``root_missing``."""
        versions = self._versions()
        if not versions:
            raise PermanentError("root_missing", f"there is no root in {self.path}")
        return read_root((self.path / f"{max(versions)}.root.json").read_bytes())

    def holders(self) -> list[Holder]:
        """The root keys of the newest root."""
        return msgspec.json.decode((self.path / "keys.json").read_bytes(), type=list[Holder])

    def _versions(self) -> list[int]:
        return [int(p.name.partition(".")[0]) for p in self.path.glob("*.root.json")]

    def _make_key(self) -> Holder:
        made = CryptoSigner.generate_ed25519()
        key = made.public_key
        name = f"root-{key.keyid[:16]}.pem"
        write_private(self.path / name, made.private_bytes)
        return Holder(_FILE + name, key.keyid, key.to_dict())

    def _finish(
        self, root: Root, signing: Sequence[Holder], kept: Sequence[Holder], expires_ms: int
    ) -> bytes:
        root.version = max([0, *self._versions()]) + 1
        root.expires = datetime.fromtimestamp(expires_ms // 1000, UTC)
        made = Metadata(root)
        for holder in signing:
            made.sign(self.signer(holder), append=True)
        content = made.to_bytes(COMPACT)
        write_private(self.path / f"{root.version}.root.json", content)
        write_private(self.path / "keys.json", msgspec.json.encode(list(kept)))
        for holder in signing:
            if holder not in kept and holder.uri.startswith(_FILE):
                (self.path / holder.uri.removeprefix(_FILE)).unlink(missing_ok=True)
        return content

    def signer(self, holder: Holder) -> Signer:
        """Whoever signs for this key; files are looked for in the folder."""
        uri = holder.uri
        if uri.startswith(_FILE):
            uri = _FILE + str(self.path.resolve() / uri.removeprefix(_FILE))
        return open_signer(uri, holder.key(), ask_pin=self.ask_pin)


def _put_online(root: Root, online: Key) -> None:
    for role in ONLINE_ROLES:
        for keyid in list(root.roles[role].keyids):
            root.revoke_key(keyid, role)
        root.add_key(online, role)


def public_key(pem: bytes) -> Key:
    """A public key of a PEM file. Raises PermanentError ``public_key_invalid``."""
    try:
        return SSlibKey.from_crypto(load_pem_public_key(pem))
    except (ValueError, TypeError) as error:
        raise PermanentError(
            "public_key_invalid", "not a public key in PEM", accepted="-----BEGIN PUBLIC KEY-----"
        ) from error


def open_signer(uri: str, key: Key, *, ask_pin: Callable[[str], str] | None = None) -> Signer:
    """Whoever signs under this URI; `ask_pin` gives what a token asks for, by its name.

    Raises PermanentError ``signing_key_unusable``.
    """
    try:
        return Signer.from_priv_key_uri(uri, key, ask_pin)
    except Exception as error:  # each kind of key raises its own
        raise PermanentError(
            "signing_key_unusable",
            f"{uri.partition(':')[0]}: {type(error).__name__}",
            accepted="a URI that securesystemslib's signers know, of the private half of this key",
        ) from error


def add_signature(path: Path, signer: Signer) -> bytes:
    """Sign a root that somebody else made; the signatures that it has stay."""
    made = read_root(path.read_bytes())
    made.sign(signer, append=True)
    content = made.to_bytes(COMPACT)
    write_private(path, content)
    return content
