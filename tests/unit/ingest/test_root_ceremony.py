"""Roots: made away from nodes, signed by enough holders, put in force one by one."""

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from ingest.online_key import OnlineKeys, pem_of
from ingest.root_chain import online_keys, read_root
from ingest.root_folder import Holder, RootFolder, add_signature, open_signer, public_key
from wire.errors import PermanentError
from wire.times import DAY_MS

NOW_MS = 1_795_838_200_000
YEAR_MS = 365 * DAY_MS


@pytest.fixture
def node(tmp_path: Path) -> OnlineKeys:
    return OnlineKeys(tmp_path / "node")


@pytest.fixture
def offline(tmp_path: Path) -> RootFolder:
    return RootFolder(tmp_path / "offline")


def first(node: OnlineKeys, offline: RootFolder, *, keys: int = 1, threshold: int = 1) -> bytes:
    return offline.init(
        node.make(), keys=keys, others=(), threshold=threshold, expires_ms=NOW_MS + YEAR_MS
    )


def elsewhere(folder: Path) -> Holder:
    """A P-256 key outside of the ceremony's folder, as tokens and clouds have them."""
    folder.mkdir(exist_ok=True)
    made = generate_private_key(SECP256R1())
    private = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "held.pem").write_bytes(private)
    public = made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    key = public_key(public)
    return Holder(f"file2:{folder / 'held.pem'}", key.keyid, key.to_dict())


def test_a_node_signs_under_the_root_that_is_in_force(
    node: OnlineKeys, offline: RootFolder
) -> None:
    node.install(first(node, offline), now_ms=NOW_MS)
    before = node.signer().public_key.keyid

    node.install(offline.rotate_online(node.make(), expires_ms=NOW_MS + YEAR_MS), now_ms=NOW_MS)
    node.install(offline.rotate_root(others=(), expires_ms=NOW_MS + YEAR_MS), now_ms=NOW_MS)

    root = node.chain.newest()
    assert root is not None
    assert root.version == 3
    assert node.signer().public_key.keyid == online_keys(root)[0].keyid != before
    assert {stat.S_IMODE(p.stat().st_mode) for p in offline.path.iterdir()} == {0o600}
    assert len(list(offline.path.glob("*.pem"))) == 1, "the old root key is deleted"


def test_a_rotated_key_is_never_offered_again(node: OnlineKeys, offline: RootFolder) -> None:
    node.install(first(node, offline), now_ms=NOW_MS)
    assert node.unused() is None
    node.install(offline.rotate_online(node.make(), expires_ms=NOW_MS + YEAR_MS), now_ms=NOW_MS)

    assert node.unused() is None


def test_several_holders_sign_before_a_root_counts(
    node: OnlineKeys, offline: RootFolder, tmp_path: Path
) -> None:
    other = elsewhere(tmp_path / "token")
    offline.init(node.make(), keys=1, others=[other], threshold=2, expires_ms=NOW_MS + YEAR_MS)
    path = offline.path / "1.root.json"
    whole = read_root(path.read_bytes())
    whole.signatures.pop(other.keyid)
    path.write_bytes(whole.to_bytes())
    with pytest.raises(PermanentError, match="root_unsigned"):
        node.install(path.read_bytes(), now_ms=NOW_MS)

    add_signature(path, open_signer(other.uri, other.key()))

    assert node.install(path.read_bytes(), now_ms=NOW_MS) == 1


def test_a_root_that_skips_goes_back_or_is_over_is_refused(
    node: OnlineKeys, offline: RootFolder
) -> None:
    one = first(node, offline)
    two = offline.rotate_online(node.make(), expires_ms=NOW_MS + YEAR_MS)
    three = offline.rotate_root(others=(), expires_ms=NOW_MS + 1000)
    node.install(one, now_ms=NOW_MS)

    for content, code in ((one, "root_version"), (three, "root_version"), (b"{", "root_malformed")):
        with pytest.raises(PermanentError, match=code):
            node.install(content, now_ms=NOW_MS)
    node.install(two, now_ms=NOW_MS)
    with pytest.raises(PermanentError, match="root_expired"):
        node.install(three, now_ms=NOW_MS + DAY_MS)


def test_a_root_of_another_fleet_is_refused(
    node: OnlineKeys, offline: RootFolder, tmp_path: Path
) -> None:
    node.install(first(node, offline), now_ms=NOW_MS)
    other = RootFolder(tmp_path / "other")
    first(node, other)

    with pytest.raises(PermanentError, match="root_unsigned"):
        node.install(other.rotate_online(node.make(), expires_ms=NOW_MS + YEAR_MS), now_ms=NOW_MS)


def test_a_root_under_which_this_node_cannot_sign_is_refused(
    node: OnlineKeys, offline: RootFolder, tmp_path: Path
) -> None:
    node.install(first(node, offline), now_ms=NOW_MS)
    stranger = OnlineKeys(tmp_path / "stranger").make()

    with pytest.raises(PermanentError, match="online_key_missing"):
        node.install(offline.rotate_online(stranger, expires_ms=NOW_MS + YEAR_MS), now_ms=NOW_MS)

    root = node.chain.newest()
    assert root is not None
    assert root.version == 1


def test_an_online_key_may_lie_elsewhere(tmp_path: Path, offline: RootFolder) -> None:
    held = elsewhere(tmp_path / "cloud")
    node = OnlineKeys(tmp_path / "node", uri=held.uri)
    content = offline.init(held.key(), keys=1, others=(), threshold=1, expires_ms=NOW_MS + YEAR_MS)

    node.install(content, now_ms=NOW_MS)

    assert node.signer().public_key.keyid == held.keyid
    with pytest.raises(PermanentError, match="signing_key_unusable"):
        OnlineKeys(tmp_path / "node", uri="file2:/nowhere").signer()


def test_a_try_out_has_a_root_of_its_own_until_one_is_installed(
    node: OnlineKeys, offline: RootFolder, caplog: pytest.LogCaptureFixture
) -> None:
    node.begin(NOW_MS)
    node.begin(NOW_MS)

    assert [r.message for r in caplog.records] == ["root_key_on_node"] * 2
    assert list(node.chain.contents()) == [1]
    node.begin(NOW_MS + 300 * DAY_MS)
    assert list(node.chain.contents()) == [1, 2], "it is renewed before it expires"

    node.try_out.path.rename(offline.path)
    node.install(offline.rotate_root(others=(), expires_ms=NOW_MS + 2 * YEAR_MS), now_ms=NOW_MS)
    caplog.clear()
    node.begin(NOW_MS + 300 * DAY_MS)
    assert caplog.records == []
    assert not node.holds_root()


def test_the_root_key_leaves_the_node_with_the_first_root_that_does_not_name_it(
    node: OnlineKeys, tmp_path: Path
) -> None:
    import shutil

    node.begin(NOW_MS)
    offline = RootFolder(tmp_path / "offline")
    shutil.copytree(node.try_out.path, offline.path)
    assert node.holds_root()

    node.install(offline.rotate_root(others=(), expires_ms=NOW_MS + YEAR_MS), now_ms=NOW_MS)

    assert not node.try_out.path.exists()


@pytest.mark.parametrize("threshold", [0, 3, -1])
def test_a_threshold_that_nobody_can_meet_is_refused(
    node: OnlineKeys, offline: RootFolder, threshold: int
) -> None:
    with pytest.raises(PermanentError, match="root_threshold"):
        first(node, offline, keys=2, threshold=threshold)


def test_a_second_first_root_is_refused(node: OnlineKeys, offline: RootFolder) -> None:
    first(node, offline)

    with pytest.raises(PermanentError, match="root_exists"):
        first(node, offline)


def test_public_keys_travel_as_pem(node: OnlineKeys) -> None:
    key = node.make()

    assert public_key(pem_of(key).encode()).keyid == key.keyid
    with pytest.raises(PermanentError, match="public_key_invalid"):
        public_key(b"no key")
