"""Gate, ledger, push, Slack in order, over a real remote, a real receiver and a real outbox."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from actions.desired_files import BrokenManifestsError, read_desired
from actions.git_command import GitSettings
from actions.git_rollback import Rollback
from actions.outbox import Outbox
from actions.perform import Performer
from actions.repository import Repository
from actions.slack import Slack, SlackSettings
from analytics.types import Outcome, VerdictKind
from store.tables import TABLES
from tests.fakes.gitops import FILES, Remote, desired, make_remote, verdict
from tests.fakes.slack_receiver import Receiver, slack_receiver

NOW = 1_793_491_300_000


class World:
    """A remote, a receiver, and a performer that can be killed and started again."""

    def __init__(self, folder: Path, receiver: Receiver) -> None:
        self.folder = folder
        self.receiver = receiver
        self.remote: Remote = make_remote(folder)
        self.outbox = Outbox(folder / "outbox.sqlite")

    def performer(self, *, with_slack: bool = True) -> Performer:
        """A new life over the same files."""
        self.outbox.close()
        self.outbox = Outbox(self.folder / "outbox.sqlite")
        repository = Repository(GitSettings(self.remote.url, "main", self.folder / "clone"))
        committer = Rollback(repository, np.random.default_rng(1))
        slack = Slack(SlackSettings(self.receiver.url)) if with_slack else None
        return Performer(self.outbox, committer, slack)

    def close(self) -> None:
        self.outbox.close()  # that of the last life

    def titles(self) -> list[object]:
        return [message["text"] for message in self.receiver.messages]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        made = World(tmp_path, stack.enter_context(slack_receiver()))
        stack.callback(made.close)
        yield made


def states(performer: Performer) -> list[tuple[object, object]]:
    _, columns = performer.rows()
    return list(zip(columns["action"], columns["state"], strict=True))


def test_a_breach_is_committed_then_told_and_both_are_rows(world: World) -> None:
    performer = world.performer()

    performer.receive([verdict()], now_ms=NOW)
    performer.step(desired(), now_ms=NOW)

    assert world.remote.subjects()[0] == "rollback: next-word 1.5.0 to 1.4.0"
    assert world.titles() == ["Rolled back: next-word 1.5.0 to 1.4.0"]
    _, columns = performer.rows()
    assert set(columns) == set(TABLES["action"])
    assert states(performer) == [("rollback", "done"), ("slack", "done")]
    assert columns["commit"][0] == world.remote.on_main("rev-parse", "FETCH_HEAD")
    assert columns["acted_at"] == [NOW, NOW]


def test_received_twice_and_stepped_twice_is_done_once_over_lives(world: World) -> None:
    for _ in range(2):
        performer = world.performer()
        performer.receive([verdict(), verdict(verdict_id="later")], now_ms=NOW)
        performer.step(desired(), now_ms=NOW)
        performer.step(desired(), now_ms=NOW + 10_000_000)

    assert len(world.remote.subjects()) == 2
    assert len(world.titles()) == 1


def test_rows_stay_until_the_store_has_them(world: World) -> None:
    performer = world.performer()
    performer.receive([verdict()], now_ms=NOW)
    performer.step(desired(), now_ms=NOW)

    entries, _ = world.performer().rows()
    assert len(entries) == 2
    performer = world.performer()
    performer.reported(entries)

    assert performer.rows()[0] == []


def test_a_dry_run_touches_no_branch_and_switching_it_off_acts(world: World) -> None:
    performer = world.performer()
    performer.receive([verdict()], now_ms=NOW)

    performer.step(desired(dry_run=True), now_ms=NOW)
    performer.step(desired(dry_run=True), now_ms=NOW + 99_000)

    assert world.remote.subjects() == ["seed"]
    assert not (world.folder / "clone").exists()
    assert world.titles() == ["Would be rolled back (dry run): next-word 1.5.0 to 1.4.0"]
    assert states(performer) == [("rollback", "dry_run"), ("slack", "done")]

    performer.step(desired(dry_run=False), now_ms=NOW + 100_000)

    assert len(world.remote.subjects()) == 2
    assert ("rollback", "done") in states(performer)


def test_what_a_freeze_holds_is_done_when_it_ends(world: World) -> None:
    frozen = desired(freezes=((NOW - 1, NOW + 50_000),))
    performer = world.performer()
    performer.receive([verdict()], now_ms=NOW)

    performer.step(frozen, now_ms=NOW)
    performer.step(frozen, now_ms=NOW + 49_999)
    assert world.remote.subjects() == ["seed"]
    assert states(performer)[0] == ("rollback", "held")
    performer.step(frozen, now_ms=NOW + 50_000)

    assert len(world.remote.subjects()) == 2
    assert len(world.titles()) == 2


def test_the_second_rollback_of_a_model_waits_for_the_cool_down(world: World) -> None:
    performer = world.performer()
    performer.receive([verdict()], now_ms=NOW)
    performer.step(desired(), now_ms=NOW)

    performer.receive([verdict(incident_id="second")], now_ms=NOW + 1000)
    performer.step(desired(), now_ms=NOW + 1000)

    held = next(e for e in world.outbox.entries() if e.effect.incident_id == "second")
    assert held.result.detail.startswith("cooldown")
    assert held.next_ms == NOW + 3_600_000


def test_a_remote_that_is_away_is_tried_again_with_growing_pauses(world: World) -> None:
    away = world.folder / "away"
    Path(world.remote.url).rename(away)
    performer = world.performer()
    performer.receive([verdict()], now_ms=NOW)

    pauses = []
    now_ms = NOW
    for _ in range(3):
        performer.step(desired(), now_ms=now_ms)
        entry = next(e for e in world.outbox.entries() if e.effect.action == "rollback")
        assert entry.next_ms is not None
        pauses.append(entry.next_ms - now_ms)
        now_ms = entry.next_ms
    assert pauses == [5000, 5000, 5000]  # the remote's own advice, until the backoff outgrows it
    assert world.titles() == ["Rollback failing: next-word 1.5.0 to 1.4.0"]

    away.rename(world.remote.url)
    performer.step(desired(), now_ms=now_ms)

    assert len(world.remote.subjects()) == 2


def test_tries_are_bounded_and_the_last_failure_stays_visible(world: World) -> None:
    Path(world.remote.url).rename(world.folder / "away")
    performer = replace(world.performer(), tries_max=2)
    performer.receive([verdict()], now_ms=NOW)

    for later in range(5):
        performer.step(desired(), now_ms=NOW + later * 3_600_000)

    entry = next(e for e in world.outbox.entries() if e.effect.action == "rollback")
    assert (entry.tries, entry.next_ms, entry.result.state) == (2, None, "failed")


def test_a_rate_limited_message_is_sent_after_slacks_wait(world: World) -> None:
    world.receiver.answers.append((429, {"Retry-After": "60"}, "rate_limited"))
    performer = world.performer()
    performer.receive([verdict()], now_ms=NOW)

    performer.step(desired(), now_ms=NOW)
    performer.step(desired(), now_ms=NOW + 59_999)
    assert len(world.titles()) == 1
    performer.step(desired(), now_ms=NOW + 60_000)

    assert len(world.titles()) == 2
    assert states(performer)[-1] == ("slack", "done")


def test_drift_cost_and_recovery_are_told_and_pass_is_not(world: World) -> None:
    performer = world.performer()
    performer.receive(
        [
            verdict(kind=VerdictKind.DRIFT, incident_id="drift"),
            verdict(kind=VerdictKind.COST, incident_id="cost"),
            verdict(kind=VerdictKind.RECOVERY, outcome=Outcome.PASS),
            verdict(outcome=Outcome.PASS),
            verdict(outcome=Outcome.INCONCLUSIVE),
            verdict(kind=VerdictKind.DRIFT, outcome=Outcome.INCONCLUSIVE),
        ],
        now_ms=NOW,
    )

    performer.step(desired(), now_ms=NOW)

    assert [str(title).split(":")[0] for title in world.titles()] == ["Drift", "Cost", "Recovered"]
    assert world.remote.subjects() == ["seed"]


def test_a_suspicious_assignment_pages_and_never_rolls_back(world: World) -> None:
    suspicious = replace(verdict().arithmetic, assignment_log_e=10.0)
    performer = world.performer()
    performer.receive([verdict(outcome=Outcome.INCONCLUSIVE, arithmetic=suspicious)], now_ms=NOW)

    performer.step(desired(), now_ms=NOW)

    assert world.titles() == ["No verdict: next-word 1.5.0"]
    assert world.remote.subjects() == ["seed"]


def test_a_broken_manifest_is_told_once(world: World) -> None:
    performer = world.performer()
    with pytest.raises(BrokenManifestsError) as broken:
        read_desired(
            {**FILES, "policy.yaml": b"apiVersion: holdfast.dev/v1\nkind: X\n"}, commit="c"
        )

    for _ in range(2):
        performer.report_broken("c0ffee", broken.value, now_ms=NOW)
        performer.step(desired(), now_ms=NOW)

    assert world.titles() == ["Broken manifests in the GitOps repository"]


def test_without_slack_the_rollback_and_its_row_are_there_all_the_same(world: World) -> None:
    performer = world.performer(with_slack=False)
    performer.receive([verdict(), verdict(kind=VerdictKind.DRIFT, incident_id="d")], now_ms=NOW)

    performer.step(desired(), now_ms=NOW)

    assert states(performer) == [("rollback", "done")]
    assert len(world.remote.subjects()) == 2
