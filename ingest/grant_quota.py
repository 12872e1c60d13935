"""How many grants an address prefix gets: a bucket each, that refills slowly. In memory alone.

What a phone needs is a handful per rollout, so a prefix gets few, whoever asks: who wants many
units must hold many prefixes. A prefix is known by one of `SLOTS` hash values under a salt of this
process, as in `ingest.quota`. The network around it, an IPv4 /16 or an IPv6 /32, has a bucket as
large as 256 of them: an IPv6 /32 has 65,536 prefixes, enough to empty the bucket that any honest
prefix has its slot in.
"""

import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import numpy as np

from ingest.quota import prefix_bytes
from wire.errors import TransientError

SLOTS: Final = 65_536
AROUND: Final = 256
RETRY_AFTER_MAX_S: Final = 3600
_HOUR_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class GrantLimits:
    """A prefix's bucket for an app holds `per_prefix` grants and is full again in `refill_h`."""

    per_prefix: int = 20
    refill_h: float = 168.0


class _Buckets:
    """`SLOTS` buckets of one size, full at first: 0.8 MB."""

    def __init__(self, size: int, refill_s: float, now_s: float) -> None:
        self._size = float(size)
        self.per_s = size / refill_s
        self._left = np.full(SLOTS, size, np.float32)
        self._at_s = np.full(SLOTS, now_s)

    def refilled(self, slot: int, now_s: float) -> float:
        """What is in a bucket now. Time that goes back fills nothing."""
        before_s = float(self._at_s[slot])
        flowed = max(0.0, now_s - before_s) * self.per_s
        left = min(float(self._left[slot]) + flowed, self._size)
        self._left[slot], self._at_s[slot] = left, max(now_s, before_s)
        return left

    def take(self, slot: int, count: int) -> None:
        """There were so many."""
        self._left[slot] -= count


class GrantQuota:
    """The buckets of all apps that have a key: 1.6 MB for each app that was ever asked for."""

    def __init__(self, limits: GrantLimits, now_s: Callable[[], float]) -> None:
        self._limits = limits
        self._now_s = now_s
        self._salt = secrets.token_bytes(16)
        self._of: dict[str, tuple[_Buckets, _Buckets]] = {}
        self.given_count = 0
        self.refused_count = 0

    def take(self, app_id: str, address: str, wanted: int) -> int:
        """How many of these it gets, 1 or more. Raises TransientError ``grants_exhausted``."""
        now_s = self._now_s()
        if app_id not in self._of:
            size, refill_s = self._limits.per_prefix, self._limits.refill_h * _HOUR_S
            self._of[app_id] = (
                _Buckets(size, refill_s, now_s),
                _Buckets(size * AROUND, refill_s, now_s),
            )
        prefix = prefix_bytes(address)
        around = prefix[: len(prefix) * 2 // 3]  # 2 of 3 bytes, 4 of 6
        asked = list(zip(self._of[app_id], (self._slot(prefix), self._slot(around)), strict=True))
        here = [(buckets.refilled(slot, now_s), buckets.per_s) for buckets, slot in asked]
        given = min(wanted, *(int(left) for left, _ in here))
        if not given:
            self.refused_count += 1
            raise TransientError(
                "grants_exhausted",
                "this network has had its grants of this app",
                retry_after_s=min(
                    RETRY_AFTER_MAX_S, max(math.ceil((1.0 - left) / per_s) for left, per_s in here)
                ),
            )
        for buckets, slot in asked:
            buckets.take(slot, given)
        self.given_count += given
        return given

    def _slot(self, prefix: bytes) -> int:
        digest = blake2b(prefix, digest_size=8, key=self._salt).digest()
        return int.from_bytes(digest) % SLOTS
