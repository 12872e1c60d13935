"""Ways of forging a verdict, and what each costs where uploads are taken at their word.

Uploads of 3,000 honest phones and a forger's, through the committer and the stages of a running
node, over a log in memory. The forger has the key that ships in the app and knows what the signed
config says. Two aims: a rollback of a candidate that is as good as its control, and no rollback of
one that is half as slow again. Each way of forging is tried with more and more uploads a window,
and the cheapest that reaches its aim is the price; none within the largest try is infinity.
"""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from analytics.types import Outcome, VerdictKind
from holdfast.replay import START_MS, WINDOW_MS
from ingest.batch_key import NO_KEY, BatchKey
from ingest.commit import Committer, Sent
from streams.local_worker import replay as decide
from streams.log.base import Append
from streams.log.memory import MemoryLog
from wire.decode import Encoding
from wire.desired import Desired, Guardrail, Policy, Release, Rollout, Version, to_json
from wire.errors import TransientError
from wire.segment import Kind, Segment, encode
from wire.times import DAY_MS

APP, MODEL, ROLLOUT = "camera", "scene-labels", "scene-labels-2"
ARMS: Final = ("candidate", "control")
WINDOWS: Final = 24
PHONES: Final = 3000
USED, UNUSED = ("DE", "US", "FR"), "BR"
SIZES: Final = (1, 2, 5, 10, 20, 40, 80, 160, 320)
SLOWER: Final = 1.5
_GROUP: Final = 512
_GUARDRAILS: Final = (
    Guardrail("inference.latency", 0.4, 0.05),
    Guardrail("unit.crash", 0.3, 0.1),
    Guardrail("label.incorrect", 0.3, 0.1),
)


Window = Callable[[int, int], Iterator[tuple[str, str, dict[str, object]]]]
"""(window, size) -> (region, arm, the upload's own fields) of each forged upload."""


@dataclass(frozen=True, slots=True)
class Forged:
    """One way of forging: what `size` buys in one window, each item one upload's own fields."""

    what: str
    aim: str  # rollback | masking
    window: Window


def enrolment() -> dict[str, object]:
    """An upload that says that its phone has just enrolled."""
    return {"enrolled": True, "enrolled_ms": START_MS, "rows": []}


def bet(latency_ms: float, *, enrols: bool) -> dict[str, object]:
    """An upload with a phone's betting inference, and its enrolment if it pays for one."""
    fields = {"enrolled_ms": START_MS, "rows": [{"latency_ms": latency_ms, "unit_bet": 1}]}
    return {**fields, "enrolled": True} if enrols else fields


def days(count: int, *, crashed: bool) -> dict[str, object]:
    """An upload with `count` unit days of one day; each would be a phone of its own."""
    day = {"day": 0, "crashed": crashed}
    return {"enrolled": True, "enrolled_ms": START_MS, "rows": [], "unit_days": [day] * count}


def labels(count: int, *, wrong: bool) -> dict[str, object]:
    """An upload with `count` labelled outcomes."""
    one = {"label_age_days": 0, "correct": int(not wrong), "incorrect": int(wrong)}
    one |= {"unit_incorrect": 1} if wrong else {"unit_correct": 1}
    return {"enrolled": True, "enrolled_ms": START_MS, "rows": [], "outcomes": [one] * count}


def both(region: str, fields: Callable[[bool], dict[str, object]]) -> Window:
    """`size` uploads in each arm and window, the candidate's the bad ones."""

    def window(number: int, size: int) -> Iterator[tuple[str, str, dict[str, object]]]:
        for _ in range(size):
            for arm in ARMS:
                yield region, arm, fields(arm == "candidate")

    return window


def both_arms(region: str) -> Window:
    """Enrolments alone, so that honest cohorts become rare beside them."""
    return both(region, lambda bad: enrolment())


def one_arm(
    regions: Sequence[str],
) -> Window:
    """Enrolments of the control alone, spread over regions: the arms seem to be bent."""

    def window(number: int, size: int) -> Iterator[tuple[str, str, dict[str, object]]]:
        for i in range(size):
            yield regions[i % len(regions)], "control", enrolment()

    return window


def once(
    fields: dict[str, object],
) -> Window:
    """One upload in all, whatever the size."""

    def window(number: int, size: int) -> Iterator[tuple[str, str, dict[str, object]]]:
        if number == 2:
            yield USED[0], "candidate", fields

    return window


WAYS: Final = (
    Forged("one upload of 1,000 crashed days", "rollback", once(days(1000, crashed=True))),
    Forged("one upload of 1,000 wrong labels", "rollback", once(labels(1000, wrong=True))),
    Forged("one enrolment", "masking", once(enrolment())),
    Forged(
        "bets without enrolments, unused stratum",
        "rollback",
        both(UNUSED, lambda bad: bet(400.0 if bad else 20.0, enrols=False)),
    ),
    Forged(
        "crashed days, used stratum", "rollback", both(USED[0], lambda bad: days(1, crashed=bad))
    ),
    Forged(
        "crashed days, unused stratum", "rollback", both(UNUSED, lambda bad: days(1, crashed=bad))
    ),
    Forged(
        "wrong labels, used stratum", "rollback", both(USED[0], lambda bad: labels(1, wrong=bad))
    ),
    Forged(
        "wrong labels, unused stratum", "rollback", both(UNUSED, lambda bad: labels(1, wrong=bad))
    ),
    Forged(
        "slow bets, used stratum",
        "rollback",
        both(USED[0], lambda bad: bet(400.0 if bad else 20.0, enrols=True)),
    ),
    Forged(
        "slow bets, unused stratum",
        "rollback",
        both(UNUSED, lambda bad: bet(400.0 if bad else 20.0, enrols=True)),
    ),
    Forged("enrolments of one arm, one stratum", "masking", one_arm(USED[:1])),
    Forged("enrolments of one arm, all strata", "masking", one_arm(USED)),
    Forged("enrolments of one arm, unused stratum", "masking", one_arm((UNUSED,))),
    Forged("enrolments of both arms, unused stratum", "masking", both_arms(UNUSED)),
    Forged(
        "opposite bets, used stratum",
        "masking",
        both(USED[0], lambda bad: bet(20.0 if bad else 400.0, enrols=True)),
    ),
)
BOUNDED: Final = 4
"""The first ways must never reach their aim."""


def desired() -> Desired:
    """One release with its rollout half way, and the rules of evidence as they are by default."""
    policy = Policy(
        alpha=1e-4,
        alpha_margin=0.05,
        window_ms=WINDOW_MS,
        accepted_age_ms=7 * DAY_MS,
        observation_ms=WINDOW_MS,
        cohort_ms=WINDOW_MS,
        silence_grace_ms=WINDOW_MS,
        drift_window_ms=15 * WINDOW_MS,
        regions=(*USED, UNUSED),
        app_versions={APP: ("1.0.0",)},
        sdk_versions=("0.1.0",),
        guardrails=_GUARDRAILS,
    )
    rollout = Rollout(ROLLOUT, 1, Version("2.0.0", ""), 1, 0.5, "plain")
    release = Release(
        name=MODEL,
        path="releases/camera.yaml",
        app_id=APP,
        model_id=MODEL,
        owner="",
        cost_center="",
        project="",
        stable=Version("1.0.0", ""),
        rollout=rollout,
        strata=("platform", "region", "device_tier"),
        class_groups=0,
    )
    return Desired("bench", (release,), policy, effective_ms=START_MS)


def body(
    rng: np.random.Generator, now_ms: int, region: str, arm: str, fields: dict[str, object]
) -> bytes:
    """One upload as JSON."""
    context = {
        "app_id": APP,
        "app_version": "1.0.0",
        "platform": "android",
        "os_major": 14,
        "device_tier": "mid",
        "region": region,
        "network": "wifi",
        "model_id": MODEL,
        "model_version": "2.0.0" if arm == "candidate" else "1.0.0",
        "runtime": "tflite",
        "placement": "device",
        "sdk_version": "0.1.0",
        "rollout_id": ROLLOUT,
        "step": 1,
        "arm": arm,
    }
    head = {"batch_id": rng.bytes(16).hex(), "created_ms": now_ms, "context": context}
    return json.dumps(head | fields).encode()


def worlds() -> dict[str, list[list[bytes]]]:
    """The honest uploads of each aim: a candidate as good as its control, and a slow one."""
    rng = np.random.default_rng(7)
    return {"rollback": honest(rng, slower=1.0), "masking": honest(rng, slower=SLOWER)}


def honest(rng: np.random.Generator, *, slower: float) -> list[list[bytes]]:
    """The honest phones' uploads by window: each enrols, and bets and reports later."""
    windows: list[list[bytes]] = [[] for _ in range(WINDOWS)]
    for i in range(PHONES):
        arm, region = ARMS[i % 2], USED[int(rng.integers(len(USED)))]
        factor = slower if arm == "candidate" else 1.0
        start = int(rng.integers(WINDOWS - 4))
        later = start + 1 + int(rng.integers(3))
        now_ms = START_MS + start * WINDOW_MS
        windows[start].append(
            body(rng, now_ms, region, arm, {**enrolment(), "enrolled_ms": now_ms})
        )
        report = bet(float(rng.lognormal(4.0, 0.5)) * factor, enrols=False)
        report["unit_days"] = [{"day": 0, "crashed": bool(rng.random() < 0.01)}]
        wrong = bool(rng.random() < 0.1)
        report |= {"enrolled_ms": now_ms, "outcomes": labels(1, wrong=wrong)["outcomes"]}
        windows[later].append(body(rng, START_MS + later * WINDOW_MS, region, arm, report))
    return windows


@dataclass(slots=True)
class _Clock:
    state: Desired
    ms: int = START_MS

    def __call__(self) -> int:
        return self.ms

    def current(self) -> Desired:
        return self.state


def breach_window(
    phones: list[list[bytes]],
    forged: list[list[bytes]],
    state: Desired | None = None,
    batch_key: BatchKey = NO_KEY,
) -> float:
    """The window, from 1, in which the candidate is found to be bad; infinity if it is not."""
    log, clock = MemoryLog(), _Clock(state or desired())
    control = Segment(Kind.CONTROL, START_MS, "bench", control=to_json(clock.state))
    log.append([Append(0, encode(control), START_MS)])
    committer = Committer(log=log, desired=clock, now_ms=clock, writer="bench", batch_key=batch_key)
    for window in range(WINDOWS):
        sent = [Sent(Encoding.JSON, b, APP) for b in (*phones[window], *forged[window])]
        for at in range(0, len(sent), _GROUP):
            _commit(committer, sent[at : at + _GROUP])
        clock.ms += WINDOW_MS
    _commit(committer, [])
    decided = decide(
        log.read(0, 0, bytes_max=1 << 40),
        partitions=1,
        window_ms=WINDOW_MS,
        horizon_ms=7 * DAY_MS,
    )
    for d in decided:
        for v in d.verdicts:
            if v.kind is VerdictKind.RELEASE and v.outcome is Outcome.BREACH:
                return (v.window_start_ms - START_MS) // WINDOW_MS + 1
    return math.inf


def _commit(committer: Committer, group: list[Sent]) -> None:
    outcomes = committer.commit(group, early={}, with_tick=not group)
    if isinstance(outcomes, TransientError):
        raise outcomes


@dataclass(frozen=True, slots=True)
class Price:
    """What an aim cost: uploads and bytes until it was reached, and windows."""

    uploads: float = math.inf
    wire_bytes: float = math.inf
    windows: float = math.inf


def price(way: Forged, phones: list[list[bytes]], sizes: Sequence[int]) -> Price:
    """The cheapest try of a way that reaches its aim."""
    for size in sizes:
        rng = np.random.default_rng(size)
        forged = [
            [body(rng, START_MS + n * WINDOW_MS, *item) for item in way.window(n, size)]
            for n in range(WINDOWS)
        ]
        found = breach_window(phones, forged)
        if (found < math.inf) == (way.aim == "rollback"):
            until = WINDOWS if way.aim == "masking" else int(found)
            spent = [b for window in forged[:until] for b in window]
            return Price(len(spent), sum(map(len, spent)), until)
    return Price()
