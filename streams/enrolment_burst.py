"""Do many more phones enrol than did lately? Somebody may be forging them, or a ramp is too steep.

An alert and nothing more: what a burst may do is bounded elsewhere (`analytics.evidence`).
Deterministic: it sees the counts of closed windows alone.
"""

from dataclasses import dataclass, field
from typing import Final

RECENT_WINDOWS: Final = 30
LEARN_WINDOWS: Final = 10
"""Windows of a step before the first alert: a step begins with a burst of its own."""
FACTOR: Final = 5
ENROLLED_MIN: Final = 50
"""Fewer than this in a window is no burst, however quiet it was before."""


@dataclass(slots=True)
class EnrolmentBurst:
    """Enrolments of one rollout by window."""

    step: int = 0
    windows: int = 0  # of this step
    is_told: bool = False
    recent: list[int] = field(default_factory=list)

    def look(self, enrolled: int, step: int) -> str | None:
        """Take a window's enrolments in; what to tell people, once per ramp step."""
        if step != self.step:
            self.step, self.windows, self.is_told, self.recent = step, 0, False, []
        usual = max(self.recent, default=0)
        is_burst = (
            self.windows >= LEARN_WINDOWS
            and enrolled >= ENROLLED_MIN
            and enrolled > FACTOR * usual
            and not self.is_told
        )
        self.windows += 1
        self.recent = [*self.recent[1 - RECENT_WINDOWS :], enrolled]
        if not is_burst:
            return None
        self.is_told = True
        return (
            f"{enrolled} phones enrolled in one window; before it, at most {usual} in each of the "
            f"last {min(self.windows - 1, RECENT_WINDOWS)}"
        )
