"""What one partition knows of one log-time window, and how partitions' knowledge adds up."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np

from analytics.cells import Cells, empty, merge, rekey
from streams.series import CostSeries, Series, UnitSeries

_K = TypeVar("_K", Series, UnitSeries)


class Cohort(NamedTuple):
    """Installations of one arm and stratum that enrolled in one stretch of device time."""

    series: UnitSeries
    enrolled_ms: int


class CostDay(NamedTuple):
    """What is billed together: a release's events of one day."""

    series: CostSeries
    event_day_ms: int


class DayUse(NamedTuple):
    """What a release used in a day, and how many uploads added to each of these amounts."""

    inferences: int
    energy_mj: int
    bytes_sent: int
    bytes_received: int
    uploads: int  # with rows of that day at all
    uploads_energy: int
    uploads_traffic: int  # that sent or received bytes
    uploads_received: int

    def plus(self, other: "DayUse") -> "DayUse":
        """Both together: of other uploads, since each is counted in one window alone."""
        return DayUse(*(a + b for a, b in zip(self, other, strict=True)))


class UseHour(NamedTuple):
    """A model's use in one hour on the phones' clocks: what cost alerts judge."""

    app_id: str
    model_id: str
    hour_ms: int


class Quality(NamedTuple):
    """One line of the mass balance."""

    unit: str  # rows | uploads | fields | segments
    outcome: str  # received | aggregated | rejected | deduplicated | discarded | dead_lettered
    reason: str


@dataclass(frozen=True, slots=True)
class WindowPartial:
    """One window of one partition, or of all of them merged. All counts are integers.

    `use` of the hours that are still open maps to (cloud calls, bytes received).
    """

    start_ms: int
    width_ms: int
    series: list[Series] = field(default_factory=list)
    cells: Cells = field(default_factory=empty)
    unit_series: list[UnitSeries] = field(default_factory=list)
    units: Cells = field(default_factory=empty)
    enrolled: Counter[Cohort] = field(default_factory=Counter)
    bets: Counter[Cohort] = field(default_factory=Counter)
    costs: dict[CostDay, DayUse] = field(default_factory=dict)
    use: dict[UseHour, tuple[int, int]] = field(default_factory=dict)
    quality: Counter[Quality] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Closed:
    """A partition's closing marker: it is past every window that starts before `up_to_ms`.

    `partial` is the window that ended; windows skipped without a record have none. `next_offset`
    is the first record of a later window, and `log_time` the clock before that record: together
    they are where this partition resumes once the window is decided.
    """

    partition: int
    up_to_ms: int
    next_offset: int
    log_time: list[int | str]
    partial: WindowPartial
    controls: list[bytes]


def merge_partials(parts: Sequence[WindowPartial]) -> WindowPartial:
    """One window over partitions, given in partition order. Needs at least one part."""
    series, cells = _merge_keyed([(p.series, p.cells) for p in parts])
    unit_series, units = _merge_keyed([(p.unit_series, p.units) for p in parts])
    merged = WindowPartial(parts[0].start_ms, parts[0].width_ms, series, cells, unit_series, units)
    for part in parts:
        merged.enrolled.update(part.enrolled)
        merged.bets.update(part.bets)
        merged.quality.update(part.quality)
        for day, used in part.costs.items():
            old = merged.costs.get(day)
            merged.costs[day] = used if old is None else old.plus(used)
        for hour, (calls, received) in part.use.items():
            before = merged.use.get(hour, (0, 0))
            merged.use[hour] = before[0] + calls, before[1] + received
    return merged


def _merge_keyed(parts: Sequence[tuple[list[_K], Cells]]) -> tuple[list[_K], Cells]:
    keys = sorted({key for part, _ in parts for key in part})
    number = {key: i for i, key in enumerate(keys)}
    return keys, merge(
        [
            rekey(cells, np.array([number[k] for k in part], np.int32))
            for part, cells in parts
            if part
        ]
    )
