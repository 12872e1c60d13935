"""What a forged verdict costs where units need grants (`proof: grant`), for `bench.forgery`.

Each honest phone has a grant for each upload, as it has in a network of its own. The forger asks
from some prefixes, and each gives what the quota gives by default; uploads beyond that go out under
ids of the forger's own, as they would. Two prices: the prefixes that it takes at once, and the
weeks that it takes from one prefix, if the attempt lasts as long: then a window is longer, too.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from bench.forgery_ways import (
    APP,
    PHONES,
    WAYS,
    WINDOWS,
    Forged,
    body,
    breach_window,
    desired,
)
from bench.report import Bound, Result
from holdfast.replay import START_MS, WINDOW_MS
from ingest.batch_key import BatchKey
from ingest.grant_quota import GrantLimits, GrantQuota
from ingest.grants import Grants
from wire.desired import Desired
from wire.errors import TransientError

PREFIXES: Final = (1, 2, 3, 4, 5, 10, 20, 50)
WEEKS: Final = (0.5, 1, 2, 3, 4, 8, 16, 48)
_SIZES: Final = (1, 2, 5, 20, 80)
_WEEK_S: Final = 7 * 86_400
_KEY = BatchKey(b"b" * 32)
_GRANTS = Grants(_KEY)
_ASKED = 16
_SLOW: Final[Bound] = (">=", 1.0)  # an attempt of a week is over before one network can forge it


def strict() -> Desired:
    """The desired state of `bench.forgery_ways` with units that need grants."""
    state = desired()
    return replace(state, policy=replace(state.policy, proof="grant"))


def with_id(upload: bytes, batch_id: bytes) -> bytes:
    """The same upload under another id."""
    return json.dumps(json.loads(upload) | {"batch_id": batch_id.hex()}).encode()


def vouched(windows: list[list[bytes]]) -> list[list[bytes]]:
    """Honest uploads, each under a grant of the hour in which it is sent."""
    found = []
    for number, uploads in enumerate(windows):
        ids = _GRANTS.issue(APP, len(uploads), START_MS + number * WINDOW_MS)
        found.append([with_id(u, i) for u, i in zip(uploads, ids, strict=True)])
    return found


@dataclass(frozen=True, slots=True)
class Means:
    """What a forger has: prefixes, and the seconds that a window lasts."""

    prefixes: int = 1
    window_s: float = WINDOW_MS / 1000


@dataclass(frozen=True, slots=True)
class Spent:
    """What an aim took; infinity if it was not reached."""

    prefixes: float = math.inf
    uploads: float = math.inf
    granted: float = math.inf
    wire_bytes: float = math.inf
    seconds: float = math.inf


def forged(way: Forged, size: int, means: Means) -> tuple[list[list[bytes]], list[int]]:
    """The forger's uploads by window, and how many of each window are under grants, the first."""
    now_s = [0.0]
    quota = GrantQuota(GrantLimits(), lambda: now_s[0])
    rng = np.random.default_rng(size)
    windows, counts = [], []
    for number in range(WINDOWS):
        now_s[0] = number * means.window_s
        now_ms = START_MS + number * WINDOW_MS
        made = [body(rng, now_ms, *item) for item in way.window(number, size)]
        ids: list[bytes] = []
        for prefix in range(means.prefixes):
            ids += _taken(quota, f"10.0.{prefix}.1", len(made) - len(ids), now_ms)
        counts.append(len(ids))
        windows.append([with_id(u, i) for u, i in zip(made, ids, strict=False)] + made[len(ids) :])
    return windows, counts


def _taken(quota: GrantQuota, address: str, wanted: int, now_ms: int) -> list[bytes]:
    taken: list[bytes] = []
    while len(taken) < wanted:
        try:
            count = quota.take(APP, address, min(_ASKED, wanted - len(taken)))
        except TransientError:
            break
        taken += _GRANTS.issue(APP, count, now_ms)
    return taken


def grant_rows(
    worlds: dict[str, list[list[bytes]]], prefixes: Sequence[int], weeks: Sequence[float]
) -> Iterator[Result]:
    """For each way the prefixes that it takes. From one it must not work, however much is sent."""
    state = strict()
    phones = {aim: vouched(world) for aim, world in worlds.items()}
    nothing: list[list[bytes]] = [[] for _ in range(WINDOWS)]
    plain = {aim: breach_window(world, nothing, state, _KEY) for aim, world in phones.items()}
    sound = plain["rollback"] == math.inf and plain["masking"] < math.inf
    name = "grant: without a forger both worlds are judged rightly"
    yield Result("S3", name, sound, "", (">=", 1))
    for way in WAYS:
        name = f"grant, {way.aim}: {way.what}"
        yield from _at_once(name, cheapest(way, phones[way.aim], [Means(p) for p in prefixes]))
        slow = [Means(1, w * _WEEK_S / WINDOWS) for w in weeks]
        found = cheapest(way, phones[way.aim], slow)
        yield Result("S3", f"{name}, from one prefix", found.seconds / _WEEK_S, "weeks", _SLOW)


def _at_once(name: str, found: Spent) -> Iterator[Result]:
    yield Result("S3", name, found.prefixes, "prefixes", (">=", 2), PHONES)
    if found.prefixes < math.inf:
        yield Result("S3", name, found.uploads, "uploads", None, PHONES)
        yield Result("S3", name, found.granted, "uploads under grants", None, PHONES)
        yield Result("S3", name, found.wire_bytes, "By", None, PHONES)
        yield Result("S3", name, found.seconds, "s", None, PHONES)


def cheapest(way: Forged, phones: list[list[bytes]], means: Sequence[Means]) -> Spent:
    """What the least of these means, in order, with which a way reaches its aim, came to."""
    if tried(way, phones, means[-1]).prefixes == math.inf:
        return Spent()  # more of them do not do less
    found = (tried(way, phones, one) for one in means)
    return next(spent for spent in found if spent.prefixes < math.inf)


def tried(way: Forged, phones: list[list[bytes]], means: Means) -> Spent:
    """What the slowest way of spending them that reaches its aim comes to."""
    for size in _SIZES:
        sent, granted = forged(way, size, means)
        found = breach_window(phones, sent, strict(), _KEY)
        if (found < math.inf) == (way.aim == "rollback"):
            until = WINDOWS if way.aim == "masking" else int(found)
            uploads = [u for window in sent[:until] for u in window]
            return Spent(
                prefixes=means.prefixes,
                uploads=len(uploads),
                granted=sum(granted[:until]),
                wire_bytes=sum(map(len, uploads)),
                seconds=until * means.window_s,
            )
    return Spent()
