"""kill -9 under load, and nothing lost, doubled or decided differently: `python -m bench.chaos`.

An oracle sends the uploads of a fleet with one bad release; the service or the store is killed at
random moments; the supervisor starts it again. Then a quiet phase, and the accounts are compared:
what was acknowledged against ClickHouse, the commits against the one bad release, the evidence
against a replay of the surviving log. The printed seed repeats the schedule.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Literal

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.node import Bench, running_node, wait_until
from bench.oracle import Account, Oracle, Release
from bench.replayed import compare
from holdfast.example_repo import rollback_commits
from holdfast.manifests import Clocks, Model, policy_text, repository_files
from sdk_stub.faults import FaultTarget
from sdk_stub.fleet import FleetSettings
from store import queries
from wire.desired import DAY_MS
from wire.errors import PermanentError, TransientError

Victim = Literal["service", "store"]
PARTITIONS: Final = 2  # so that markers of several must meet
REGIONS: Final = ("US", "IN")
MODELS: Final = (
    Model("keyboard", "next-word", "1.4.0", "1.5.0", 0.4),
    Model("camera", "scene-labels", "3.1.0", "3.2.0", 0.4),
)
BAD: Final = MODELS[1]
CLOCKS: Final = Clocks(
    window_ms=1000,
    observation_ms=4000,
    cohort_ms=1000,
    silence_grace_ms=60_000,  # restarts are no silence
    drift_window_ms=10_000,
)
_QUIET_S: Final = 120.0
_STEADY_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do to the node. Pauses between kills are uniform, seconds."""

    seed: int
    kills: int = 30
    seconds_between: tuple[float, float] = (0.5, 4.0)
    phones: int = 4_000
    fault: str = "errors"  # found after some 800 phones: kills are the matter here
    rollback_s_max: float = 90.0  # after the last kill

    def schedule(self) -> list[tuple[float, Victim]]:
        """(pause, victim) of every kill; equal seeds, equal schedules."""
        rng = np.random.default_rng(self.seed)
        victims: tuple[Victim, Victim] = ("service", "store")
        return [
            (float(rng.uniform(*self.seconds_between)), victims[int(rng.integers(2))])
            for _ in range(self.kills)
        ]


@dataclass(slots=True)
class ChaosResult:
    """The contract of ``holdfast chaos --json``; events, unless it says otherwise."""

    seed: int
    mode: str = "embedded"
    kills: int = 0
    acknowledged: int = 0
    maybe: int = 0
    counted: int = 0
    lost: int = 0
    doubled: int = 0
    verdicts: int = 0
    verdicts_differing: int = 0
    evidence_equal: bool = False
    balance_difference: int = 0
    commits: int = 0
    commits_expected: int = 1
    retries: int = 0
    restart_seconds_max: float = 0.0
    killed: dict[str, int] = field(default_factory=dict)

    @property
    def is_ok(self) -> bool:
        """Nothing lost, doubled, decided differently; one commit for the one bad release."""
        wrong = self.lost or self.doubled or self.verdicts_differing or self.balance_difference
        return not wrong and self.evidence_equal and self.commits == self.commits_expected


def run(plan: Plan, root: Path, tell: Callable[[str], None]) -> ChaosResult:
    """The whole experiment in a new folder."""
    result = ChaosResult(plan.seed)
    policy = policy_text(
        CLOCKS, regions=REGIONS, apps=tuple(m.app_id for m in MODELS), dry_run=False
    )
    files = repository_files(MODELS, policy)
    node = running_node(root, files, gitops_poll_s=0.5, tick_s=0.25, partitions=PARTITIONS)
    with node as bench:
        oracle = Oracle(
            port=bench.node.settings.http_port,
            keys={m.app_id: bench.key(m.app_id) for m in MODELS},
            fleet=FleetSettings(
                phones=plan.phones, regions=REGIONS, adoption_ms=20_000, idle_gap_ms=120_000
            ),
            target=FaultTarget(BAD.model_id, BAD.candidate),
            seed=plan.seed,
            fault=plan.fault,
        )
        oracle.start()
        try:
            _kill_all(plan, bench, result, tell)
            _wait_for_rollback(plan, bench, tell)
            tell("quiet: waiting until everything is acknowledged and stored")
            oracle.quiet()
            wait_until(
                lambda: bool(oracle.errors) or oracle.is_done,
                timeout_s=_QUIET_S,
                what="all acknowledged",
            )
        finally:
            account = oracle.stop()
        counted = _settled_counts(bench, account)
        _compare_counts(result, account, counted)
        result.balance_difference = queries.mass_balance(bench.store())["difference"]
        result.commits = len(rollback_commits(bench.gitops))
        folder = bench.folder
    tell("replaying the surviving log")
    same = compare(folder, partitions=PARTITIONS, window_ms=CLOCKS.window_ms, horizon_ms=7 * DAY_MS)
    result.evidence_equal, result.verdicts = same.is_state_equal, same.verdicts
    result.verdicts_differing = same.differing
    return result


def _kill_all(plan: Plan, bench: Bench, result: ChaosResult, tell: Callable[[str], None]) -> None:
    for number, (pause_s, victim) in enumerate(plan.schedule(), 1):
        time.sleep(pause_s)
        if victim == "service":
            assert bench.node.service is not None, "it has started"  # noqa: S101
            popen = bench.node.service
        else:
            assert bench.node.store is not None, "it has started"  # noqa: S101
            popen = bench.node.store.popen
        popen.kill()
        killed_s = time.monotonic()
        popen.wait()
        while bench.node.look():
            pass
        took_s = time.monotonic() - killed_s
        result.kills += 1
        result.killed[victim] = result.killed.get(victim, 0) + 1
        result.restart_seconds_max = max(result.restart_seconds_max, round(took_s, 2))
        tell(f"kill {number}/{plan.kills}: {victim}, back after {took_s:.1f} s")


def _wait_for_rollback(plan: Plan, bench: Bench, tell: Callable[[str], None]) -> None:
    """The bad release must be found; kills only delay it."""
    tell("waiting for the rollback of the bad release")

    def found() -> bool:
        bench.node.look()
        return bool(rollback_commits(bench.gitops))

    try:
        wait_until(found, timeout_s=plan.rollback_s_max, what="a rollback")
    except TimeoutError:
        tell("no rollback came")  # the count of commits will say it


def _settled_counts(bench: Bench, account: Account) -> Counter[Release]:
    """Events by release in ClickHouse, once they no longer change."""
    wanted = account.acknowledged.total()
    counted: Counter[Release] = Counter()
    steady_since_s = time.monotonic()

    def settled() -> bool:
        nonlocal counted, steady_since_s
        bench.node.look()
        now = _counted(bench)
        if now != counted:
            counted, steady_since_s = now, time.monotonic()
        is_enough = counted.total() >= wanted
        return is_enough and time.monotonic() - steady_since_s >= _STEADY_S

    try:
        wait_until(settled, timeout_s=_QUIET_S, what="acknowledged events in the store")
    except TimeoutError:
        return counted  # then some are lost, and the result says how many
    return counted


def _counted(bench: Bench) -> Counter[Release]:
    sql = (
        "SELECT model_id, model_version, sum(n) FROM hf.metric_totals "
        "WHERE metric = 'inference.latency' GROUP BY model_id, model_version"
    )
    try:
        rows = bench.store().rows(sql)
    except (TransientError, PermanentError):
        return Counter()
    return Counter({(str(model), str(version)): int(str(n)) for model, version, n in rows})


def _compare_counts(result: ChaosResult, account: Account, counted: Counter[Release]) -> None:
    result.acknowledged = account.acknowledged.total()
    result.maybe = account.maybe.total()
    result.counted = counted.total()
    result.retries = account.retries
    for release in account.acknowledged | account.maybe | counted:
        least = account.acknowledged[release]
        most = least + account.maybe[release]
        result.lost += max(least - counted[release], 0)
        result.doubled += max(counted[release] - most, 0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 0 if every promise held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", choices=("embedded",), default="embedded")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--seconds-between", type=float, nargs=2, default=(0.5, 4.0), metavar=("LOW", "HIGH")
    )
    parser.add_argument("--dir", type=Path, help="keep everything in this new folder")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    low, high = given.seconds_between
    plan = Plan(given.seed, given.kills, (low, high))
    tell = Console(stderr=True, highlight=False).print
    tell(f"seed {plan.seed}: {plan.kills} kills")
    if given.dir:
        given.dir.mkdir(parents=True)
        result = run(plan, given.dir, tell)
    else:
        with tempfile.TemporaryDirectory(prefix="holdfast-chaos-") as folder:
            result = run(plan, Path(folder), tell)
    if given.json:
        print(json.dumps(asdict(result)))
    else:
        table = Table("what", "value", title="chaos: " + ("ok" if result.is_ok else "FAILED"))
        for name, value in asdict(result).items():
            table.add_row(name, str(value))
        Console().print(table)
    return 0 if result.is_ok else 1


if __name__ == "__main__":
    sys.exit(main())
