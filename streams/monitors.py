"""What alerts and never rolls back: the spend forecast and always-on drift."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from analytics.types import Verdict
from streams.partial import WindowPartial
from streams.rows import Columns
from streams.spend import Spend
from wire.desired import Desired


@dataclass(slots=True)
class Monitors:
    """Each takes every closed window, in order."""

    spend: Spend = field(default_factory=Spend)

    def step(
        self, window: WindowPartial, desired: Desired
    ) -> tuple[dict[str, Columns], list[Verdict]]:
        """Rows by table, and alerts."""
        cost_rows, verdicts = self.spend.step(window, desired)
        return {"cost_day": cost_rows}, verdicts

    def state(self) -> dict[str, object]:
        """Plain values for a snapshot."""
        return {"spend": self.spend.state()}

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> "Monitors":
        """The inverse of `state`."""
        return cls(spend=Spend.restore(state["spend"]))
