"""Quotas per app: uploads and wire bytes per second, fair among address prefixes. In memory alone.

One bucket for the app bounds it exactly. Beside it each prefix that asked within `IDLE_S` has a
bucket that refills at an equal share, so that one prefix with the public key of an app cannot
starve the phones of others. A prefix is an IPv4 /24 or an IPv6 /48: what one customer can rent for
nothing counts as one. It is known by one of `SLOTS` hash values under a salt of this process, so
memory is bounded, two prefixes may share a slot, and no address is kept.

Connections, calls and requests for a config are asks. None is refused here, since a phone must hear
of a rollback. They are counted in buckets of their own, and beyond them whoever asks waits with
those who have no key: so whoever holds an app's key uses up that app's share and nothing else.
"""

import ipaddress
import math
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Final

from wire.errors import TransientError

SLOTS: Final = 4096
IDLE_S: Final = 60.0
RETRY_AFTER_MAX_S: Final = 300
ASKS_PER_UPLOAD: Final = 3
"""A phone may connect anew for each upload, call over gRPC, and ask for its config each time."""
_DEBT_S: Final = 10.0
_IPV4_BYTES, _IPV6_BYTES = 3, 6


@dataclass(frozen=True, slots=True)
class QuotaLimits:
    """Of one app at one door. A bucket holds `burst_s` seconds of each; 4 MiB must fit."""

    uploads_s: float = 50_000.0
    bytes_s: float = 512.0 * 1024 * 1024
    burst_s: float = 10.0


@dataclass(slots=True)
class _Share:
    """What one prefix may still take; below 0 it waits."""

    uploads: float
    wire_bytes: float
    at_s: float


@dataclass(slots=True)
class AppQuota:
    """The bucket of one app and those of its prefixes. Time is a parameter and never goes back."""

    limits: QuotaLimits
    uploads: float = field(init=False)
    wire_bytes: float = field(init=False)
    _at_s: float = -math.inf
    _shares: OrderedDict[int, _Share] = field(default_factory=OrderedDict)  # who asked last is last
    _latest: int = -1
    _idle_s: float = -math.inf  # before this no share is idle
    _full: tuple[float, float] = field(init=False)

    def __post_init__(self) -> None:
        limits = self.limits
        self._full = limits.uploads_s * limits.burst_s, limits.bytes_s * limits.burst_s
        self.uploads, self.wire_bytes = self._full

    @property
    def active(self) -> int:
        """Prefixes that have a share."""
        return len(self._shares)

    def wait_s(self, slot: int, uploads: int, wire_bytes: int, now_s: float) -> float:
        """Take them and return 0, or take nothing and return the seconds until it is worth asking.

        The app's bucket is never overdrawn. A prefix's may be, by one upload: a share can be
        smaller than a body. With 0 `uploads` it is the rest of one that was let in: that counts
        in the share, and the app's bucket alone refuses it.
        """
        share = self._share_of(slot, now_s)
        if (
            (uploads and (share.uploads <= 0 or share.wire_bytes <= 0))
            or self.uploads < uploads
            or self.wire_bytes < wire_bytes
        ):
            return self._missing_s(share, uploads, wire_bytes)
        share.uploads -= uploads
        share.wire_bytes -= wire_bytes
        self.uploads -= uploads
        self.wire_bytes -= wire_bytes
        return 0.0

    def charge(self, slot: int, uploads: int, now_s: float) -> bool:
        """Take them in any case; whether there was one left. What a prefix takes beyond its share
        is its own debt, of `_DEBT_S` at most, and not the others' loss.
        """
        share = self._share_of(slot, now_s)
        had = share.uploads
        has_one = had > 0 and self.uploads >= 1
        debt_max = max(1.0, _DEBT_S * self.limits.uploads_s / len(self._shares))
        share.uploads = max(had - uploads, -debt_max)
        if has_one:
            self.uploads = max(self.uploads - min(uploads, max(had, 1.0)), 0.0)
        return has_one

    def is_used_up(self, slot: int, now_s: float) -> bool:
        """Whether one more upload of this prefix would be refused. Takes nothing."""
        share = self._shares.get(slot)
        if share is None:
            return self.uploads < 1
        self._refill(share, now_s)
        return share.uploads <= 0 or share.wire_bytes <= 0 or self.uploads < 1

    def _share_of(self, slot: int, now_s: float) -> _Share:
        share = self._shares.get(slot)
        if share is None or now_s > self._idle_s:
            share = self._asks(slot, share, now_s)
        elif slot != self._latest:
            self._shares.move_to_end(slot)
        self._latest = slot
        self._refill(share, now_s)
        return share

    def _missing_s(self, share: _Share, uploads: int, wire_bytes: int) -> float:
        limits, fair = self.limits, len(self._shares)
        return max(
            (-share.uploads * fair + 1) / limits.uploads_s if uploads and share.uploads <= 0 else 0,
            -share.wire_bytes * fair / limits.bytes_s if uploads and share.wire_bytes <= 0 else 0,
            (uploads - self.uploads) / limits.uploads_s,
            (wire_bytes - self.wire_bytes) / limits.bytes_s,
            1e-3,
        )

    def _asks(self, slot: int, share: _Share | None, now_s: float) -> _Share:
        """The share of a prefix that asks now; the idle ones are forgotten."""
        shares, limits = self._shares, self.limits
        if share is None:  # a newcomer begins with a second's worth, or coming anew would pay
            fair = len(shares) + 1
            share = shares[slot] = _Share(limits.uploads_s / fair, limits.bytes_s / fair, now_s)
        else:
            shares.move_to_end(slot)
        if now_s > self._idle_s:
            while (oldest := next(iter(shares.values()))).at_s < now_s - IDLE_S:
                if oldest is share:
                    break
                shares.popitem(last=False)
            self._idle_s = (now_s if oldest is share else oldest.at_s) + IDLE_S
        return share

    def _refill(self, share: _Share, now_s: float) -> None:
        """No `min` and no `max`: every upload comes here, and calls are what it would cost."""
        limits, fair = self.limits, len(self._shares)
        full_uploads, full_bytes = self._full
        passed_s = now_s - share.at_s
        if passed_s > 0:
            share.at_s = now_s
            passed_s /= fair
            share.uploads += passed_s * limits.uploads_s
            share.wire_bytes += passed_s * limits.bytes_s
        if share.uploads * fair > full_uploads:
            share.uploads = full_uploads / fair
        if share.wire_bytes * fair > full_bytes:
            share.wire_bytes = full_bytes / fair
        passed_s = now_s - self._at_s
        if passed_s > 0:
            self._at_s = now_s
            self.uploads += passed_s * limits.uploads_s
            self.wire_bytes += passed_s * limits.bytes_s
            if self.uploads > full_uploads:  # noqa: PLR1730
                self.uploads = full_uploads
            if self.wire_bytes > full_bytes:  # noqa: PLR1730
                self.wire_bytes = full_bytes


class Quotas:
    """The quotas of all apps that have a key; nobody without one comes here."""

    def __init__(self, limits: QuotaLimits, now_s: Callable[[], float]) -> None:
        self._limits = limits
        self._now_s = now_s
        self._salt = secrets.token_bytes(16)
        self._of: dict[str, AppQuota] = {}
        asks_s = ASKS_PER_UPLOAD * limits.uploads_s
        # none is refused, so no burst of them need be saved for
        self._asks_limits = replace(limits, uploads_s=asks_s, burst_s=max(1.0, 2 / asks_s))
        self._asks_of: dict[str, AppQuota] = {}
        self.refused_count = 0

    def spend(self, app_id: str, slot: int, wire_bytes: int, *, uploads: int = 1) -> None:
        """Take from the app's bucket and the prefix's. Raises TransientError ``quota_exceeded``."""
        quota = self._of.get(app_id)
        if quota is None:
            quota = self._of[app_id] = AppQuota(self._limits)
        wait_s = quota.wait_s(slot, uploads, wire_bytes, self._now_s())
        if wait_s > 0:
            self.refused_count += 1
            raise TransientError(
                "quota_exceeded",
                "this app, or this network's share of it, has sent too much",
                retry_after_s=min(RETRY_AFTER_MAX_S, math.ceil(wait_s)),
            )

    def is_used_up(self, app_id: str, slot: int) -> bool:
        """Whether the app's next upload from there would be refused. Takes nothing."""
        quota = self._of.get(app_id)
        return quota is not None and quota.is_used_up(slot, self._now_s())

    def goes_first(self, app_id: str, slot: int, asks: int) -> bool:
        """Whether what is asked with this key comes before strangers; so many asks are counted."""
        quota = self._asks_of.get(app_id)
        if quota is None:
            quota = self._asks_of[app_id] = AppQuota(self._asks_limits)
        return quota.charge(slot, asks, self._now_s()) and not self.is_used_up(app_id, slot)

    def slot_of(self, address: str) -> int:
        """Where this address's prefix is counted: asked once a connection, kept without it."""
        digest = blake2b(prefix_bytes(address), digest_size=8, key=self._salt).digest()
        return int.from_bytes(digest) % SLOTS


def prefix_bytes(address: str) -> bytes:
    """IPv4 /24 or IPv6 /48; what is no address (a socket file) is one neighbour."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return b""
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is None:
            return found.packed[:_IPV6_BYTES]
        found = found.ipv4_mapped
    return found.packed[:_IPV4_BYTES]
