"""Attempts of one rollout: each is judged anew, is an incident of its own and costs alpha."""

from dataclasses import replace

import numpy as np

from analytics.types import Outcome, Verdict
from streams.decide import Decider
from streams.local_worker import replay
from streams.log.base import Append
from streams.log.memory import MemoryLog
from streams.partial import Closed, WindowPartial
from streams.rollout_watch import attempt_alpha
from tests.fakes.segments import START_MS, WINDOW_MS, desired, telemetry
from wire.desired import Desired, to_json
from wire.segment import Kind, Segment, encode

SECONDS = 40


def declared(attempt: int, effective_ms: int) -> Desired:
    state = desired(effective_ms=effective_ms)
    release = state.releases[0]
    assert release.rollout is not None
    rollout = replace(release.rollout, attempt=attempt)
    return replace(state, releases=(replace(release, rollout=rollout),))


def breaches(*attempts: int) -> list[Verdict]:
    """The candidate is slow all along; each attempt is declared for `SECONDS` of log time."""
    rng, log = np.random.default_rng(1), MemoryLog()
    for number, attempt in enumerate(attempts):
        start_ms = START_MS + number * SECONDS * 1000
        control = Segment(
            Kind.CONTROL, start_ms, "w0", control=to_json(declared(attempt, start_ms))
        )
        log.append([Append(0, encode(control), start_ms)])
        for at_ms in range(start_ms, start_ms + SECONDS * 1000, 250):
            segment = telemetry(rng, at_ms, slower=1.6)
            log.append([Append(0, encode(segment), at_ms, segment.uploads["batch_id"].tobytes())])
    decided = replay(
        log.read(0, 0, bytes_max=1 << 30), partitions=1, window_ms=WINDOW_MS, horizon_ms=86_400_000
    )
    return [v for d in decided for v in d.verdicts if v.outcome is Outcome.BREACH]


def test_a_second_attempt_under_the_same_rollout_id_can_be_in_breach() -> None:
    first, second = breaches(1, 2)

    assert first.rollout_id == second.rollout_id
    assert first.incident_id != second.incident_id
    assert [first.arithmetic.attempt, second.arithmetic.attempt] == [1, 2]
    assert second.arithmetic.alpha == attempt_alpha(1e-4, 2)


def test_the_same_attempt_offered_again_is_not_judged_again() -> None:
    assert len(breaches(1, 1)) == 1


def test_an_attempt_that_is_counted_back_and_on_still_costs_alpha() -> None:
    assert [v.arithmetic.attempt for v in breaches(2, 1, 2)] == [2, 3]


def test_a_rollout_that_git_forgot_leaves_the_state_and_costs_alpha_if_it_returns() -> None:
    offered = desired()
    (release,) = offered.releases
    gone = replace(offered, releases=(replace(release, rollout=None),))
    decider = Decider(1, WINDOW_MS)
    empty = WindowPartial(START_MS, WINDOW_MS)
    watched = []
    for number, state in enumerate((offered, gone, offered)):
        start_ms = START_MS + number * WINDOW_MS
        control = to_json(replace(state, effective_ms=start_ms))
        partial = replace(empty, start_ms=start_ms)
        decider.step([Closed(0, start_ms + WINDOW_MS, number + 1, [0, "", 0], partial, [control])])
        watched.append({name: w.attempt for name, w in decider.watches.items()})

    assert watched == [{"r1": 1}, {}, {"r1": 2}]
