"""Two verdicts that analysts are told differ by no unit or by ten of each arm, whatever came."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.evidence.spec import ArmCounts, Stratum
from analytics.types import Outcome, VerdictKind
from streams.codec import pack, unpack
from streams.log.base import Append
from streams.log.memory import MemoryLog
from streams.rows import verdict_rows
from streams.told_units import ToldUnits
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


@pytest.mark.parametrize("seed", range(3))
def test_a_breach_is_told_always_and_others_wait(seed: int) -> None:
    """A rollback is recomputed from its breach; what came by ones before it is not."""
    judged = [v for v in verdicts(replayed(_slow_log(seed, 240))) if v.kind is VerdictKind.RELEASE]

    assert [v.is_withheld for v in judged if v.outcome is Outcome.BREACH] == [False]
    told = [v.arithmetic for v in judged if not v.is_withheld and v.outcome is not Outcome.BREACH]
    assert 3 < len(told) < len(judged) / 2
    for first, second in pairwise(told):
        for arm in ("units_candidate", "units_control"):
            assert not 0 < getattr(second, arm) - getattr(first, arm) < UPLOADS_MIN
    assert verdict_rows(judged)["withheld"] == [int(v.is_withheld) for v in judged]
