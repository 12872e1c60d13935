"""An upload has one id for ever, and the file of ids stays as small as the queue."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdk_stub.unit_grants import ASKED_FOR, Given, UnitGrants

FAR = 1 << 60
steps = st.lists(st.tuples(st.sampled_from(["put", "send", "drop", "start"]), st.integers(0, 5)))


def fresh(count: int) -> Given:
    return Given([f"{i:032x}" for i in range(count)], FAR)


@given(steps)
def test_whatever_is_dropped_or_dies_a_waiting_upload_keeps_its_id_and_no_id_is_shared(
    tmp_path_factory: pytest.TempPathFactory, run: list[tuple[str, int]]
) -> None:
    path = tmp_path_factory.mktemp("phone") / "grants.json"
    waiting: list[str] = []
    ids: dict[str, bytes] = {}
    grants, made, issued = UnitGrants(path, lambda: waiting), 0, 0
    for step, which in run:
        if step == "put":
            waiting.append(f"upload-{made}")
            made += 1
        elif step == "start":
            grants = UnitGrants(path, lambda: waiting)
        elif waiting:
            name = waiting[which % len(waiting)]
            if step == "drop":
                waiting.remove(name)
                continue
            found = grants.id_of(name, 0)
            if found is None:
                grants.take_in(Given([f"{issued + i:032x}" for i in range(2)], FAR))
                issued += 2
                found = grants.id_of(name, 0)
            assert found == ids.setdefault(name, found or b"")
    assert b"" not in ids.values()
    assert len(set(ids.values())) == len(ids)


def test_ids_of_uploads_that_the_queue_dropped_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "grants.json"
    waiting: list[str] = []
    grants = UnitGrants(path, lambda: waiting)
    sizes = []
    for number in range(300):
        waiting[:] = [f"{number:016d}-00000000.upload"]
        grants.take_in(fresh(1))
        assert grants.id_of(waiting[0], 0)
        sizes.append(path.stat().st_size)
    assert max(sizes[10:]) <= max(sizes[:10])


def test_a_server_that_gives_more_than_was_asked_for_fills_nothing(tmp_path: Path) -> None:
    grants = UnitGrants(tmp_path / "grants.json", lambda: names)
    names = [f"upload-{i}" for i in range(ASKED_FOR + 1)]

    grants.take_in(fresh(20_000))

    found = [grants.id_of(name, 0) for name in names]
    assert None not in found[:ASKED_FOR]
    assert found[ASKED_FOR] is None
