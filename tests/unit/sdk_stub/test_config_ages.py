"""A phone goes forwards, and leaves the candidate when nobody says any more that it holds."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bench.tuf_world import Wire, make_world
from bench.tuf_world import World as Node
from sdk_stub.batch import Device
from sdk_stub.client import Client, ClientSettings
from sdk_stub.releases import ReleaseConfig
from sdk_stub.tuf_releases import TufReleases
from tests.fakes.phone_world import START_MS, Server, config, rng, rollout
from tests.unit.sdk_stub.test_client import World
from tests.unit.sdk_stub.test_jumping_clocks import SteadyWorld
from wire.errors import PermanentError
from wire.times import DAY_MS, HOUR_MS

YEAR_MS = 365 * DAY_MS
CAMERA = Device("camera", "1.0.0", "android", 15, "mid", "DE", "tflite")


def issued(version: int, *, good_for_ms: int = DAY_MS, offers: bool = True) -> ReleaseConfig:
    made = config(rollout() if offers else None)
    return replace(
        made, serial=f"{version:08x}", version=version, expires_ms=START_MS + good_for_ms
    )


def in_candidate(folder: Path) -> SteadyWorld:
    """A phone whose arm is the candidate's, and which has it."""
    for seed in range(1, 60):
        world = SteadyWorld(folder / str(seed), seed=seed)
        world.releases.serves = issued(5)
        if world.join() == "1.1.0":
            return world
    raise AssertionError("no seed falls into the candidate's arm")


@pytest.mark.parametrize("version", [0, 1, 4])
def test_an_older_config_is_refused_and_the_newer_one_stays(tmp_path: Path, version: int) -> None:
    world = World(tmp_path)
    world.releases.serves = issued(5, offers=False)
    world.client.refresh_releases()
    for client in (world.client, world.start()):
        world.releases.serves = issued(version)

        with pytest.raises(PermanentError, match="release_config_older"):
            client.refresh_releases()

        assert client.download_became_possible("m0") is None


def test_another_config_of_the_same_version_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.releases.serves = issued(5, offers=False)
    world.client.refresh_releases()
    world.releases.serves = replace(issued(5), serial="ffffffff")

    with pytest.raises(PermanentError, match="release_config_older"):
        world.client.refresh_releases()


def test_a_config_that_is_over_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.releases.serves = issued(5, good_for_ms=0)

    with pytest.raises(PermanentError, match="release_config_expired"):
        world.client.refresh_releases()

    assert world.client.version_to_load("m0") is None


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("jump_ms", [0, -YEAR_MS, -HOUR_MS])
def test_when_it_expires_the_candidate_is_left_for_stable(
    tmp_path: Path, jump_ms: int, restarts: bool
) -> None:
    world = in_candidate(tmp_path)
    world.phone.wall_ms += jump_ms
    world.phone.lives(DAY_MS - 1)
    assert world.loaded() == "1.1.0"
    if restarts:
        world.client.flush()
        world.client = world.start()

    world.phone.lives(1)

    assert world.loaded() == "1.0.0"
    assert world.client.download_became_possible("m0") is None
    world.infer(60, version="1.0.0")
    world.infer(60, version="1.1.0")
    world.deliver()
    assert not any(sum(u.unit_bet) for u in world.server.taken)
    world.releases.serves = replace(issued(6), expires_ms=world.phone.wall_ms + DAY_MS)
    world.client.refresh_releases()
    assert world.loaded() == "1.1.0", "the rollout goes on where it was"


def test_a_wall_clock_in_2099_leaves_the_candidate(tmp_path: Path) -> None:
    world = in_candidate(tmp_path)

    world.phone.wall_ms += 73 * YEAR_MS
    assert world.loaded() == "1.0.0"
    world.phone.wall_ms -= 73 * YEAR_MS

    assert world.loaded() == "1.1.0"


def test_a_phone_whose_clock_is_years_behind_does_not_obey_for_years(tmp_path: Path) -> None:
    world = in_candidate(tmp_path)
    world.phone.wall_ms -= 3 * YEAR_MS
    world.releases.serves = issued(6)
    world.client.refresh_releases()
    assert world.loaded() == "1.1.0"

    world.phone.lives(32 * DAY_MS)

    assert world.loaded() == "1.0.0"


def test_a_server_of_before_is_obeyed_until_a_version_was_seen(tmp_path: Path) -> None:
    world = World(tmp_path)
    for offered in (rollout(), None):
        world.releases.serves = config(offered)
        assert world.client.refresh_releases()
    world.releases.serves = issued(1)
    assert world.client.refresh_releases()
    world.releases.serves = config(rollout())

    with pytest.raises(PermanentError, match="release_config_older"):
        world.client.refresh_releases()


@pytest.mark.parametrize(
    "field", [{"cohort_ms": 0}, {"observation_ms": -1}, {"step": -1}, {"step": 1 << 32}]
)
def test_a_signed_config_that_no_phone_can_live_by_is_refused(
    tmp_path: Path, field: dict[str, int]
) -> None:
    world = World(tmp_path)
    world.releases.serves = config(rollout(**field))

    with pytest.raises(PermanentError, match="release_config_malformed"):
        world.client.refresh_releases()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    return make_world(tmp_path_factory.mktemp("node"), START_MS)


def test_the_config_from_before_a_rollback_moves_none_of_forty_phones(
    node: Node, tmp_path: Path
) -> None:
    """Issued by the node itself, both still good: at the start of this, 16 of 40 obeyed."""
    before, after = node.generations[-2], node.generations[-1]
    assert before.step.candidate
    assert before.expires_ms > START_MS
    loads = set()
    for number in range(40):
        wire = Wire({}, after.header)
        client = Client(
            ClientSettings(CAMERA, tmp_path / str(number), node.public_key),
            Server(),
            wire,
            now_ms=lambda: START_MS,
            rng=rng(number),
        )
        client.grant()
        client.refresh_releases()
        wire.header = before.header
        with pytest.raises(PermanentError, match="release_config_older"):
            client.refresh_releases()
        if client.download_became_possible("scene-labels") is not None:
            client.downloaded("scene-labels")
        version = client.version_to_load("scene-labels")
        loads.add(version.version if version is not None else "")

    assert loads == {after.step.stable}


class TufPhone:
    """The reference SDK under TUF, with hand-moved clocks."""

    def __init__(self, node: Node, folder: Path) -> None:
        self.node, self.folder, self.now_ms = node, folder, START_MS
        self.wire = Wire(node.generations[-1].files)
        self.client = self.start()

    def start(self) -> Client:
        return Client(
            ClientSettings(CAMERA, self.folder),
            Server(),
            TufReleases(self.node.root, self.folder / "tuf", self.wire),
            now_ms=lambda: self.now_ms,
            rng=rng(),
        )

    def loads(self) -> str:
        version = self.client.version_to_load("scene-labels")
        assert version is not None
        return version.version


def test_under_tuf_a_start_without_network_knows_what_it_knew(node: Node, tmp_path: Path) -> None:
    phone = TufPhone(node, tmp_path)
    phone.client.refresh_releases()

    phone.client = phone.start()

    assert phone.loads() == "3.1.5"


@pytest.mark.parametrize("what", ["removed", "a file", "garbage", "folders"])
def test_under_tuf_files_that_are_damaged_lead_nobody_back(
    node: Node, tmp_path: Path, what: str
) -> None:
    phone = TufPhone(node, tmp_path)
    phone.client.refresh_releases()
    shutil.rmtree(tmp_path / "tuf")
    if what == "a file":
        (tmp_path / "tuf").write_bytes(b"x")
    elif what == "garbage":
        (tmp_path / "tuf" / "root_history").mkdir(parents=True)
        for name in ("timestamp.json", "snapshot.json", "root_history/2.root.json"):
            (tmp_path / "tuf" / name).write_bytes(b"\xff{")
    elif what == "folders":
        for name in ("timestamp.json", "snapshot.json", "targets.json", "root.json"):
            (tmp_path / "tuf" / name / "x").mkdir(parents=True)
    older = node.generations[-2]
    assert older.expires_ms > START_MS
    phone.wire.files = older.files

    with pytest.raises(PermanentError, match="release_config_older"):
        phone.client.refresh_releases()
    phone.wire.files = node.generations[-1].files
    phone.client.refresh_releases()

    assert phone.loads() == "3.1.5"


def test_under_tuf_another_root_in_the_app_drops_what_was_saved(
    node: Node, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    phone = TufPhone(node, tmp_path)
    phone.client.refresh_releases()
    phone.node = make_world(tmp_path_factory.mktemp("another"), START_MS)
    phone.wire.files = phone.node.generations[-1].files

    phone.client = phone.start()

    assert phone.client.left_out["config"] == 1
    assert phone.loads() == "3.1.5", "the last stable, until there is a config"
    assert phone.client.refresh_releases()
