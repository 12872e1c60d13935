"""Five kills under load: nothing lost, doubled or decided differently, one commit."""

from dataclasses import asdict
from pathlib import Path

import pytest

from bench.chaos import Plan, run

pytestmark = pytest.mark.slow


def test_equal_seeds_give_equal_schedules_and_others_do_not() -> None:
    schedule = Plan(seed=1).schedule()

    assert schedule == Plan(seed=1).schedule()
    assert schedule != Plan(seed=2).schedule()
    assert {victim for _, victim in schedule} == {"service", "store"}


@pytest.mark.timeout(280)
def test_what_was_acknowledged_survives_kill_nine_of_either_process(tmp_path: Path) -> None:
    plan = Plan(seed=1, kills=5, seconds_between=(0.5, 3.0), phones=3_000)
    assert {victim for _, victim in plan.schedule()} == {"service", "store"}

    result = run(plan, tmp_path, print)

    said = asdict(result)
    assert result.acknowledged > 10_000, said
    assert result.retries > 0, "no upload met a server that was away: this proves nothing"
    assert (result.lost, result.doubled, result.verdicts_differing) == (0, 0, 0), said
    assert result.evidence_equal, said
    assert result.verdicts > 0, said
    assert result.balance_difference == 0, said
    assert result.commits == 1, said
