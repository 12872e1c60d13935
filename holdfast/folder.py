"""A node's folder: where each part keeps its files, and the secrets made on first use."""

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path


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

    def create(self) -> None:
        """Make the folder, readable by its owner alone."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for part in (self.signing, self.gitops, self.dedup, self.store):
            part.mkdir(mode=0o700, exist_ok=True)

    def store_passwords(self) -> dict[str, str]:
        """Passwords of the own store by role (writer, analyst), made on first use."""
        if not self.passwords.exists():
            made = {role: secrets.token_urlsafe(24) for role in ("writer", "analyst")}
            write_private(self.passwords, json.dumps(made))
        found: dict[str, str] = json.loads(self.passwords.read_text())
        return found


def write_private(path: Path, text: str) -> None:
    """Replace a file at once, readable by its owner alone."""
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")
    partial.replace(path)
