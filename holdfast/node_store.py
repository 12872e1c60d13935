"""A way into a node's store for the commands: the running one, else one started for the moment."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from holdfast.config import load
from holdfast.folder import Folder
from holdfast.outside import store_settings
from store.client import Client, connect
from store.process import start, write_credentials
from wire.errors import PermanentError


@contextmanager
def opened_store(directory: Path | None, *, role: str = "analyst") -> Iterator[Client]:
    """A client of the node's store; PermanentError ``folder_empty`` if the node never ran."""
    settings = load(dir=directory)
    folder = Folder(settings.dir)
    if settings.store_url:
        yield connect(store_settings(settings, folder, role=role))
        return
    if not folder.passwords.exists():
        raise PermanentError(
            "folder_empty",
            f"{folder.root} holds no node",
            field="--dir",
            accepted="the folder of `holdfast up` or `holdfast demo`",
        )
    client = store_settings(settings, folder, role=role)
    running = running_ports(folder)
    if running is not None:
        yield connect(replace(client, port=running["store_port"]))
        return
    passwords = folder.store_passwords()
    write_credentials(
        folder.store_credentials,
        writer_password=passwords["writer"],
        analyst_password=passwords["analyst"],
    )
    process = start(folder.store, folder.store_credentials, errors=subprocess.DEVNULL)
    try:
        yield connect(replace(client, port=process.port))
    finally:
        process.stop()


def running_ports(folder: Folder) -> dict[str, int] | None:
    """What the running service of this folder said of itself; None if none runs."""
    try:
        said: dict[str, int] = json.loads(folder.service.read_text())
        os.kill(said["pid"], 0)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    return said
