"""What a window cost by the rate card in Git, and alerts on spend that was not expected."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from analytics.cost import (
    CostLine,
    CostMeter,
    PriceEntry,
    Quantities,
    QuantityKey,
    price_in_force,
    quantities_of,
)
from analytics.forecast import CostFinding, CostMonitor, ForecastRules, HourUse, UnitPrices
from analytics.types import Arithmetic, Outcome, Verdict, VerdictKind
from streams.codec import pack, unpack
from streams.held_costs import HeldCosts
from streams.partial import UseHour, WindowPartial
from streams.rows import Columns
from wire.desired import Desired, Prices, Release, sha256
from wire.times import DAY_MS, HOUR_MS

_FLOOR_MICROS: Final = 1_000_000
"""An excess below one unit of currency an hour is not worth a message."""


@dataclass(slots=True)
class Spend:
    """Prices windows, keeps cumulative costs exact, and judges each model's hours of use.

    An hour of use is judged when the hour after it has ended, by the log's time: what comes later
    is billed and alerts nobody. What is billed rests on uploads enough to be shown (`held`).
    """

    held: HeldCosts = field(default_factory=HeldCosts)
    meter: CostMeter = field(default_factory=CostMeter)
    monitor: CostMonitor = field(default_factory=lambda: CostMonitor(ForecastRules(_FLOOR_MICROS)))
    open_ms: int = 0  # the first hour of use that is not judged yet
    use: dict[UseHour, HourUse] = field(default_factory=dict)
    _card: tuple[Prices, ...] | None = None  # what everything remembered was priced by
    _packed: bytes | None = None

    def step(self, window: WindowPartial, desired: Desired) -> tuple[Columns, list[Verdict]]:
        """Rows of `cost_line`, and verdicts on the hours that this window closed."""
        verdicts = self._close_hours(window, desired)
        for hour, (calls, received) in window.use.items():
            if hour.hour_ms >= self.open_ms:
                self.use[hour] = self.use.get(hour, HourUse()) + HourUse(calls, received)
        prices = [_entry(p) for p in desired.prices]
        lines: list[tuple[QuantityKey, CostLine]] = []
        if self._card != desired.prices:
            lines += self.meter.reprice(prices)
            self._card = desired.prices
        over_ms = window.start_ms - desired.policy.accepted_age_ms - 2 * DAY_MS
        for key, used, uploads in _quantities(window):
            self.held.add(key, used, uploads)
        for key, quantities in self.held.due(over_ms):
            lines += [(key, line) for line in self.meter.add(key, quantities, prices)]
        self.meter.forget_before(over_ms)
        return _cost_rows(window, _added(lines), desired), verdicts

    def _close_hours(self, window: WindowPartial, desired: Desired) -> list[Verdict]:
        open_ms = window.start_ms // HOUR_MS * HOUR_MS - HOUR_MS
        if open_ms <= self.open_ms:
            return []
        self.open_ms = open_ms
        ended = sorted(hour for hour in self.use if hour.hour_ms < open_ms)
        findings = []
        for hour in ended:
            prices = _unit_prices(desired, hour.hour_ms)
            key = f"{hour.app_id}/{hour.model_id}"
            findings.append(self.monitor.step(key, hour.hour_ms, self.use.pop(hour), prices))
            self._packed = None
        return [_verdict(f, window, desired) for f in findings if f.is_new]

    def state(self) -> dict[str, object]:
        """Plain values for a snapshot, without the monitor's."""
        return {
            "meter": self.meter.state(),
            "held": self.held.state(),
            "open_ms": self.open_ms,
            "use": [[*hour, u.cloud_calls, u.egress_bytes] for hour, u in sorted(self.use.items())],
        }

    def monitor_bytes(self) -> bytes:
        """The monitor's state, packed once an hour: it is large and changes no oftener."""
        if self._packed is None:
            self._packed = pack(self.monitor.state())
        return self._packed

    @classmethod
    def restore(cls, state: Mapping[str, Any], monitor: bytes) -> "Spend":
        """The inverse of `state` and `monitor_bytes`."""
        spend = cls(open_ms=state["open_ms"], _packed=monitor)
        spend.use = {
            UseHour(*hour): HourUse(calls, egress) for *hour, calls, egress in state["use"]
        }
        spend.meter.restore(state["meter"])
        spend.held.restore(state.get("held", ()))  # earlier versions held nothing
        spend.monitor.restore(unpack(monitor))
        return spend


def _entry(p: Prices) -> PriceEntry:
    return PriceEntry(
        p.effective_from_ms,
        p.currency,
        p.cloud_call_micros,
        p.cellular_gb_micros,
        p.egress_gb_micros,
        p.energy_kwh_micros,
    )


def _unit_prices(desired: Desired, hour_ms: int) -> UnitPrices:
    """What the hour's day is billed by; use that has no price is worth nothing, and is kept."""
    entry = price_in_force(map(_entry, desired.prices), hour_ms // DAY_MS * DAY_MS)
    if entry is None:
        return UnitPrices("", 0, 0)
    return UnitPrices(entry.currency, entry.cloud_call_micros, entry.egress_gb_micros)


def _added(lines: list[tuple[QuantityKey, CostLine]]) -> list[tuple[QuantityKey, CostLine]]:
    """One line per key, kind and currency: a correction and an increment may meet in a window."""
    added: dict[tuple[QuantityKey, str, str], CostLine] = {}
    for key, line in lines:
        where = (key, line.kind, line.currency)
        old = added.get(where)
        added[where] = line if old is None else old + line
    return [(key, line) for (key, _, _), line in added.items() if not line.is_nothing]


def _quantities(window: WindowPartial) -> list[tuple[QuantityKey, Quantities, Quantities]]:
    """What was used, and by the same rule the uploads that added to each amount."""
    return [
        (
            QuantityKey(series.app_id, series.model_id, series.model_version, day_ms),
            quantities_of(
                placement=series.placement,
                network=series.network,
                inferences=used.inferences,
                received_bytes=used.bytes_received,
                sent_bytes=used.bytes_sent,
                energy_mj=used.energy_mj,
            ),
            quantities_of(
                placement=series.placement,
                network=series.network,
                inferences=used.uploads,
                received_bytes=used.uploads_received,
                sent_bytes=used.uploads_traffic - used.uploads_received,  # the rest of cellular
                energy_mj=used.uploads_energy,
            ),
        )
        for (series, day_ms), used in window.costs.items()
    ]


def _cost_rows(
    window: WindowPartial, lines: list[tuple[QuantityKey, CostLine]], desired: Desired
) -> Columns:
    owners: dict[tuple[str, str], Release] = {(r.app_id, r.model_id): r for r in desired.releases}
    found = [owners.get((key.app_id, key.model_id)) for key, _ in lines]
    return {
        "event_day": [key.event_day_ms for key, _ in lines],
        "window_start": [window.start_ms] * len(lines),
        "app_id": [key.app_id for key, _ in lines],
        "model_id": [key.model_id for key, _ in lines],
        "model_version": [key.model_version for key, _ in lines],
        "owner": [r.owner if r else "" for r in found],
        "cost_center": [r.cost_center if r else "" for r in found],
        "project": [r.project if r else "" for r in found],
        "currency": [line.currency for _, line in lines],
        "cost_kind": [line.kind for _, line in lines],
        "borne_by": [line.borne_by for _, line in lines],
        "quantity": [line.quantity for _, line in lines],
        "whole": [line.whole for _, line in lines],
        "quantity_unit": [line.unit for _, line in lines],
        "cost_micros": [line.cost_micros for _, line in lines],
        "price_micros": [line.price_micros for _, line in lines],
        "price_per": [line.price_per for _, line in lines],
    }


def _verdict(finding: CostFinding, window: WindowPartial, desired: Desired) -> Verdict:
    app_id, _, model_id = finding.key.partition("/")
    policy = sha256(desired)
    seen = f"{finding.currency}|{finding.observed_micros}"
    what = f"cost|{finding.key}|{finding.hour_ms}|{seen}|{policy}"
    digest = hashlib.sha256(what.encode()).hexdigest()
    return Verdict(
        verdict_id=digest[:20],
        incident_id=digest[20:36],
        kind=VerdictKind.COST,
        outcome=Outcome.BREACH,
        app_id=app_id,
        model_id=model_id,
        rollout_id="",
        candidate_version="",
        stable_version="",
        window_start_ms=window.start_ms,
        window_ms=window.width_ms,
        input_sha256=digest,
        policy_sha256=policy,
        arithmetic=Arithmetic(
            metric="cost",
            effect=finding.observed_micros / max(finding.expected_micros, 1) - 1.0,
            metrics={
                "observed_micros": finding.observed_micros,
                "expected_micros": finding.expected_micros,
                "low_micros": finding.low_micros,
                "high_micros": finding.high_micros,
                "cusum": finding.statistic,
                "cusum_threshold": finding.threshold,
            },
            reason=f"{finding.currency}: {finding.detail}",
        ),
    )
