"""Broker, doors, workers and store are killed under load, over real Kafka: each kind once."""

from dataclasses import asdict
from pathlib import Path

import pytest

from bench.broker import BrokerUnavailableError
from bench.chaos import Plan, run
from tests.kafka_fixtures import without_broker

pytestmark = pytest.mark.slow


def test_every_part_of_a_cluster_is_killed_sooner_or_later() -> None:
    plan = Plan(seed=1, kills=100, mode="kafka")

    killed = {fault.target for fault in plan.schedule() if fault.kind == "kill"}

    assert killed == {
        *("ingest-0", "ingest-1", "summarise-0", "summarise-1", "decide-0", "act-0"),
        *("broker-0", "store"),
    }


def test_every_connection_of_a_cluster_is_hurt_sooner_or_later() -> None:
    plan = Plan(seed=1, kills=100, mode="kafka")

    hurt = {f.target for f in plan.schedule() if f.kind not in ("kill", "stop", "term")}

    assert hurt == {"ingest-0", "ingest-1", "broker-0", "store"}


@pytest.mark.timeout(400)
def test_what_was_acknowledged_survives_every_fault_of_a_cluster(tmp_path: Path) -> None:
    plan = Plan(seed=249, kills=6, seconds_between=(0.1, 0.6), phones=2_000, mode="kafka")
    faults = plan.schedule()
    killed = {fault.target.partition("-")[0] for fault in faults if fault.kind == "kill"}
    assert killed == {"broker", "ingest", "summarise", "decide", "act", "store"}
    assert "blackhole broker-0" in map(str, faults)

    try:
        result = run(plan, tmp_path, print)
    except BrokerUnavailableError as error:
        without_broker(error)

    said = asdict(result)
    assert result.acknowledged > 10_000, said
    assert result.retries > 0, "no upload met a server that was away: this proves nothing"
    assert result.verdicts > 0, said
    assert result.commits_expected == 1, said
    # how long a restart takes is for a quiet machine to say
    assert result.broken.keys() <= {"restart_seconds_max"}, result.broken
