"""What is billed, and how many uploads stand behind it, is what one would count by hand."""

from collections import Counter, defaultdict
from typing import Final

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.partial import CostDay, DayUse, UseHour
from streams.series import CostSeries
from streams.window_costs import WindowCosts
from wire.columns import UINT_ABSENT
from wire.times import DAY_MS, HOUR_MS, MINUTE_MS

_START_MS: Final = 20_000 * DAY_MS + 5 * HOUR_MS
_NAMES: Final = ("energy_mj", "bytes_sent", "bytes_received")
SERIES = [
    CostSeries("camera", "labels", version, placement, "WIFI")
    for version, placement in (("1", "device"), ("2", "device"), ("2", "cloud"))
]
energies = st.floats(0, 1e4, width=32) | st.just(0.0) | st.none()
sizes = st.integers(0, UINT_ABSENT - 1) | st.just(0) | st.none()
Row = tuple[int, float | None, int | None, int | None]
rows = st.tuples(st.integers(-3 * 1440, 60), energies, sizes, sizes)
uploads = st.lists(
    st.tuples(st.integers(0, len(SERIES) - 1), st.lists(rows, min_size=1, max_size=6)),
    min_size=1,
    max_size=8,
)
Uploads = list[tuple[int, list[Row]]]


def counted(sent: Uploads, columns: tuple[str, ...], start_upload: int) -> WindowCosts:
    every = [(i, s, *row) for i, (s, each) in enumerate(sent) for row in each]
    upload, key, minute, energy, out, back = zip(*every, strict=True)
    values = {
        "energy_mj": np.array([np.nan if v is None else v for v in energy], np.float32),
        "bytes_sent": np.array([UINT_ABSENT if v is None else v for v in out], np.uint32),
        "bytes_received": np.array([UINT_ABSENT if v is None else v for v in back], np.uint32),
    }
    costs = WindowCosts(_START_MS)
    costs.add(
        SERIES,
        np.array(key, np.int32),
        np.array(minute) + _START_MS // MINUTE_MS,
        {name: values[name] for name in columns},
        np.array(upload) + start_upload,
    )
    return costs


def by_hand(sent: Uploads, columns: tuple[str, ...]) -> dict[CostDay, DayUse]:
    used = defaultdict[CostDay, Counter[str]](Counter)
    behind = defaultdict[tuple[CostDay, str], set[int]](set)
    for number, (series, each) in enumerate(sent):
        for minute, *values in each:
            day = (_START_MS + minute * MINUTE_MS) // DAY_MS * DAY_MS
            where = CostDay(SERIES[series], day)
            used[where]["rows"] += 1
            behind[where, "rows"].add(number)
            for name, value in zip(_NAMES, values, strict=True):
                whole = int(np.rint(value or 0)) if name in columns else 0
                used[where][name] += whole
                if whole:
                    behind[where, "energy_mj" if name == "energy_mj" else "traffic"].add(number)
                    behind[where, name].add(number)
    return {
        where: DayUse(
            *(amounts[name] for name in ("rows", *_NAMES)),
            *(len(behind[where, of]) for of in ("rows", "energy_mj", "traffic", "bytes_received")),
        )
        for where, amounts in used.items()
    }


@given(uploads, st.sets(st.sampled_from(_NAMES)), st.integers(0, 1000))
def test_bills_are_what_one_would_add_up(sent: Uploads, given_of: set[str], first: int) -> None:
    columns = tuple(name for name in _NAMES if name in given_of)
    assert counted(sent, columns, first).billed == by_hand(sent, columns)


@given(uploads)
def test_use_is_counted_by_the_open_hours(sent: Uploads) -> None:
    wanted: dict[UseHour, tuple[int, int]] = {}
    for series, each in sent:
        for minute, _, _, received in each:
            at = (_START_MS + minute * MINUTE_MS) // HOUR_MS * HOUR_MS
            if at >= _START_MS - HOUR_MS:
                where = UseHour("camera", "labels", at)
                calls, size = wanted.get(where, (0, 0))
                is_call = SERIES[series].placement == "cloud"
                wanted[where] = calls + is_call, size + (received or 0)
    assert counted(sent, _NAMES, 0).use == wanted
