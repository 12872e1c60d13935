"""Who may sign for the fleet: the chain of TUF root metadata, as it was installed on this node.

Apps ship one root; phones walk from it to the newest, each signed by the one before and by itself.
The keys that sign roots are kept elsewhere (`ingest.root_folder`).
"""

from pathlib import Path
from typing import Final

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Key, Metadata, Root, Snapshot, Targets, Timestamp

from ingest.keys import write_private
from wire.errors import PermanentError

ONLINE_ROLES: Final = (Targets.type, Snapshot.type, Timestamp.type)


class RootChain:
    """``1.root.json``, ``2.root.json`` and so on in a folder; read again when one is added."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._contents: dict[int, bytes] = {}
        self._seen_ns = -1

    def contents(self) -> dict[int, bytes]:
        """Every installed root by version, as bytes."""
        try:
            seen_ns = self._folder.stat().st_mtime_ns
        except FileNotFoundError:
            return {}
        if seen_ns != self._seen_ns:
            paths = self._folder.glob("*.root.json")
            found = {int(path.name.partition(".")[0]): path.read_bytes() for path in paths}
            self._contents, self._seen_ns = dict(sorted(found.items())), seen_ns
        return self._contents

    def newest(self) -> Root | None:
        """The root that is in force; None before the first one."""
        contents = self.contents()
        return read_root(contents[max(contents)]).signed if contents else None

    def install(self, content: bytes, *, now_ms: int) -> Root:
        """Put the next root in force.

        Raises PermanentError ``root_malformed``, ``root_version``, ``root_unsigned``,
        ``root_expired``.
        """
        made, last = read_root(content), self.newest()
        wanted = last.version + 1 if last is not None else made.signed.version
        if made.signed.version != wanted:
            raise PermanentError(
                "root_version",
                f"this is root {made.signed.version}",
                accepted=f"root {wanted}, and then one by one",
            )
        check_signed(made, last)
        if made.signed.expires.timestamp() * 1000 <= now_ms:
            raise PermanentError("root_expired", f"it expired on {made.signed.expires:%Y-%m-%d}")
        online_keys(made.signed)
        write_private(self._folder / f"{made.signed.version}.root.json", content)
        self._seen_ns = -1
        return made.signed


def read_root(content: bytes) -> Metadata[Root]:
    """Root metadata, not verified. Raises PermanentError ``root_malformed``."""
    try:
        return Metadata[Root].from_bytes(content)
    except RepositoryError as error:
        raise PermanentError("root_malformed", "this is no TUF root metadata") from error


def check_signed(made: Metadata[Root], last: Root | None) -> None:
    """By enough keys of its own and of the root before.

    Raises PermanentError ``root_unsigned``.
    """
    for root in (made.signed, last):
        if root is None:
            continue
        try:
            root.verify_delegate(Root.type, made.signed_bytes, made.signatures)
        except RepositoryError as error:
            raise PermanentError(
                "root_unsigned",
                f"root {made.signed.version} has too few signatures of root {root.version}'s keys",
                accepted="holdfast keys root sign, by each holder",
            ) from error


def online_keys(root: Root) -> list[Key]:
    """The keys that a node may sign with: one role's keys are the other's, one signature enough.

    Raises PermanentError ``root_malformed``.
    """
    roles = [root.roles[name] for name in ONLINE_ROLES]
    if len({tuple(role.keyids) for role in roles}) != 1 or any(r.threshold != 1 for r in roles):
        raise PermanentError(
            "root_malformed",
            "targets, snapshot and timestamp are not under the same online key",
            accepted="as holdfast keys root makes them",
        )
    return [root.keys[keyid] for keyid in roles[0].keyids]
