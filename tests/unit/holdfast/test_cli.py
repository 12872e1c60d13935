"""The commands: what they say, how they end, what machines read."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from holdfast.cli import app
from holdfast.example_repo import git, make_repository
from holdfast.manifests import Clocks, Model, policy_text, repository_files

MODEL = Model("keyboard", "next-word", "1.4.0", "1.5.0", 0.2)


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout, result.stderr


def run_json(*arguments: str) -> tuple[int, dict[str, object]]:
    code, out, _ = run(*arguments, "--json")
    return code, json.loads(out.splitlines()[-1])


def test_help_names_every_command() -> None:
    code, out, _ = run("--help")

    assert code == 0
    for name in ("demo", "up", "init", "keys", "check-config", "explain", "sql", "replay", "bench"):
        assert name in out


def test_keys_are_made_listed_rotated_and_revoked_and_never_shown_again(tmp_path: Path) -> None:
    node = ("--dir", str(tmp_path / "node"))
    _, made = run_json("keys", "create", "--app", "keyboard", *node)
    secret = str(made["key"])
    key_id = secret.split("_")[1]

    _, listed = run_json("keys", "list", *node)
    _, successor = run_json("keys", "rotate", key_id, *node)
    code, _ = run_json("keys", "revoke", key_id, *node)
    _, left = run_json("keys", "list", *node)

    assert [k["id"] for k in listed["keys"]] == [key_id]  # type: ignore[attr-defined]
    assert code == 0
    assert [k["id"] for k in left["keys"]] == [str(successor["key"]).split("_")[1]]  # type: ignore[attr-defined]
    kept = (tmp_path / "node" / "keys.json").read_text()
    assert secret.split("_", 2)[2] not in kept


def test_an_unknown_key_is_a_usage_error_that_says_so(tmp_path: Path) -> None:
    code, _, err = run("keys", "revoke", "00000000", "--dir", str(tmp_path / "node"))

    assert code == 2
    assert "key" in err


def test_check_config_accepts_what_init_writes_and_says_that_the_dry_run_is_on(
    tmp_path: Path,
) -> None:
    checkout = tmp_path / "gitops"
    git("init", "--quiet", "--initial-branch=main", str(checkout))
    names = ("--app", "keyboard", "--model", "next-word", "--stable", "1", "--candidate", "2")

    code, done = run_json("init", str(checkout), *names)
    again, kept = run_json("init", str(checkout), *names)
    git("add", "--all", cwd=str(checkout))
    author = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    git(*author, "commit", "--quiet", "--message", "holdfast", cwd=str(checkout))
    checked, found = run_json("check-config", "--repo", str(checkout))
    _, text, _ = run("check-config", "--repo", str(checkout))

    assert code == again == checked == 0
    assert len(done["written"]) == 3  # type: ignore[arg-type]
    assert kept["written"] == []
    assert found["ok"] is True
    assert "dry run" in text


def test_check_config_names_file_field_and_what_is_accepted(tmp_path: Path) -> None:
    bare = tmp_path / "gitops.git"
    policy = policy_text(Clocks(), regions=("DE",), apps=("keyboard",))
    files = repository_files((MODEL,), policy.replace("alpha: 0.0001", "alpha: 2"))
    make_repository(bare, files)

    code, found = run_json("check-config", "--repo", str(bare))

    assert code == 2
    mistakes = found["mistakes"]
    assert isinstance(mistakes, list)
    assert len(mistakes) == 1
    mistake = str(mistakes[0])
    assert "holdfast/policy.yaml" in mistake
    assert "spec.alpha" in mistake
    assert "accepted" in mistake


def test_check_config_names_an_accepted_age_that_kafka_does_not_cover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = tmp_path / "gitops.git"
    policy = policy_text(Clocks(), regions=("DE",), apps=("keyboard",))
    make_repository(bare, repository_files((MODEL,), policy))
    monkeypatch.setenv("HOLDFAST_SEEN_RETENTION_HOURS", "168")
    alone, _ = run_json("check-config", "--repo", str(bare))

    monkeypatch.setenv("HOLDFAST_KAFKA_BOOTSTRAP", "127.0.0.1:9")
    code, found = run_json("check-config", "--repo", str(bare))
    monkeypatch.setenv("HOLDFAST_SEEN_RETENTION_HOURS", "169")
    longer, _ = run_json("check-config", "--repo", str(bare))

    assert (alone, code, longer) == (0, 2, 0)
    assert "spec.acceptedAgeMs: seen_retention_too_short" in str(found["mistakes"])
    assert "HOLDFAST_SEEN_RETENTION_HOURS above 168" in str(found["mistakes"])


def test_settings_that_are_wrong_are_all_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_HTTP_PORT", "99999")
    monkeypatch.setenv("HOLDFAST_PARTITIONS", "none")

    code, _, err = run("check-config")

    assert code == 2
    assert "HOLDFAST_HTTP_PORT" in err
    assert "HOLDFAST_PARTITIONS" in err


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_SLACK_WEBHOOK_URL", "https://hooks.example/SECRET")

    _, out, err = run("check-config")

    assert "SECRET" not in out + err
    assert "(set)" in out


def test_an_empty_folder_is_explained(tmp_path: Path) -> None:
    code, _, err = run("sql", "SELECT 1", "--dir", str(tmp_path / "nothing"))

    assert code == 2
    assert "holdfast up" in err


def test_an_unknown_fault_lists_the_known_ones(tmp_path: Path) -> None:
    code, _, err = run("demo", "--fault", "gremlins", "--dir", str(tmp_path / "demo"))

    assert code == 2
    assert "latency" in err
