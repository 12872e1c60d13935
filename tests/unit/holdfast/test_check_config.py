"""`check-config` reads the working tree and names attempts that nothing judges; `init` joins in."""

import json
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from holdfast.cli import app
from holdfast.example_repo import git, make_repository
from holdfast.manifests import Clocks, Model, policy_text, repository_files

RELEASE = "releases/keyboard-scenes.yaml"
PEOPLE = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
OURS = ("-c", "user.name=Holdfast", "-c", "user.email=holdfast@localhost")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "checkout"
    git("init", "--quiet", "--initial-branch=master", str(folder))
    init(folder, "keyboard")
    commit(folder, "seed")
    return folder


def init(folder: Path, app_id: str) -> dict[str, list[str]]:
    names = ("--app", app_id, "--model", "scenes", "--stable", "1", "--candidate", "2", "--json")
    result = CliRunner().invoke(app, ["init", str(folder), *names])
    assert result.exit_code == 0, result.output
    done: dict[str, list[str]] = json.loads(result.stdout.splitlines()[-1])
    return done


def check(repository: Path | str) -> tuple[int, dict[str, object]]:
    result = CliRunner().invoke(app, ["check-config", "--repo", str(repository), "--json"])
    return result.exit_code, json.loads(result.stdout.splitlines()[-1])


def commit(folder: Path, *message: str, who: tuple[str, ...] = PEOPLE) -> None:
    git("add", "--all", cwd=str(folder))
    paragraphs = [word for part in message for word in ("-m", part)]
    git(*who, "commit", "--quiet", "--allow-empty", *paragraphs, cwd=str(folder))


def edit(folder: Path, old: str, new: str) -> None:
    file = folder / RELEASE
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def roll_back(folder: Path, who: tuple[str, ...] = OURS) -> None:
    edit(folder, "share: 0.05", "share: 0")
    commit(folder, "rollback: scenes 2 to 1", "Holdfast-Incident: 0123456789abcdef", who=who)


def warnings(folder: Path) -> list[str]:
    code, found = check(folder)
    assert code == 0, found
    return [str(w).split(": ")[2] for w in found["warnings"]]  # type: ignore[attr-defined]


def test_the_working_tree_is_checked_before_it_is_committed(checkout: Path) -> None:
    edit(checkout, "share: 0.05", "share: 0.9")

    code, found = check(checkout)

    assert code == 2
    assert f"{RELEASE}: spec.rollout.share" in str(found["mistakes"])


def test_a_file_that_is_not_added_counts_and_an_ignored_one_does_not(checkout: Path) -> None:
    (checkout / ".gitignore").write_text("ignored/\n")
    (checkout / "ignored").mkdir()
    (checkout / "ignored/x.yaml").write_text("apiVersion: holdfast.dev/v9\n")
    assert check(checkout)[0] == 0

    (checkout / "x.yaml").write_text("apiVersion: holdfast.dev/v9\n")

    assert check(checkout)[0] == 2


@pytest.mark.parametrize("state", ["master", "detached", "no commit yet", "a linked tree"])
def test_any_branch_or_none_will_do(checkout: Path, state: str) -> None:
    if state == "detached":
        git("checkout", "--quiet", "--detach", cwd=str(checkout))
    if state == "no commit yet":
        git("checkout", "--quiet", "--orphan", "new", cwd=str(checkout))
    if state == "a linked tree":
        linked = checkout.parent / "linked"
        git("worktree", "add", "--quiet", str(linked), cwd=str(checkout))
        checkout = linked

    code, found = check(checkout)

    assert code == 0
    assert found["ok"] is True
    assert str(checkout) in str(found["source"])


def test_a_remote_without_the_branch_names_address_and_setting(tmp_path: Path) -> None:
    bare = tmp_path / "bare.git"
    subprocess.run(["git", "init", "-q", "--bare", str(bare)], check=True)

    result = CliRunner().invoke(app, ["check-config", "--repo", str(bare)])

    assert result.exit_code == 2
    assert str(bare) in result.stderr
    assert "HOLDFAST_GITOPS_BRANCH" in result.stderr


def test_a_reverted_rollback_is_named(checkout: Path) -> None:
    roll_back(checkout)
    assert warnings(checkout) == []

    git(*PEOPLE, "revert", "--no-edit", "HEAD", cwd=str(checkout))

    assert warnings(checkout) == ["rollback_reverted"]


def test_another_candidate_under_a_spent_attempt_is_named(checkout: Path) -> None:
    roll_back(checkout)
    edit(checkout, "share: 0", "share: 0.05")
    edit(checkout, 'version: "2"', 'version: "3"')

    assert warnings(checkout) == ["attempt_spent"]


def test_a_new_attempt_is_not_spent(checkout: Path) -> None:
    roll_back(checkout)
    edit(checkout, "share: 0", "share: 0.05")
    edit(checkout, "attempt: 1", "attempt: 2")

    assert warnings(checkout) == []


def test_a_candidate_that_is_swapped_under_way_is_named(checkout: Path) -> None:
    edit(checkout, 'version: "2"', 'version: "3"')

    assert warnings(checkout) == ["candidate_swapped"]


def test_a_forged_rollback_spends_nothing(checkout: Path) -> None:
    commit(checkout, "docs", "Holdfast-Incident: 0123456789abcdef")
    roll_back(checkout, who=PEOPLE)
    git(*PEOPLE, "revert", "--no-edit", "HEAD", cwd=str(checkout))

    assert warnings(checkout) == []


def test_a_second_app_with_the_same_model_joins(checkout: Path) -> None:
    done = init(checkout, "camera")

    code, found = check(checkout)

    assert done["written"] == ["releases/camera-scenes.yaml"]
    assert done["changed"] == ["holdfast/policy.yaml"]
    assert code == 0, found
    assert len(found["releases"]) == 2  # type: ignore[arg-type]
    diff = git("diff", "--numstat", cwd=str(checkout))
    assert diff.split()[:2] == ["1", "0"]


def test_init_twice_changes_nothing(checkout: Path) -> None:
    done = init(checkout, "keyboard")

    assert done["written"] == done["changed"] == []
    assert git("status", "--porcelain", cwd=str(checkout)) == ""


def test_no_credential_of_the_address_is_shown(tmp_path: Path) -> None:
    address = "http://bot:canary-1@127.0.0.1:9/canary-2/x.git?token=canary-3"

    result = CliRunner().invoke(app, ["check-config", "--repo", address, "--json"])

    assert result.exit_code == 1
    assert "canary" not in result.output
    assert "127.0.0.1:9" in result.output


def test_the_policy_of_several_files_is_found_by_init(tmp_path: Path) -> None:
    folder = tmp_path / "checkout"
    bare = tmp_path / "bare.git"
    files = repository_files(
        (Model("keyboard", "next-word", "1", "2", 0.1),),
        policy_text(Clocks(), regions=("DE",), apps=("keyboard",)),
    )
    policy = files.pop("holdfast/policy.yaml").replace(
        '  appVersions:\n    keyboard: ["1.0.0"]', "  appVersions: {keyboard: [1.0.0]}"
    )
    make_repository(bare, {**files, "all/of.yml": "a: 1\n---\n" + policy})
    git("clone", "--quiet", str(bare), str(folder))

    assert init(folder, "camera")["changed"] == ["all/of.yml"]
    assert (
        'appVersions: {camera: ["1.0.0"], keyboard: [1.0.0]}' in (folder / "all/of.yml").read_text()
    )


@pytest.mark.parametrize(("age_ms", "is_taken"), [(14_399_999, False), (14_400_000, True)])
def test_where_units_need_grants_their_use_must_be_remembered_for_hours(
    checkout: Path, age_ms: int, is_taken: bool
) -> None:
    policy = checkout / "holdfast/policy.yaml"
    usual = "acceptedAgeMs: 604800000"
    text = policy.read_text()
    assert usual in text
    policy.write_text(text.replace(usual, f"acceptedAgeMs: {age_ms}\n  units: {{proof: grant}}"))

    code, found = check(checkout)

    assert code == (0 if is_taken else 2), found
    assert ("spec.acceptedAgeMs" in str(found.get("mistakes"))) == (not is_taken)
