"""One seeded fleet with one bad release on a real node: from uploads to a fleet that recovered.

Then the log of that run once more, through workers over Kafka: they must say and do the same.
"""

import json
import secrets
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import clickhouse_connect
import msgspec
import pytest
from clickhouse_connect.driver import Client as Analyst

from holdfast.demo import Demo, DemoPlan, DemoResult
from holdfast.example_repo import diff_of, git, message_of, rollback_commits
from holdfast.folder import Folder
from holdfast.slack_receiver import SlackReceiver
from store import process
from store.client import StoreSettings, connect
from store.migrate import migrate
from tests.fakes.node_world import until
from tests.fakes.recorded import recording_of
from tests.fakes.workers import Said, Workers, rows_of, until_as_many, worker_settings
from tests.integration.store_fixtures import start_store

TRAILERS = ("Holdfast-Verdict", "Holdfast-Incident", "Holdfast-Policy")


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> tuple[Demo, DemoResult]:
    # phones that have said what they bet rest: a busy machine keeps up with the others
    plan = DemoPlan(seed=3, gap_ms=40_000, idle_gap_ms=120_000, seconds_max=180.0)
    demo = Demo(plan, tmp_path_factory.mktemp("road") / "node", print)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HOLDFAST_PARTITIONS", "2")
        return demo, demo.run()


@pytest.fixture(scope="module")
def store_port(road: tuple[Demo, DemoResult]) -> Iterator[int]:
    """The node's store, after everything was stopped and started."""
    folder = Folder(road[0].root)
    store = process.start(folder.store, folder.store_credentials)
    yield store.port
    assert store.stop() == 0


@pytest.fixture(scope="module")
def analyst(road: tuple[Demo, DemoResult], store_port: int) -> Iterator[Analyst]:
    """A stock client with the analyst's password."""
    client = clickhouse_connect.get_client(
        host="127.0.0.1",
        port=store_port,
        username="analyst",
        password=Folder(road[0].root).store_passwords()["analyst"],
    )
    yield client
    client.close()


@pytest.fixture(scope="module")
def node_rows(road: tuple[Demo, DemoResult], store_port: int) -> Said:
    """What the node decided."""
    password = Folder(road[0].root).store_passwords()["writer"]
    client = connect(StoreSettings(port=store_port, user="holdfast", password=password))
    rows = rows_of(client)
    client.close()
    return rows


@dataclass(frozen=True, slots=True)
class ScaledOut:
    """What workers over Kafka made of the node's log."""

    rows: Said
    gitops: Path
    slack: SlackReceiver


@pytest.fixture(scope="module")
def scaled_out(
    road: tuple[Demo, DemoResult],
    node_rows: Said,
    kafka: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ScaledOut]:
    """The same records through summarise and decide; then act, on a remote before the rollback."""
    demo, _ = road
    root = tmp_path_factory.mktemp("scaled-out")
    gitops = before_the_rollback(demo.gitops, root / "gitops.git")
    recording = recording_of(Folder(demo.root))
    running, endpoint = start_store(root / "store")
    try:
        with closing(endpoint.writer()) as client, SlackReceiver(root / "slack.jsonl") as slack:
            migrate(client, now_ms=recording.records[0].arrived_ms, app_version="test")
            settings = worker_settings(
                root,
                kafka,
                f"road-{secrets.token_hex(6)}",
                endpoint,
                partitions=recording.partitions,
                gitops_url=str(gitops),
                slack_webhook_url=slack.url,
            )
            with closing(Workers(root, settings, recording.clocks)) as workers:
                recording.give(workers.log)
                workers.start("summarise-0", "decide-0")
                until_as_many(client, node_rows)
                rows = rows_of(client)
                workers.start("act-0")  # its control records would have joined the recording
                until(lambda: len(slack.messages) == 2, "second message")
            yield ScaledOut(rows, gitops, slack)
    finally:
        code = running.stop()
    assert code == 0


def before_the_rollback(gitops: Path, made: Path) -> Path:
    """A remote with the first commit alone."""
    (first,) = git("rev-list", "--max-parents=0", "main", cwd=str(gitops)).split()
    git("clone", "--quiet", "--bare", str(gitops), str(made))
    git("update-ref", "refs/heads/main", first, cwd=str(made))
    return made


def test_the_bad_release_is_rolled_back_once_and_no_other(road: tuple[Demo, DemoResult]) -> None:
    demo, result = road

    assert [r.release for r in result.rollbacks] == [f"{demo.bad.model_id} {demo.bad.candidate}"]
    assert [r.metric for r in result.rollbacks] == ["inference.latency"]
    assert result.false_rollbacks == 0
    assert result.is_as_expected


def test_the_commit_changes_two_lines_at_most_and_carries_the_trailers(
    road: tuple[Demo, DemoResult],
) -> None:
    demo, result = road
    (commit,) = rollback_commits(demo.gitops)

    diff = diff_of(demo.gitops, commit.commit).splitlines()
    added = [line for line in diff if line.startswith("+") and not line.startswith("+++")]
    removed = [line for line in diff if line.startswith("-") and not line.startswith("---")]
    trailers = git(
        "show",
        "--no-patch",
        "--format=%(trailers:only,unfold)",
        commit.commit,
        cwd=str(demo.gitops),
    )

    assert commit.commit == result.rollbacks[0].commit
    assert 1 <= len(added) <= 2
    assert len(removed) <= 2
    assert any("share: 0" in line for line in added)
    assert [line.partition(":")[0] for line in trailers.split("\n") if line] == list(TRAILERS)
    assert demo.bad.candidate in message_of(demo.gitops, commit.commit)


def test_the_fleet_leaves_the_candidate(road: tuple[Demo, DemoResult]) -> None:
    _, result = road

    assert result.recovered
    assert "candidate's share of events" in result.recovery


def test_slack_is_told_which_commit(road: tuple[Demo, DemoResult]) -> None:
    demo, result = road
    lines = (demo.root / "slack.jsonl").read_bytes().splitlines()

    named = [line for line in lines if result.rollbacks[0].commit[:12].encode() in line]

    assert len(named) == 1
    assert msgspec.json.decode(named[0])["blocks"]


def test_everything_acknowledged_is_stored_once_and_every_minute_balances(
    road: tuple[Demo, DemoResult], analyst: Analyst
) -> None:
    demo, result = road

    minutes = analyst.query(
        "SELECT minute, received, difference FROM hf.ingest_quality"
    ).result_rows

    assert demo.counts.rows_acknowledged == result.events_sent
    assert result.events_stored == result.events_sent > 10_000
    assert 0 < sum(received for _, received, _ in minutes) <= result.events_sent
    assert [difference for *_, difference in minutes] == [0] * len(minutes)
    assert result.balance_difference == 0


def test_an_analyst_sees_the_bad_candidate_in_release_health(
    road: tuple[Demo, DemoResult], analyst: Analyst
) -> None:
    demo, _ = road

    rows = analyst.query(
        "SELECT model_version, sum(latency_p50_ms * events) / sum(events) "
        "FROM hf.release_health WHERE model_id = {model:String} AND arm != '' GROUP BY 1",
        parameters={"model": demo.bad.model_id},
    ).result_rows
    p50 = {str(version): float(p50_ms) for version, p50_ms in rows}

    assert p50[demo.bad.candidate] > 1.1 * p50[demo.bad.stable]


def test_workers_over_kafka_give_the_same_rows_and_verdicts(
    node_rows: Said, scaled_out: ScaledOut
) -> None:
    assert all(node_rows.values())
    assert scaled_out.rows == node_rows


def test_workers_over_kafka_push_the_same_commit_and_tell_the_same(
    road: tuple[Demo, DemoResult], scaled_out: ScaledOut
) -> None:
    demo, _ = road
    (theirs,) = rollback_commits(scaled_out.gitops)
    (ours,) = rollback_commits(demo.gitops)

    assert message_of(scaled_out.gitops, theirs.commit) == message_of(demo.gitops, ours.commit)
    assert diff_of(scaled_out.gitops, theirs.commit) == diff_of(demo.gitops, ours.commit)
    told = (demo.root / "slack.jsonl").read_text().splitlines()
    assert [json.dumps(m).replace(theirs.commit[:12], "") for m in scaled_out.slack.messages] == [
        json.dumps(json.loads(line)).replace(ours.commit[:12], "") for line in told
    ]
