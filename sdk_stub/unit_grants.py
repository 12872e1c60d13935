"""Grants that a phone holds: ids under which its units count, and which upload got which.

An upload that carries a unit waits in the queue without an id. It gets a grant when it is sent for
the first time, and that is written down before: whatever dies, the same upload has the same id.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import msgspec

from sdk_stub.buffer import write_whole
from sdk_stub.damage import put_aside, read_file, remove
from sdk_stub.releases import Whole

ID_BYTES: Final = 16
ASKED_FOR: Final = 4
"""An enrolment, a bet, the first day and a label: what a rollout needs while grants are good."""
_FILE_BYTES_MAX: Final = 1 << 16
Grant = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]


class Given(msgspec.Struct, frozen=True):
    """What ``POST /v1/grants`` answers."""

    grants: list[Grant]
    expires_ms: Whole


class _Held(msgspec.Struct):
    free: list[tuple[Grant, Whole]] = msgspec.field(default_factory=list)
    spent: dict[str, Grant] = msgspec.field(default_factory=dict)


@dataclass(slots=True)
class UnitGrants:
    """The file of one installation. What is damaged is put aside: grants can be had anew.

    `waiting` names the uploads of the queue. What was dropped there is forgotten here, too: a file
    that grew past its bound would be put aside, and what waits would be sent under new ids.
    """

    path: Path
    waiting: Callable[[], Collection[str]]
    _held: _Held = field(init=False)

    def __post_init__(self) -> None:
        self._held = self._read()

    def take_in(self, given: Given) -> None:
        """Keep what the server gave, and no more than was asked for."""
        self._held.free += [(grant, given.expires_ms) for grant in given.grants[:ASKED_FOR]]
        self._save()

    def id_of(self, name: str, now_ms: int) -> bytes | None:
        """The id of this upload of the queue, for ever the same; None if there is no grant now."""
        held = self._held
        if name in held.spent:
            return bytes.fromhex(held.spent[name])
        held.free = [(grant, until) for grant, until in held.free if until > now_ms]
        return self.give(name, held.free.pop(0)[0]) if held.free else None

    def give(self, name: str, id_hex: str) -> bytes | None:
        """Let the upload have this id; None if that cannot be written down."""
        waiting = set(self.waiting())
        self._held.spent = {n: i for n, i in self._held.spent.items() if n in waiting}
        self._held.spent[name] = id_hex
        if not self._save():
            del self._held.spent[name]  # the id is gone: it may have been written after all
            return None
        return bytes.fromhex(id_hex)

    def settle(self, name: str) -> None:
        """The upload has left the queue."""
        if self._held.spent.pop(name, None) is not None:
            self._save()

    def clear(self) -> None:
        """The person has withdrawn."""
        self._held = _Held()
        remove(self.path)

    def _read(self) -> _Held:
        try:
            return msgspec.json.decode(read_file(self.path, bytes_max=_FILE_BYTES_MAX), type=_Held)
        except FileNotFoundError:
            return _Held()
        except (OSError, ValueError, RecursionError):
            put_aside(self.path)
            return _Held()

    def _save(self) -> bool:
        try:
            write_whole(self.path, msgspec.json.encode(self._held))
        except OSError:
            return False
        return True
