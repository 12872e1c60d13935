"""Grants: batch ids that the server issued. With `proof: grant` nothing else counts in a verdict.

A grant is the 16 bytes that an upload says as its ``batch_id``: 7 random ones (the first choose
the partition), the hour of issue in 2, and a MAC over both and the app in 7. So it needs no field
of its own, and dedup, which is exact over all partitions, spends it: however often it comes, it
counts once. It is checked without any state. Nothing in it tells who asked.

The id is kept behind the hour in the grant, not the one that the upload says it was made in, or a
grant could be spent once for each hour that a forger writes down. That holds when the grant has
expired, too: an honest retry that comes so late is a copy of what was counted.
"""

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.batch_key import BatchKey
from wire.segment import BATCH_HOUR_BYTES, BATCH_ID, batch_hour
from wire.times import HOUR_MS

_RANDOM_BYTES: Final = 7
_HEAD_BYTES: Final = BATCH_HOUR_BYTES + _RANDOM_BYTES
_MAC_BYTES: Final = BATCH_ID.itemsize - _HEAD_BYTES
_HOURS: Final = 1 << 8 * BATCH_HOUR_BYTES
_AHEAD_HOURS: Final = 1  # what another door's clock may be ahead
_KNOWN_HOURS: Final = 48 * 24
"""For so long an id is known as ours: half of the longest accepted age, 31 days, until it is spent,
and the whole of it in which that upload is retried. Expired or not, a copy is kept alike."""
ACCEPTED_AGE_MIN_MS: Final = 4 * HOUR_MS
"""Below it a grant, its hours rounded up, could outlive the memory of its having been spent."""


def life_ms(accepted_age_ms: int) -> int:
    """How long a grant is good: half the time for which ids are remembered, an hour at least."""
    return max(accepted_age_ms // 2 // HOUR_MS, 1) * HOUR_MS


class Spent(NamedTuple):
    """Of each upload: whether its id is a grant, and when the id was made, Unix milliseconds."""

    is_granted: NDArray[np.bool_]
    made_ms: NDArray[np.int64]


@dataclass(frozen=True, slots=True, repr=False)
class Grants:
    """Issues and knows grants. Doors with one batch key know each other's; without it, nobody's."""

    batch_key: BatchKey
    _secret: bytes = field(init=False)

    def __post_init__(self) -> None:
        secret = self.batch_key.secret
        made = blake2b(key=secret, person=b"holdfast-grants").digest() if secret else b""
        object.__setattr__(self, "_secret", made)

    @property
    def can_issue(self) -> bool:
        """Whether there is a key."""
        return bool(self._secret)

    def issue(self, app_id: str, count: int, now_ms: int) -> list[bytes]:
        """So many grants for an app."""
        hour = batch_hour(now_ms).to_bytes(BATCH_HOUR_BYTES)
        heads = [secrets.token_bytes(_RANDOM_BYTES) + hour for _ in range(count)]
        return [head + self._mac(app_id, head) for head in heads]

    def spent(
        self,
        batch_ids: Sequence[bytes],
        apps: Sequence[str],
        created_ms: NDArray[np.int64],
        *,
        now_ms: int,
        life_ms: int,
    ) -> Spent:
        """Which of the ids are grants of these apps that are still good.

        A random id says an hour, too: one in 57 says a recent one and has its MAC computed.
        """
        if not self._secret or not batch_ids:
            return Spent(np.zeros(len(batch_ids), np.bool_), created_ms)
        said = np.frombuffer(b"".join(batch_ids), np.uint8).reshape(-1, BATCH_ID.itemsize)
        hours = said[:, _RANDOM_BYTES:_HEAD_BYTES].astype(np.int64) @ (256, 1)
        newest = now_ms // HOUR_MS + _AHEAD_HOURS
        age = (newest - hours) % _HOURS
        ours = np.zeros(len(batch_ids), np.bool_)
        for i in np.flatnonzero(age <= _KNOWN_HOURS).tolist():
            head, mac = batch_ids[i][:_HEAD_BYTES], batch_ids[i][_HEAD_BYTES:]
            ours[i] = hmac.compare_digest(self._mac(apps[i], head), mac)
        is_good = ours & (age <= life_ms // HOUR_MS + _AHEAD_HOURS)
        return Spent(is_good, np.where(ours, (newest - age) * HOUR_MS, created_ms))

    def _mac(self, app_id: str, head: bytes) -> bytes:
        said = head + app_id.encode()
        return blake2b(said, key=self._secret, digest_size=_MAC_BYTES).digest()
