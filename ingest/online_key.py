"""The key that a node signs release metadata with: its own file, or one that lies elsewhere.

A node without a root makes one for itself, so that a try-out needs no ceremony. Such a root key
lies on the node: who takes the node takes the fleet, and that is said at every start.
"""

import logging
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.signer import CryptoSigner, Key, Signer, SSlibKey

from ingest.keys import alone, write_private
from ingest.root_chain import RootChain, online_keys, read_root
from ingest.root_folder import RootFolder, open_signer, public_key
from wire.errors import PermanentError
from wire.times import DAY_MS

_log = logging.getLogger("holdfast.ingest")
_TRY_OUT_MS: Final = 365 * DAY_MS
_RENEWED_BEFORE_MS: Final = 90 * DAY_MS


@dataclass(slots=True)
class OnlineKeys:
    """A node's part of the keys, below one folder.

    `uri` and `pin`: of the private half, if it lies elsewhere.
    """

    folder: Path
    uri: str = ""
    pin: str = ""
    chain: RootChain = field(init=False)

    def __post_init__(self) -> None:
        self.chain = RootChain(self.folder / "roots")

    @property
    def try_out(self) -> RootFolder:
        """The root's own folder, while the root lies on the node."""
        return RootFolder(self.folder / "try-out-root")

    def make(self) -> Key:
        """A new key in a file; it signs once a root that names it was installed."""
        made = CryptoSigner.generate_ed25519()
        key = made.public_key
        write_private(self._file(key), made.private_bytes)
        write_private(self._file(key).with_suffix(".pub"), pem_of(key).encode())
        return key

    def unused(self) -> Key | None:
        """A key that was made and that no root names yet."""
        roots = [read_root(content).signed for content in self.chain.contents().values()]
        named = {key.keyid for root in roots for key in online_keys(root)}
        for path in sorted((self.folder / "online").glob("*.pub")):
            key = public_key(path.read_bytes())
            if key.keyid not in named:
                return key
        return None

    def signer(self) -> Signer:
        """Whoever signs under the root that is in force.

        Raises PermanentError ``online_key_missing``, ``signing_key_unusable``.
        """
        root = self.chain.newest()
        keys = [] if root is None else online_keys(root)
        for key in keys:
            if self._file(key).exists():
                return open_signer(f"file2:{self._file(key).resolve()}", key)
        if keys and self.uri:
            return open_signer(self.uri, keys[0], ask_pin=lambda _: self.pin)
        raise PermanentError(
            "online_key_missing",
            "this node does not have the key that the root names",
            field="HOLDFAST_RELEASE_KEY_URI",
            accepted="the URI of that key, or a root made with the key of `holdfast keys online`",
        )

    def begin(self, now_ms: int) -> None:
        """Make what a try-out needs, renew its root in time, and say so."""
        with alone(self.folder):
            self._begin(now_ms)

    def _begin(self, now_ms: int) -> None:
        chain, root = self.chain, self.chain.newest()
        expires_ms = now_ms + _TRY_OUT_MS
        if root is None:
            key = self.unused() or self.make()
            content = self.try_out.init(key, keys=1, others=(), threshold=1, expires_ms=expires_ms)
            root = chain.install(content, now_ms=now_ms)
        if self.holds_root():
            if root.expires.timestamp() * 1000 < now_ms + _RENEWED_BEFORE_MS:
                key = online_keys(root)[0]
                chain.install(self.try_out.rotate_online(key, expires_ms=expires_ms), now_ms=now_ms)
            _log.warning("root_key_on_node", extra={"path": str(self.try_out.path)})

    def holds_root(self) -> bool:
        """Whether the root key lies on this node."""
        return (self.try_out.path / "keys.json").exists()

    def install(self, content: bytes, *, now_ms: int) -> int:
        """Put the next root in force, once this node can sign under it; the root's version.

        A root key on the node is deleted with the first root that does not name it.
        """
        folder = self.folder / "roots"
        before = set(folder.glob("*.root.json"))
        root = self.chain.install(content, now_ms=now_ms)
        try:
            self.signer()
        except PermanentError:
            for made in set(folder.glob("*.root.json")) - before:
                made.unlink()
            raise
        if self.holds_root():
            own = {holder.keyid for holder in self.try_out.holders()}
            if not own & set(root.roles["root"].keyids):
                shutil.rmtree(self.try_out.path)
        return int(root.version)

    def _file(self, key: Key) -> Path:
        return self.folder / "online" / f"{key.keyid[:32]}.pem"


def pem_of(key: Key) -> str:
    """A public key as PEM, for the root ceremony."""
    if not isinstance(key, SSlibKey):
        raise PermanentError("public_key_invalid", "this kind of key has no PEM")
    public = key._crypto_key()  # noqa: SLF001 - the library gives it in no other way
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
