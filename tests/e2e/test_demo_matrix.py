"""The whole road for a healthy fleet and for two faults: no rollback, or the right one."""

from dataclasses import replace

import pytest

from bench.demo_matrix import METRIC_OF, PLANS, Run, results_of, run_demo
from holdfast.demo import DemoResult, DemoRollback
from sdk_stub.faults import FAULTS

CASES = ("none", "errors", "battery")  # these need the fewest phones


@pytest.mark.slow
@pytest.mark.parametrize("fault", CASES)
def test_a_fault_is_rolled_back_for_its_metric_and_a_healthy_fleet_never(fault: str) -> None:
    plan = replace(PLANS[fault], phones=4_000, quiet_seconds=10.0, seconds_max=40.0)

    run = run_demo(fault, 3, plan)

    assert run.is_right, run.line()
    assert run.result.balance_difference == 0


def test_every_fault_has_a_plan_and_a_metric() -> None:
    assert set(PLANS) == set(FAULTS)
    assert set(METRIC_OF) == set(FAULTS) - {"none"}


def rolled_back(*releases: str, metric: str = "inference.latency") -> DemoResult:
    """A result with these rollbacks."""
    return DemoResult(rollbacks=[DemoRollback(r, "v", metric, "c", 9.0, 9, 900) for r in releases])


@pytest.mark.parametrize(
    ("fault", "result", "is_right"),
    [
        ("none", rolled_back(), True),
        ("none", rolled_back("camera 2"), False),
        ("latency", rolled_back("camera 2"), True),
        ("latency", rolled_back(), False),
        ("latency", rolled_back("keyboard 2"), False),
        ("latency", rolled_back("camera 2", "keyboard 2"), False),
        ("latency", rolled_back("camera 2", metric="unit.error"), False),
    ],
)
def test_only_one_rollback_of_the_bad_release_for_its_metric_is_right(
    fault: str, result: DemoResult, *, is_right: bool
) -> None:
    run = Run(fault, 1, result, "camera 2")

    assert run.is_right is is_right
    assert results_of([run])[0].is_ok is is_right
