"""Identifiers that must never be found anywhere, in the forms that they could be kept in."""

import base64
import sqlite3
import subprocess
import uuid
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from store.client import Client
from wire.errors import PermanentError
from wire.packed import unpack

ADVERTISING_ID = "38400000-8cf0-11bd-b23e-10b96e40c0de"
CANARIES = {
    "e-mail": "Zelda.Canary@leak.example",
    "phone": "+4915100926374",
    "ip": "203.0.113.217",
    "imei": "490154203237518",
    "gps": "48.137154,11.576124",
    "advertising id": ADVERTISING_ID,
}
SIXTEEN_BYTES = (b"zelda@leak.examp", uuid.UUID(ADVERTISING_ID).bytes, b"490154203237518\x00")
"""What an attacker could put where 16 random bytes belong."""


def forms_of(text: str) -> Iterator[bytes]:
    """One identifier in every form that is planted and searched."""
    for cased in {text, text.lower(), text.upper()}:
        raw = cased.encode()
        yield raw
        yield base64.b64encode(raw)
        yield base64.urlsafe_b64encode(raw).rstrip(b"=")
        yield raw.hex().encode()
        yield raw.hex().upper().encode()
        yield cased.encode("utf-16-le")
        yield cased.encode("utf-16-be")


def strings() -> list[str]:
    """Every form as text, to be planted where text goes."""
    return sorted({form.decode("latin-1") for text in CANARIES.values() for form in forms_of(text)})


def needles() -> dict[bytes, str]:
    """Bytes to search for -> whose they are. Forms of at least 8 bytes: no accidental find."""
    found = {form: name for name, text in CANARIES.items() for form in forms_of(text)}
    for raw in SIXTEEN_BYTES:
        found |= {
            raw: "batch id",
            raw.hex().encode(): "batch id",
            base64.b64encode(raw): "batch id",
        }
    # a quoted form of something binary, as JSON and Python write it
    found |= {
        repr(form)[2:-1].encode(): name
        for form, name in list(found.items())
        if not form.isascii() or b"\x00" in form
    }
    assert min(map(len, found)) >= 8
    return found


def search(places: Iterable[tuple[str, bytes]], sought: Iterable[bytes]) -> set[tuple[str, bytes]]:
    """(place, what) of everything found; `places` gives names and bytes."""
    wanted = list(sought)
    return {(place, what) for place, body in places for what in wanted if what in body}


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder, byte for byte, and its path."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield f"file {path.relative_to(folder)}", path.read_bytes() + str(path).encode()


def git_objects(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every object of every repository below a folder, unpacked, reachable or not."""
    for head in sorted(folder.rglob("HEAD")):
        if (head.parent / "objects").is_dir():
            yield (
                f"git {head.parent.name}",
                subprocess.run(
                    ["git", "cat-file", "--batch-all-objects", "--batch"],
                    cwd=head.parent,
                    check=True,
                    capture_output=True,
                ).stdout,
            )


def tables(store: Client) -> Iterator[tuple[str, bytes]]:
    """Every row of every table and view that the writer may read, as text."""
    names = store.rows(
        "SELECT database, name FROM system.tables WHERE database IN ('hf', 'hf_store')"
    )
    for database, name in names:
        rows = store.rows(f"SELECT * FROM {database}.{name}")  # noqa: S608  # the store's own names
        yield f"table {database}.{name}", "\n".join(map(repr, rows)).encode()


def engine_logs(store: Client) -> Iterator[tuple[str, bytes]]:
    """What the engine writes down of itself, where it keeps such tables."""
    for name in ("query_log", "text_log", "query_thread_log", "part_log"):
        try:
            rows = store.rows(f"SELECT * FROM system.{name}")  # noqa: S608  # the names above
        except PermanentError:
            continue  # there is none, or nobody may read it
        yield f"table system.{name}", "\n".join(map(repr, rows)).encode()


def databases(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every value of every table of every SQLite file below a folder, pages put together and
    packed records unpacked: a search of frames would find nothing, whatever they hold.
    """
    found = [
        p for p in folder.rglob("*") if p.is_file() and p.read_bytes()[:13] == b"SQLite format"
    ]
    for path in sorted(found):
        with closing(sqlite3.connect(path)) as db:
            names = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (name,) in names:
                for row in db.execute(f"SELECT * FROM {name}"):  # noqa: S608  # its own names
                    values = [unpack(v) if isinstance(v, bytes) else str(v).encode() for v in row]
                    yield f"sqlite {path.name}.{name}", b"\n".join(values)
