"""Arms and bets: uniform, disjoint, drawn once, and the same for one phone as for a fleet."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sdk_stub.arm import (
    BET_SPAN,
    SEED_BYTES,
    WARM_UP,
    Arm,
    arm_of,
    arms_of,
    count_inference,
    draw_bet_position,
    draw_bet_positions,
    find_bets,
    fraction,
    fractions,
)

seeds = st.binary(min_size=SEED_BYTES, max_size=SEED_BYTES)
salts = st.text(min_size=1, max_size=20)


def _seeds(count: int, seed: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, SEED_BYTES), dtype=np.uint8)


def test_the_place_is_the_first_eight_bytes_of_the_hash() -> None:
    # printf 's:0123456789abcdef' | sha256sum -> first 8 bytes, as a fraction of 2^64
    import hashlib

    head = hashlib.sha256(b"s:0123456789abcdef").hexdigest()[:16]

    assert abs(fraction("s", b"0123456789abcdef") - int(head, 16) / 2**64) < 2**-52


@given(salts, st.lists(seeds, min_size=1, max_size=8))
def test_a_fleet_has_the_same_places_as_its_phones(salt: str, many: list[bytes]) -> None:
    array = np.frombuffer(b"".join(many), np.uint8).reshape(-1, SEED_BYTES)

    places = fractions(salt, array)

    assert places.tolist() == [fraction(salt, s) for s in many]
    assert np.all((places >= 0.0) & (places < 1.0))


@given(
    st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=20),
    st.floats(0, 0.5) | st.just(0.5),
)
def test_a_fleet_has_the_same_arms_as_its_phones(places: list[float], share: float) -> None:
    arms = arms_of(np.array(places), share)

    assert arms.tolist() == [arm_of(p, share) for p in places]


@given(st.floats(0, 1, exclude_max=True), st.floats(0, 0.5), st.floats(0, 0.5))
def test_a_larger_share_moves_nobody_who_is_in_an_arm(place: float, a: float, b: float) -> None:
    early, late = arm_of(place, min(a, b)), arm_of(place, max(a, b))

    assert early in (Arm.NONE, late)


def test_places_are_uniform_and_independent_between_salts() -> None:
    many = _seeds(20_000)

    one, two = fractions("one", many), fractions("two", many)

    assert stats.kstest(one, "uniform").pvalue > 1e-6
    assert abs(np.corrcoef(one, two)[0, 1]) < 5 / np.sqrt(len(many))


def test_both_slices_have_the_share_that_was_asked_for() -> None:
    arms = arms_of(fractions("salt", _seeds(20_000)), 0.1)

    for arm in (Arm.CANDIDATE, Arm.CONTROL):
        assert stats.binomtest(int((arms == arm).sum()), 20_000, 0.1).pvalue > 1e-6


def test_the_bet_position_is_uniform_after_the_warm_up() -> None:
    drawn = draw_bet_positions(np.random.default_rng(3), 50_000)

    counts = np.bincount(drawn, minlength=WARM_UP + BET_SPAN + 1)
    assert counts[: WARM_UP + 1].sum() == 0
    assert len(counts) == WARM_UP + BET_SPAN + 1
    assert stats.chisquare(counts[WARM_UP + 1 :]).pvalue > 1e-6
    assert WARM_UP < draw_bet_position(np.random.default_rng(4)) <= WARM_UP + BET_SPAN


@given(st.lists(st.booleans(), max_size=60), st.integers(WARM_UP + 1, WARM_UP + BET_SPAN))
def test_a_fleet_bets_on_the_same_inference_as_its_phone(cold: list[bool], position: int) -> None:
    counted, expected = 0, []
    for is_cold in cold:
        counted, bets = count_inference(counted, position, first_of_process=is_cold)
        expected.append(bets)

    total, bets_at = find_bets(
        np.zeros(1, np.int32), np.array([position], np.int32), np.array([cold], bool).reshape(1, -1)
    )

    assert total.tolist() == [counted]
    assert bets_at[0].tolist() == expected
    assert sum(expected) == (cold.count(False) >= position)
