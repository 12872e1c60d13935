"""What chaos does to a running system, drawn from one seed, and how it is done."""

import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

import numpy as np

from bench.fault_proxy import FaultProxy, Mode

Kind = Literal["kill", "stop", "term", "latency", "reset", "half_open", "blackhole", "disk_full"]

OTHER_SHARE: Final = 0.33
"""Faults that are no kill, for each kill."""
HASTY_SHARE: Final = 0.2
"""Faults after which the next one comes before the system has recovered."""
STUCK_S: Final = 30.0
_HOLD_S: Final = (0.2, 2.0)
_LATENCY_S: Final = (0.02, 0.3)
_DRAIN_S: Final = 15.0
_REFUSED_S: Final = 10.0
_LOOK_S: Final = 0.02
_EVERY_KIND_FROM: Final = 10  # kills
_OTHERS: Final[tuple[tuple[Kind, float], ...]] = (
    ("stop", 0.25),
    ("term", 0.25),
    ("latency", 0.1),
    ("reset", 0.1),
    ("half_open", 0.1),
    ("blackhole", 0.1),
    ("disk_full", 0.1),
)


@dataclass(frozen=True, slots=True)
class Fault:
    """`pause_s` before it, `hold_s` while it lasts; `target` is a part, or a proxy's name."""

    kind: Kind
    target: str
    pause_s: float
    hold_s: float
    latency_s: float
    is_hasty: bool

    def __str__(self) -> str:
        return f"{self.kind} {self.target}".strip()


class World(Protocol):
    """A running system, seen by chaos."""

    @property
    def proxies(self) -> Mapping[str, FaultProxy]:
        """The proxies between its parts, by name."""

    def popen(self, part: str) -> subprocess.Popen[bytes]:
        """The process of a part."""

    def revive(self) -> bool:
        """Start what has ended, and wait until it is ready; True if something had."""

    def ends(self) -> Sequence[int]:
        """By partition: the offset that the log's next record will get."""

    def decided(self) -> Sequence[int]:
        """By partition: the offset before which everything is decided and stored."""

    def fill_disk(self) -> None:
        """Leave less than the reserve."""

    def free_disk(self) -> None:
        """Undo it."""

    def refused(self) -> int:
        """How often uploads were answered with 503 so far."""


@dataclass(slots=True)
class Course:
    """What came of the faults. Seconds of the worst, unless it says otherwise."""

    kills: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    stuck: int = 0
    restart_seconds: list[float] = field(default_factory=list)
    live_seconds_max: float = 0.0
    drain_seconds_max: float = 0.0
    drains_unclean: int = 0
    disk_full_refused: int = 0
    seconds: float = 0.0


def schedule(
    seed: int,
    kills: int,
    *,
    parts: Sequence[str],
    proxies: Sequence[str],
    pause_s: tuple[float, float],
) -> list[Fault]:
    """`kills` kill -9 of any part and about a third as many other faults; equal seeds, equal lists.

    With ten kills or more every kind of fault comes at least once.
    """
    rng = np.random.default_rng(seed)
    weights = [weight for _, weight in _OTHERS]
    drawn = rng.choice(len(_OTHERS), int(kills * OTHER_SHARE), p=weights)
    others: list[Kind] = [_OTHERS[int(i)][0] for i in drawn]
    if kills >= _EVERY_KIND_FROM:
        others += [kind for kind, _ in _OTHERS if kind not in others]
    kill: Kind = "kill"
    kinds = [kill] * kills + others
    order = rng.permutation(len(kinds))
    return [_drawn(kinds[i], rng, parts, proxies, pause_s) for i in order]


def _drawn(
    kind: Kind,
    rng: np.random.Generator,
    parts: Sequence[str],
    proxies: Sequence[str],
    pause_s: tuple[float, float],
) -> Fault:
    targets = parts if kind in {"kill", "stop", "term"} else proxies
    return Fault(
        kind,
        "" if kind == "disk_full" else targets[int(rng.integers(len(targets)))],
        float(rng.uniform(*pause_s)),
        float(rng.uniform(*_HOLD_S)),
        float(rng.uniform(*_LATENCY_S)),
        bool(rng.random() < HASTY_SHARE),
    )


def suffer(
    faults: Sequence[Fault],
    world: World,
    *,
    before: Callable[[int], None],
    tell: Callable[[str], None],
) -> Course:
    """All faults in order; `before` is called with the number of each. What came of them."""
    course, began_s = Course(), time.monotonic()
    for number, fault in enumerate(faults, 1):
        before(number)
        time.sleep(fault.pause_s)
        ends = world.ends()
        course.faults[str(fault)] += 1
        struck_s = _strike(fault, world, course)
        if world.revive() and fault.kind != "kill":
            tell(f"a part had ended after {fault}")
        ready_s = time.monotonic() - struck_s
        said = f"fault {number}/{len(faults)}: {fault}, ready after {ready_s:.1f} s"
        if not fault.is_hasty:
            live_s = _live_again(world, ends, struck_s)
            said += f", decided on after {live_s:.1f} s"
            course.live_seconds_max = max(course.live_seconds_max, live_s)
            course.stuck += live_s >= STUCK_S
            if fault.kind == "kill":
                course.restart_seconds.append(live_s)
        tell(said)
    course.seconds = time.monotonic() - began_s
    return course


def _strike(fault: Fault, world: World, course: Course) -> float:
    """Do it; the moment from which the system has to recover."""
    match fault.kind:
        case "kill":
            popen = world.popen(fault.target)
            popen.kill()
            struck_s = time.monotonic()
            popen.wait()
            course.kills += 1
            return struck_s
        case "stop":
            popen = world.popen(fault.target)
            popen.send_signal(signal.SIGSTOP)
            time.sleep(fault.hold_s)
            popen.send_signal(signal.SIGCONT)
        case "term":
            _drain(world.popen(fault.target), course)
        case "disk_full":
            _fill(world, course)
        case kind:
            proxy = world.proxies[fault.target]
            proxy.switch(Mode(kind), latency_s=fault.latency_s)
            time.sleep(fault.hold_s)
            proxy.switch(Mode.PASS)
    return time.monotonic()


def _drain(popen: subprocess.Popen[bytes], course: Course) -> None:
    began_s = time.monotonic()
    popen.terminate()
    try:
        course.drains_unclean += popen.wait(_DRAIN_S) != 0
    except subprocess.TimeoutExpired:
        course.drains_unclean += 1
        popen.kill()
        popen.wait()
    course.drain_seconds_max = max(course.drain_seconds_max, time.monotonic() - began_s)


def _fill(world: World, course: Course) -> None:
    before, began_s = world.refused(), time.monotonic()
    world.fill_disk()
    try:
        while world.refused() == before and time.monotonic() - began_s < _REFUSED_S:
            time.sleep(_LOOK_S)
        course.disk_full_refused += world.refused() > before
    finally:
        world.free_disk()


def _live_again(world: World, ends: Sequence[int], since_s: float) -> float:
    """Seconds until all that the log held before the fault is decided, in every partition.

    A window that closes needs a newer record, so this includes the first segment of the new life.
    """
    while (took_s := time.monotonic() - since_s) < STUCK_S:
        if all(at >= end for at, end in zip(world.decided(), ends, strict=True)):
            break
        world.revive()
        time.sleep(_LOOK_S)
    return took_s
