"""Stage two, over all partitions: closed windows -> rows and verdicts. Pure, and in log order."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
import numpy as np

from analytics.types import Verdict
from streams.monitors import Monitors
from streams.partial import Closed, WindowPartial, merge_partials
from streams.refused_control import refused_verdict
from streams.rollout_watch import RolloutWatch, start_watch
from streams.rows import Columns, metric_rows, quality_rows, verdict_rows
from streams.shown import shown_rows
from streams.trial import misfits
from wire.desired import Desired, Release, from_json, sha256, to_json


@dataclass(frozen=True, slots=True)
class Position:
    """Where a partition resumes: its next record, its clock before that record."""

    offset: int
    log_time: list[int | str]


@dataclass(frozen=True, slots=True)
class Decided:
    """One closed window's outcome. `positions` hold once rows and verdicts are durable."""

    window_start_ms: int
    rows: dict[str, Columns]
    verdicts: list[Verdict]
    positions: dict[int, Position]


@dataclass(slots=True)
class Decider:
    """Waits for every partition's closing marker, merges in partition order, judges."""

    partitions: int
    window_ms: int
    monitors: Monitors = field(default_factory=Monitors)
    desired: Desired | None = None
    pending: list[Desired] = field(default_factory=list)
    watches: dict[str, RolloutWatch] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)  # model -> number of its last attempt
    decided_until_ms: int = 0
    _closed: dict[int, deque[Closed]] = field(default_factory=dict)

    def step(self, markers: Iterable[Closed]) -> list[Decided]:
        """Take closing markers in; what became decidable, oldest window first."""
        for marker in markers:
            self._closed.setdefault(marker.partition, deque()).append(marker)
        decided = []
        while (start_ms := self._next_window()) is not None:
            decided.append(self._decide(start_ms))
        return decided

    def waiting(self, partition: int) -> int:
        """Markers of this partition whose windows wait for another partition."""
        return len(self._closed.get(partition, ()))

    def _next_window(self) -> int | None:
        """Start of the oldest undecided window that every partition is past."""
        queues = [self._closed.get(p) for p in range(self.partitions)]
        if not all(queues):
            return None
        return min(q[0].partial.start_ms for q in queues if q)

    def _decide(self, start_ms: int) -> Decided:
        parts: dict[int, WindowPartial] = {}
        positions: dict[int, Position] = {}
        past: list[Closed] = []
        for partition in range(self.partitions):
            marker = self._closed[partition][0]
            if marker.partial.start_ms == start_ms:
                self._closed[partition].popleft()
                past.append(marker)
                parts[partition] = marker.partial
                positions[partition] = Position(marker.next_offset, marker.log_time)
        window = merge_partials([parts[p] for p in sorted(parts)])
        verdicts = self._take_controls(past, window)
        rows: dict[str, Columns] = {
            "metric_window": metric_rows(window),
            "metric_shown": shown_rows(window),
            "ingest_window": _concatenated([quality_rows(parts[p], p) for p in sorted(parts)]),
        }
        if self.desired is not None:
            verdicts += self._judge(window, self.desired)
            more, alerts = self.monitors.step(window, self.desired)
            rows |= more
            verdicts += alerts
        if verdicts:
            rows["verdict"] = verdict_rows(verdicts)
        self.decided_until_ms = max(self.decided_until_ms, start_ms + self.window_ms)
        return Decided(start_ms, rows, verdicts, positions)

    def _take_controls(self, markers: Iterable[Closed], window: WindowPartial) -> list[Verdict]:
        """The newest state that is due and can be worked under; an error for each that cannot."""
        errors = []
        for body in (body for marker in markers for body in marker.controls):
            try:
                self.pending.append(from_json(body))
            except msgspec.MsgspecError as error:
                errors.append(refused_verdict(body, "", f"it cannot be read: {error}", window))
        due = [d for d in self.pending if d.effective_ms <= window.start_ms]
        self.pending = [d for d in self.pending if d.effective_ms > window.start_ms]
        newest: Desired | None = None
        for desired in sorted(due, key=lambda d: -d.effective_ms):
            refused = misfits(desired)
            if refused:
                reason = "; ".join(map(str, refused))
                errors.append(refused_verdict(to_json(desired), desired.commit, reason, window))
            else:
                newest = newest or desired
        self.desired = newest or self.desired
        return errors

    def _judge(self, window: WindowPartial, desired: Desired) -> list[Verdict]:
        verdicts: list[Verdict] = []
        offered = set()
        for release in desired.releases:
            rollout = release.rollout
            if rollout is None:
                continue
            active = rollout.share > 0 and rollout.hold_until_ms <= window.start_ms
            watch = self.watches.get(rollout.rollout_id)
            if active and (watch is None or rollout.attempt > watch.rollout.attempt):
                watch = self._start(release, desired)
            if watch is not None and active:
                offered.add(rollout.rollout_id)
                watch.rollout = rollout  # step and share move; what it is judged on does not
                if watch.breach is None:
                    verdicts.append(watch.judge(window))
                    burst = watch.watch_enrolments(window)
                    verdicts += [burst] if burst is not None else []
        for rollout_id, watch in sorted(self.watches.items()):
            if rollout_id not in offered and watch.breach is not None:
                recovery = watch.watch_recovery(window)
                verdicts += [recovery] if recovery is not None else []
        self._forget(desired)
        return verdicts

    def _forget(self, desired: Desired) -> None:
        """Drop rollouts that Git no longer names, once nothing is owed; a comeback costs alpha."""
        named = {r.rollout.rollout_id for r in desired.releases if r.rollout is not None}
        for rollout_id in sorted(set(self.watches) - named):
            watch = self.watches[rollout_id]
            if watch.breach is None or watch.recovered:
                del self.watches[rollout_id]

    def _start(self, release: Release, desired: Desired) -> RolloutWatch:
        assert release.rollout is not None  # noqa: S101
        rollout = release.rollout
        model = f"{release.app_id}/{release.model_id}"
        attempt = max(
            rollout.attempt, self.attempts.get(model, 0) + 1
        )  # never the same alpha twice
        self.attempts[model] = attempt
        before = self.watches.get(rollout.rollout_id)
        watch = start_watch(release, desired.policy, sha256(desired), attempt=attempt)
        if before is not None:  # phones enrol once per rollout, whatever the attempt
            watch.admission = before.admission
        self.watches[rollout.rollout_id] = watch
        return watch


def _concatenated(parts: list[Columns]) -> Columns:
    """Rows of several partitions as one table; columns are lists or numpy arrays."""
    return {name: np.concatenate([np.asarray(part[name]) for part in parts]) for name in parts[0]}
