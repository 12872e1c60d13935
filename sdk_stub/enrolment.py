"""An installation's part in one rollout: its arm, its one bet, its day blocks.

Bounds are checked when a saved one is read: what is out of them was not written by us.
"""

from dataclasses import dataclass, field
from typing import Annotated, Final

from msgspec import Meta

from sdk_stub.arm import Arm, count_inference
from sdk_stub.releases import Length, Whole

DAYS: Final = (0, 1, 3, 7)
"""Day blocks after enrolment that are reported, each once."""
_Amount = Annotated[float, Meta(ge=0.0, le=1e30)]


@dataclass(slots=True)
class DayTotals:
    """What an installation reports of one day block."""

    errored: bool = False
    crashed: bool = False
    energy_mj: _Amount = 0.0
    data_bytes: _Amount = 0.0


@dataclass(slots=True)
class Enrolment:
    """One installation's part in one rollout. `ready`: the version of its arm is on the phone.

    `enrolled_ms` is the wall clock's and is sent; `enrolled_at` is the `SteadyClock`'s, by which
    day blocks are counted.
    """

    model_id: str
    rollout_id: str
    step: Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]
    arm: Arm
    enrolled_ms: Whole
    cohort_ms: Length
    observation_ms: Length
    bet_position: Whole
    ready: bool
    retired: bool = False
    counted: Whole = 0
    bet_done: bool = False
    label_done: bool = False
    days: dict[int, DayTotals] = field(default_factory=dict)
    days_sent: list[int] = field(default_factory=list)
    enrolled_at: Whole = 0

    @property
    def cohort_start_ms(self) -> int:
        """When it enrolled, as coarse as it is sent."""
        return self.enrolled_ms - self.enrolled_ms % self.cohort_ms

    def count(self, *, first_of_process: bool) -> bool:
        """One more inference with the version of the arm: is it the betting event?"""
        self.counted, bets = count_inference(
            self.counted, self.bet_position, first_of_process=first_of_process
        )
        if bets and not self.bet_done:
            self.bet_done = True
            return True
        return False

    def day_totals(self, at: int) -> DayTotals | None:
        """Totals of the reported block that this steady moment lies in."""
        block = (at - self.enrolled_at) // self.observation_ms
        return self.days.setdefault(block, DayTotals()) if block in DAYS else None

    def take_ended_days(self, at: int) -> list[tuple[int, DayTotals]]:
        """Blocks that have ended and were never reported; they count as reported from here on."""
        ended = [
            day
            for day in DAYS
            if day not in self.days_sent
            and at >= self.enrolled_at + (day + 1) * self.observation_ms
        ]
        self.days_sent.extend(ended)
        return [(day, self.days.pop(day, DayTotals())) for day in ended]
