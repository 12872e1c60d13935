"""Ten kills and every other fault under load: nothing lost, doubled or decided differently."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest

from bench.chaos import Plan, run

pytestmark = pytest.mark.slow


def test_equal_seeds_give_equal_schedules_and_others_do_not() -> None:
    schedule = Plan(seed=1).schedule()

    assert schedule == Plan(seed=1).schedule()
    assert schedule != Plan(seed=2).schedule()


def test_ten_kills_bring_every_other_kind_of_fault_as_well() -> None:
    kinds = Counter(fault.kind for fault in Plan(seed=1, kills=10).schedule())

    assert kinds.pop("kill") == 10
    assert set(kinds) == {
        *("stop", "term", "latency", "reset", "half_open", "blackhole", "disk_full")
    }


@pytest.mark.timeout(280)
def test_what_was_acknowledged_survives_every_fault(tmp_path: Path) -> None:
    plan = Plan(seed=1, kills=10, seconds_between=(0.1, 0.6), phones=3_000)
    killed = {fault.target for fault in plan.schedule() if fault.kind == "kill"}
    assert killed == {"service", "store"}

    result = run(plan, tmp_path, print)

    said = asdict(result)
    assert result.acknowledged > 10_000, said
    assert result.retries > 0, "no upload met a server that was away: this proves nothing"
    assert (result.lost, result.doubled, result.verdicts_differing) == (0, 0, 0), said
    assert result.evidence_equal, said
    assert result.verdicts > 0, said
    assert result.balance_difference == 0, said
    assert result.commits == 1, said
    assert result.stuck == 0, said
    assert result.disk_full_refused == result.disk_full == 1, said
    assert result.restart_seconds_max <= 15, said  # on a machine that others use
