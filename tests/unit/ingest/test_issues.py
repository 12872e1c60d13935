"""Issues of release configs go forwards, whatever becomes of clocks, folders and other doors."""

import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tuf.api.metadata import Metadata, Snapshot, Targets, Timestamp

from ingest.issue import Issue, IssueFolder
from ingest.online_key import OnlineKeys
from ingest.releases import ReleaseConfigs
from ingest.signing import load_or_make
from ingest.tuf_issue import TIMESTAMP
from tests.fakes.ingest_world import APP, desired
from wire.desired import Desired
from wire.errors import PermanentError, TransientError
from wire.times import DAY_MS, HOUR_MS

NOW_MS = 1_795_838_200_000


def configs(folder: Path, *, now_ms: int = NOW_MS) -> ReleaseConfigs:
    keys = OnlineKeys(folder / "tuf")
    keys.begin(now_ms)
    signer = load_or_make(folder / "release-config.pem")
    return ReleaseConfigs(signer, IssueFolder(folder / "tuf" / "apps"), keys)


def timestamp_of(issue: Issue) -> Timestamp:
    return Metadata[Timestamp].from_bytes(issue.files[TIMESTAMP]).signed


def other(state: Desired) -> Desired:
    return replace(
        state, releases=tuple(replace(release, app_id="other") for release in state.releases)
    )


def test_what_is_ready_is_the_same_bytes_until_it_ages_or_changes(tmp_path: Path) -> None:
    made = configs(tmp_path)
    first = made.of(APP, desired(), NOW_MS)

    assert made.ready(APP, desired(), NOW_MS + HOUR_MS - 1) is first
    assert made.ready(APP, desired(), NOW_MS + HOUR_MS) is None
    assert made.ready(APP, desired(share=0.0), NOW_MS) is None

    again = made.of(APP, desired(), NOW_MS + HOUR_MS)
    changed = made.of(APP, desired(share=0.0), NOW_MS + HOUR_MS)

    assert first.version < again.version < changed.version
    assert again.whole_version == first.whole_version, "only the timestamp is new"
    assert again.expires_ms == NOW_MS + HOUR_MS + DAY_MS
    assert changed.whole_version == changed.version
    assert first.content == again.content != changed.content


def test_the_header_s_form_says_what_the_metadata_says(tmp_path: Path) -> None:
    issue = configs(tmp_path).of(APP, desired(), NOW_MS)
    said = msgspec.json.decode(issue.body)

    assert said["version"] == issue.version == timestamp_of(issue).version
    assert said["expires_ms"] // 1000 == int(timestamp_of(issue).expires.timestamp())
    assert msgspec.json.decode(issue.content)["models"] == said["models"]


def test_files_of_the_last_few_versions_are_still_served(tmp_path: Path) -> None:
    made = configs(tmp_path)
    issues = [
        made.of(APP, desired(share=0.1 * (i % 4 + 1)), NOW_MS + i * 10_000) for i in range(30)
    ]

    served = made.of(APP, desired(share=0.1 * (29 % 4 + 1)), NOW_MS + 290_000).files
    assert f"metadata/{issues[-3].whole_version}.snapshot.json" in served
    assert f"metadata/{issues[0].whole_version}.snapshot.json" not in served
    assert len(served) <= 3 * 9 + 1


def test_a_restored_folder_goes_on_above_what_phones_have_seen(tmp_path: Path) -> None:
    folder, backup = tmp_path / "node", tmp_path / "backup"
    first = configs(folder).of(APP, desired(), NOW_MS)
    shutil.copytree(folder, backup)
    later = configs(folder).of(APP, desired(share=0.0), NOW_MS + 5_000)
    last = configs(folder).of(APP, desired(), NOW_MS + 9_000)
    shutil.rmtree(folder)
    shutil.copytree(backup, folder)

    issue = configs(folder).of(APP, desired(), NOW_MS + 20_000)

    assert first.version < later.version < last.version < issue.version
    assert issue.whole_version > last.whole_version, "phones refuse a snapshot that goes back"


def test_a_folder_restored_under_a_running_door_is_not_believed(tmp_path: Path) -> None:
    made = configs(tmp_path)
    made.of(APP, desired(), NOW_MS)
    shutil.copytree(tmp_path / "tuf" / "apps", tmp_path / "backup")
    last = made.of(APP, desired(share=0.0), NOW_MS + 5_000)
    shutil.rmtree(tmp_path / "tuf" / "apps")
    shutil.copytree(tmp_path / "backup", tmp_path / "tuf" / "apps")

    assert made.ready(APP, desired(share=0.0), NOW_MS + 6_000) == last


@pytest.mark.parametrize("spoilt", [b"", b"{", b"[]", b'{"version":1}', b"\xff" * 99])
def test_a_damaged_issue_costs_nothing_but_itself(tmp_path: Path, spoilt: bytes) -> None:
    last = configs(tmp_path).of(APP, desired(), NOW_MS)
    (path,) = (tmp_path / "tuf" / "apps").iterdir()
    path.write_bytes(spoilt)

    assert configs(tmp_path).of(APP, desired(), NOW_MS + 1_000).version > last.version


def test_two_doors_of_a_folder_serve_the_same(tmp_path: Path) -> None:
    one, two = configs(tmp_path), configs(tmp_path)
    one.of(APP, desired(), NOW_MS)
    two.of(APP, desired(), NOW_MS)

    changed = one.of(APP, desired(share=0.0), NOW_MS + 1_000)  # this one read Git first

    assert two.of(APP, desired(), NOW_MS + 2_000) == changed
    assert two.of(APP, desired(share=0.0), NOW_MS + 3_000).content == changed.content
    assert two.of(APP, desired(), NOW_MS + 4_000).content != changed.content


def test_no_two_apps_of_a_node_share_a_version(tmp_path: Path) -> None:
    made = configs(tmp_path)

    versions = [made.of(APP, desired(), NOW_MS).version]
    versions.append(made.of("other", other(desired()), NOW_MS).version)
    versions.append(configs(tmp_path).of(APP, desired(), NOW_MS).version)

    assert sorted(set(versions)) == versions


def test_a_repository_names_its_own_app_alone(tmp_path: Path) -> None:
    made = configs(tmp_path)
    made.of("other", other(desired()), NOW_MS)
    issue = made.of(APP, desired(), NOW_MS)

    (snapshot,) = (f for name, f in issue.files.items() if name.endswith("snapshot.json"))
    assert list(Metadata[Snapshot].from_bytes(snapshot).signed.meta) == ["targets.json"]
    (targets,) = (f for name, f in issue.files.items() if name.endswith("targets.json"))
    assert list(Metadata[Targets].from_bytes(targets).signed.targets) == [f"{APP}.json"]
    assert all(b"other" not in content for content in issue.files.values())


def test_an_unknown_app_is_refused_and_a_key_that_fails_leaves_what_stands(tmp_path: Path) -> None:
    made = configs(tmp_path)
    with pytest.raises(PermanentError, match="app_unknown"):
        made.of("nobody", desired(), NOW_MS)
    issue = made.of(APP, desired(), NOW_MS)
    assert made.keys is not None
    shutil.rmtree(made.keys.folder / "online")

    assert made.of(APP, desired(share=0.0), NOW_MS) == issue
    with pytest.raises(TransientError, match="not_issued"):
        made.of(APP, desired(), issue.expires_ms)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["change", "restart", "other", "nothing"]),
            st.integers(-(10**10), 10**10),
        ),
        max_size=12,
    )
)
def test_versions_only_grow_whatever_the_node_s_clock_does(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("node")
    made, now_ms, share, last = configs(folder), NOW_MS, 0.1, None
    for what, by_ms in steps:
        now_ms = max(now_ms + by_ms, 1)
        if what == "change":
            share = 0.3 - share
        elif what == "restart":
            made = configs(folder, now_ms=now_ms)
        elif what == "other":
            made.of("other", other(desired()), now_ms)
        issue = made.of(APP, desired(share=share), now_ms)

        if last is not None and issue is not last and issue != last:
            assert issue.version > last.version
            assert issue.whole_version >= last.whole_version
        assert issue.expires_ms > now_ms
        last = issue
