"""A running node and what people do to its repository: uploads go on, the last good state stays."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from holdfast.example_repo import git
from holdfast.manifests import Model
from tests.fakes.ingest_world import upload
from tests.fakes.node_world import RunningNode, running_node, until

MODELS = (
    Model("keyboard", "next-word", "1.0", "1.1", 0.2),
    Model("camera", "scenes", "5", "6", 0.2),
)
POLICY = "holdfast/policy.yaml"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    with running_node(tmp_path_factory.mktemp("faults"), MODELS, regions=("DE",)) as running:
        git("clone", "--quiet", str(running.gitops), str(running.gitops.parent / "work"))
        yield running


def work(node: RunningNode) -> Path:
    return node.gitops.parent / "work"


def push(node: RunningNode, change: Callable[[Path], object]) -> None:
    folder = work(node)
    change(folder)
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    git("add", "--all", cwd=str(folder))
    git(*who, "commit", "--quiet", "--message", "change", cwd=str(folder))
    git("push", "--quiet", "origin", "HEAD:main", cwd=str(folder))


def edited(path: str, old: str, new: str) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        text = (folder / path).read_text()
        assert old in text
        (folder / path).write_text(text.replace(old, new))

    return edit


def status(node: RunningNode, app: str = "keyboard") -> int:
    sent = upload(rollout=False)
    if app == "camera":
        sent.context.app_id, sent.context.model_id, sent.context.model_version = (
            "camera",
            "scenes",
            "5",
        )
    headers = {
        "Authorization": f"Bearer {node.keys[app]}",
        "Content-Type": "application/x-protobuf",
    }
    url = node.http + "/v1/telemetry"
    return httpx.post(url, content=sent.SerializeToString(), headers=headers).status_code


def said(node: RunningNode, event: str) -> int:
    """How often the node has said it so far."""
    lines = (node.folder.root / "processes.log").read_text().splitlines()
    events = [json.loads(line).get("event") for line in lines if line.startswith("{")]
    assert "thread_failed" not in events
    return events.count(event)


def says(node: RunningNode, event: str, since: int) -> None:
    until(lambda: said(node, event) > since, event)


def pid(node: RunningNode) -> int:
    assert node.node.service is not None
    assert node.node.service.poll() is None
    return node.node.service.pid


POISON = {
    "a drift window too wide": edited(POLICY, "driftWindowMs: 5000", "driftWindowMs: 14400000"),
    "a margin of zero": edited(POLICY, "margin: 0.05", "margin: 0"),
    "a file in UTF-16": lambda folder: (folder / POLICY).write_text(
        (folder / POLICY).read_text(), "utf-16"
    ),
}


@pytest.mark.parametrize("name", POISON)
def test_a_poisoned_manifest_is_a_mistake_and_a_revert_heals(node: RunningNode, name: str) -> None:
    before, good, alive = (
        said(node, "manifests_broken"),
        said(node, "manifests_good_again"),
        pid(node),
    )

    push(node, POISON[name])

    says(node, "manifests_broken", before)
    assert status(node) == 200
    push(node, lambda folder: git("checkout", "HEAD~1", "--", ".", cwd=str(folder)))
    says(node, "manifests_good_again", good)
    assert (status(node), pid(node)) == (200, alive)


def test_a_branch_that_is_renamed_ends_nothing_not_even_over_a_restart(node: RunningNode) -> None:
    before, again, alive = (
        said(node, "gitops_unreadable"),
        said(node, "gitops_readable_again"),
        pid(node),
    )

    git("branch", "--move", "main", "trunk", cwd=str(node.gitops))

    says(node, "gitops_unreadable", before)
    assert (status(node), pid(node)) == (200, alive)
    assert node.node.service is not None
    node.node.service.kill()
    node.node.service.wait()
    assert node.node.look()
    until(lambda: status(node) == 200, "an upload that is taken after the restart")
    git("branch", "--move", "trunk", "main", cwd=str(node.gitops))
    says(node, "gitops_readable_again", again)


def test_a_name_that_is_not_utf_8_is_taken(node: RunningNode) -> None:
    taken, alive = said(node, "desired_state_taken"), pid(node)

    def rename(folder: Path) -> None:
        old = folder / "releases/camera-scenes.yaml"
        old.rename(folder / os.fsdecode(b"releases/caf\xe9.yaml"))

    push(node, rename)

    says(node, "desired_state_taken", taken)
    assert (status(node, "camera"), pid(node)) == (200, alive)


def test_phones_of_a_release_that_vanishes_keep_their_data(node: RunningNode) -> None:
    gone = said(node, "release_vanished")

    push(node, lambda folder: (folder / os.fsdecode(b"releases/caf\xe9.yaml")).unlink())

    says(node, "release_vanished", gone)
    assert status(node, "camera") == 200
    assert said(node, "release_vanished") == gone + 1
