"""What every action promises: twice is once, a dry run touches nothing, a refusal is a result, and
no secret is in a result or a log. A new action joins by adding one line to ``ACTIONS``.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from actions.git_command import GitSettings
from actions.git_rollback import Rollback
from actions.outbox import Outbox
from actions.perform import Performer
from actions.repository import Repository
from actions.results import State
from actions.slack import Slack, SlackSettings
from analytics.types import Verdict, VerdictKind
from tests.fakes.gitops import desired, make_remote, verdict
from tests.fakes.slack_receiver import Answer, slack_receiver

NOW = 1_793_491_300_000
CANARY = "canary-token"


class Unused:
    """An action that must not be asked."""

    def perform(self, *_: object, **__: object) -> None:
        raise AssertionError("another action's work")


@dataclass
class Trial:
    """One action in the real world: what triggers it, and how often its effect is seen."""

    trigger: Verdict
    performer: Performer
    effects_seen: Callable[[], int]

    def run(self, *, dry_run: bool = False) -> list[State]:
        self.performer.receive([self.trigger], now_ms=NOW)
        self.performer.step(desired(dry_run=dry_run), now_ms=NOW)
        return [e.result.state for e in self.performer.outbox.entries()]


@contextmanager
def git_rollback(folder: Path, *, dry_run: bool, refusing: bool) -> Iterator[Trial]:
    remote = make_remote(folder)
    if refusing:
        hook = Path(remote.url) / "hooks/pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\nexit 1\n")
        hook.chmod(0o755)
    settings = GitSettings(remote.url, "main", folder / "clone", authorization=f"Bearer {CANARY}")
    committer = Rollback(Repository(settings), np.random.default_rng(1))
    outbox = Outbox(folder / "outbox.sqlite")
    yield Trial(
        verdict(),
        Performer(outbox, committer, None),
        lambda: sum(s.startswith("rollback:") for s in remote.subjects()),
    )
    outbox.close()


@contextmanager
def slack(folder: Path, *, dry_run: bool, refusing: bool) -> Iterator[Trial]:
    outbox = Outbox(folder / "outbox.sqlite")
    answers: list[Answer] = [(404, {}, "no_service")] if refusing else []
    with slack_receiver(*answers) as receiver:
        assert CANARY in receiver.url
        messenger = Slack(SlackSettings(receiver.url, dry_run=dry_run))
        yield Trial(
            verdict(kind=VerdictKind.DRIFT),
            Performer(outbox, Unused(), messenger),  # type: ignore[arg-type] # never asked
            lambda: len(receiver.messages) - len(answers),
        )
    outbox.close()


ACTIONS = [git_rollback, slack]


@pytest.mark.parametrize("action", ACTIONS)
def test_done_twice_is_done_once(action: Callable[..., object], tmp_path: Path) -> None:
    with action(tmp_path, dry_run=False, refusing=False) as trial:  # type: ignore[attr-defined] # a context manager
        assert trial.run() == [State.DONE]
        assert trial.run() == [State.DONE]

        assert trial.effects_seen() == 1


@pytest.mark.parametrize("action", ACTIONS)
def test_a_dry_run_touches_nothing(action: Callable[..., object], tmp_path: Path) -> None:
    with action(tmp_path, dry_run=True, refusing=False) as trial:  # type: ignore[attr-defined] # a context manager
        assert trial.run(dry_run=True) == [State.DRY_RUN]

        assert trial.effects_seen() == 0


@pytest.mark.parametrize("action", ACTIONS)
def test_refused_by_the_world_is_a_result_without_secrets(
    action: Callable[..., object], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    with action(tmp_path, dry_run=False, refusing=True) as trial:  # type: ignore[attr-defined] # a context manager
        assert trial.run() == [State.REFUSED]
        assert trial.run() == [State.REFUSED]  # final: a permanent failure is not retried

        entry = trial.performer.outbox.entries()[0]
        assert trial.effects_seen() <= 0
    assert entry.tries == 1
    assert entry.result.detail
    assert CANARY not in repr(entry) + caplog.text
