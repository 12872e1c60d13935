"""Release configs as a TUF repository, over HTTP: a stock client, the reference SDK, rotations."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tuf.api.exceptions import RepositoryError
from tuf.ngclient import Updater
from tuf.ngclient.urllib3_fetcher import Urllib3Fetcher

from bench.tuf import CONTROL, attack_all, honest
from bench.tuf_world import make_world
from ingest.online_key import OnlineKeys
from ingest.root_folder import RootFolder
from sdk_stub.batch import Device
from sdk_stub.client import Client, ClientSettings
from sdk_stub.transport import HttpTransport
from sdk_stub.tuf_releases import TufReleases
from streams.log.memory import MemoryLog
from tests.fakes.ingest_world import APP, Running, clock_ms, desired, running
from tests.fakes.phone_http import CLIENT
from wire.errors import PermanentError
from wire.times import DAY_MS

YEAR_MS = 365 * DAY_MS


def root_of(server: Running) -> bytes:
    return CLIENT.get(f"{server.http}/v1/tuf/{APP}/metadata/1.root.json").content


def stock(server: Running, folder: Path, root: bytes) -> bytes:
    """What python-tuf's own client, as it is, takes for the newest config."""
    folder.mkdir(exist_ok=True)
    base = f"{server.http}/v1/tuf/{APP}"
    fetcher = Urllib3Fetcher()
    updater = Updater(
        str(folder),
        f"{base}/metadata",
        str(folder),
        f"{base}/targets",
        fetcher=fetcher,
        bootstrap=root,
    )
    try:
        found = updater.get_targetinfo(f"{APP}.json")
        assert found is not None
        return Path(
            updater.find_cached_target(found) or updater.download_target(found)
        ).read_bytes()
    finally:
        for pool in fetcher._proxy_env._pool_managers.values():
            pool.clear()


@pytest.fixture(autouse=True)
def transports() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


OPEN: list[HttpTransport] = []


def reference(server: Running, folder: Path, root: bytes) -> Client:
    transport = HttpTransport(server.http, server.key)
    OPEN.append(transport)
    return Client(
        ClientSettings(Device(APP, "1.0.0", "android", 15, "mid", "DE", "tflite"), folder),
        transport,
        TufReleases(root, folder / "tuf", transport),
        now_ms=lambda: time.time_ns() // 1_000_000,
        rng=np.random.default_rng(1),
    )


def test_a_stock_client_and_the_reference_follow_a_withdrawal(tmp_path: Path) -> None:
    with running(tmp_path / "node", MemoryLog()) as server:
        root = root_of(server)
        client = reference(server, tmp_path / "phone", root)
        before = stock(server, tmp_path / "stock", root)
        assert client.refresh_releases()
        assert not client.refresh_releases()

        server.declared.state = desired(share=0.0)
        after = stock(server, tmp_path / "stock", root)

        assert b'"rollout":{' in before
        assert b'"rollout":null' in after
        assert client.refresh_releases()
        assert client.version_to_load("next-word") is not None


def test_files_are_cached_as_long_as_they_hold(server: Running) -> None:
    base = f"{server.http}/v1/tuf/{APP}"
    timestamp = CLIENT.get(f"{base}/metadata/timestamp.json")
    version = timestamp.json()["signed"]["meta"]["snapshot.json"]["version"]
    snapshot = CLIENT.get(f"{base}/metadata/{version}.snapshot.json")

    assert timestamp.headers["cache-control"] == "public, max-age=30"
    assert "immutable" in snapshot.headers["cache-control"]
    for answer in (timestamp, snapshot):
        again = CLIENT.get(answer.url, headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        f"{APP}/metadata/9.root.json",
        f"{APP}/metadata/0001.snapshot.json",
        f"{APP}/metadata/-1.root.json",
        f"{APP}/metadata/²0.root.json",
        f"{APP}/metadata/{'9' * 400}.root.json",
        f"{APP}/metadata/..%2Fkeys.json",
        f"{APP}/targets/{APP}.json",
        f"{APP}/online/x.pem",
        "nobody/metadata/1.root.json",
    ],
)
def test_what_is_not_there_is_404_and_names_nothing(server: Running, path: str) -> None:
    answer = CLIENT.get(f"{server.http}/v1/tuf/{path}")

    assert answer.status_code == 404
    assert APP not in answer.text


def test_keys_are_rotated_under_a_running_node_and_a_sleeper_follows(tmp_path: Path) -> None:
    with running(tmp_path / "node", MemoryLog()) as server:
        keys, offline = OnlineKeys(tmp_path / "node" / "tuf"), tmp_path / "offline"
        root, expires_ms = root_of(server), clock_ms() + YEAR_MS
        stock(server, tmp_path / "sleeper", root)
        client = reference(server, tmp_path / "phone", root)
        client.refresh_releases()
        keys.try_out.path.rename(offline)
        ceremony = RootFolder(offline)

        for content in (
            ceremony.rotate_online(keys.make(), expires_ms=expires_ms),
            ceremony.rotate_root(others=(), expires_ms=expires_ms),
            ceremony.rotate_online(keys.make(), expires_ms=expires_ms),
        ):
            keys.install(content, now_ms=clock_ms())
        server.declared.state = desired(share=0.0)

        assert b'"rollout":null' in stock(server, tmp_path / "sleeper", root)
        assert b'"rollout":null' in stock(server, tmp_path / "new", root)
        assert client.refresh_releases()
        assert CLIENT.get(f"{server.http}/v1/tuf/{APP}/metadata/4.root.json").status_code == 200


def test_a_client_of_another_root_takes_nothing(server: Running, tmp_path: Path) -> None:
    other = OnlineKeys(tmp_path / "other")
    other.begin(clock_ms())
    root = other.chain.contents()[1]

    with pytest.raises(RepositoryError):
        stock(server, tmp_path / "stock", root)
    with pytest.raises(PermanentError, match="release_config_refused"):
        reference(server, tmp_path / "phone", root).refresh_releases()


def test_attacks_of_every_kind_move_no_phone_and_an_honest_server_moves_all(
    tmp_path: Path,
) -> None:
    """The short form of ``holdfast bench tuf``."""
    world = make_world(tmp_path / "world", clock_ms())

    figures = {r.what: r.value for r in honest(world, tmp_path / "honest")}
    tally = attack_all(world, tmp_path / "phones", count=300, seed=clock_ms() // DAY_MS)

    assert tally.failed == []
    assert min(tally.tried.values()) == 300
    assert sum(tally.obeyed.values()) == tally.obeyed[CONTROL] > 30, "the attacks bite"
    assert figures["phones that an honest server does not reach"] == 0
    assert figures["phones that slept through three roots and follow"] >= 3
