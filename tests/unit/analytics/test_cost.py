"""Money is whole numbers: parts sum to the total, in any order, however time is cut."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.cost import (
    CostLine,
    CostMeter,
    PriceEntry,
    Quantities,
    QuantityKey,
    merge,
    price,
    price_in_force,
    quantities_of,
)

DAY = 86_400_000
KEY = QuantityKey("camera", "faces", "1.2.0", 20 * DAY)
amounts = st.integers(0, 10**15)
quantities = st.builds(Quantities, amounts, amounts, amounts, amounts, amounts)
micros = st.integers(0, 10**10)
entries = st.builds(PriceEntry, st.just(0), st.just("EUR"), micros, micros, micros, micros)
keys = st.builds(
    QuantityKey, st.sampled_from("ab"), st.just("m"), st.sampled_from("12"), st.just(20 * DAY)
)


def entry(from_ms: int, *, call: int = 0, currency: str = "EUR") -> PriceEntry:
    return PriceEntry(from_ms, currency, call, 0, 0, 0)


@given(st.lists(quantities, min_size=1, max_size=6), entries)
def test_increments_of_a_day_sum_to_the_price_of_the_whole_day(
    parts: list[Quantities], card: PriceEntry
) -> None:
    meter = CostMeter()

    lines = [line for part in parts for line in meter.add(KEY, part, [card])]

    whole = price(meter.used(KEY), [card], KEY.event_day_ms)
    for line in whole:
        of_kind = [x for x in lines if x.kind == line.kind]
        assert sum(x.cost_micros for x in of_kind) == line.cost_micros
        assert sum(x.quantity for x in of_kind) == line.quantity
    assert sum(x.cost_micros for x in lines) == sum(x.cost_micros for x in whole)


@given(quantities, entries)
def test_each_line_is_the_exact_price_rounded_half_up_and_whole(
    used: Quantities, card: PriceEntry
) -> None:
    lines = {line.kind: line for line in price(used, [card], DAY)}

    exact = {
        "cloud_calls": Fraction(used.cloud_inferences * card.cloud_call_micros),
        "egress": Fraction(used.received_bytes * card.egress_gb_micros, 10**9),
        "cellular": Fraction(used.cellular_bytes * card.cellular_gb_micros, 10**9),
        "energy": Fraction(used.energy_mj * card.energy_kwh_micros, 3_600_000_000),
    }
    for kind, line in lines.items():
        assert type(line.cost_micros) is int
        assert Fraction(-1, 2) < line.cost_micros - exact[kind] <= Fraction(1, 2)


@given(st.lists(st.dictionaries(keys, quantities, max_size=3), max_size=5), st.randoms())
def test_merge_order_does_not_matter(
    parts: list[dict[QuantityKey, Quantities]], rng: object
) -> None:
    shuffled = list(parts)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis types it as object's child

    assert list(merge(parts).items()) == list(merge(shuffled).items())
    assert merge([merge(parts[:2]), merge(parts[2:])]) == merge(parts)


@given(st.lists(st.tuples(keys, quantities), max_size=8), entries, st.integers(0, 8))
def test_a_restored_meter_bills_as_if_it_had_never_stopped(
    steps: list[tuple[QuantityKey, Quantities]], card: PriceEntry, cut: int
) -> None:
    steady, first, second = CostMeter(), CostMeter(), CostMeter()
    for key, used in steps[:cut]:
        first.add(key, used, [card])
    second.restore(first.state())

    expected = [steady.add(key, used, [card]) for key, used in steps]

    assert [second.add(key, used, [card]) for key, used in steps[cut:]] == expected[cut:]
    assert second.state() == steady.state()


def test_the_entry_in_force_on_the_event_day_is_used_whatever_the_order_of_the_card() -> None:
    card = [entry(30 * DAY, call=9), entry(0, call=1), entry(10 * DAY, call=5)]

    in_force = [price_in_force(card, day * DAY) for day in (9, 10, 29, 30)]

    assert [e.cloud_call_micros for e in in_force if e] == [1, 5, 5, 9]


def test_use_without_a_price_is_shown_as_unpriced_never_as_free() -> None:
    used = Quantities(device_inferences=3, cloud_inferences=4, cellular_bytes=7)

    lines = price(used, [entry(2 * DAY, call=5)], DAY)

    assert [(x.kind, x.quantity, x.cost_micros) for x in lines] == [("unpriced", 7, 0)]


def test_use_in_bytes_alone_is_unpriced_too() -> None:
    assert [x.kind for x in price(Quantities(received_bytes=1), [], DAY)] == ["unpriced"]
    assert price(Quantities(), [], DAY) == []


def test_a_corrected_rate_card_gives_the_difference_with_the_next_increment() -> None:
    meter = CostMeter()
    used = Quantities(cloud_inferences=10)
    meter.add(KEY, used, [entry(0, call=5)])

    lines = meter.add(KEY, used, [entry(0, call=3)])

    assert sum(x.cost_micros for x in lines) == 20 * 3 - 10 * 5


def test_a_day_priced_late_is_billed_in_full() -> None:
    meter = CostMeter()
    meter.add(KEY, Quantities(cloud_inferences=10), [])

    lines = meter.add(KEY, Quantities(cloud_inferences=1), [entry(0, call=2)])

    assert [(x.quantity, x.cost_micros) for x in lines if x.kind == "cloud_calls"] == [(11, 22)]


def balance(lines: list[CostLine]) -> dict[tuple[str, str], tuple[int, int]]:
    """What lines add up to, by kind and currency; what came to nothing is left out."""
    added: dict[tuple[str, str], tuple[int, int]] = {}
    for x in lines:
        quantity, cost = added.get((x.kind, x.currency), (0, 0))
        added[x.kind, x.currency] = quantity + x.quantity, cost + x.cost_micros
    return {key: amounts for key, amounts in added.items() if amounts != (0, 0)}


def test_a_day_priced_anew_takes_old_lines_back_in_their_own_currency() -> None:
    meter, calls = CostMeter(), Quantities(cloud_inferences=1000)
    cards: list[list[PriceEntry]] = [
        [],
        [entry(0, call=150)],
        [entry(0, call=160, currency="USD")],
        [entry(0, call=20, currency="JPY")],
    ]

    lines = [line for card in cards for line in meter.add(KEY, calls, card)]

    assert balance(lines) == {("cloud_calls", "JPY"): (4000, 80_000)}


def test_use_that_got_a_price_is_no_longer_unpriced() -> None:
    meter, calls = CostMeter(), Quantities(cloud_inferences=1000)

    lines = meter.add(KEY, calls, []) + meter.add(KEY, calls, [entry(0, call=100)])

    assert balance(lines) == {("cloud_calls", "EUR"): (2000, 200_000)}


cards = st.lists(
    st.builds(
        PriceEntry,
        st.sampled_from([0, 20 * DAY]),
        st.sampled_from(["EUR", "USD", "JPY"]),
        micros,
        micros,
        micros,
        micros,
    ),
    max_size=2,
    unique_by=lambda e: e.effective_from_ms,
)


@given(st.lists(st.tuples(keys, quantities, cards, st.booleans()), min_size=1, max_size=8))
def test_however_cards_change_what_was_billed_is_what_the_last_card_makes_of_all_use(
    steps: list[tuple[QuantityKey, Quantities, list[PriceEntry], bool]],
) -> None:
    meter = CostMeter()
    billed: dict[QuantityKey, list[CostLine]] = {}
    for key, used, card, is_repriced_first in steps:
        if is_repriced_first:
            for k, line in meter.reprice(card):
                billed.setdefault(k, []).append(line)
        billed.setdefault(key, []).extend(meter.add(key, used, card))
    last = steps[-1][2]
    for k, line in meter.reprice(last):
        billed.setdefault(k, []).append(line)

    for key, lines in billed.items():
        due = price(meter.used(key), last, key.event_day_ms)
        assert balance(lines) == balance(due)
    assert meter.reprice(last) == []


def test_lines_of_two_currencies_are_never_added() -> None:
    euro, yen = (
        price(Quantities(cloud_inferences=1), [entry(0, call=1, currency=c)], DAY)[0]
        for c in ("EUR", "JPY")
    )

    with pytest.raises(ValueError, match="'EUR'"):
        euro + yen


def test_two_entries_of_one_date_are_refused() -> None:
    with pytest.raises(ValueError, match="same moment"):
        price_in_force([entry(0), entry(0, call=1)], DAY)


def test_a_negative_quantity_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        Quantities(received_bytes=-1)


def test_who_bears_what_is_stated() -> None:
    lines = price(Quantities(1, 1, 1, 1, 1), [entry(0)], DAY)

    bearers = {x.kind: x.borne_by for x in lines}
    assert bearers == {
        "cloud_calls": "provider",
        "egress": "provider",
        "cellular": "user",
        "energy": "user",
    }


@pytest.mark.parametrize("placement", ["edge", "cloud"])
def test_remote_inferences_are_calls_and_cellular_counts_both_ways(placement: str) -> None:
    used = quantities_of(
        placement=placement, network="cellular", inferences=5, received_bytes=70, sent_bytes=30
    )

    assert used == Quantities(
        cloud_inferences=5, received_bytes=70, cellular_bytes=100, traffic_bytes=100
    )


def test_inferences_on_the_phone_over_wifi_cost_neither_calls_nor_cellular() -> None:
    used = quantities_of(placement="device", network="wifi", inferences=5, received_bytes=70)

    assert used == Quantities(device_inferences=5, received_bytes=70, traffic_bytes=70)


def test_a_line_says_what_it_is_a_part_of_and_its_price_and_both_outlive_a_restart() -> None:
    meter, key = CostMeter(), QuantityKey("a", "m", "1", 0)
    card = [PriceEntry(0, "EUR", 150, 3_000_000, 50_000, 300_000)]
    used = Quantities(3, 5, 0, 40, 0, 100)

    lines = [*meter.add(key, used, card)]
    again = CostMeter()
    again.restore(meter.state())
    lines += again.add(key, Quantities(7, 0, 0, 0, 0, 50), card)

    told = {
        kind: tuple(
            sum(getattr(line, c) for line in lines if line.kind == kind)
            for c in ("quantity", "whole")
        )
        for kind in ("cloud_calls", "cellular")
    }
    assert told == {"cloud_calls": (5, 15), "cellular": (40, 150)}
    prices = {(line.kind, line.price_micros, line.price_per) for line in lines}
    assert prices == {("cloud_calls", 150, 1), ("cellular", 3_000_000, 10**9)}


@pytest.mark.parametrize(("placement", "network"), [("moon", "wifi"), ("cloud", "5g")])
def test_a_word_outside_the_vocabulary_is_refused(placement: str, network: str) -> None:
    with pytest.raises(ValueError, match="none of"):
        quantities_of(placement=placement, network=network, inferences=1)


def test_closed_days_are_forgotten_and_open_ones_kept() -> None:
    meter = CostMeter()
    days = [QuantityKey("a", "m", "1", day * DAY) for day in range(4)]
    for day in days:
        meter.add(day, Quantities(1), [])

    dropped = meter.forget_before(2 * DAY)

    assert dropped == 2
    assert [meter.used(day).device_inferences for day in days] == [0, 0, 1, 1]


def test_prices_grow_with_use() -> None:
    card = PriceEntry(0, "EUR", 120, 3_000_000, 80_000, 300_000)

    costs = [
        sum(x.cost_micros for x in price(Quantities(0, n, n * 1000, n * 1000, n * 50), [card], 0))
        for n in range(0, 5000, 250)
    ]

    assert all(a < b for a, b in pairwise(costs))
