"""What alerts and never rolls back: the spend forecast and always-on drift."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from analytics.types import Verdict
from streams.drift_watch import DriftWatch
from streams.partial import WindowPartial
from streams.rows import Columns
from streams.spend import Spend
from wire.desired import Desired


@dataclass(slots=True)
class Monitors:
    """Each takes every closed window, in order."""

    spend: Spend = field(default_factory=Spend)
    drift: DriftWatch = field(default_factory=DriftWatch)

    def step(
        self, window: WindowPartial, desired: Desired
    ) -> tuple[dict[str, Columns], list[Verdict]]:
        """Rows by table, and alerts."""
        cost_rows, verdicts = self.spend.step(window, desired)
        verdicts += self.drift.step(window, desired)
        return {"cost_line": cost_rows}, verdicts

    def state(self) -> dict[str, object]:
        """Plain values for a snapshot."""
        return {"spend": self.spend.state(), "drift": self.drift.state()}

    def large_parts(self) -> dict[str, bytes]:
        """What is large and changes seldom, packed: the same objects until it changes."""
        return {"drift": self.drift.monitor_bytes(), "spend": self.spend.monitor_bytes()}

    @classmethod
    def restore(cls, state: Mapping[str, Any], parts: Mapping[str, bytes]) -> "Monitors":
        """The inverse of `state` and `large_parts`."""
        return cls(
            Spend.restore(state["spend"], parts["spend"]),
            DriftWatch.restore(state["drift"], parts["drift"]),
        )
