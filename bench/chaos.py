"""Faults under load, and nothing lost, doubled or decided differently: `python -m bench.chaos`.

Fleets send the uploads of one good and several bad releases; parts are killed, stopped and ended at
random moments, connections fail, the disk fills; a supervisor starts again what has ended. Then a
quiet phase, and the accounts are compared: what was acknowledged against ClickHouse, the commits
against the bad releases, the evidence against a replay of the surviving log. The printed seed
repeats the schedule.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

from rich.console import Console
from rich.table import Table

from bench.chaos_kafka import compare_kafka
from bench.chaos_node import ChaosNode, chaos_node
from bench.chaos_result import NAMED, ChaosResult
from bench.cluster import ScaledOut, Shape, scaled_out
from bench.faults import Course, Fault, Targets, schedule, suffer
from bench.fleets import CLOCKS, GOOD, Fleets, bad_models, files_of
from bench.node import wait_until
from bench.oracle import Account, Release
from bench.replayed import compare
from bench.scenarios import SCENARIOS
from holdfast.example_repo import rollback_commits
from store import queries
from store.client import Client
from wire.errors import PermanentError, TransientError
from wire.times import DAY_MS

PARTITIONS: Final = 2  # so that markers of several must meet
_KILLS_PER_WAVE: Final = 100
_QUIET_S: Final = 120.0
_STEADY_S: Final = 3.0
_HORIZON_MS: Final = 7 * DAY_MS
_TICK_S: Final = 0.25
Mode = Literal["embedded", "kafka"]
World = ChaosNode | ScaledOut


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do to the node. Pauses before faults are uniform, seconds."""

    seed: int
    kills: int = 30
    seconds_between: tuple[float, float] = (0.1, 1.0)
    phones: int = 4_000  # of each model
    fault: str = "errors"  # found after some 800 phones: kills are the matter here
    rollback_s_max: float = 90.0  # after the last fault
    mode: Mode = "embedded"
    shape: Shape = field(default_factory=Shape)  # of mode kafka
    scenario: str = ""  # of mode kafka: instead of accidents
    has_further: bool = False  # faults: what people change in Git, and clocks

    @property
    def waves(self) -> int:
        """Bad releases, spread over the run."""
        return max(1, self.kills // _KILLS_PER_WAVE)

    @property
    def targets(self) -> Targets:
        """What may be hurt."""
        if self.mode == "embedded":
            parts = ("service", "store")
            return Targets(parts, parts, ("ingest", "store"), has_disk=True)
        ours = self.shape.parts()
        doors = [name for name in ours if name.startswith("ingest")]
        brokers = [f"broker-{i}" for i in range(self.shape.brokers)]
        return Targets([*ours, *brokers, "store"], [*ours, "store"], [*doors, *brokers, "store"])

    def schedule(self) -> list[Fault]:
        """All faults; equal seeds, equal schedules."""
        return schedule(
            self.seed,
            self.kills,
            targets=self.targets,
            pause_s=self.seconds_between,
            has_further=self.has_further,
        )


def run(plan: Plan, root: Path, tell: Callable[[str], None]) -> ChaosResult:
    """The whole experiment on a new system, in a new folder."""
    bad = bad_models(plan.waves)
    files = files_of(bad)
    result = ChaosResult(plan.seed, plan.mode, commits_expected=len(bad))
    if plan.mode == "kafka":
        with scaled_out(
            root, files, plan.shape, tick_s=_TICK_S, has_broker_proxies=True
        ) as cluster:
            _live(plan, cluster, cluster.doors(), result, tell)
            result.drains_unclean += cluster.stop_parts()
            result.gave_up = dict(+cluster.gave_up)
            result.named = {code: n for code in NAMED if (n := cluster.named(f'"{code}"'))}
            if plan.scenario == "topic-anew":
                return result  # of a log that is gone there is no replay
            tell("replaying what the broker holds")
            result.take_comparison(
                compare_kafka(cluster, window_ms=CLOCKS.window_ms, horizon_ms=_HORIZON_MS)
            )
        return result
    made = chaos_node(root, files, partitions=PARTITIONS, tick_s=_TICK_S, has_small_disk=True)
    with made as node:
        _live(plan, node, (node.proxies["ingest"].port,), result, tell)
        folder = node.folder
    said = (root / "node.log").read_text(errors="replace")
    result.named = {code: n for code in NAMED if (n := said.count(f'"{code}"'))}
    tell("replaying the surviving log")
    result.take_comparison(
        compare(folder, partitions=PARTITIONS, window_ms=CLOCKS.window_ms, horizon_ms=_HORIZON_MS)
    )
    return result


def _live(
    plan: Plan,
    world: World,
    doors: tuple[int, ...],
    result: ChaosResult,
    tell: Callable[[str], None],
) -> None:
    """Load, faults, the quiet phase, and the accounts."""
    bad = bad_models(plan.waves)
    keys = {model.app_id: world.key(model.app_id) for model in (GOOD, *bad)}
    fleets = Fleets(doors, bad, plan.phones, plan.fault, plan.seed, keys)
    world.refusals = lambda: fleets.full
    fleets.start_good()
    try:
        mark = world.mark()
        wait_until(lambda: world.is_past(mark), timeout_s=_QUIET_S, what="a first window")
        result.take_course(_undergo(plan, world, fleets, tell))
        _wait_for_rollbacks(plan, world, fleets, tell)
        result.unacknowledged = _wait_for_receipts(world, fleets, tell)
    finally:
        account = fleets.stop()
    store = world.client()
    result.take_counts(account, settled_counts(store, world.revive, account))
    result.balance_difference = queries.mass_balance(store)["difference"]
    store.close()
    result.commits = len(rollback_commits(world.gitops))


def _undergo(plan: Plan, world: World, fleets: Fleets, tell: Callable[[str], None]) -> Course:
    """The accidents of the schedule, or the scenario."""
    if not plan.scenario:
        return _suffer(plan, world, fleets, tell)
    assert isinstance(world, ScaledOut), "scenarios are of clusters"  # noqa: S101
    course = Course()
    fleets.start_next_bad()
    SCENARIOS[plan.scenario][0](world, course, tell)
    return course


def _suffer(plan: Plan, world: World, fleets: Fleets, tell: Callable[[str], None]) -> Course:
    faults = plan.schedule()
    each = len(faults) / plan.waves

    def before(number: int) -> None:
        if number > fleets.bad_started * each:
            fleets.start_next_bad()
        _rest(world, fleets)

    return suffer(faults, world, before=before, tell=tell)


def _rest(world: World, fleets: Fleets) -> int:
    """Phones whose release has been rolled back may rest; how many releases have been."""
    commits = rollback_commits(world.gitops)
    words = {word for commit in commits for word in commit.subject.split()}
    fleets.rest(words)
    return len(commits)


def _wait_for_rollbacks(
    plan: Plan, world: World, fleets: Fleets, tell: Callable[[str], None]
) -> None:
    """The bad releases must be found; faults only delay it."""
    tell("waiting for the rollback of every bad release")

    def found() -> bool:
        world.revive()
        return _rest(world, fleets) >= len(fleets.bad)

    try:
        wait_until(found, timeout_s=plan.rollback_s_max, what="a rollback")
    except TimeoutError:
        tell("a rollback is missing")  # the count of commits will say it


def _wait_for_receipts(world: World, fleets: Fleets, tell: Callable[[str], None]) -> dict[str, int]:
    """Quiet: everything that was made is acknowledged; by model, how many uploads never were.

    The supervisor goes on: what a late fault ended must come back here, too.
    """
    tell("quiet: waiting until everything is acknowledged and stored")
    fleets.quiet()

    def all_acknowledged() -> bool:
        world.revive()
        return fleets.is_done

    try:
        wait_until(all_acknowledged, timeout_s=_QUIET_S, what="all acknowledged")
    except TimeoutError:
        tell("some uploads were never acknowledged")  # the result says of which fleets
    return fleets.unacknowledged


def settled_counts(
    store: Client, revive: Callable[[], object], account: Account
) -> Counter[Release]:
    """Events by release in ClickHouse, once they no longer change."""
    wanted = account.acknowledged.total()
    counted: Counter[Release] = Counter()
    steady_since_s = time.monotonic()

    def settled() -> bool:
        nonlocal counted, steady_since_s
        revive()
        now = _counted(store)
        if now != counted:
            counted, steady_since_s = now, time.monotonic()
        is_enough = counted.total() >= wanted
        return is_enough and time.monotonic() - steady_since_s >= _STEADY_S

    try:
        wait_until(settled, timeout_s=_QUIET_S, what="acknowledged events in the store")
    except TimeoutError:
        return counted  # then some are lost, and the result says how many
    return counted


def _counted(store: Client) -> Counter[Release]:
    sql = (
        "SELECT model_id, model_version, sum(n) FROM hf_store.metric_window FINAL "
        "WHERE metric = 'inference.latency' GROUP BY model_id, model_version"
    )
    try:
        rows = store.rows(sql)
    except (TransientError, PermanentError):
        return Counter()
    return Counter({(str(model), str(version)): int(str(n)) for model, version, n in rows})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 0 if every promise held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", choices=("embedded", "kafka"), default="embedded")
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=1, help="of mode kafka")
    parser.add_argument(
        "--scenario", choices=SCENARIOS, default="", help="of mode kafka: instead of accidents"
    )
    parser.add_argument("--kills", type=int, default=30, help="kill -9; other faults come on top")
    parser.add_argument(
        "--further",
        action="store_true",
        help="windowMs and acceptedAgeMs edited, the branch renamed, the clock changed, too",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--seconds-between", type=float, nargs=2, default=(0.1, 1.0), metavar=("LOW", "HIGH")
    )
    parser.add_argument("--dir", type=Path, help="keep everything in this new folder")
    parser.add_argument("--phones", type=int, default=4_000, help="of each model; sets the load")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    low, high = given.seconds_between
    if given.scenario:
        given.mode, given.kills = "kafka", 0
    shape = SCENARIOS[given.scenario][1] if given.scenario else Shape()
    plan = Plan(
        given.seed,
        given.kills,
        (low, high),
        phones=given.phones,
        mode=given.mode,
        shape=replace(shape, brokers=given.brokers),
        scenario=given.scenario,
        has_further=given.further,
    )
    tell = Console(stderr=True, highlight=False).print
    tell(f"seed {plan.seed}: {plan.scenario or f'{plan.kills} kills'}, {plan.mode}")
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
