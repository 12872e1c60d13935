"""Uploads that wait on disk: a bounded queue of files that survives a crash at any moment.

A file appears under its name only when it is whole (write, fsync, rename). At the cap the oldest
is dropped and counted: the newest say more about the release that is running.
"""

import os
from pathlib import Path
from typing import Final

_SUFFIX: Final = ".upload"
_UNFINISHED: Final = ".unfinished"


class UploadQueue:
    """First in, first out; the order outlives the process. One process per folder."""

    def __init__(self, folder: Path, *, bytes_max: int) -> None:
        self._folder = folder
        self._bytes_max = bytes_max
        self.dropped_count = 0
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f"*{_UNFINISHED}"):
            leftover.unlink()
        self._sizes = {p.name: p.stat().st_size for p in sorted(folder.glob(f"*{_SUFFIX}"))}
        self._next = int(Path(next(reversed(self._sizes))).stem) + 1 if self._sizes else 0

    def __len__(self) -> int:
        return len(self._sizes)

    @property
    def size_bytes(self) -> int:
        """What the queue takes on disk, never more than the cap."""
        return sum(self._sizes.values())

    def put(self, upload: bytes) -> None:
        """Keep an upload durably, dropping the oldest until it fits."""
        if len(upload) > self._bytes_max:
            self.dropped_count += 1
            return
        while self._sizes and self.size_bytes + len(upload) > self._bytes_max:
            self.remove(next(iter(self._sizes)))
            self.dropped_count += 1
        name = f"{self._next:016d}{_SUFFIX}"
        self._next += 1
        write_whole(self._folder / name, upload)
        self._sizes[name] = len(upload)

    def oldest(self) -> tuple[str, bytes] | None:
        """Name and bytes of the upload to send next."""
        name = next(iter(self._sizes), None)
        return None if name is None else (name, (self._folder / name).read_bytes())

    def remove(self, name: str) -> None:
        """Forget an upload: it was acknowledged, refused for good, or dropped."""
        (self._folder / name).unlink(missing_ok=True)
        self._sizes.pop(name, None)

    def clear(self) -> None:
        """Forget everything."""
        for name in list(self._sizes):
            self.remove(name)


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file atomically and durably: a reader sees the old content or the new."""
    unfinished = path.with_name(path.name + _UNFINISHED)
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
