"""``holdfast dead-letters``: list, export, replay or discard the records that could not be read.

A replay of an embedded node is a request in its state store, taken by the running service within
a moment, or at its next start: the log has one writer, and it is not this command. With Kafka the
command appends to the topic itself.
"""

import asyncio
import json
import os
import secrets
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, Protocol

from holdfast.config import load
from holdfast.folder import Folder
from holdfast.kafka_settings import kafka_settings
from streams.dead_letters import Letter, Place
from streams.kafka.access import check_access
from streams.kafka.dead_letters import KafkaLetters
from streams.letter_replay import entry_of
from streams.state import StateStore
from wire.errors import PermanentError

INDEX: Final = "index.json"


class Letters(Protocol):
    """Where dead letters lie."""

    def listed(self) -> Sequence[Letter]:
        """Every letter, by partition and offset."""

    def payload(self, partition: int, offset: int) -> bytes:
        """The bytes as they were read."""

    def request(self, partition: int, offset: int, payload: bytes) -> bool:
        """See that these bytes reach the log once; False if it is asked for or settled already."""

    def discard(self, places: Sequence[Place], reason: str) -> set[Place]:
        """Give listed letters up for good, together; those that waited, and for no replay."""


@contextmanager
def open_letters(directory: Path | None, *, take_over: bool = False) -> Iterator[Letters]:
    """The letters of the topic if a broker is named, else of a node's folder.

    `take_over` is for the topic: replay although another command, which has ended, began to.
    Raises PermanentError ``folder_empty`` if the folder holds no node.
    """
    settings = load(dir=directory)
    if settings.kafka_bootstrap:
        kafka = kafka_settings(settings)
        asyncio.run(check_access(kafka))
        name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        with closing(KafkaLetters(kafka, name=name, take_over=take_over)) as letters:
            yield letters
        return
    folder = Folder(settings.dir)
    if not folder.state.exists():
        raise PermanentError(
            "folder_empty", f"{folder.root} holds no node", accepted="a folder of holdfast up"
        )
    state = StateStore(folder.state)
    try:
        yield state.letters
    finally:
        state.close()


def list_letters(letters: Letters) -> tuple[dict[str, object], str]:
    """JSON {letters, waiting} and a line for each."""
    found = letters.listed()
    waiting = sum(not x.is_settled for x in found)
    lines = [
        f"{x.partition}:{x.offset}  {x.code}  {x.size_bytes} bytes  at {x.log_time_ms}{_became(x)}"
        for x in found
    ]
    listed = {"letters": [_plain(x) for x in found], "waiting": waiting}
    return listed, "\n".join([*lines, f"{waiting} wait"])


def _became(letter: Letter) -> str:
    if letter.discarded is not None:
        return f"  discarded: {letter.discarded}"
    return "  replayed" if letter.is_replayed else ""


def export(letters: Letters, folder: Path) -> dict[str, object]:
    """Write what waits to a folder: a file each, and an index; both for their owner alone."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    index = []
    for letter in letters.listed():
        if not letter.is_settled:
            file = folder / name_of(letter)
            file.write_bytes(letters.payload(letter.partition, letter.offset))
            file.chmod(0o600)
            index.append({**_plain(letter), "file": file.name})
    (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n")
    return {"exported": len(index), "folder": str(folder)}


def replay(letters: Letters, mended: Path | None) -> dict[str, object]:
    """Ask for what waits, as it is or from a folder of mended files; what is unreadable is named.

    With a folder, letters that have no file there are left alone.
    """
    requested, refused = 0, []
    for letter in letters.listed():
        file = mended / name_of(letter) if mended else None
        if letter.is_settled or (file and not file.exists()):
            continue
        payload = file.read_bytes() if file else letters.payload(letter.partition, letter.offset)
        try:
            entry_of(letter.partition, payload)
        except PermanentError as error:
            place = {"partition": letter.partition, "offset": letter.offset}
            refused.append({**place, "code": error.code, "detail": error.detail})
        else:
            requested += letters.request(letter.partition, letter.offset, payload)
    return {"requested": requested, "refused": refused}


def replay_text(done: dict[str, object]) -> str:
    """What `replay` did, for people."""
    refused = done["refused"]
    assert isinstance(refused, list)  # noqa: S101  # made above
    lines = [f"refused {x['partition']}:{x['offset']}  {x['code']}: {x['detail']}" for x in refused]
    return "\n".join([*lines, f"{done['requested']} to be appended (by a node: when it runs)"])


def discard(letters: Letters, which: Sequence[str], reason: str) -> dict[str, object]:
    """Give up letters, named ``partition:offset`` or ``all`` that wait; what was left, and why.

    Raises PermanentError ``letter_unknown`` or ``reason_missing`` before anything is given up.
    """
    because = " ".join(reason.split())
    if not because:
        raise PermanentError(
            "reason_missing", "letters are given up for a reason", field="reason", accepted="words"
        )
    places = _chosen(letters, which)
    done = letters.discard(places, because)
    now = {(x.partition, x.offset): x for x in letters.listed()}
    left = [
        {"partition": at[0], "offset": at[1], "detail": detail}
        for at in places
        if at not in done and (detail := _why_left(now.get(at)))
    ]
    return {"discarded": len(done), "left": left}


def _chosen(letters: Letters, which: Sequence[str]) -> list[Place]:
    listed = {f"{x.partition}:{x.offset}": x for x in letters.listed()}
    if list(which) == ["all"]:
        return [(x.partition, x.offset) for x in listed.values() if not x.is_settled]
    if unknown := [place for place in which if place not in listed]:
        raise PermanentError(
            "letter_unknown",
            f"no letter is listed at {', '.join(unknown)}",
            accepted="partition:offset as in `holdfast dead-letters list`, or: all",
        )
    return [(listed[place].partition, listed[place].offset) for place in dict.fromkeys(which)]


def _why_left(letter: Letter | None) -> str:
    """Empty: somebody had given it up before."""
    if letter is None:
        return "it is there no longer: list again"
    if letter.is_replayed:
        return "it was replayed"
    if letter.discarded is not None:
        return ""
    return "its replay has begun: replay again, or --take-over (Kafka) if that one has ended"


def discard_text(done: dict[str, object]) -> str:
    """What `discard` did, for people."""
    left = done["left"]
    assert isinstance(left, list)  # noqa: S101  # made above
    lines = [f"left {x['partition']}:{x['offset']}  {x['detail']}" for x in left]
    return "\n".join([*lines, f"{done['discarded']} given up"])


def name_of(letter: Letter) -> str:
    """The file of a letter in an export."""
    return f"{letter.partition}-{letter.offset}.segment"


def _plain(letter: Letter) -> dict[str, object]:
    return {
        "partition": letter.partition,
        "offset": letter.offset,
        "code": letter.code,
        "size_bytes": letter.size_bytes,
        "log_time_ms": letter.log_time_ms,
        "replayed": letter.is_replayed,
        "discarded": letter.discarded,
    }
