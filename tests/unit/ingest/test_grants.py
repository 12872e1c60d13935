"""With `proof: grant` a unit counts once for each id that the server gave, and never otherwise."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ingest.batch_key import NO_KEY, BatchKey
from ingest.commit import Committer, Sent
from ingest.grants import Grants, life_ms
from ingest.receipt import Receipt
from streams.dedup import DedupIndex
from streams.log.memory import MemoryLog
from tests.fakes.ingest_world import APP, Declared, desired, segments, tallied, upload
from wire.decode import Encoding
from wire.pb import telemetry_pb2
from wire.times import DAY_MS, HOUR_MS

NOW = 1_800_000_000_000
LIFE = life_ms(7 * DAY_MS)
KEY = BatchKey(b"k" * 32)
GRANTS = Grants(KEY)
Upload = telemetry_pb2.UploadRequest


def declared(proof: str) -> Declared:
    state = desired()
    return Declared(
        dataclasses.replace(state, policy=dataclasses.replace(state.policy, proof=proof))
    )


def committer(log: MemoryLog, *, proof: str = "grant", now_ms: int = NOW) -> Committer:
    return Committer(
        log=log, desired=declared(proof), now_ms=lambda: now_ms, writer="w", batch_key=KEY
    )


def unit(batch_id: bytes | None, *, created_ms: int = NOW - 1000) -> Upload:
    """An upload with one unit of every kind."""
    made = upload(now_ms=NOW)
    made.created_ms = created_ms
    if batch_id is not None:
        made.batch_id = batch_id
    made.enrolled = True
    made.unit_days.add(day=0, crashed=True)
    made.outcomes.add(label_age_days=0, incorrect=1, unit_incorrect=1)
    return made


def sent(made: Upload, app: str = APP) -> Sent:
    return Sent(Encoding.PROTOBUF, made.SerializeToString(), app)


def units_of(log: MemoryLog) -> dict[str, int]:
    """Units that the log holds, each id once, as the stages count them."""
    seen = DedupIndex(horizon_ms=7 * DAY_MS)
    total = dict.fromkeys(("enrolled", "bets", "days", "labels"), 0)
    for segment in segments(log):
        if not segment.uploads:
            continue
        fresh = ~seen.add(segment.uploads["batch_id"], NOW)
        of = np.repeat(np.arange(len(fresh)), segment.uploads["n"])
        total["enrolled"] += int(segment.uploads["enrolled"][fresh].sum())
        total["bets"] += int(segment.rows["unit_bet"][fresh[of]].sum())
        if segment.unit_days:
            total["days"] += int(fresh[segment.unit_days["upload"]].sum())
        if segment.feedback:
            mine = fresh[segment.feedback["upload"]]
            total["labels"] += int(segment.feedback["unit_incorrect"][mine].sum())
    return total


def spent(ids: Sequence[bytes], app: str = APP, now_ms: int = NOW) -> list[bool]:
    created = np.full(len(ids), now_ms, np.int64)
    found = GRANTS.spent(ids, [app] * len(ids), created, now_ms=now_ms, life_ms=LIFE)
    return [bool(one) for one in found.is_granted]


def test_a_grant_is_of_one_app_and_of_one_key_and_ends() -> None:
    (grant,) = GRANTS.issue(APP, 1, NOW)

    assert spent([grant]) == [True]
    assert spent([grant], "camera") == [False]
    assert spent([grant], now_ms=NOW + LIFE - HOUR_MS) == [True]
    assert spent([grant], now_ms=NOW + LIFE + 2 * HOUR_MS) == [False]
    assert spent([grant], now_ms=NOW - 3 * HOUR_MS) == [False]
    assert Grants(BatchKey(b"j" * 32)).issue(APP, 1, NOW) != [grant]
    others = Grants(BatchKey(b"j" * 32)).spent(
        [grant], [APP], np.array([NOW]), now_ms=NOW, life_ms=LIFE
    )
    assert not others.is_granted.any()


def test_without_a_key_nothing_is_a_grant() -> None:
    none = Grants(NO_KEY)
    made = [bytes(16), *GRANTS.issue(APP, 3, NOW)]
    found = none.spent(made, [APP] * 4, np.full(4, NOW), now_ms=NOW, life_ms=LIFE)
    assert not none.can_issue
    assert not found.is_granted.any()


@given(st.integers(0, 15), st.integers(1, 255))
def test_a_grant_with_any_byte_changed_is_none(at: int, change: int) -> None:
    (grant,) = GRANTS.issue(APP, 1, NOW)
    forged = bytearray(grant)
    forged[at] ^= change
    assert spent([bytes(forged)]) == [False]


@given(st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=50))
def test_no_id_of_ones_own_is_a_grant(ids: list[bytes]) -> None:
    assert not any(spent(ids))


def test_grants_spread_over_the_partitions() -> None:
    first = np.frombuffer(b"".join(GRANTS.issue(APP, 4000, NOW)), "<u4")[::4] % 4
    assert (np.bincount(first, minlength=4) > 850).all()  # 1000 each, 27 of standard deviation


tries = st.lists(
    st.tuples(
        st.integers(0, 2),  # which grant
        st.integers(-60, 0),  # hours before now that the copy says it was made in
        st.booleans(),  # through another door
        st.booleans(),  # alone, or with the next
    ),
    min_size=1,
    max_size=24,
)


@given(tries)
def test_a_grant_counts_once_however_often_and_whenever_it_says_that_it_was_made(
    copies: list[tuple[int, int, bool, bool]],
) -> None:
    grants = GRANTS.issue(APP, 3, NOW)
    log = MemoryLog(4)
    doors = [committer(log), committer(log, now_ms=NOW + HOUR_MS)]
    waiting: list[Sent] = []
    for which, hours, is_other, is_last in copies:
        waiting.append(sent(unit(grants[which], created_ms=NOW - 1000 + hours * HOUR_MS)))
        if is_last:
            doors[is_other].commit(waiting, early={}, with_tick=False)
            waiting = []
    doors[0].commit(waiting, early={}, with_tick=False)

    used = len({which for which, *_ in copies})
    assert units_of(log) == dict.fromkeys(("enrolled", "bets", "days", "labels"), used)


def test_without_a_grant_the_rows_are_kept_and_no_unit_counts() -> None:
    log = MemoryLog(1)
    door = committer(log)

    (outcome,) = door.commit([sent(unit(None))], early={}, with_tick=True)  # type: ignore[misc]

    assert isinstance(outcome, Receipt)
    assert outcome.accepted_rows == 3
    assert [r.code for r in outcome.refused] == ["grant_missing"]
    assert units_of(log) == dict.fromkeys(("enrolled", "bets", "days", "labels"), 0)
    assert tallied(log)["fields:ungranted"] == 1
    (segment,) = [s for s in segments(log) if s.uploads]
    assert segment.feedback["incorrect"].tolist() == [1]
    assert segment.contexts[0].rollout_id


def test_at_none_every_upload_counts_and_a_granted_id_once() -> None:
    log = MemoryLog(1)
    door = committer(log, proof="none")
    (grant,) = GRANTS.issue(APP, 1, NOW)
    made = [unit(None), unit(grant), unit(grant, created_ms=NOW - 5 * HOUR_MS)]

    door.commit([sent(one) for one in made], early={}, with_tick=False)

    assert units_of(log) == dict.fromkeys(("enrolled", "bets", "days", "labels"), 2)
    assert "fields:ungranted" not in tallied(log)


def test_a_change_from_none_to_grant_counts_nothing_twice() -> None:
    log = MemoryLog(1)
    (grant,) = GRANTS.issue(APP, 1, NOW)
    one = sent(unit(grant, created_ms=NOW - 5 * HOUR_MS))
    for proof in ("none", "grant", "none"):
        committer(log, proof=proof).commit([one], early={}, with_tick=False)
    assert units_of(log) == dict.fromkeys(("enrolled", "bets", "days", "labels"), 1)
