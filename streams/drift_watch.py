"""Closed windows -> drift windows of every release's metrics -> alerts, never rollbacks."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analytics.buckets import COUNT
from analytics.cells import pooled
from analytics.drift import DriftAlert, DriftMonitor, SeriesKey
from analytics.drift_series import DriftRules
from analytics.drift_statistics import SeriesKind, SeriesWindow
from analytics.types import Arithmetic, Outcome, Verdict, VerdictKind
from streams.codec import pack, unpack
from streams.partial import WindowPartial
from wire.desired import Desired, sha256
from wire.errors import PermanentError
from wire.pb.registry import METRICS
from wire.times import DAY_MS

WARMUP_MS: Final = 14 * DAY_MS
_CLASSES: Final = 1000
_SIZES: Final = {
    SeriesKind.DISTRIBUTION: COUNT,
    SeriesKind.CATEGORY: _CLASSES,
    SeriesKind.RATE: 2,
}
_KINDS: Final = tuple(SeriesKind(m.type) for m in METRICS)


@dataclass(slots=True)
class DriftWatch:
    """Adds windows up to drift windows of `window_ms` log time and shows them to the monitor."""

    window_ms: int = 0
    monitor: DriftMonitor | None = None  # None too while a restored one has not been needed
    start_ms: int = 0
    counts: dict[SeriesKey, NDArray[np.int64]] = field(default_factory=dict)
    _packed: bytes | None = None

    def step(self, window: WindowPartial, desired: Desired) -> list[Verdict]:
        """Take a window in; verdicts of the drift window that it ended, if it did."""
        if desired.policy.drift_window_ms != self.window_ms:
            self.window_ms = desired.policy.drift_window_ms
            self.monitor = DriftMonitor(rules_of(self.window_ms))
            self.counts, self._packed = {}, None
        start_ms = window.start_ms // self.window_ms * self.window_ms
        verdicts: list[Verdict] = []
        if start_ms != self.start_ms:
            self.monitor = self.monitor or self._kept_monitor()
            verdicts = self._close(window, desired, self.monitor)
            self.start_ms, self._packed = start_ms, None
        self._add(window)
        return verdicts

    def _close(
        self, window: WindowPartial, desired: Desired, monitor: DriftMonitor
    ) -> list[Verdict]:
        ended, self.counts = self.counts, {}
        kinds = {m.name: kind for m, kind in zip(METRICS, _KINDS, strict=True)}
        windows = {key: SeriesWindow(kinds[key.metric], counts) for key, counts in ended.items()}
        alerts = monitor.step(self.start_ms, windows) if windows else []
        return [_verdict(a, window, desired) for a in alerts if a.is_within_budget]

    def _add(self, window: WindowPartial) -> None:
        releases = sorted({(s.app_id, s.model_id, s.model_version) for s in window.series})
        number = {release: i for i, release in enumerate(releases)}
        group = np.array(
            [number[s.app_id, s.model_id, s.model_version] for s in window.series], np.int64
        )
        for metric, kind in enumerate(_KINDS):
            buckets = _SIZES[kind]
            table = pooled(window.cells, metric, group, groups=len(releases), buckets=buckets)
            for i in np.flatnonzero(table.any(axis=1)).tolist():
                key = SeriesKey(*releases[i], METRICS[metric].name)
                old = self.counts.get(key)
                self.counts[key] = table[i] if old is None else old + table[i]

    def state(self) -> dict[str, object]:
        """Plain values for a snapshot, without the monitor's."""
        return {
            "window_ms": self.window_ms,
            "start_ms": self.start_ms,
            "counts": [
                [key.app_id, key.model_id, key.model_version, key.metric, counts]
                for key, counts in sorted(self.counts.items(), key=lambda item: item[0])
            ],
        }

    def monitor_bytes(self) -> bytes:
        """The monitor's state, packed once per drift window: it is large and changes no oftener."""
        if self._packed is None:
            self._packed = pack(self.monitor.state() if self.monitor else None)
        return self._packed

    @classmethod
    def restore(cls, state: Mapping[str, Any], monitor: bytes) -> "DriftWatch":
        """The inverse of `state` and `monitor_bytes`."""
        watch = cls(window_ms=state["window_ms"], start_ms=state["start_ms"])
        watch.counts = {SeriesKey(*names): counts for *names, counts in state["counts"]}
        watch._packed = monitor
        return watch

    def _kept_monitor(self) -> DriftMonitor:
        """Made at the end of a drift window: it costs River, and a restart must not wait for it."""
        monitor = DriftMonitor(rules_of(self.window_ms))
        kept = unpack(self._packed) if self._packed else None
        if kept is not None:
            monitor.restore(kept)
        return monitor


def rules_of(window_ms: int) -> DriftRules:
    """Two weeks of learning, whatever the window's width.

    Twice the windows of one week: half the warm-up must cover a week also where the width does not
    divide it. Raises PermanentError ``drift_window_too_wide``.
    """
    windows = 2 * ceil(WARMUP_MS / 2 / window_ms)
    try:
        return DriftRules(window_ms=window_ms, warmup_windows=windows)
    except ValueError as error:
        raise PermanentError(
            "drift_window_too_wide",
            str(error),
            field="spec.driftWindowMs",
            accepted="at most 13440000: two weeks make 90 windows or more",
        ) from error


def _verdict(alert: DriftAlert, window: WindowPartial, desired: Desired) -> Verdict:
    policy, key = sha256(desired), alert.key
    what = f"drift|{key}|{alert.window_start_ms}|{alert.statistic}|{alert.observed}|{policy}"
    digest = hashlib.sha256(what.encode()).hexdigest()
    return Verdict(
        verdict_id=digest[:20],
        incident_id=digest[20:36],
        kind=VerdictKind.DRIFT,
        outcome=Outcome.BREACH,
        app_id=key.app_id,
        model_id=key.model_id,
        rollout_id="",
        candidate_version=key.model_version,
        stable_version="",
        window_start_ms=window.start_ms,
        window_ms=window.width_ms,
        input_sha256=digest,
        policy_sha256=policy,
        arithmetic=Arithmetic(
            metric=key.metric,
            bet=alert.statistic,
            units_candidate=alert.n,
            effect=alert.effect,
            effect_low=alert.effect_low,
            effect_high=alert.effect_high,
            metrics={f.detector: f.statistic_sup for f in alert.findings},
            reason=alert.detail,
        ),
    )
