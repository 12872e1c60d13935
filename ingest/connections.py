"""How many connections may be open, and who goes when there are too many.

Work is limited, not sockets: a newcomer is always let in, and the one that has waited longest
without asking for anything goes. So idle connections never make anybody's upload fail. Those that
never showed a valid key go first. One look a second at all of them replaces timers. Addresses are
counted in memory, and neither written down nor shown.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from ingest.listen import prefix_of

_KIB = 1024
_MIB = 1024 * 1024


class Rank(IntEnum):
    """Who goes first when there are too many; who is `OWED` an answer stays."""

    FRESH = 0  # no valid key yet
    KNOWN = 1  # between two requests, after a valid one
    READING = 2  # in a body
    OWED = 3


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Budgets of connections. Times in seconds.

    `per_address_max` is generous: a proxy is one address, and so are many phones behind a
    carrier's. An IPv6 address counts as its /64.
    """

    connections_max: int = 2000
    per_address_max: int = 1000
    head_bytes_max: int = 16 * _KIB
    headers_max: int = 100
    keyless_max: int = 32  # requests of a connection that never showed a valid key
    head_s: float = 10.0  # from accept, or from a request's first byte, to the end of its head
    keep_alive_s: float = 60.0
    stalled_s: float = 15.0  # answers are not read for so long
    rest_bytes_max: int = 32 * _MIB  # of a refused body are thrown away, so that clients can read
    rest_s: float = 10.0
    held_bytes_max: int = 16 * _MIB  # of pipelined requests, all connections together
    grace_s: float = 0.5  # for a newcomer to ask for something
    sweep_s: float = 1.0


class Connection(Protocol):
    """What is counted here. Times are the loop's: when it came to its rank, and when it must go."""

    rank: Rank
    ranked_s: float
    deadline_s: float
    stalled_at_s: float

    def expire(self) -> None:
        """Its time is up."""

    def evict(self) -> None:
        """It must make room."""


class _Neighbours:
    """The connections of one address, each rank in the order in which they came to it."""

    def __init__(self) -> None:
        self.count = 0
        self.ranks: tuple[dict[int, Connection], ...] = tuple({} for _ in Rank)


class Connections:
    """All open connections of one door."""

    def __init__(self, limits: ConnectionLimits, now_s: Callable[[], float]) -> None:
        self.limits = limits
        self.now_s = now_s
        self.evicted_count = 0
        self.expired_count = 0
        self._of: dict[Connection, tuple[int, str, _Neighbours]] = {}
        self._entered = 0
        self._neighbours: dict[str, _Neighbours] = {}
        self._held_bytes = 0

    @property
    def count(self) -> int:
        """How many are open."""
        return len(self._of)

    def enter(self, newcomer: Connection, address: str) -> None:
        """Let in, and make another one go if that is one too many."""
        prefix = prefix_of(address)
        neighbours = self._neighbours.setdefault(prefix, _Neighbours())
        self._entered += 1
        self._of[newcomer] = self._entered, prefix, neighbours
        neighbours.count += 1
        newcomer.rank = Rank.FRESH
        newcomer.ranked_s = self.now_s()
        newcomer.deadline_s = newcomer.ranked_s + self.limits.head_s
        if neighbours.count > self.limits.per_address_max:
            self._make_room(neighbours)
        elif len(self._of) > self.limits.connections_max:
            self._make_room(max(self._neighbours.values(), key=lambda those: those.count))
        neighbours.ranks[Rank.FRESH][self._entered] = newcomer

    def leave(self, one: Connection) -> None:
        """It is closed. Twice is once."""
        place = self._of.pop(one, None)
        if place is None:
            return
        number, prefix, neighbours = place
        neighbours.ranks[one.rank].pop(number, None)
        neighbours.count -= 1
        if not neighbours.count:
            del self._neighbours[prefix]

    def rank(self, one: Connection, rank: Rank) -> None:
        """Put it at the end of a rank; one that stays in its rank keeps its place."""
        place = self._of.get(one)
        if one.rank is rank or place is None:
            return
        number, _, neighbours = place
        neighbours.ranks[one.rank].pop(number, None)
        neighbours.ranks[rank][number] = one
        one.rank = rank
        one.ranked_s = self.now_s()

    def hold(self, size: int) -> bool:
        """Whether so many bytes of pipelined requests may be kept; negative gives back."""
        if size > 0 and self._held_bytes + size > self.limits.held_bytes_max:
            return False
        self._held_bytes += size
        return True

    def sweep(self) -> None:
        """Close whatever has had its time."""
        now_s = self.now_s()
        for one in list(self._of):
            if now_s >= one.deadline_s or now_s >= one.stalled_at_s:
                self.expired_count += 1
                one.expire()

    def _make_room(self, neighbours: _Neighbours) -> None:
        """Those that had their chance go first, so that newcomers do not push each other out."""
        since_s = self.now_s() - self.limits.grace_s
        for rank, until_s in (
            (Rank.FRESH, since_s),
            (Rank.READING, since_s),
            (Rank.FRESH, math.inf),
            (Rank.KNOWN, math.inf),
            (Rank.READING, math.inf),
            (Rank.OWED, math.inf),
        ):
            victim = next(iter(neighbours.ranks[rank].values()), None)
            if victim is not None and victim.ranked_s <= until_s:
                self.evicted_count += 1
                self.leave(victim)  # at once: its end is told in a later turn of the loop
                victim.evict()
                return


NEVER = math.inf
