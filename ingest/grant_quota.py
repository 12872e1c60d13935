"""How many grants an address prefix gets: a bucket each, that refills slowly. In memory alone.

What a phone needs is a handful per rollout, so a prefix gets few, whoever asks: who wants many
units must hold many prefixes. A prefix is known by one of `SLOTS` hash values under a salt of this
process, as in `ingest.quota`.
"""

import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ingest.quota import prefix_bytes
from wire.errors import TransientError

SLOTS: Final = 65_536
RETRY_AFTER_MAX_S: Final = 3600
_HOUR_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class GrantLimits:
    """A prefix's bucket for an app holds `per_prefix` grants and is full again in `refill_h`."""

    per_prefix: int = 20
    refill_h: float = 168.0


class GrantQuota:
    """The buckets of all apps that have a key: 0.8 MB for each app that was ever asked for."""

    def __init__(self, limits: GrantLimits, now_s: Callable[[], float]) -> None:
        self._limits = limits
        self._now_s = now_s
        self._salt = secrets.token_bytes(16)
        self._of: dict[str, tuple[NDArray[np.float32], NDArray[np.float64]]] = {}
        self.refused_count = 0

    def take(self, app_id: str, address: str, wanted: int) -> int:
        """How many of these it gets, 1 or more. Raises TransientError ``grants_exhausted``."""
        limits, now_s, slot = self._limits, self._now_s(), self._slot_of(address)
        if app_id not in self._of:
            full = np.full(SLOTS, limits.per_prefix, np.float32)
            self._of[app_id] = (full, np.full(SLOTS, now_s))
        left, at_s = self._of[app_id]
        per_s = limits.per_prefix / (limits.refill_h * _HOUR_S)
        passed_s = max(0.0, now_s - float(at_s[slot]))
        here = min(float(left[slot]) + passed_s * per_s, float(limits.per_prefix))
        left[slot], at_s[slot] = here, max(now_s, float(at_s[slot]))
        given = min(wanted, int(here))
        if not given:
            self.refused_count += 1
            raise TransientError(
                "grants_exhausted",
                "this network has had its grants of this app",
                retry_after_s=min(RETRY_AFTER_MAX_S, math.ceil((1.0 - here) / per_s)),
            )
        left[slot] = here - given
        return given

    def _slot_of(self, address: str) -> int:
        digest = blake2b(prefix_bytes(address), digest_size=8, key=self._salt).digest()
        return int.from_bytes(digest) % SLOTS
