"""What a window cost by the rate card in Git, and alerts on spend that was not expected."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from analytics.cost import CostLine, CostMeter, PriceEntry, Quantities, QuantityKey, quantities_of
from analytics.forecast import CostFinding, CostMonitor, ForecastRules
from analytics.types import Arithmetic, Outcome, Verdict, VerdictKind
from streams.partial import WindowPartial
from streams.rows import Columns
from wire.desired import Desired, Release, sha256
from wire.times import DAY_MS, HOUR_MS

_FLOOR_MICROS: Final = 1_000_000
"""An excess below one unit of currency an hour is not worth a message."""


@dataclass(slots=True)
class Spend:
    """Prices windows, keeps cumulative costs exact, and forecasts each model's hourly spend."""

    meter: CostMeter = field(default_factory=CostMeter)
    monitor: CostMonitor = field(
        default_factory=lambda: CostMonitor(ForecastRules(HOUR_MS, _FLOOR_MICROS))
    )
    hour_ms: int = 0
    by_model: dict[str, int] = field(default_factory=dict)  # "app/model" -> micros this log hour

    def step(self, window: WindowPartial, desired: Desired) -> tuple[Columns, list[Verdict]]:
        """Rows of `cost_day`, and verdicts on the log hour that this window ended, if it did."""
        verdicts = self._close_hour(window, desired)
        prices = [
            PriceEntry(
                p.effective_from_ms,
                p.currency,
                p.cloud_call_micros,
                p.cellular_gb_micros,
                p.egress_gb_micros,
                p.energy_kwh_micros,
            )
            for p in desired.prices
        ]
        lines: list[tuple[QuantityKey, CostLine]] = []
        for key, quantities in sorted(_quantities(window).items()):
            billed = self.meter.add(key, quantities, prices)
            lines += [(key, line) for line in billed]
            name = f"{key.app_id}/{key.model_id}"
            paid = sum(line.cost_micros for line in billed if line.borne_by == "provider")
            self.by_model[name] = self.by_model.get(name, 0) + paid
        horizon_ms = desired.policy.accepted_age_ms + 2 * DAY_MS
        self.meter.forget_before(window.start_ms - horizon_ms)
        return _cost_rows(window, lines, desired), verdicts

    def _close_hour(self, window: WindowPartial, desired: Desired) -> list[Verdict]:
        hour_ms = window.start_ms // HOUR_MS * HOUR_MS
        if hour_ms == self.hour_ms:
            return []
        ended_ms, spent = self.hour_ms, self.by_model
        self.hour_ms, self.by_model = hour_ms, {}
        findings = [self.monitor.step(k, ended_ms, spent[k]) for k in sorted(spent)]
        return [_verdict(f, window, desired) for f in findings if f.is_new]

    def state(self) -> dict[str, object]:
        """Plain values for a snapshot."""
        return {
            "meter": self.meter.state(),
            "monitor": self.monitor.state(),
            "hour_ms": self.hour_ms,
            "by_model": self.by_model,
        }

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> "Spend":
        """The inverse of `state`."""
        spend = cls(hour_ms=state["hour_ms"], by_model=dict(state["by_model"]))
        spend.meter.restore(state["meter"])
        spend.monitor.restore(state["monitor"])
        return spend


def _quantities(window: WindowPartial) -> dict[QuantityKey, Quantities]:
    used: dict[QuantityKey, Quantities] = {}
    for (series, day_ms), (inferences, energy_mj, sent, received) in window.costs.items():
        key = QuantityKey(series.app_id, series.model_id, series.model_version, day_ms)
        used[key] = used.get(key, Quantities()) + quantities_of(
            placement=series.placement,
            network=series.network,
            inferences=inferences,
            received_bytes=received,
            sent_bytes=sent,
            energy_mj=energy_mj,
        )
    return used


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
        "quantity_unit": [line.unit for _, line in lines],
        "cost_micros": [line.cost_micros for _, line in lines],
    }


def _verdict(finding: CostFinding, window: WindowPartial, desired: Desired) -> Verdict:
    app_id, _, model_id = finding.key.partition("/")
    policy = sha256(desired)
    what = f"cost|{finding.key}|{finding.period_start_ms}|{finding.observed_micros}|{policy}"
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
            },
            reason=finding.detail,
        ),
    )
