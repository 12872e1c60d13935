"""Recorded runs on the whole road, in process: uploads, log, windows, verdicts. Seeded.

The same committer and the same stages as a running node, over a log in memory and under a clock
that the replay turns, so that equal recordings and an equal seed give an equal answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from analytics.types import Arithmetic, Outcome, Verdict, VerdictKind
from ingest.commit import Committer, Sent
from ingest.receipt import Receipt
from sdk_stub.batch import SDK_VERSION
from sdk_stub.recorded import GROUPS, Run
from sdk_stub.replay import DEVICE, Replay, ReplayIdentity
from sdk_stub.scenarios import CARRIER
from streams.local_worker import replay as decide_again
from streams.log.base import Append, Record
from streams.log.memory import MemoryLog
from wire.decode import Encoding
from wire.desired import (
    Desired,
    Gate,
    Guardrail,
    Policy,
    Release,
    Rollout,
    Version,
    to_json,
)
from wire.errors import PermanentError, TransientError
from wire.segment import Kind, Segment, encode
from wire.times import DAY_MS

IDENTITY: Final = ReplayIdentity(
    app_id="recordings",
    app_version="1.0.0",
    model_id="image-classifier",
    stable_version="1.0.0",
    candidate_version="1.1.0",
    rollout_id="image-classifier-1.1.0",
)
GUARDRAILS: Final = (
    Guardrail("label.incorrect", 0.4, 0.10),
    Guardrail("prediction.class", 0.3, 0.02),
    Guardrail("inference.latency", 0.3, 0.05),
)
"""What recordings can be judged on. Weights and margins are fixed before any of them is read."""
STRATA: Final = ("platform", "region", "device_tier")
WINDOW_MS: Final = 60_000
START_MS: Final = 1_790_000_040_000
"""The first window's start; any whole window would do."""
UNEQUAL: Final = "mixed-vendors"
_GROUP_MAX: Final = 512


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """What to replay. `device` has runs of both models; `stratified` keeps vendors apart.

    `enrols_evenly`: the scenario that mixes its arms unequally fails the assignment check by its
    enrolments, and that check drops its strata. With as many of each arm, the bets are judged.
    """

    scenario: str
    seed: int = 1
    stratified: bool = True
    device: str = DEVICE
    windows: int = 120
    enrols_evenly: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """A log of a scenario's uploads: all its records, and how many uploads were refused."""

    records: Sequence[Record]
    uploads: int
    refused: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """What came of one look at all windows, up to the breach if there is one."""

    outcome: Outcome
    arithmetic: Arithmetic
    breach_window: int | None  # counted from 1

    @property
    def units(self) -> int:
        """Installations that had bet on the leading metric."""
        return self.arithmetic.units_candidate + self.arithmetic.units_control


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """The verdict with all guardrails, and what each of them would have said alone.

    Alone means with its own share of alpha, no more.
    """

    plan: ReplayPlan
    uploads: int
    refused: int
    judged: Judgement
    alone: dict[str, Judgement] = field(default_factory=dict)


def replay_runs(runs: Sequence[Run], plan: ReplayPlan, *, each_alone: bool = True) -> ReplayResult:
    """Send the scenario's uploads through the road, and judge. Raises PermanentError."""
    return judge(write(runs, plan), plan, each_alone=each_alone)


def write(runs: Sequence[Run], plan: ReplayPlan) -> Written:
    """The log of a scenario. How it is stratified later makes no difference to it."""
    made = Replay(
        runs,
        plan.scenario,
        IDENTITY,
        rng=np.random.default_rng(plan.seed),
        windows=plan.windows,
        device=plan.device,
        enrols_evenly=plan.enrols_evenly,
    )
    log, clock = MemoryLog(), _Clock(desired_of(GUARDRAILS, stratified=plan.stratified))
    committer = Committer(log=log, desired=clock, now_ms=clock, writer="replay")
    refused = 0
    for window in made.windows():
        group = [
            Sent(Encoding.PROTOBUF, upload.body, upload.app_id)
            for upload in made.uploads(window, clock.ms)
        ]
        for start in range(0, len(group), _GROUP_MAX):
            refused += _commit(committer, group[start : start + _GROUP_MAX])
        clock.ms += WINDOW_MS
    _commit(committer, [])  # a tick past the last window closes it
    return Written(log.read(0, 0, bytes_max=1 << 40), len(made.units), refused)


def judge(written: Written, plan: ReplayPlan, *, each_alone: bool = True) -> ReplayResult:
    """What the stages say of a log."""
    alone = {
        g.metric: _judged(written.records, plan, (g,)) for g in (GUARDRAILS if each_alone else ())
    }
    judged = _judged(written.records, plan, GUARDRAILS)
    return ReplayResult(plan, written.uploads, written.refused, judged, alone)


def desired_of(guardrails: tuple[Guardrail, ...], *, stratified: bool) -> Desired:
    """A repository with one release under replay. Fewer guardrails do not get more of alpha."""
    share = sum(g.weight for g in guardrails)
    policy = Policy(
        alpha=1e-4 * share,
        alpha_margin=0.05 * share,
        window_ms=WINDOW_MS,
        accepted_age_ms=7 * DAY_MS,
        observation_ms=WINDOW_MS,
        cohort_ms=IDENTITY.cohort_ms,
        silence_grace_ms=WINDOW_MS,
        drift_window_ms=15 * WINDOW_MS,
        regions=tuple(sorted(CARRIER.values())),
        app_versions={IDENTITY.app_id: (IDENTITY.app_version,)},
        sdk_versions=(SDK_VERSION,),
        guardrails=guardrails,
        gate=Gate(),
    )
    release = Release(
        name=IDENTITY.model_id,
        path="releases/image-classifier.yaml",
        app_id=IDENTITY.app_id,
        model_id=IDENTITY.model_id,
        owner="",
        cost_center="",
        project="",
        stable=Version(IDENTITY.stable_version, ""),
        rollout=Rollout(
            IDENTITY.rollout_id, 1, Version(IDENTITY.candidate_version, ""), 1, 0.5, "recorded"
        ),
        strata=STRATA if stratified else tuple(s for s in STRATA if s != "region"),
        class_groups=GROUPS,
    )
    return Desired("recorded", (release,), policy, effective_ms=START_MS)


@dataclass(slots=True)
class _Clock:
    """Time as the replay says, and the desired state that holds all along."""

    desired: Desired
    ms: int = START_MS

    def __call__(self) -> int:
        return self.ms

    def current(self) -> Desired:
        return self.desired


def _commit(committer: Committer, group: list[Sent]) -> int:
    outcomes = committer.commit(group, early={}, with_tick=not group)
    if isinstance(outcomes, TransientError):
        raise outcomes
    return sum(
        not isinstance(outcome, Receipt) or outcome.accepted_rows != outcome.received_rows
        for outcome in outcomes
    )


def _judged(
    records: Sequence[Record], plan: ReplayPlan, guardrails: tuple[Guardrail, ...]
) -> Judgement:
    """The stages over the log, under a policy of these guardrails."""
    desired = desired_of(guardrails, stratified=plan.stratified)
    control = Segment(Kind.CONTROL, START_MS, "replay", control=to_json(desired))
    log = MemoryLog()
    log.append([Append(0, encode(control), START_MS)])
    log.append([Append(0, record.payload, START_MS) for record in records])
    decided = decide_again(
        log.read(0, 0, bytes_max=1 << 40),
        partitions=1,
        window_ms=WINDOW_MS,
        horizon_ms=desired.policy.accepted_age_ms,
    )
    verdicts = [v for d in decided for v in d.verdicts if v.kind is VerdictKind.RELEASE]
    if not verdicts or len(decided) != plan.windows:
        raise PermanentError("replay_incomplete", "not every window was judged")
    breach = next((v for v in verdicts if v.outcome is Outcome.BREACH), None)
    last: Verdict = breach or verdicts[-1]
    number = None if breach is None else (breach.window_start_ms - START_MS) // WINDOW_MS + 1
    return Judgement(last.outcome, last.arithmetic, number)
