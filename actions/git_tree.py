"""What ``ls-tree`` and ``cat-file`` print, as values. A name in git is bytes; here text, too."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TreeFile:
    """A regular file of a commit. `path` is its name for people and manifests, see `shown_name`."""

    path: str
    mode: str
    blob: str
    name: bytes


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """Anything in a commit that is no folder; `file` is None for a link or a submodule."""

    path: str
    size: int
    file: TreeFile | None


def shown_name(name: bytes) -> str:
    """A file's name as text of Unicode alone, on one line; different names stay different.

    Bytes that are not UTF-8, backslashes and what cannot be printed are escaped.
    """
    text = name.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def entries_of(listed: bytes) -> list[TreeEntry]:
    """The entries of ``ls-tree -r -z -l``."""
    entries = []
    for line in listed.split(b"\0")[:-1]:
        described, name = line.split(b"\t", 1)
        mode, kind, blob, size = described.decode().split()
        path = shown_name(name)
        is_file = kind == "blob" and mode.startswith("100")
        file = TreeFile(path, mode, blob, name) if is_file else None
        entries.append(TreeEntry(path, int(size) if size.isdigit() else 0, file))
    return entries


def parsed_batch(answer: bytes) -> Iterator[bytes]:
    """The contents in the answer of ``cat-file --batch``.

    Raises LookupError or ValueError if an object is missing.
    """
    at = 0
    while at < len(answer):
        head = answer.index(b"\n", at)
        size = int(answer[at:head].split()[2])
        yield answer[head + 1 : head + 1 + size]
        at = head + 1 + size + 1
