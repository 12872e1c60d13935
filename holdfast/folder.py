"""A node's folder: where each part keeps its files, and the secrets made on first use."""

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from wire.errors import PermanentError


@dataclass(frozen=True, slots=True)
class Folder:
    """Paths below `root`; nothing is made until `create`."""

    root: Path

    @property
    def log(self) -> Path:
        return self.root / "log.db"

    @property
    def state(self) -> Path:
        return self.root / "state.db"

    @property
    def outbox(self) -> Path:
        return self.root / "outbox.db"

    @property
    def keys(self) -> Path:
        return self.root / "keys.json"

    @property
    def signing(self) -> Path:
        return self.root / "signing"

    @property
    def gitops(self) -> Path:
        return self.root / "gitops"

    @property
    def kept_state(self) -> Path:
        """The last good desired state, see `holdfast.kept_state`."""
        return self.gitops / "desired.json"

    @property
    def dedup(self) -> Path:
        """Where the index of batch ids puts what is too much for memory; nameless files."""
        return self.root / "dedup"

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def store_credentials(self) -> Path:
        return self.root / "store-credentials.json"

    @property
    def passwords(self) -> Path:
        return self.root / "store-passwords.json"

    @property
    def settings(self) -> Path:
        """Settings that belong to this folder; the environment and options win over them."""
        return self.root / "settings.json"

    @property
    def service(self) -> Path:
        """What the running service says of itself: ports and process ids."""
        return self.root / "service.json"

    @property
    def lock(self) -> Path:
        """Held by the node that lives here."""
        return self.root / "node.lock"

    @property
    def batch_key(self) -> Path:
        """The secret under which batch ids are digested."""
        return self.root / "batch-key.json"

    def create(self) -> None:
        """Make the folder, readable by its owner alone; one that was open to others is closed.

        Raises PermanentError ``folder_open``: others may read it, and it is not ours to close.
        """
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        _close(self.root)
        for part in (self.signing, self.gitops, self.dedup, self.store):
            part.mkdir(mode=0o700, exist_ok=True)

    def store_passwords(self) -> dict[str, str]:
        """Passwords of the own store by role (writer, analyst), made on first use."""
        if not self.passwords.exists():
            made = {role: secrets.token_urlsafe(24) for role in ("writer", "analyst")}
            write_private(self.passwords, json.dumps(made))
        found: dict[str, str] = json.loads(self.passwords.read_text())
        return found


def keep_private() -> None:
    """What this process and its children make is readable by its owner alone."""
    os.umask(0o077)


def _close(root: Path) -> None:
    """Nobody else gets past a folder of mode 0700, whatever the modes of the files in it."""
    mode = root.stat().st_mode
    if not mode & 0o077:
        return
    try:
        root.chmod(mode & 0o700)
    except PermissionError as error:
        if mode & 0o007:
            raise PermanentError(
                "folder_open",
                f"{root} can be read by others, and belongs to another user",
                accepted=f"chmod o-rwx {root}, by its owner",
            ) from error


def write_private(path: Path, text: str) -> None:
    """Replace a file at once, readable by its owner alone."""
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")
    partial.replace(path)
