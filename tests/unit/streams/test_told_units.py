"""What analysts are told of two verdicts differs by no unit or ten of each arm, whatever came."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.evidence.spec import ArmCounts, Stratum
from analytics.types import Arithmetic, Outcome, VerdictKind
from streams.codec import pack, unpack
from streams.decide import Decider
from streams.log.base import Append
from streams.log.memory import MemoryLog
from streams.rollout_watch import start_watch
from streams.rows import verdict_rows
from streams.snapshot import decider_parts, restore_decider
from streams.told_units import ToldUnits, told_of_breach
from streams.unit_counts import Counts
from tests.fakes.segments import START_MS, desired, telemetry
from tests.unit.streams.test_stages import replayed, verdicts
from wire.desired import to_json
from wire.segment import Kind, Segment, encode
from wire.smallest_cell import UPLOADS_MIN

NAMES = [("unit.latency", 0), ("unit.error", 3), ("enrolled", 0)]
came = st.lists(
    st.dictionaries(
        st.tuples(st.sampled_from(NAMES), st.sampled_from(["DE", "FR"])),
        st.tuples(st.integers(0, 7), st.integers(0, 7)),
        max_size=4,
    ),
    max_size=40,
)
Window = dict[tuple[tuple[str, int], str], tuple[int, int]]


@given(came)
def test_between_two_told_verdicts_none_or_ten_units_came(windows: list[Window]) -> None:
    told, since = ToldUnits(), np.zeros((len(NAMES), 2), int)
    shown = 0
    for window in windows:
        counts: Counts = {}
        enrolled: dict[Stratum, tuple[int, int]] = {}
        for (name, region), (candidate, control) in window.items():
            since[NAMES.index(name)] += candidate, control
            if name == NAMES[-1]:
                enrolled[region,] = candidate, control
            else:
                units = ArmCounts(np.array([candidate, 0]), np.array([0, control]))
                counts.setdefault(name, {})[region,] = units
        told.judge(counts, enrolled)
        told = ToldUnits.restore(unpack(pack(told.state())))
        few = bool(((since > 0) & (since < UPLOADS_MIN)).any())
        assert told.tell() is not few
        if not few:
            shown += 1
            since[:] = 0
    assert shown or since.any() or not windows


def _slow_log(seed: int, seconds: int) -> MemoryLog:
    """A few phones a second; the candidate is slower."""
    rng, log = np.random.default_rng(seed), MemoryLog(1)
    control = Segment(Kind.CONTROL, START_MS, "w0", control=to_json(desired()))
    log.append([Append(0, encode(control), START_MS)])
    for at_ms in range(START_MS, START_MS + seconds * 1000, 1000):
        sent = telemetry(rng, at_ms, uploads=int(rng.integers(1, 9)), slower=3.0)
        ids = sent.uploads["batch_id"].tobytes()
        log.append([Append(0, encode(sent), at_ms, ids)])
    return log


@pytest.mark.parametrize("seed", range(6))
def test_a_breach_is_told_at_once_in_numbers_that_were_told(seed: int) -> None:
    """Nothing that analysts see of one verdict after another rests on one to nine units."""
    judged = [v for v in verdicts(replayed(_slow_log(seed, 240))) if v.kind is VerdictKind.RELEASE]

    assert [v.is_withheld for v in judged if v.outcome is Outcome.BREACH] == [False]
    told = [v.told or v.arithmetic for v in judged if not v.is_withheld]
    assert 3 < len(told) < len(judged) / 2
    for first, second in pairwise(told):
        for arm in ("units_candidate", "units_control"):
            assert not 0 < getattr(second, arm) - getattr(first, arm) < UPLOADS_MIN
    rows = verdict_rows(judged)
    assert rows["withheld"] == [int(v.is_withheld) for v in judged]
    assert [bool(text) for text in rows["told"]] == [v.told is not None for v in judged]  # type: ignore[union-attr]  # a list


def _arithmetic(metric: str, number: float) -> Arithmetic:
    """Every number another."""
    return Arithmetic(
        metric=metric, log_threshold_equal=9.0, log_threshold_margin=3.0,
        log_e_equal=number + 10, log_e_equal_sup=number + 11, log_e_margin=number + 12,
        log_e_margin_sup=number + 13, units_candidate=int(number), units_control=int(number) + 1,
        effect=number, effect_low=number - 1, effect_high=number + 1, assignment_log_e=number,
        strata={"DE": number}, named_cohorts=("DE",), metrics={metric: number},
        reason=f"{number}",
    )  # fmt: skip


@pytest.mark.parametrize("metric", ["inference.latency", "inference.energy"])
def test_a_breach_that_few_came_for_says_nothing_that_they_changed(metric: str) -> None:
    before = _arithmetic("inference.latency", 30.0)

    one, other = (told_of_breach(_arithmetic(metric, n), before) for n in (33.0, 37.0))

    assert repr(one) == repr(other)  # nan is not equal to itself
    assert (one.metric, one.units_candidate, one.metrics) == (metric, 30, before.metrics)
    assert (one.log_e_equal_sup, one.log_e_margin_sup) == (9.0, 3.0)
    assert (one.effect == 30.0) is (metric == before.metric)


def test_what_was_told_last_outlives_a_restart() -> None:
    decider = Decider(1, 1000)
    watch = start_watch(desired().releases[0], desired().policy, "0" * 64, attempt=1)
    watch.last_told = _arithmetic("inference.latency", 30.0)
    decider.watches["r1"] = watch

    restored = restore_decider(decider_parts(decider), partitions=1, window_ms=1000)

    assert restored.watches["r1"].last_told == watch.last_told
