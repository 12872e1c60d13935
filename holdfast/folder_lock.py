"""Who lives in a folder. A lock dies with its process, however that ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.folder import Folder
from wire.errors import PermanentError


@contextmanager
def living_in(folder: Folder) -> Iterator[None]:
    """Hold the folder until the block ends. Raises PermanentError ``folder_in_use``."""
    folder.create()
    descriptor = os.open(folder.lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise in_use(folder) from error
        yield
    finally:
        os.close(descriptor)


def check_free(folder: Folder) -> None:
    """Does nobody live there: no supervisor, nor a service alone?

    Raises PermanentError ``folder_in_use``.
    """
    for file in (folder.lock, folder.log / "log.lock"):
        try:
            descriptor = os.open(file, os.O_RDWR)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise in_use(folder) from error
        finally:
            os.close(descriptor)


def in_use(folder: Folder) -> PermanentError:
    """The error of a folder that somebody lives in."""
    return PermanentError(
        "folder_in_use",
        f"a node is running on {folder.root}",
        field="--dir",
        accepted="another folder, or stop that node first",
    )
