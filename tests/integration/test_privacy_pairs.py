"""The short mode of `holdfast bench privacy`: every view, pairs of statements, arrivals."""

import numpy as np
import pytest

from bench import privacy, privacy_cells
from bench.privacy_truth import Shown


def test_nothing_that_analysts_can_ask_rests_on_fewer_than_ten_uploads() -> None:
    report = privacy.run(rows=15_000, pairs=110, uploads=400, seed=3)

    assert [r for r in report.results if not r.is_ok] == []


class OfAnotherView:
    """An analyst who finds a view that the benchmark was not told of."""

    def rows(self, sql: str, parameters: object = None) -> list[tuple[str, ...]]:
        return [("metric_hour",)] if "system.tables" in sql else []


def test_a_view_that_nobody_held_against_the_truth_is_a_miss() -> None:
    nothing = Shown(
        np.zeros((0, 7), np.int64),
        np.zeros(0, np.int64),
        np.zeros(0),
        np.zeros(1, np.int64),
        np.zeros(0, np.int64),
    )

    results = privacy_cells.read_views(OfAnotherView(), nothing)

    below = next(r for r in results if r.what == "metric_hour: below ten uploads")
    assert not below.is_ok


@pytest.mark.parametrize(("behind", "isolated"), [(0, 0), (1, 1), (9, 1), (10, 0)])
def test_a_pair_isolates_whom_it_leaves_with_fewer_than_nine_others(
    behind: int, isolated: int
) -> None:
    tally = privacy.Tally()

    tally.judge("any", 3.0, 3.0, behind)

    assert tally.isolated["any"] == isolated
    assert tally.unexplained == 0
