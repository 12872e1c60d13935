"""A network gets few grants, whoever asks, and takes none from another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.grant_quota import AROUND, GrantLimits, GrantQuota
from wire.errors import TransientError

LIMITS = GrantLimits(per_prefix=20, refill_h=100.0)
asked = st.lists(
    st.tuples(st.integers(0, 255), st.integers(1, 16), st.floats(0, 7200)), max_size=60
)


def given_to(quota: GrantQuota, address: str, wanted: int, app: str = "app") -> int:
    try:
        return quota.take(app, address, wanted)
    except TransientError as error:
        is_plain = error.code == "grants_exhausted" and 1 <= error.retry_after_s <= 3600
        return 0 if is_plain else -1000


@given(asked)
def test_a_prefix_never_gets_more_than_its_bucket_and_what_flows_in(
    asks: list[tuple[int, int, float]],
) -> None:
    now = [0.0]
    quota = GrantQuota(LIMITS, lambda: now[0])
    total = 0
    for host, wanted, pause in asks:
        now[0] += pause
        total += given_to(quota, f"198.51.100.{host}", wanted)
        assert total <= 20 + 20 * now[0] / 360_000 + 1e-6


def test_another_network_and_another_app_have_their_own() -> None:
    quota = GrantQuota(LIMITS, lambda: 0.0)
    assert [given_to(quota, "198.51.100.1", 16) for _ in range(3)] == [16, 4, 0]
    assert given_to(quota, "198.51.100.77", 1) == 0
    assert given_to(quota, "203.0.113.1", 16) == 16
    assert given_to(quota, "198.51.100.1", 16, "other") == 16


def test_one_that_waited_as_long_as_it_was_told_gets_one() -> None:
    now = [0.0]
    quota = GrantQuota(GrantLimits(per_prefix=2, refill_h=1.0), lambda: now[0])
    given_to(quota, "2001:db8::1", 2)
    with pytest.raises(TransientError) as refused:
        quota.take("app", "2001:db8:0:ffff::1", 2)
    now[0] += refused.value.retry_after_s
    assert given_to(quota, "2001:db8::2", 2) == 1
    assert quota.refused_count == 1


def test_an_ipv6_network_of_any_size_leaves_nearly_all_others_their_grants() -> None:
    quota = GrantQuota(LIMITS, lambda: 0.0)

    got = sum(given_to(quota, f"2001:db8:{i:x}::1", 16) for i in range(4096))
    others = [given_to(quota, f"2001:{i:x}:1::1", 1) for i in range(0x1000, 0x1100)]

    assert got == 20 * AROUND
    assert sum(others) >= 240  # of 256: some have their slot where the large one has been


def test_an_ipv4_network_may_have_all_that_its_prefixes_have() -> None:
    quota = GrantQuota(LIMITS, lambda: 0.0)

    got = sum(given_to(quota, f"198.51.{i}.1", 16) for i in range(256))

    assert got >= 16 * 250  # of 256 prefixes, a few share a slot
