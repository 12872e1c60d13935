"""Files that cannot be what they should be: out of the way, never in the way of the app."""

import contextlib
import shutil
import stat
from pathlib import Path
from typing import Final

_SUFFIX: Final = ".damaged"
_KEPT_MAX: Final = 4  # for whoever looks into it; a flash that dies makes more


def read_file(path: Path, *, bytes_max: int) -> bytes:
    """The content of a file, cut one byte beyond the limit; a pipe or a device is never opened.

    Raises OSError.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("not a file")
    with path.open("rb") as file:
        return file.read(bytes_max + 1)


def put_aside(path: Path) -> None:
    """Rename it to ``NAME.damaged``; of a folder's damaged ones the last few by name are kept.

    Whatever lies there (a folder, a link) is moved, and what cannot be moved stays.
    """
    aside = path.with_name(path.name + _SUFFIX)
    with contextlib.suppress(OSError):
        remove(aside)
        path.replace(aside)
    for older in _asides(path.parent)[:-_KEPT_MAX]:
        remove(older)


def forget_asides(folder: Path) -> None:
    """Delete what was put aside there: the person has withdrawn."""
    for aside in _asides(folder):
        remove(aside)


def remove(path: Path) -> None:
    """Delete it, whatever it is; silent if that cannot be done."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _asides(folder: Path) -> list[Path]:
    try:
        return sorted(folder.glob(f"*{_SUFFIX}"))
    except OSError:
        return []
