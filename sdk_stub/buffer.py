"""Uploads that wait on disk: a bounded queue of files that survives a crash at any moment.

A file appears under its name only when it is whole (write, fsync, rename), and its name carries a
checksum: what the flash, a cleaner or a restored backup did to it is seen, put aside and counted.
At the cap the oldest is dropped and counted: the newest say more about the release that is running.
"""

import contextlib
import os
import re
import stat
import zlib
from pathlib import Path
from typing import Final

from sdk_stub.damage import forget_asides, put_aside, read_file, remove

_SUFFIX: Final = ".upload"
_UNFINISHED: Final = ".unfinished"
_NAME: Final = re.compile(rf"([0-9]{{16,18}})(?:-([0-9a-f]{{8}}))?{re.escape(_SUFFIX)}", re.ASCII)


class UploadQueue:
    """First in, first out; the order outlives the process. One process per folder.

    `dropped_count`: no room, or not writable. `damaged_count`: gone, or not what was written.
    """

    def __init__(self, folder: Path, *, bytes_max: int) -> None:
        self._folder = folder
        self._bytes_max = bytes_max
        self.dropped_count = 0
        self.damaged_count = 0
        self._open_folder()
        for leftover in folder.glob(f"*{_UNFINISHED}"):
            remove(leftover)
        self._sizes = self._found()
        self._next = _number(next(reversed(self._sizes))) + 1 if self._sizes else 0
        self._make_room(0)

    def __len__(self) -> int:
        return len(self._sizes)

    @property
    def size_bytes(self) -> int:
        """What the queue takes on disk, never more than the cap."""
        return sum(self._sizes.values())

    def names(self) -> list[str]:
        """What waits, oldest first."""
        return list(self._sizes)

    def put(self, upload: bytes) -> None:
        """Keep an upload durably, dropping the oldest until it fits."""
        if len(upload) > self._bytes_max:
            self.dropped_count += 1
            return
        self._make_room(len(upload))
        name = f"{self._next:016d}-{zlib.crc32(upload):08x}{_SUFFIX}"
        self._next += 1
        try:
            write_whole(self._folder / name, upload)
        except OSError:  # a full disk is no reason for the app to end
            self.dropped_count += 1
            return
        self._sizes[name] = len(upload)

    def read(self, name: str) -> bytes | None:
        """The bytes that were put; None if they are no longer there, and it is forgotten."""
        try:
            upload = read_file(self._folder / name, bytes_max=self._bytes_max)
        except FileNotFoundError:
            self.damaged_count += 1
            self._sizes.pop(name, None)
            return None
        except OSError:
            upload = b""
        found = _NAME.fullmatch(name)
        said = found[2] if found else None
        if upload and said in {None, f"{zlib.crc32(upload):08x}"}:
            return upload
        self.put_aside(name)
        return None

    def oldest(self) -> tuple[str, bytes] | None:
        """Name and bytes of the first upload that can be read."""
        for name in self.names():
            upload = self.read(name)
            if upload is not None:
                return name, upload
        return None

    def put_aside(self, name: str) -> None:
        """It is not an upload: keep it out of the way."""
        self.damaged_count += 1
        self._sizes.pop(name, None)
        put_aside(self._folder / name)

    def remove(self, name: str) -> None:
        """Forget an upload: it was acknowledged, refused for good, or dropped."""
        remove(self._folder / name)
        self._sizes.pop(name, None)

    def clear(self) -> None:
        """Forget everything."""
        for name in self.names():
            self.remove(name)
        forget_asides(self._folder)

    def _open_folder(self) -> None:
        with contextlib.suppress(OSError):
            if not self._folder.is_dir():
                put_aside(self._folder)
            self._folder.mkdir(parents=True, exist_ok=True)

    def _found(self) -> dict[str, int]:
        """What lies there by size, oldest first; what is no upload is put aside."""
        sizes: dict[str, int] = {}
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            with contextlib.suppress(OSError):
                status = path.lstat()
                is_ours = stat.S_ISREG(status.st_mode) and _NAME.fullmatch(path.name)
                if is_ours and status.st_size <= self._bytes_max:
                    sizes[path.name] = status.st_size
                    continue
            self.damaged_count += 1
            put_aside(path)
        return dict(sorted(sizes.items(), key=lambda found: (_number(found[0]), found[0])))

    def _make_room(self, wanted_bytes: int) -> None:
        while self._sizes and self.size_bytes + wanted_bytes > self._bytes_max:
            self.remove(next(iter(self._sizes)))
            self.dropped_count += 1


def _number(name: str) -> int:
    return int(name[: -len(_SUFFIX)].partition("-")[0])


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file atomically and durably: a reader sees the old content or the new.

    A folder that was removed is made again; what is in the way and no file is put aside.
    """
    try:
        _write(path, content)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        path.parent.mkdir(parents=True, exist_ok=True)
        for place in (path, _unfinished(path)):
            if place.is_dir():
                put_aside(place)
        _write(path, content)


def _unfinished(path: Path) -> Path:
    return path.with_name(path.name + _UNFINISHED)


def _write(path: Path, content: bytes) -> None:
    unfinished = _unfinished(path)
    with unfinished.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    unfinished.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
