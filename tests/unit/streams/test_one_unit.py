"""What a segment may say of one installation in a window, whoever wrote the segment."""

import numpy as np
import pytest

from streams.open_window import OpenWindow
from streams.series import UNIT_NAMES
from tests.fakes.segments import START_MS, WINDOW_MS, telemetry
from wire.columns import FLOAT_ABSENT_BITS
from wire.segment import Segment

ABSENT = np.array([FLOAT_ABSENT_BITS], "<u4").view("<f4")[0]


def counted(segment: Segment) -> dict[tuple[str, int], tuple[int, int]]:
    """Units and their total by metric and day."""
    window = OpenWindow(START_MS, WINDOW_MS)
    window.add(segment, np.zeros(len(segment.uploads["n"]), np.bool_))
    units = window.close().units
    found: dict[tuple[str, int], tuple[int, int]] = {}
    for metric, n, total in zip(units.metric, units.n, units.total, strict=True):
        old = found.get(UNIT_NAMES[metric], (0, 0))
        found[UNIT_NAMES[metric]] = (old[0] + int(n), old[1] + int(total))
    return found


def segment(**columns: list[float]) -> Segment:
    made = telemetry(np.random.default_rng(3), START_MS, uploads=2)
    size = len(columns["upload"])
    days = {name: np.resize(c[:1], size).copy() for name, c in made.unit_days.items()}
    for name, values in columns.items():
        days[name] = np.array(values, days[name].dtype)
    object.__setattr__(made, "unit_days", days)
    return made


@pytest.mark.parametrize("name", ["energy_mj", "data_bytes"])
def test_an_absent_amount_is_no_unit(name: str) -> None:
    made = segment(upload=[0, 1], day=[0, 0], **{name: [ABSENT, 7.0]})

    metric = "unit.energy" if name == "energy_mj" else "unit.data"
    assert counted(made)[metric, 0] == (1, 7)
    assert counted(made)["unit.error", 0][0] == 2


def test_amounts_that_are_all_absent_make_no_cell() -> None:
    made = segment(upload=[0, 1], day=[0, 0], energy_mj=[ABSENT, ABSENT])

    assert ("unit.energy", 0) not in counted(made)


def test_one_upload_is_one_unit_of_each_day_and_one_label() -> None:
    made = segment(upload=[0, 0, 0, 1], day=[0, 0, 1, 0], energy_mj=[1, 2, 3, 4])
    reports = {
        "upload": np.array([0, 0, 1], "<i4"),
        "label_age_days": np.array([0, 1, 0], "<i4"),
        "correct": np.array([9, 9, 0], "<i8"),
        "incorrect": np.array([0, 9, 9], "<i8"),
        "unit_correct": np.array([9, 0, 0], "<i8"),
        "unit_incorrect": np.array([0, 9, 1], "<i8"),
    }
    object.__setattr__(made, "feedback", reports)

    found = counted(made)

    assert found["unit.energy", 0] == (2, 5)
    assert found["unit.energy", 1] == (1, 3)
    assert found["label.incorrect", 0] == (2, 1)
