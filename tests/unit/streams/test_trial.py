"""What the stages refuse of a desired state is said before, and ends nothing."""

from dataclasses import replace

import numpy as np
import pytest

from analytics.types import Outcome, VerdictKind
from streams.decide import Decider
from streams.drift_watch import rules_of
from streams.local_worker import is_effect, replay
from streams.log.base import Append
from streams.log.memory import MemoryLog
from streams.partial import Closed, WindowPartial
from streams.trial import misfits
from tests.fakes.segments import START_MS, WINDOW_MS, appends, desired
from wire.desired import Desired, Guardrail, to_json
from wire.segment import Kind, Segment, encode
from wire.times import DAY_MS

GOOD = desired()


def with_policy(**changes: object) -> Desired:
    return replace(GOOD, policy=replace(GOOD.policy, **changes))  # type: ignore[arg-type] # any field


POISON = {
    "a drift window too wide": with_policy(drift_window_ms=14_400_000),
    "a margin of zero": with_policy(guardrails=(Guardrail("unit.error", 1.0, 0.0),)),
    "a weight that vanishes": with_policy(
        guardrails=(Guardrail("unit.error", 1e-323, 0.1), Guardrail("unit.silence", 1.0, 0.1))
    ),
    "nothing that applies": with_policy(guardrails=(Guardrail("prediction.class", 1.0, 0.05),)),
    "an unknown metric": with_policy(guardrails=(Guardrail("unit.luck", 1.0, 0.05),)),
    "an alpha of zero": with_policy(alpha=0.0),
    "a name that is no Unicode": replace(
        GOOD, releases=(replace(GOOD.releases[0], path="caf\udce9.yaml"),)
    ),
}


def test_a_good_state_is_not_refused() -> None:
    assert misfits(GOOD) == []


@pytest.mark.parametrize("name", POISON)
def test_what_analytics_would_refuse_is_named_with_its_field(name: str) -> None:
    refused = misfits(POISON[name])

    assert refused
    assert all(r.field.startswith("spec") and r.problem and r.accepted for r in refused)


@pytest.mark.parametrize("width_ms", [13_440_000, 13_439_999, 10_000_001, 7_777_777, 1000])
def test_half_of_the_warm_up_covers_a_week_whatever_the_width(width_ms: int) -> None:
    rules = rules_of(width_ms)

    assert rules.warmup_windows // 2 * width_ms >= 7 * DAY_MS


def log_with(*controls: bytes) -> MemoryLog:
    """A good state, then `controls` one after the other, then 8 seconds of uploads."""
    log, rng = MemoryLog(1), np.random.default_rng(1)
    first, *rest = appends(rng, partitions=1, seconds=8)
    log.append([first])
    for control in controls:
        segment = Segment(Kind.CONTROL, START_MS, "w0", control=control)
        log.append([Append(0, encode(segment), START_MS)])
    for append in rest:
        log.append([append])
    return log


@pytest.mark.parametrize("name", [n for n in POISON if "Unicode" not in n])
def test_a_control_record_that_is_refused_is_announced_and_the_good_one_stays(name: str) -> None:
    poison = to_json(replace(POISON[name], effective_ms=START_MS + WINDOW_MS, commit="bad"))
    log = log_with(poison)

    decided = replay(
        log.read(0, 0, bytes_max=1 << 30), partitions=1, window_ms=WINDOW_MS, horizon_ms=DAY_MS
    )

    errors = [v for d in decided for v in d.verdicts if v.outcome is Outcome.ERROR]
    assert len(errors) == 1
    assert is_effect(errors[0])
    assert errors[0].arithmetic.reason.startswith("the desired state of commit bad is ignored")
    plain = replay(
        log_with().read(0, 0, bytes_max=1 << 30),
        partitions=1,
        window_ms=WINDOW_MS,
        horizon_ms=DAY_MS,
    )
    judged = [v for d in decided for v in d.verdicts if v.kind is VerdictKind.RELEASE]
    assert [v for v in judged if v not in errors] == [v for d in plain for v in d.verdicts]


def test_a_record_of_another_version_in_a_marker_is_announced_too() -> None:
    decider = Decider(1, WINDOW_MS)
    controls = [b'{"commit": 7}', b"not JSON", to_json(GOOD)]
    window = WindowPartial(START_MS, WINDOW_MS)

    (decided,) = decider.step(
        [Closed(0, START_MS + WINDOW_MS, 1, [START_MS, "w0", 0], window, controls)]
    )

    errors = [v for v in decided.verdicts if v.outcome is Outcome.ERROR]
    assert len({v.incident_id for v in errors}) == 2
    assert decider.desired == GOOD


def test_a_revert_heals() -> None:
    poison = replace(POISON["a margin of zero"], effective_ms=START_MS + WINDOW_MS)
    mended = replace(GOOD, commit="mended", effective_ms=START_MS + 2 * WINDOW_MS)
    mended = replace(mended, policy=replace(mended.policy, alpha=0.01))
    log = log_with(to_json(poison), to_json(mended))

    decided = replay(
        log.read(0, 0, bytes_max=1 << 30), partitions=1, window_ms=WINDOW_MS, horizon_ms=DAY_MS
    )

    policies = {v.policy_sha256 for v in decided[-1].verdicts}
    assert policies
    assert "" not in policies
