"""Whatever becomes of the client's files, the app starts and goes on; what was bad is counted."""

import base64
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdk_stub.batch import Inference
from sdk_stub.buffer import UploadQueue
from tests.fakes.phone_world import SignedReleases, config, rollout
from tests.unit.sdk_stub.test_client import MEASURED, World

Spoil = Callable[[Path], object]


def _replaced_by_folder(path: Path) -> None:
    path.unlink()
    (path / "inner").mkdir(parents=True)


def _replaced_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _replaced_by_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _set(path: Path, **fields: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


SPOILT: dict[str, Spoil] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": _cut,
    "zeros": lambda path: path.write_bytes(bytes(512)),
    "garbage": lambda path: path.write_bytes(os.urandom(300)),
    "not utf-8": lambda path: path.write_bytes(b'{"seed":"\xff\xfe"}'),
    "deep": lambda path: path.write_bytes(b'{"x":' * 50_000),
    "huge": lambda path: path.write_bytes(b" " * (5 << 20)),
    "another type": lambda path: path.write_text("[1, 2]"),
    "folder": _replaced_by_folder,
    "pipe": _replaced_by_pipe,
    "loop": _replaced_by_loop,
}
SPOILT_FIELDS: dict[str, dict[str, object]] = {
    "short seed": {"seed": base64.b64encode(b"123").decode()},
    "seed is null": {"seed": None},
    "consent is a word": {"consent": "yes"},
    "config of a later version": {"held": {"tuf": 1}},
    "enrolments are no list": {"enrolments": {"m0": {}}},
    "lived a negative time": {"lived_ms": -1},
}


def _lived(folder: Path) -> World:
    world = World(folder)
    world.infer(60, version=world.join())
    world.client.flush()
    return world


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_a_damaged_installation_is_put_aside_and_the_app_starts_as_new(
    tmp_path: Path, spoil: Spoil
) -> None:
    world = _lived(tmp_path)
    spoil(tmp_path / "installation.json")

    client = world.client = world.start()

    assert not client.consents
    assert client.left_out["installation"] == 1
    assert os.path.lexists(tmp_path / "installation.json.damaged")
    assert client.version_to_load("m0") is None
    world.infer(5, version=world.join())
    assert len(world.arrive()) > 0
    assert world.start().consents


@pytest.mark.parametrize("fields", SPOILT_FIELDS.values(), ids=SPOILT_FIELDS)
def test_fields_that_we_never_wrote_make_it_damaged(
    tmp_path: Path, fields: dict[str, object]
) -> None:
    world = _lived(tmp_path)
    _set(tmp_path / "installation.json", **fields)

    client = world.start()

    assert not client.consents
    assert client.left_out["installation"] == 1


@pytest.mark.parametrize(
    "field", [{"cohort_ms": 0}, {"observation_ms": -5}, {"step": 1 << 40}, {"enrolled_ms": -1}]
)
def test_an_enrolment_out_of_its_bounds_makes_it_damaged(
    tmp_path: Path, field: dict[str, int]
) -> None:
    world = _lived(tmp_path)
    path = tmp_path / "installation.json"
    enrolments = json.loads(path.read_text())["enrolments"]
    _set(path, enrolments=[{**enrolments[0], **field}])

    assert world.start().left_out["installation"] == 1


def test_fields_of_a_later_version_are_no_damage(tmp_path: Path) -> None:
    world = _lived(tmp_path)
    _set(tmp_path / "installation.json", of_the_next_version={"a": 1})

    assert world.start().consents


def test_a_rotated_key_drops_the_saved_config_and_stable_goes_on(tmp_path: Path) -> None:
    world = _lived(tmp_path)
    assert any(e.arm for e in world.client._installation.enrolments)
    world.releases = SignedReleases(config(rollout()))

    client = world.client = world.start()

    assert client.left_out["config"] == 1
    assert world.loaded() == "1.0.0"
    assert client.download_became_possible("m0") is None
    assert client.refresh_releases(), "the old ETag must not be shown"
    assert client.version_to_load("m0") is not None


@pytest.mark.parametrize(
    "spoilt",
    [
        {"body": base64.b64encode(b"not json").decode()},
        {"body": ""},
        {"signature": "ed25519="},
        {"signature": "", "etag": ""},
        {"trust": "another"},
    ],
)
def test_a_saved_config_that_nobody_signed_is_dropped(
    tmp_path: Path, spoilt: dict[str, str]
) -> None:
    world = _lived(tmp_path)
    path = tmp_path / "installation.json"
    _set(path, held={**json.loads(path.read_text())["held"], **spoilt})

    client = world.client = world.start()

    assert client.consents
    assert world.loaded() == "1.0.0"
    assert client.refresh_releases()


def test_without_a_config_to_obey_nothing_bets_and_days_wait(tmp_path: Path) -> None:
    world = World(tmp_path, seed=1)
    world.infer(5, version=world.join())
    world.releases = SignedReleases(config(rollout()))
    world.client = world.start()
    world.infer(60, version="1.0.0")
    world.clock.ms += 20 * 1500

    before = list(world.arrive())
    world.client.refresh_releases()
    after = world.arrive()[len(before) :]

    assert not any(sum(u.unit_bet) or u.unit_days for u in before)
    assert [d.day for u in after for d in u.unit_days] == [0, 1, 3, 7]


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_a_damaged_upload_is_put_aside_and_its_neighbours_arrive(
    tmp_path: Path, spoil: Spoil
) -> None:
    world = World(tmp_path)
    world.client.grant()
    world.infer(120, version="1.0.0")
    victim = sorted((tmp_path / "queue").iterdir())[1]
    spoil(victim)

    world.client = world.start()
    taken = world.arrive()

    assert [u.n for u in taken] == [40, 40]
    assert world.client.outbox.queue.damaged_count == 1
    assert len(list((tmp_path / "queue").glob("*.upload"))) == 0


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_so_it_is_when_it_happens_under_a_running_client(tmp_path: Path, spoil: Spoil) -> None:
    world = World(tmp_path)
    world.client.grant()
    world.infer(120, version="1.0.0")
    spoil(min((tmp_path / "queue").iterdir()))

    assert [u.n for u in world.arrive()] == [40, 40]
    assert world.client.outbox.queue.damaged_count == 1


def test_an_upload_cut_where_it_still_parses_is_seen(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.client.grant()
    world.infer(40, version="1.0.0")
    (path,) = (tmp_path / "queue").iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 2 - 4 * 40])  # without its last column

    assert world.arrive() == []
    assert world.client.outbox.queue.damaged_count == 1


@pytest.mark.parametrize("name", ["x.upload", "-1.upload", "٣.upload", "1e9.upload", ".upload"])
def test_names_that_we_never_gave_are_put_aside(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"anything")
    (tmp_path / "7.unfinished").mkdir()

    queue = UploadQueue(tmp_path, bytes_max=1000)
    queue.put(b"one")

    assert queue.oldest() == (queue.names()[0], b"one")
    assert (len(queue), queue.damaged_count) == (1, 1)


def test_a_folder_that_vanished_or_became_a_file_is_made_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.client.grant()
    world.infer(40, version="1.0.0")
    shutil.rmtree(tmp_path)
    world.infer(40, version="1.0.0")
    assert [u.n for u in world.arrive()] == [40]

    shutil.rmtree(tmp_path / "queue")
    (tmp_path / "queue").write_bytes(b"")
    world.client = world.start()
    world.infer(40, version="1.0.0")

    assert [u.n for u in world.arrive()] == [40, 40]


def test_a_smaller_cap_drops_the_oldest_at_the_start(tmp_path: Path) -> None:
    queue = UploadQueue(tmp_path, bytes_max=100)
    for upload in (b"a" * 40, b"b" * 40):
        queue.put(upload)

    smaller = UploadQueue(tmp_path, bytes_max=50)

    assert smaller.oldest() == (smaller.names()[0], b"b" * 40)
    assert (len(smaller), smaller.dropped_count) == (1, 1)


def test_revoking_forgets_what_was_put_aside(tmp_path: Path) -> None:
    world = _lived(tmp_path)
    SPOILT["cut"](tmp_path / "installation.json")
    SPOILT["cut"](min((tmp_path / "queue").iterdir()))
    world.client = world.start()
    world.client.grant()
    world.arrive()
    assert len(list(tmp_path.rglob("*.damaged"))) == 2

    world.client.revoke()

    assert list(tmp_path.rglob("*.damaged")) == []
    assert not world.start().consents


def test_what_was_put_aside_does_not_grow(tmp_path: Path) -> None:
    for i in range(12):
        (tmp_path / f"x{i}.upload").write_bytes(b"x")
        UploadQueue(tmp_path, bytes_max=1000)

    assert len(list(tmp_path.iterdir())) <= 4


def _flip(content: bytes, at: int, bit: int) -> bytes:
    spoilt = bytearray(content)
    spoilt[at % len(spoilt)] ^= 1 << bit
    return bytes(spoilt)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 1 << 16), st.one_of(st.integers(0, 7), st.binary(max_size=40))),
        min_size=1,
        max_size=6,
    ),
    st.booleans(),
)
def test_no_bytes_in_any_file_keep_the_app_from_working(
    tmp_path_factory: pytest.TempPathFactory,
    spoils: list[tuple[int, int | bytes]],
    cuts: bool,
) -> None:
    """Any file, any place in it: a bit flipped, bytes written over, or cut there."""
    folder = tmp_path_factory.mktemp("phone")
    world = _lived(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for at, what in spoils:
        path = files[at % len(files)]
        content = path.read_bytes() or b"\0"
        spoilt = _flip(content, at, what) if isinstance(what, int) else content[:at] + what
        path.write_bytes(spoilt[: at % max(len(spoilt), 1)] if cuts else spoilt)

    client = world.client = world.start()
    world.server.taken.clear()
    world.infer(45, version=world.join())
    world.clock.ms += 20 * 1500
    world.arrive()

    assert world.loaded() in {"1.0.0", "1.1.0"}
    assert sum(u.n for u in world.server.taken) >= 45
    assert len(client.outbox.queue) == 0
    assert client.record(Inference("m0", "1.0.0", MEASURED)) is not None
