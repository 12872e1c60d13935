"""One seeded fleet with one bad release on a real node: from uploads to a fleet that recovered."""

from collections.abc import Iterator

import clickhouse_connect
import msgspec
import pytest
from clickhouse_connect.driver import Client as Analyst

from holdfast.demo import Demo, DemoPlan, DemoResult
from holdfast.example_repo import diff_of, git, message_of, rollback_commits
from holdfast.folder import Folder
from store import process

TRAILERS = ("Holdfast-Verdict", "Holdfast-Incident", "Holdfast-Policy")


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> tuple[Demo, DemoResult]:
    demo = Demo(DemoPlan(seed=3), tmp_path_factory.mktemp("road") / "node", print)
    return demo, demo.run()


@pytest.fixture(scope="module")
def analyst(road: tuple[Demo, DemoResult]) -> Iterator[Analyst]:
    """A stock client with the analyst's password, after everything was stopped and started."""
    folder = Folder(road[0].root)
    store = process.start(folder.store, folder.store_credentials)
    client = clickhouse_connect.get_client(
        host="127.0.0.1",
        port=store.port,
        username="analyst",
        password=folder.store_passwords()["analyst"],
    )
    yield client
    client.close()
    assert store.stop() == 0


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
    assert sum(received for _, received, _ in minutes) == result.events_sent
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
