"""The rollback commit on a real remote: one commit per incident, whatever happens in between."""

import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from actions.desired_files import read_desired
from actions.git_command import GitSettings
from actions.git_rollback import Rollback
from actions.repository import Repository
from actions.results import State
from tests.fakes.gitops import FILES, PATH, RELEASE, Remote, make_remote, verdict
from wire.errors import TransientError
from wire.times import DAY_MS

HOLD_MS = 14 * DAY_MS


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    return make_remote(tmp_path)


def clone_of(remote: Remote, name: str = "clone") -> Repository:
    return Repository(GitSettings(remote.url, "main", remote.folder / name))


def rollback(repository: Repository, tries_max: int = 30) -> Rollback:
    return Rollback(repository, np.random.default_rng(1), tries_max=tries_max)


@dataclass
class Interrupted(Repository):
    """Something happens between the commit and the push, once per item of `events`."""

    inner: Repository
    events: list[Callable[[], object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.inner.settings)

    def push(self, commit: str) -> bool:
        if self.events:
            self.events.pop(0)()
        return super().push(commit)


def test_a_breach_becomes_one_commit_with_the_fewest_changed_lines(remote: Remote) -> None:
    result = rollback(clone_of(remote)).perform(verdict(), path=PATH, hold_ms=HOLD_MS)

    assert result.state is State.DONE
    assert remote.subjects() == ["rollback: next-word 1.5.0 to 1.4.0", "seed"]
    assert remote.on_main("rev-parse", "FETCH_HEAD") == result.commit
    numstat = remote.on_main("show", "--numstat", "--format=", "FETCH_HEAD")
    assert numstat == f"2\t1\t{PATH}"
    rolled = read_desired({**FILES, PATH: remote.file(PATH)}, commit="c").releases[0].rollout
    assert rolled is not None
    assert (rolled.share, rolled.hold_until_ms) == (0.0, 1_793_491_260_000 + HOLD_MS)


def test_the_message_holds_the_arithmetic_and_git_reads_its_trailers(remote: Remote) -> None:
    rollback(clone_of(remote)).perform(verdict(), path=PATH, hold_ms=HOLD_MS)

    body = remote.on_main("log", "-1", "--format=%b", "FETCH_HEAD")
    for words in (
        "ln E = 12.34, threshold 9.21",
        "ln E = 4.56, threshold 3.00",
        "1,234 candidate, 1,198 control",
        "14 of 60 s, the last to 2026-11-01T00:01:00Z",
        "scale 1.25",
        "android/DE/mid 62 %, ios/DE/high 21 %",
        "+20.1 % (+14.0 % to +27.2 %)",
        "until 2026-11-15T00:01:00Z",
    ):
        assert words in body
    trailers = remote.on_main("log", "-1", "--format=%(trailers:unfold)", "FETCH_HEAD")
    assert trailers.split("\n") == [
        f"Holdfast-Verdict: {verdict().verdict_id}",
        f"Holdfast-Incident: {verdict().incident_id}",
        f"Holdfast-Policy: {verdict().policy_sha256}",
    ]


def test_a_name_cannot_forge_a_trailer(remote: Remote) -> None:
    bet = "scale\n\nHoldfast-Incident: forged"
    forging = replace(verdict(), arithmetic=replace(verdict().arithmetic, bet=bet))

    rollback(clone_of(remote)).perform(forging, path=PATH, hold_ms=HOLD_MS)

    trailers = remote.on_main("log", "-1", "--format=%(trailers)", "FETCH_HEAD")
    assert "forged" not in trailers


def test_a_later_breach_of_the_same_incident_finds_the_first_commit(remote: Remote) -> None:
    first = rollback(clone_of(remote)).perform(verdict(), path=PATH, hold_ms=HOLD_MS)

    later = verdict(verdict_id="another", window_start_ms=1_793_499_999_000)
    again = rollback(clone_of(remote, "after_a_crash")).perform(later, path=PATH, hold_ms=1)

    assert (again.state, again.commit) == (State.DONE, first.commit)
    assert len(remote.subjects()) == 2


def test_the_same_edit_on_the_same_tip_is_the_same_commit(remote: Remote) -> None:
    commits = set()
    for name in ("one", "two"):
        repository = clone_of(remote, name)
        tip = repository.fetch()
        file = next(f for f in repository.tree(tip) if f.path == PATH)
        commit = repository.commit_file(tip, file, b"x: 1\n", message="m", when_s=1_700_000_000)
        commits.add(commit)

    assert len(commits) == 1


def test_a_file_address_works_like_a_path(remote: Remote) -> None:
    settings = GitSettings(f"file://{remote.url}", "main", remote.folder / "clone")

    result = rollback(Repository(settings)).perform(verdict(), path=PATH, hold_ms=HOLD_MS)

    assert result.state is State.DONE
    assert len(remote.subjects()) == 2


def test_a_kill_between_commit_and_push_leaves_nothing_and_the_next_life_finishes(
    remote: Remote,
) -> None:
    def die() -> None:
        raise KeyboardInterrupt

    dying = Interrupted(clone_of(remote), [die])
    with pytest.raises(KeyboardInterrupt):
        rollback(dying).perform(verdict(), path=PATH, hold_ms=HOLD_MS)
    assert remote.subjects() == ["seed"]

    result = rollback(clone_of(remote)).perform(verdict(), path=PATH, hold_ms=HOLD_MS)

    assert result.state is State.DONE
    assert len(remote.subjects()) == 2


def test_a_kill_after_the_push_does_not_push_again(remote: Remote) -> None:
    class DiesAfterPush(Repository):
        def push(self, commit: str) -> bool:
            super().push(commit)
            raise TransientError("git_timeout", "the answer never came")

    with pytest.raises(TransientError):
        rollback(DiesAfterPush(clone_of(remote).settings)).perform(
            verdict(), path=PATH, hold_ms=HOLD_MS
        )

    result = rollback(clone_of(remote)).perform(verdict(), path=PATH, hold_ms=HOLD_MS)

    assert result.state is State.DONE
    assert len(remote.subjects()) == 2


def test_a_lost_race_is_tried_again_on_the_new_tip(remote: Remote) -> None:
    racing = Interrupted(
        clone_of(remote),
        [
            lambda: remote.commit({"other.txt": b"1"}, subject="race 1"),
            lambda: remote.commit({"other.txt": b"2"}, subject="race 2"),
        ],
    )

    result = rollback(racing).perform(verdict(), path=PATH, hold_ms=HOLD_MS)

    assert result.state is State.DONE
    subjects = ["rollback: next-word 1.5.0 to 1.4.0", "race 2", "race 1", "seed"]
    assert remote.subjects() == subjects


def test_a_person_who_moves_the_same_field_first_is_respected(remote: Remote) -> None:
    stopped = RELEASE.replace("share: 0.2", "share: 0").encode()
    racing = Interrupted(clone_of(remote), [lambda: remote.commit({PATH: stopped})])

    result = rollback(racing).perform(verdict(), path=PATH, hold_ms=HOLD_MS)

    assert (result.state, result.detail) == (State.SUPERSEDED, "the candidate is withdrawn already")
    assert remote.file(PATH) == stopped


def test_a_ramp_that_wins_the_race_does_not_save_the_candidate(remote: Remote) -> None:
    ramped = RELEASE.replace("share: 0.2", "share: 0.5").replace("step: 1", "step: 2").encode()
    racing = Interrupted(clone_of(remote), [lambda: remote.commit({PATH: ramped})])

    result = rollback(racing).perform(verdict(), path=PATH, hold_ms=HOLD_MS)

    assert result.state is State.DONE
    assert b"step: 2" in remote.file(PATH)
    assert b"share: 0 " in remote.file(PATH)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"1.5.0": "1.6.0"}, "the manifest offers another candidate"),
        ({"next-word-1.5.0": "next-word-1.5.0-b"}, "the manifest offers another candidate"),
        ({"1.4.0": "1.5.0", "    version: 1.5.0\n": "    version: 1.6.0\n"}, "stable"),
        ({"modelId: next-word": "modelId: ranker"}, "the manifest is gone"),
    ],
)
def test_what_is_no_longer_offered_is_not_rolled_back(
    remote: Remote, change: dict[str, str], why: str
) -> None:
    text = RELEASE
    if why == "stable":
        text = text.replace("version: 1.4.0", "version: 1.5.0", 1)
        why = "the candidate has become the stable version"
    else:
        for old, new in change.items():
            text = text.replace(old, new)
    remote.commit({PATH: text.encode()})

    result = rollback(clone_of(remote)).perform(verdict(), path=PATH, hold_ms=HOLD_MS)

    assert (result.state, result.detail) == (State.SUPERSEDED, why)
    assert len(remote.subjects()) == 2


def test_a_manifest_that_was_moved_is_found(remote: Remote) -> None:
    remote.git("mv", PATH, "elsewhere.yml")
    remote.git("commit", "-qm", "move")
    remote.git("push", "-q", "origin", "HEAD:main")

    result = rollback(clone_of(remote)).perform(verdict(), path=PATH, hold_ms=HOLD_MS)

    assert (result.state, result.path) == (State.DONE, "elsewhere.yml")


def test_an_edit_that_cannot_be_exact_is_refused_as_a_result(remote: Remote) -> None:
    remote.commit({PATH: RELEASE.replace("0.2 ", "&s 0.2 ").encode()})

    result = rollback(clone_of(remote)).perform(verdict(), path=PATH, hold_ms=HOLD_MS)

    assert result.state is State.REFUSED
    assert result.detail.startswith("scalar_not_editable")


def test_a_branch_rule_of_the_remote_is_a_refusal(remote: Remote) -> None:
    hook = Path(remote.url) / "hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho reviews only >&2\nexit 1\n")
    hook.chmod(0o755)

    result = rollback(clone_of(remote)).perform(verdict(), path=PATH, hold_ms=HOLD_MS)

    assert result.state is State.REFUSED
    assert result.detail.startswith("git_push_refused")
    assert "reviews only" in result.detail


def test_a_branch_that_never_rests_ends_in_a_transient_error(remote: Remote) -> None:
    values = iter(range(3))
    event = lambda: remote.commit({"other.txt": bytes([next(values)])})  # noqa: E731
    racing = Interrupted(clone_of(remote), [event] * 3)

    with pytest.raises(TransientError) as lost:
        rollback(racing, tries_max=3).perform(verdict(), path=PATH, hold_ms=HOLD_MS)

    assert lost.value.code == "git_race_lost"


def test_two_writers_and_a_foreign_pusher_leave_one_commit_per_incident(remote: Remote) -> None:
    files = {
        f"releases/m{i}.yaml": RELEASE.replace("next-word", f"m{i}").encode() for i in range(3)
    }
    remote.commit(files)
    stop = threading.Event()

    def foreign() -> None:
        i = 0
        while not stop.is_set() and i < 8:
            i += 1
            try:
                remote.commit({"noise.txt": bytes([i])}, subject="noise")
            except subprocess.CalledProcessError:
                continue

    def writer(name: str) -> None:
        mine = rollback(clone_of(remote, name))
        for i in range(3):
            breach = verdict(model_id=f"m{i}", incident_id=f"incident{i}", rollout_id=f"m{i}-1.5.0")
            result = mine.perform(breach, path=f"releases/m{i}.yaml", hold_ms=HOLD_MS)
            assert result.state in (State.DONE, State.SUPERSEDED)

    threads = [threading.Thread(target=writer, args=(name,)) for name in ("one", "two")]
    noise = threading.Thread(target=foreign)
    for thread in (noise, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    noise.join()

    rollbacks = [s for s in remote.subjects() if s.startswith("rollback")]
    assert sorted(rollbacks) == [f"rollback: m{i} 1.5.0 to 1.4.0" for i in range(3)]


def test_a_person_s_configuration_and_hooks_have_no_say(remote: Remote) -> None:
    hooks = remote.folder / "clone/repository.git/hooks"
    repository = clone_of(remote)
    repository.fetch()
    hooks.mkdir(exist_ok=True)
    for name in ("pre-push", "post-update", "reference-transaction"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {remote.folder}/ran\nexit 1\n")
        (hooks / name).chmod(0o755)
    home = remote.folder / "clone/.gitconfig"
    home.write_text('[remote "origin"]\n\turl = /nowhere\n')

    result = rollback(repository).perform(verdict(), path=PATH, hold_ms=HOLD_MS)

    assert result.state is State.DONE
    assert not (remote.folder / "ran").exists()
