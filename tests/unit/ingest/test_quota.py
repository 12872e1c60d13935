"""Quotas: never more than the bucket, fair among prefixes, bounded memory."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.quota import ASKS_PER_UPLOAD, IDLE_S, SLOTS, AppQuota, QuotaLimits, Quotas, prefix_bytes
from wire.errors import TransientError

_LIMITS = QuotaLimits(uploads_s=10.0, bytes_s=1000.0, burst_s=5.0)
_asks = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 4000), st.floats(0, 20)), min_size=1, max_size=200
)


@given(_asks)
def test_never_more_than_the_bucket(asks: list[tuple[int, int, float]]) -> None:
    quota, now_s, taken = AppQuota(_LIMITS), 0.0, []
    for slot, size, pause_s in asks:
        now_s += pause_s
        if quota.wait_s(slot, 1, size, now_s) == 0:
            taken.append((now_s, size))
    for i, (since_s, _) in enumerate(taken):
        span = taken[i:]
        for j in range(len(span)):
            passed_s = span[j][0] - since_s + _LIMITS.burst_s
            assert j + 1 <= _LIMITS.uploads_s * passed_s + 1e-6
            assert sum(size for _, size in span[: j + 1]) <= _LIMITS.bytes_s * passed_s + 1e-3


def test_many_prefixes_together_have_one_bucket() -> None:
    """Newcomers' shares add up to more than the bucket; it holds all the same."""
    for size, most in ((0, 50), (1000, 5)):  # bound by uploads, by bytes
        quota = AppQuota(_LIMITS)
        taken = sum(quota.wait_s(slot, 1, size, 0.0) == 0 for slot in range(500))
        assert taken == most


@given(st.integers(1, 20), st.integers(1, 40))
def test_one_prefix_cannot_starve_another(attackers_asks: int, seconds: int) -> None:
    quota = AppQuota(_LIMITS)
    for tick in range(1200):  # the attacker has emptied the bucket, and goes on
        quota.wait_s(0, 1, 10, tick / 20)
    start_s, taken = 60.0, 0
    for second in range(seconds):
        for tick in range(attackers_asks * 20):
            quota.wait_s(0, 1, 10, start_s + second + tick / (attackers_asks * 20))
        for _ in range(4):  # the honest ask for less than half, once a second
            taken += quota.wait_s(1, 1, 10, start_s + second + 1) == 0
    assert taken >= 4 * (seconds - 1)


@given(st.lists(st.integers(0, 10**6), max_size=300))
def test_memory_is_bounded(slots: list[int]) -> None:
    quota = AppQuota(_LIMITS)
    for slot in slots:
        quota.wait_s(slot % SLOTS, 1, 1, 0.0)
    assert quota.active == len({slot % SLOTS for slot in slots})
    quota.wait_s(0, 1, 1, IDLE_S + 1)
    assert quota.active == 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.254", True),
        ("192.0.2.1", "192.0.3.1", False),
        ("192.0.2.1", "::ffff:192.0.2.9", True),
        ("2001:db8:1:2::1", "2001:db8:1:ffff::1", True),
        ("2001:db8:1::1", "2001:db8:2::1", False),
        ("fe80::1%eth0", "fe80::2", True),
    ],
)
def test_what_counts_as_one_prefix(one: str, other: str, same: bool) -> None:
    assert (prefix_bytes(one) == prefix_bytes(other)) is same


def test_an_app_uses_up_its_own_quota_alone() -> None:
    quotas = Quotas(_LIMITS, lambda: 0.0)
    slot = quotas.slot_of("192.0.2.1")
    for _ in range(10):  # a newcomer begins with a second's worth
        quotas.spend("other", slot, 1)
    with pytest.raises(TransientError) as refused:
        quotas.spend("other", slot, 1)
    assert refused.value.code == "quota_exceeded"
    assert refused.value.retry_after_s >= 1
    quotas.spend("keyboard", slot, 1)


def test_the_rest_of_an_upload_counts_and_the_app_alone_refuses_it() -> None:
    quota = AppQuota(_LIMITS)
    assert quota.wait_s(0, 1, 0, 0.0) == 0
    assert quota.wait_s(0, 0, 3000, 0.0) == 0  # beyond its share, within the app's bucket
    assert quota.wait_s(0, 1, 0, 0.0) == pytest.approx(2.0)  # 2000 too much, at 1000 a second
    assert quota.wait_s(0, 0, 2001, 0.0) > 0
    assert quota.wait_s(0, 0, 2000, 0.0) == 0


def test_asks_beyond_a_share_go_last_and_nothing_is_refused() -> None:
    quotas = Quotas(_LIMITS, lambda: 0.0)
    asks = int(_LIMITS.uploads_s) * ASKS_PER_UPLOAD  # a newcomer begins with a second's worth
    assert [quotas.goes_first("other", 1, 1) for _ in range(asks + 3)] == [True] * asks + [
        False
    ] * 3
    assert quotas.goes_first("keyboard", 1, 1)
    quotas.spend("other", 1, 1)


def test_who_may_send_no_more_goes_last_whatever_it_asks() -> None:
    quotas = Quotas(_LIMITS, lambda: 0.0)
    for _ in range(10):
        quotas.spend("other", 1, 1)
    assert not quotas.goes_first("other", 1, 0)


@given(st.lists(st.tuples(st.integers(1, 3000), st.floats(0, 3)), min_size=1, max_size=100))
def test_what_goes_first_is_paid_for_however_many_come_at_once(
    asks: list[tuple[int, float]],
) -> None:
    """Calls are counted once they have come: a crowd of them is paid off before the next one."""
    quota, now_s, first = AppQuota(_LIMITS), 0.0, []
    for count, pause_s in asks:
        now_s += pause_s
        if quota.charge(0, count, now_s):
            first.append((now_s, count))
    full = _LIMITS.uploads_s * _LIMITS.burst_s
    for (since_s, before), (at_s, _) in pairwise(first):
        assert at_s - since_s >= min(before - full, full) / _LIMITS.uploads_s - 1e-6


@given(st.integers(1, 5000))
def test_one_prefix_s_debt_is_not_another_s(count: int) -> None:
    quota, went = AppQuota(_LIMITS), 0
    for tick in range(1600):
        quota.charge(0, count, tick / 20)
        if tick >= 1200 and tick % 20 == 0:  # once a second, of the five that are its share
            went += quota.charge(1, 1, tick / 20)
    assert went >= 18


def test_a_crowd_takes_no_more_of_the_app_than_its_prefix_s_share() -> None:
    quota = AppQuota(_LIMITS)
    for slot in range(5):
        quota.charge(slot, 0, 0.0)
    assert quota.charge(0, 500, 5.0)
    assert all(quota.charge(slot, 1, 5.0) for slot in range(1, 5))


@given(st.integers(30, 500))  # so that nobody is idle meanwhile
def test_an_ask_is_paid_for_though_a_share_is_less_than_one(prefixes: int) -> None:
    quota = AppQuota(_LIMITS)
    for slot in range(prefixes):
        quota.charge(slot, 0, 0.0)
    assert quota.charge(prefixes - 1, 1, 0.0)
    one_s = prefixes / _LIMITS.uploads_s
    assert not quota.charge(prefixes - 1, 0, one_s / 2)
    assert quota.charge(prefixes - 1, 0, 1.01 * one_s)
