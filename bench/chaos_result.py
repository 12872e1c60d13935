"""What a chaos run came to: the accounts compared, and whether every promise held."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from bench.faults import Course
from bench.oracle import Account, Release
from bench.replayed import Comparison

NAMED: Final = ("log_replaced", "clocks_are_pinned", "seen_retention_too_short")
"""Errors by which a system says what was changed under it."""
_GONE_WITH_A_LOG: Final = ("lost", "evidence_equal", "verdicts_differing")
RESTART_S_MAX: Final = 5.0
DRAIN_S_MAX: Final = 10.0
_MUST_BE_NONE: Final = (
    *("lost", "doubled", "verdicts_differing", "balance_difference"),
    *("stuck", "unacknowledged", "refused", "drains_unclean"),
)


@dataclass(slots=True)
class ChaosResult:
    """The contract of ``holdfast chaos --json``; events, unless it says otherwise.

    `restart_seconds_max`: from a kill -9 of one of our parts until the new life has finished its
    first segment: on a node, until what the log held before is decided, and more. Brokers are
    told apart (`restart_seconds_by_part`). `restart_seconds_alone_max` leaves out kills that
    struck before the system had recovered from the fault before. `stuck`: faults after which
    nothing was decided on for 30 s. `unacknowledged`: uploads by model that had no receipt two
    minutes after the last fault. `gave_up`: parts of a cluster that ended by themselves with an
    error, for their supervisor to start them again: that costs time, and nothing else. `named`:
    how often the logs name what was changed; where a log was replaced and that is named, what was
    gone with it is no broken promise, and nothing may be doubled all the same.
    """

    seed: int
    mode: str = "embedded"
    kills: int = 0
    acknowledged: int = 0
    maybe: int = 0
    counted: int = 0
    lost: int = 0
    doubled: int = 0
    verdicts: int = 0
    verdicts_differing: int = 0
    evidence_equal: bool = False
    balance_difference: int = 0
    commits: int = 0
    commits_expected: int = 1
    retries: int = 0
    refused: int = 0
    refusals: dict[str, int] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    restart_seconds_max: float = 0.0
    restart_seconds_median: float = 0.0
    restart_seconds_alone_max: float = 0.0
    restart_seconds_by_part: dict[str, float] = field(default_factory=dict)
    restart_cpu_seconds_max: float = 0.0  # what the new life had spent then: no neighbour is in it
    live_seconds_max: float = 0.0
    drain_seconds_max: float = 0.0
    drains_unclean: int = 0
    stuck: int = 0
    gave_up: dict[str, int] = field(default_factory=dict)
    unacknowledged: dict[str, int] = field(default_factory=dict)
    disk_full: int = 0
    disk_full_refused: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    named: dict[str, int] = field(default_factory=dict)
    cycle_seconds_mean: float = 0.0

    @property
    def broken(self) -> dict[str, object]:
        """Promises that did not hold, by field, with what was seen."""
        holds = {
            **{name: not getattr(self, name) for name in _MUST_BE_NONE},
            "evidence_equal": self.evidence_equal,
            "commits": self.commits == self.commits_expected,
            "disk_full_refused": self.disk_full_refused == self.disk_full,
            "drain_seconds_max": self.drain_seconds_max <= DRAIN_S_MAX,
            "restart_seconds_max": self.restart_seconds_max <= RESTART_S_MAX,
        }
        if self.named.get("log_replaced"):
            holds |= dict.fromkeys(_GONE_WITH_A_LOG, True)
        return {name: getattr(self, name) for name, held in holds.items() if not held}

    @property
    def is_ok(self) -> bool:
        """Every promise held."""
        return not self.broken

    def take_course(self, course: Course) -> None:
        """What came of the faults."""
        took = course.restart_seconds
        self.restart_seconds_by_part = {k: round(max(took[k]), 2) for k in sorted(took)}
        ours = [seconds for kind in took if kind != "broker" for seconds in took[kind]]
        restarts = sorted(ours) or [0.0]
        self.kills, self.stuck = course.kills, course.stuck
        self.faults = dict(sorted(course.faults.items()))
        self.restart_seconds_max = round(restarts[-1], 2)
        self.restart_seconds_median = round(restarts[len(restarts) // 2], 2)
        self.restart_seconds_alone_max = round(max(course.restart_seconds_alone, default=0.0), 2)
        self.restart_cpu_seconds_max = round(max(course.restart_cpu_seconds, default=0.0), 2)
        self.live_seconds_max = round(course.live_seconds_max, 2)
        self.drain_seconds_max = round(course.drain_seconds_max, 2)
        self.drains_unclean = course.drains_unclean
        self.disk_full = course.faults["disk_full"]
        self.disk_full_refused = course.disk_full_refused
        self.cycle_seconds_mean = round(course.seconds / max(course.faults.total(), 1), 2)

    def take_counts(self, account: Account, counted: Counter[Release]) -> None:
        """What was acknowledged against what the store has."""
        self.acknowledged = account.acknowledged.total()
        self.maybe = account.maybe.total()
        self.counted = counted.total()
        self.retries, self.refused = account.retries, account.refused
        self.refusals = dict(account.refusals)
        self.answers = {str(status): n for status, n in sorted(account.answers.items())}
        for release in account.acknowledged | account.maybe | counted:
            least = account.acknowledged[release]
            most = least + account.maybe[release]
            self.lost += max(least - counted[release], 0)
            self.doubled += max(counted[release] - most, 0)

    def take_comparison(self, same: Comparison) -> None:
        """What was decided against a replay of the log."""
        self.evidence_equal, self.verdicts = same.is_state_equal, same.verdicts
        self.verdicts_differing = same.differing
