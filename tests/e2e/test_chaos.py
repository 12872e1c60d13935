"""Ten kills and every other fault under load: nothing lost, doubled or decided differently."""

import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest

from bench.chaos import Plan, run
from bench.chaos_node import chaos_node
from bench.fault_proxy import Mode
from bench.faults import FURTHER
from bench.fleets import bad_models, files_of
from bench.node import wait_until
from holdfast.example_repo import git

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


def test_what_people_change_comes_on_top_where_it_is_asked_for() -> None:
    kinds = Counter(fault.kind for fault in Plan(seed=1, kills=50, has_further=True).schedule())

    assert kinds["kill"] == 50
    for kind in FURTHER:
        assert kinds[kind] == 5


@pytest.mark.timeout(280)
def test_clocks_in_git_a_branch_and_a_clock_that_are_changed_lose_and_double_nothing(
    tmp_path: Path,
) -> None:
    plan = Plan(seed=11, kills=2, seconds_between=(0.1, 0.6), phones=4_000, has_further=True)
    faults = plan.schedule()
    assert {str(fault) for fault in faults} == {*FURTHER, "kill service", "kill store"}

    result = run(plan, tmp_path, print)

    said = asdict(result)
    assert result.acknowledged > 10_000, said
    assert result.named["clocks_are_pinned"] >= 2, said
    assert result.broken.keys() <= {"restart_seconds_max"}, result.broken


@pytest.mark.timeout(280)
def test_what_was_acknowledged_survives_every_fault(tmp_path: Path) -> None:
    plan = Plan(seed=1, kills=10, seconds_between=(0.1, 0.6), phones=3_000)
    killed = {fault.target for fault in plan.schedule() if fault.kind == "kill"}
    assert killed == {"service", "store"}

    result = run(plan, tmp_path, print)

    said = asdict(result)
    assert result.acknowledged > 10_000, said
    assert result.retries > 0, "no upload met a server that was away: this proves nothing"
    assert result.verdicts > 0, said
    assert result.commits_expected == result.disk_full == 1, said
    # how long a restart takes is for a quiet machine to say
    assert result.broken.keys() <= {"restart_seconds_max"}, result.broken


@pytest.mark.timeout(120)
def test_a_store_that_says_nothing_does_not_hold_up_the_drain(tmp_path: Path) -> None:
    files = files_of(bad_models(1))
    with chaos_node(tmp_path, files, partitions=2, tick_s=0.25) as node:
        wait_until(lambda: all(node.decided()), timeout_s=60, what="a first window")
        node.proxies["store"].switch(Mode.BLACKHOLE)
        time.sleep(2.0)  # a window is due, and its rows are on their way into the hole

        service = node.popen("service")
        service.terminate()

        assert service.wait(30.0) == 0


@pytest.mark.timeout(120)
def test_what_git_says_waits_for_the_disk_and_is_no_reason_to_end(tmp_path: Path) -> None:
    files, work = files_of(bad_models(1)), tmp_path / "work"
    with chaos_node(tmp_path, files, partitions=1, tick_s=0.25, has_small_disk=True) as node:
        wait_until(lambda: all(node.decided()), timeout_s=60, what="a first window")
        service = node.popen("service")
        node.fill_disk()
        time.sleep(1.5)  # the reserve is looked at once a second

        git("clone", "--quiet", str(node.gitops), str(work))
        policy = work / "holdfast/policy.yaml"
        policy.write_text(policy.read_text().replace("alpha: 0.0001", "alpha: 0.0002"))
        author = ("-c", "user.name=Release team", "-c", "user.email=releases@example.org")
        git(*author, "commit", "--quiet", "--all", "--message", "policy: bolder", cwd=str(work))
        git("push", "--quiet", "origin", "HEAD:main", cwd=str(work))
        time.sleep(2.0)
        ends = node.ends()
        node.free_disk()
        wait_until(lambda: node.is_past(ends), timeout_s=90, what="windows going on")

        assert service.poll() is None
    assert "control_record_waits" in (tmp_path / "node.log").read_text()
