"""What Git desires reaches ingest and the log; a broken manifest keeps the last good state."""

from pathlib import Path

import pytest

from actions.desired_files import BrokenManifestsError
from actions.git_command import GitSettings
from actions.messages import Notice
from actions.repository import Repository
from holdfast.config import git_environment
from holdfast.example_repo import git, make_repository
from holdfast.gitops import DesiredWatch
from holdfast.kept_state import kept
from holdfast.manifests import Clocks, Model, policy_text, repository_files
from holdfast.policy_check import age_check, clocks_check
from streams.clocks import Clocks as StageClocks
from streams.kafka.broker import KafkaSettings
from streams.log.memory import MemoryLog
from streams.resume import pin_clocks, pinned_clocks
from wire.desired import Desired, from_json
from wire.errors import TransientError
from wire.segment import Kind, decode

MODEL = Model("keyboard", "next-word", "1.4.0", "1.5.0", 0.2)
NOW_MS = 1_790_000_000_123


class Told:
    def __init__(self) -> None:
        self.broken: list[str] = []

    def __call__(self, commit: str, error: BrokenManifestsError) -> None:
        self.broken += [str(m) for m in error.mistakes]


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    bare = tmp_path / "gitops.git"
    policy = policy_text(Clocks(window_ms=1000), regions=("DE",), apps=("keyboard",))
    make_repository(bare, repository_files((MODEL,), policy))
    return bare


def change(bare: Path, path: str, old: str, new: str) -> None:
    work = bare.parent / "work"
    if not work.exists():
        git("clone", "--quiet", str(bare), str(work))
    target = work / path
    assert old in target.read_text()
    target.write_text(target.read_text().replace(old, new))
    author = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    git(*author, "commit", "--quiet", "--all", "--message", "change", cwd=str(work))
    git("push", "--quiet", cwd=str(work))


def watch_of(remote: Path, told: Told, log: MemoryLog) -> DesiredWatch:
    settings = GitSettings(
        remote=str(remote),
        branch="main",
        folder=remote.parent / "clone",
        environment=git_environment(),
    )
    return DesiredWatch(Repository(settings), log, "w0", lambda: NOW_MS, told)


def controls(log: MemoryLog) -> list[str]:
    segments = [decode(r.payload) for r in log.read(0, 0, bytes_max=1 << 20)]
    return [from_json(s.control).commit for s in segments if s.kind is Kind.CONTROL]


def test_a_good_state_reaches_ingest_and_the_log_and_holds_from_a_later_window(
    remote: Path,
) -> None:
    log, told = MemoryLog(1), Told()
    watch = watch_of(remote, told, log)

    assert watch.look()

    desired = watch.current()
    assert desired is not None
    assert controls(log) == [desired.commit]
    assert desired.effective_ms > NOW_MS
    assert desired.effective_ms % 1000 == 0
    assert not watch.look(), "nothing new, nothing written"
    assert len(controls(log)) == 1


def test_a_broken_manifest_keeps_the_last_good_state_and_is_told_once(remote: Path) -> None:
    log, told = MemoryLog(1), Told()
    watch = watch_of(remote, told, log)
    watch.look()
    good = watch.current()
    change(remote, "releases/keyboard-next-word.yaml", "share: 0.2", "share: 0.9")

    assert not watch.look()
    assert not watch.look()

    assert watch.current() == good
    assert len(told.broken) == 1
    assert "spec.rollout.share" in told.broken[0]
    assert watch.broken
    assert len(controls(log)) == 1


def test_an_accepted_age_beyond_the_kept_ids_keeps_the_last_good_state_and_is_an_error(
    remote: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log, told = MemoryLog(1), Told()
    watch = watch_of(remote, told, log)
    watch.check = age_check(KafkaSettings("127.0.0.1:9"))
    watch.look()
    good = watch.current()
    change(remote, "holdfast/policy.yaml", "acceptedAgeMs: 604800000", "acceptedAgeMs: 691200000")

    assert not watch.look()

    assert good is not None
    assert watch.current() == good
    assert len(controls(log)) == 1
    assert "spec.acceptedAgeMs: seen_retention_too_short" in told.broken[0]
    said = [r.levelname for r in caplog.records if r.getMessage() == "seen_retention_too_short"]
    assert said == ["ERROR"]


def test_a_mended_manifest_is_taken_again(remote: Path) -> None:
    log, told = MemoryLog(1), Told()
    watch = watch_of(remote, told, log)
    change(remote, "holdfast/policy.yaml", "alpha: 0.0001", "alpha: nonsense")
    assert not watch.look()
    assert watch.current() is None
    change(remote, "holdfast/policy.yaml", "alpha: nonsense", "alpha: 0.001")

    assert watch.look()

    desired = watch.current()
    assert desired is not None
    assert desired.policy.alpha == 0.001
    assert not watch.broken


def test_a_remote_that_is_away_changes_nothing(remote: Path) -> None:
    watch = watch_of(remote, Told(), MemoryLog(1))
    watch.look()
    good = watch.current()
    remote.rename(remote.parent / "gone.git")

    assert not watch.look()

    assert watch.current() == good


def test_a_comment_in_a_manifest_is_no_new_state(remote: Path) -> None:
    log = MemoryLog(1)
    watch = watch_of(remote, Told(), log)
    watch.look()
    change(remote, "releases/keyboard-next-word.yaml", "# The next-word", "# Our next-word")

    assert not watch.look()

    assert len(controls(log)) == 1


@pytest.mark.parametrize(
    ("field", "stands", "wanted", "most"),
    [
        ("windowMs", "1000", "3000", "1000"),
        ("windowMs", "1000", "500", "1000"),
        ("acceptedAgeMs", "604800000", "604860000", "at most 604800000"),
    ],
)
def test_clocks_that_are_pinned_stay_and_it_is_told(
    remote: Path, field: str, stands: str, wanted: str, most: str
) -> None:
    log, told = MemoryLog(1), Told()
    watch = watch_of(remote, told, log)
    watch.check = clocks_check(lambda: pinned_clocks(log))
    watch.look()
    good = watch.current()
    assert good is not None
    pin_clocks(log, StageClocks(good.policy.window_ms, good.policy.accepted_age_ms))

    change(remote, "holdfast/policy.yaml", f"{field}: {stands}", f"{field}: {wanted}")

    assert not watch.look()
    assert watch.current() is good
    assert len(controls(log)) == 1
    (mistake,) = told.broken
    assert f"spec.{field}" in mistake
    assert most in mistake
    change(remote, "holdfast/policy.yaml", f"{field}: {wanted}", f"{field}: {stands}")
    watch.look()
    assert not watch.broken


def test_an_accepted_age_within_what_is_remembered_may_move(remote: Path) -> None:
    log, told = MemoryLog(1), Told()
    watch = watch_of(remote, told, log)
    watch.check = clocks_check(lambda: pinned_clocks(log))
    pin_clocks(log, StageClocks(1000, 604_800_000))

    change(remote, "holdfast/policy.yaml", "acceptedAgeMs: 604800000", "acceptedAgeMs: 3600000")

    assert watch.look()
    assert told.broken == []


def test_a_check_that_has_nobody_to_ask_is_made_again(remote: Path) -> None:
    log, told = MemoryLog(1), Told()
    watch = watch_of(remote, told, log)

    def away(_: Desired) -> None:
        raise TransientError("kafka_away", "the broker did not answer")

    watch.check = away
    assert not watch.look()
    watch.check = lambda _: None
    assert watch.look()


def test_a_process_that_starts_while_git_is_away_has_the_last_good_state(remote: Path) -> None:
    file = remote.parent / "desired.json"
    first = watch_of(remote, Told(), MemoryLog(1))
    first.kept = file
    first.look()
    remote.rename(remote.parent / "gone.git")

    second = watch_of(remote, Told(), MemoryLog(1))
    second.desired = kept(file)

    assert not second.look()
    assert second.current() == first.current() is not None


def test_a_release_that_vanishes_is_told_and_its_names_stay_known(remote: Path) -> None:
    notices: list[Notice] = []
    log = MemoryLog(1)
    watch = watch_of(remote, Told(), log)
    watch.on_notice = notices.append
    watch.look()
    change(
        remote, "releases/keyboard-next-word.yaml", "modelId: next-word", "modelId: next-sentence"
    )

    assert watch.look()

    assert [n.code for n in notices] == ["release_vanished"]
    now = watch.current()
    assert now is not None
    assert [(k.model_id, k.versions) for k in now.known] == [("next-word", ("1.4.0", "1.5.0"))]


def test_a_remote_that_is_away_for_a_moment_is_nobody_s_business(remote: Path) -> None:
    notices: list[Notice] = []
    watch = watch_of(remote, Told(), MemoryLog(1))
    watch.on_notice = notices.append
    watch.look()
    away = remote.rename(remote.parent / "gone.git")
    watch.look()
    watch.look()
    away.rename(remote)
    watch.look()

    assert notices == []


def test_what_nobody_foresaw_in_a_repository_ends_nothing(
    remote: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watch = watch_of(remote, Told(), MemoryLog(1))

    def broken_check(_: object) -> None:
        raise ZeroDivisionError

    watch.check = broken_check

    assert not watch.look()
    assert watch.trouble.code == "gitops_failed"
    assert "gitops_unreadable" in [r.getMessage() for r in caplog.records]
