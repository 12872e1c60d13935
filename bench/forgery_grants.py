"""What a forged verdict costs where units need grants (`proof: grant`), for `bench.forgery`.

Each honest phone has a grant for each upload, as it has in a network of its own. The forger asks
from some prefixes, and each gives what the quota gives by default; uploads beyond that go out under
ids of the forger's own, as they would.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
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
from bench.report import Result
from holdfast.replay import START_MS, WINDOW_MS
from ingest.batch_key import BatchKey
from ingest.grant_quota import GrantLimits, GrantQuota
from ingest.grants import Grants
from wire.desired import Desired
from wire.errors import TransientError

PREFIXES: Final = (1, 2, 3, 5, 10, 20, 50)
_SIZES: Final = (1, 2, 5, 20, 80)
_KEY = BatchKey(b"b" * 32)
_GRANTS = Grants(_KEY)
_ASKED = 16


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


def forged(way: Forged, size: int, prefixes: int) -> tuple[list[list[bytes]], int]:
    """The forger's uploads by window, as many as it can under grants, and how many these are."""
    now_s = [0.0]
    quota = GrantQuota(GrantLimits(), lambda: now_s[0])
    rng = np.random.default_rng(size)
    windows, count = [], 0
    for number in range(WINDOWS):
        now_s[0] = number * WINDOW_MS / 1000
        now_ms = START_MS + number * WINDOW_MS
        made = [body(rng, now_ms, *item) for item in way.window(number, size)]
        ids: list[bytes] = []
        for prefix in range(prefixes):
            ids += _taken(quota, f"10.0.{prefix}.1", len(made) - len(ids), now_ms)
        count += len(ids)
        windows.append([with_id(u, i) for u, i in zip(made, ids, strict=False)] + made[len(ids) :])
    return windows, count


def _taken(quota: GrantQuota, address: str, wanted: int, now_ms: int) -> list[bytes]:
    taken: list[bytes] = []
    while len(taken) < wanted:
        try:
            count = quota.take(APP, address, min(_ASKED, wanted - len(taken)))
        except TransientError:
            break
        taken += _GRANTS.issue(APP, count, now_ms)
    return taken


def grant_rows(worlds: dict[str, list[list[bytes]]], prefixes: Sequence[int]) -> Iterator[Result]:
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
        needed, uploads = price_in_prefixes(way, phones[way.aim], state, prefixes)
        yield Result("S3", name, needed, "prefixes", (">=", 2), PHONES)
        if uploads < math.inf:
            yield Result("S3", name, uploads, "granted uploads", None, PHONES)


def price_in_prefixes(
    way: Forged, phones: list[list[bytes]], state: Desired, prefixes: Sequence[int]
) -> tuple[float, float]:
    """The fewest prefixes from which a way reaches its aim, and its uploads under grants."""
    for count in prefixes:
        for size in _SIZES:
            sent, granted = forged(way, size, count)
            found = breach_window(phones, sent, state, _KEY)
            if (found < math.inf) == (way.aim == "rollback"):
                return count, granted
    return math.inf, math.inf
