"""What chaos does to a running system, drawn from one seed, and how it is done."""

import contextlib
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Protocol

import numpy as np

from bench.fault_proxy import FaultProxy, Mode
from bench.git_faults import edited, renamed
from bench.processes import cpu_seconds

Kind = Literal[
    "kill",
    "stop",
    "term",
    "latency",
    "reset",
    "half_open",
    "blackhole",
    "disk_full",
    "window_ms",
    "accepted_age",
    "branch",
    "clock",
]

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
FURTHER: Final[tuple[Kind, ...]] = ("window_ms", "accepted_age", "branch", "clock")
"""What people change: each comes once or more, where they are asked for."""
_FURTHER_HOLD_S: Final = 2.0  # longer than the others: Git is looked at twice a second
_CLOCK_MS: Final = 10_000  # log time stands still for so long once the clock is right again


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
        """Start what has ended; True if something had."""

    def mark(self) -> Sequence[int]:
        """How far the road has come in: records or time, by partition."""

    def is_past(self, mark: Sequence[int]) -> bool:
        """Whether all that came in before this mark, and more, is decided and stored."""

    def has_taken(self, part: str, mark: Sequence[int]) -> bool:
        """Whether this part's newest life has finished its first segment."""

    def fill_disk(self) -> None:
        """Leave less than the reserve."""

    def free_disk(self) -> None:
        """Undo it."""

    def refused(self) -> int:
        """How often uploads were answered with 503 so far."""

    @property
    def gitops(self) -> Path:
        """The bare repository that it watches."""

    def set_clock(self, offset_ms: int) -> None:
        """Restart what takes uploads with a clock that is wrong by so much."""


@dataclass(slots=True)
class Course:
    """What came of the faults. Seconds of the worst, unless it says otherwise."""

    kills: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    stuck: int = 0
    restart_seconds: dict[str, list[float]] = field(default_factory=dict)  # by kind of part
    restart_seconds_alone: list[float] = field(default_factory=list)  # of ours, nothing else down
    restart_cpu_seconds: list[float] = field(default_factory=list)
    live_seconds_max: float = 0.0
    drain_seconds_max: float = 0.0
    drains_unclean: int = 0
    disk_full_refused: int = 0
    seconds: float = 0.0
    standing_until_s: float = 0.0  # log time was ahead: until then nothing is decided anyway


@dataclass(frozen=True, slots=True)
class Targets:
    """What may be hurt: every part may be killed, some can be told to end, some keep files."""

    parts: Sequence[str]
    drained: Sequence[str]
    proxies: Sequence[str]
    has_disk: bool = False

    def of(self, kind: Kind) -> Sequence[str]:
        """The targets of one kind of fault."""
        match kind:
            case "kill" | "stop":
                return self.parts
            case "term":
                return self.drained
            case "disk_full" | "window_ms" | "accepted_age" | "branch" | "clock":
                return ("",)
            case _:
                return self.proxies


def schedule(
    seed: int,
    kills: int,
    *,
    targets: Targets,
    pause_s: tuple[float, float],
    has_further: bool = False,
) -> list[Fault]:
    """`kills` kill -9 of any part and about a third as many other faults; equal seeds, equal lists.

    With ten kills or more every kind of fault comes at least once. `has_further`: what people
    change comes on top, each once for ten kills and at least once.
    """
    rng = np.random.default_rng(seed)
    kinds = [kind for kind, _ in _OTHERS if targets.has_disk or kind != "disk_full"]
    weights = np.array([weight for kind, weight in _OTHERS if kind in kinds])
    drawn = rng.choice(len(kinds), int(kills * OTHER_SHARE), p=weights / weights.sum())
    others = [kinds[int(i)] for i in drawn]
    if kills >= _EVERY_KIND_FROM:
        others += [kind for kind in kinds if kind not in others]
    if has_further:
        others += list(FURTHER) * max(1, kills // _EVERY_KIND_FROM)
    kill: Kind = "kill"
    every = [kill] * kills + others
    order = rng.permutation(len(every))
    return [_drawn(every[i], rng, targets, pause_s) for i in order]


def _drawn(
    kind: Kind, rng: np.random.Generator, targets: Targets, pause_s: tuple[float, float]
) -> Fault:
    names = targets.of(kind)
    return Fault(
        kind,
        names[int(rng.integers(len(names)))],
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
    course, began_s, is_alone = Course(), time.monotonic(), True
    for number, fault in enumerate(faults, 1):
        before(number)
        time.sleep(fault.pause_s)
        mark = world.mark()
        course.faults[str(fault)] += 1
        struck_s = _strike(fault, world, course)
        world.revive()
        said = f"fault {number}/{len(faults)}: {fault}"
        if fault.is_hasty:
            said += ", and on"
        else:
            said += _recover(fault, world, course, mark, struck_s, is_alone=is_alone)
        is_alone = not fault.is_hasty
        tell(said)
    course.seconds = time.monotonic() - began_s
    return course


def _recover(
    fault: Fault,
    world: World,
    course: Course,
    mark: Sequence[int],
    struck_s: float,
    *,
    is_alone: bool,
) -> str:
    """Wait until the system lives again; how long that took, in words.

    `is_alone`: it had recovered from the fault before.
    """
    said = ""
    if fault.kind == "kill":
        taken_s = _until(world, lambda: world.has_taken(fault.target, mark), struck_s)
        kind = fault.target.partition("-")[0]
        if struck_s >= course.standing_until_s:  # else it tells how long log time stood
            course.restart_seconds.setdefault(kind, []).append(taken_s)
        if struck_s >= course.standing_until_s and is_alone and kind != "broker":
            course.restart_seconds_alone.append(taken_s)
        with contextlib.suppress(OSError):  # it was ended meanwhile
            course.restart_cpu_seconds.append(cpu_seconds(world.popen(fault.target).pid))
        said = f", at work after {taken_s:.1f} s"
    live_s = _until(world, lambda: world.is_past(mark), struck_s)
    course.live_seconds_max = max(course.live_seconds_max, live_s)
    course.stuck += live_s >= STUCK_S
    return f"{said}, decided on after {live_s:.1f} s"


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
        case "window_ms" | "accepted_age" as clock:
            with edited(world.gitops, clock):
                time.sleep(_FURTHER_HOLD_S + fault.hold_s)
        case "branch":
            with renamed(world.gitops):
                time.sleep(_FURTHER_HOLD_S + fault.hold_s)
        case "clock":
            ahead = fault.latency_s > sum(_LATENCY_S) / 2
            world.set_clock(_CLOCK_MS if ahead else -_CLOCK_MS)
            time.sleep(_FURTHER_HOLD_S + fault.hold_s)
            world.set_clock(0)
            if ahead:
                course.standing_until_s = time.monotonic() + _CLOCK_MS / 1000
        case kind:
            proxy = world.proxies[fault.target]
            proxy.switch(Mode(kind), latency_s=fault.latency_s)
            time.sleep(fault.hold_s)
            proxy.switch(Mode.PASS)
    return time.monotonic()


def _drain(popen: subprocess.Popen[bytes], course: Course) -> None:
    if popen.poll() is not None:
        return  # it had given up, and waits for its supervisor: nothing is left to drain
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


def _until(world: World, done: Callable[[], bool], since_s: float) -> float:
    """Seconds since then until it is done; `STUCK_S` or more: it never was."""
    while (took_s := time.monotonic() - since_s) < STUCK_S:
        if done():
            break
        world.revive()
        time.sleep(_LOOK_S)
    return took_s
