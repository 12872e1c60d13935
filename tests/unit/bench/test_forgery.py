"""Prices of forgery: what must never reach its aim does not, and the bench can see a success."""

import math

import numpy as np
import pytest

from bench.forgery_grants import Means, tried, vouched
from bench.forgery_ways import (
    BOUNDED,
    SIZES,
    SLOWER,
    WAYS,
    WINDOWS,
    Forged,
    breach_window,
    honest,
    price,
)

HONEST = honest(np.random.default_rng(7), slower=1.0)
BAD = honest(np.random.default_rng(7), slower=SLOWER)


@pytest.mark.parametrize("way", WAYS[:BOUNDED], ids=lambda way: way.what)
def test_one_upload_and_a_stratum_without_enrolments_reach_nothing(way: Forged) -> None:
    phones = {"rollback": HONEST, "masking": BAD}

    assert price(way, phones[way.aim], SIZES[-1:]).uploads == math.inf


def test_both_worlds_are_judged_rightly_and_a_dear_forgery_is_seen() -> None:
    nothing: list[list[bytes]] = [[] for _ in range(WINDOWS)]
    slow_bets = next(way for way in WAYS if way.what == "slow bets, used stratum")

    assert breach_window(HONEST, nothing) == math.inf
    assert breach_window(BAD, nothing) < math.inf
    assert price(slow_bets, HONEST, SIZES[-1:]).uploads < math.inf


@pytest.mark.parametrize("what", ["slow bets, used stratum", "crashed days, unused stratum"])
def test_where_units_need_grants_one_network_rolls_nothing_back_and_many_do(what: str) -> None:
    way = next(way for way in WAYS if way.what == what)
    phones = vouched(HONEST)

    assert tried(way, phones, Means(1)).prefixes == math.inf
    found = tried(way, phones, Means(50))
    assert found.prefixes == 50
    assert found.granted >= 40  # twenty phones of each arm, or there is no breach
