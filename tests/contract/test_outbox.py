"""The outbox: atomic, durable, each effect once, each change visible until it is reported."""

import sqlite3
from pathlib import Path

import pytest

from actions.outbox import Action, Effect, Outbox
from actions.results import ActionResult, State
from wire.errors import PermanentError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite"


def effect(incident: str = "i", action: Action = Action.ROLLBACK, subject: str = "") -> Effect:
    return Effect(incident, action, b"\x00payload", subject, "v", "app", "model", "r", "2", "1")


def test_an_effect_survives_a_restart_as_it_was(path: Path) -> None:
    first = Outbox(path)
    first.queue([effect()], now_ms=5)
    first.close()

    again = Outbox(path)
    (entry,) = again.due(5, with_dry_runs=False)
    again.close()

    assert entry.effect == effect()
    assert (entry.result.state, entry.tries, entry.next_ms) == (State.QUEUED, 0, 5)


def test_queueing_again_is_nothing_but_another_subject_is_another_message(path: Path) -> None:
    outbox = Outbox(path)

    assert outbox.queue([effect(), effect()], now_ms=1) == 1
    assert outbox.queue([effect(), effect(action=Action.SLACK, subject="a")], now_ms=2) == 1
    assert outbox.queue([effect(action=Action.SLACK, subject="b")], now_ms=3) == 1
    outbox.close()


def test_all_effects_of_a_call_are_taken_or_none(path: Path) -> None:
    outbox = Outbox(path)
    broken = effect("j", subject=None)  # type: ignore[arg-type] # what the table refuses

    with pytest.raises(sqlite3.Error):
        outbox.queue([effect(), broken], now_ms=1)

    assert outbox.entries() == []
    outbox.close()


def test_a_result_and_what_follows_from_it_are_one_step(path: Path) -> None:
    outbox = Outbox(path)
    outbox.queue([effect()], now_ms=1)
    (entry,) = outbox.entries()
    broken = effect("j", subject=None)  # type: ignore[arg-type] # what the table refuses

    with pytest.raises(sqlite3.Error):
        outbox.record(entry, ActionResult(State.DONE), now_ms=2, next_ms=None, then=[broken])

    assert outbox.entries() == [entry]
    outbox.close()


def test_only_changes_are_unreported_and_a_later_change_stays_so(path: Path) -> None:
    outbox = Outbox(path)
    outbox.queue([effect()], now_ms=1)
    assert outbox.unreported() == []
    (entry,) = outbox.entries()

    failed = ActionResult(State.FAILED, detail="away")
    outbox.record(entry, failed, now_ms=2, next_ms=3)
    reported = outbox.unreported()
    outbox.record(reported[0], failed, now_ms=3, next_ms=4)  # nothing new
    outbox.mark_reported(reported)
    assert outbox.unreported() == []
    outbox.record(reported[0], ActionResult(State.DONE, "c" * 40), now_ms=4, next_ms=None)
    outbox.mark_reported(reported)

    (changed,) = outbox.unreported()
    assert (changed.result.state, changed.tries) == (State.DONE, 3)
    assert [p.at_ms for p in outbox.past_rollbacks(since_ms=4)] == [4]
    assert outbox.past_rollbacks(since_ms=5) == []
    outbox.close()


def test_an_outbox_in_memory_comes_back_from_its_body() -> None:
    first = Outbox(None)
    first.queue([effect()], now_ms=1)
    changes = first.changes
    (entry,) = first.due(1, with_dry_runs=False)
    first.record(entry, ActionResult(State.DONE, commit="c"), now_ms=2, next_ms=None)
    assert first.changes > changes

    second = Outbox(None, body=first.body())

    assert second.entries() == first.entries()
    assert second.queue([effect()], now_ms=3) == 0
    first.close()
    second.close()


def test_a_body_that_is_no_outbox_is_refused() -> None:
    with pytest.raises(PermanentError, match="outbox_unreadable"):
        Outbox(None, body=b"not a database")
