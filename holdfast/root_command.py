"""``holdfast keys root`` and ``keys online``: who may say which versions phones run."""

import getpass
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from holdfast.clock import now_ms
from holdfast.config import load
from holdfast.folder import Folder
from ingest.online_key import OnlineKeys, pem_of
from ingest.root_chain import read_root
from ingest.root_folder import Holder, RootFolder, add_signature, open_signer, public_key
from wire.errors import PermanentError
from wire.times import DAY_MS

_YEAR_MS: Final = 365 * DAY_MS


def online(directory: Path | None, *, new: bool) -> dict[str, object]:
    """The node's public online key that waits for a root; made if there is none, or if `new`."""
    keys = _of_node(directory)
    waiting = keys.unused()
    key = waiting if waiting is not None and not new else keys.make()
    return {"keyid": key.keyid, "public_key": pem_of(key)}


def init(
    folder: Path,
    online_pem: Path,
    *,
    keys: int,
    others: Sequence[str],
    threshold: int,
    years: float,
) -> dict[str, object]:
    """The first root of a fleet."""
    content = _ceremony(folder).init(
        public_key(online_pem.read_bytes()),
        keys=keys,
        others=_holders(others),
        threshold=threshold,
        expires_ms=_in(years),
    )
    return _said(folder, content)


def rotate_online(folder: Path, online_pem: Path, *, years: float) -> dict[str, object]:
    """The next root, with another online key."""
    key = public_key(online_pem.read_bytes())
    return _said(folder, _ceremony(folder).rotate_online(key, expires_ms=_in(years)))


def rotate_root(folder: Path, *, others: Sequence[str], years: float) -> dict[str, object]:
    """The next root, with new root keys."""
    made = _ceremony(folder).rotate_root(others=_holders(others), expires_ms=_in(years))
    return _said(folder, made)


def sign(root_file: Path, other: str) -> dict[str, object]:
    """One more signature under a root."""
    (holder,) = _holders([other])
    signer = open_signer(holder.uri, holder.key(), ask_pin=_ask)
    made = read_root(add_signature(root_file, signer))
    return {"root": str(root_file), "version": made.signed.version, "signed_by": [*made.signatures]}


def install(directory: Path | None, root_file: Path) -> dict[str, object]:
    """Put a root in force on a node; it follows within a second, without a restart."""
    keys = _of_node(directory)
    version = keys.install(root_file.read_bytes(), now_ms=now_ms())
    return {"version": version, "roots": str(keys.folder / "roots")}


def _of_node(directory: Path | None) -> OnlineKeys:
    settings = load(dir=directory)
    folder = Folder(settings.dir)
    folder.create()
    pin = settings.release_key_pin.get_secret_value()
    return OnlineKeys(folder.signing / "tuf", settings.release_key_uri, pin)


def _ceremony(folder: Path) -> RootFolder:
    return RootFolder(folder, ask_pin=_ask)


def _ask(name: str) -> str:
    return getpass.getpass(f"{name}: ")


def _holders(others: Sequence[str]) -> list[Holder]:
    """``PUBLIC.pem=URI`` each: the public half in a file, and where the private half lies."""
    found = []
    for text in others:
        pem, is_pair, uri = text.partition("=")
        if not is_pair or not Path(pem).is_file():
            raise PermanentError(
                "root_key_unreadable", text, field="--key", accepted="PUBLIC.pem=URI"
            )
        key = public_key(Path(pem).read_bytes())
        found.append(Holder(uri, key.keyid, key.to_dict()))
    return found


def _in(years: float) -> int:
    return now_ms() + int(years * _YEAR_MS)


def _said(folder: Path, content: bytes) -> dict[str, object]:
    made = read_root(content)
    role = made.signed.roles["root"]
    return {
        "root": str(folder / f"{made.signed.version}.root.json"),
        "version": made.signed.version,
        "expires": datetime.fromtimestamp(made.signed.expires.timestamp(), UTC).isoformat(),
        "signatures": len(made.signatures),
        "threshold": role.threshold,
    }
