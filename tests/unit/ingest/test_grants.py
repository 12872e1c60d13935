"""With `proof: grant` a unit counts once for each id that the server gave, and never otherwise."""

import dataclasses
from collections.abc import Sequence
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ingest.batch_key import NO_KEY, BatchKey
from ingest.commit import Committer, Sent
from ingest.grants import ACCEPTED_AGE_MIN_MS, Grants, life_ms
from ingest.receipt import Receipt
from streams.dedup import DedupIndex
from streams.log.memory import MemoryLog
from tests.fakes.ingest_world import APP, Declared, desired, segments, tallied, upload
from wire.decode import Encoding
from wire.pb import telemetry_pb2
from wire.segment import Segment, decode
from wire.times import DAY_MS, HOUR_MS

NOW = 1_800_000_000_000
LIFE = life_ms(7 * DAY_MS)
KEY = BatchKey(b"k" * 32)
GRANTS = Grants(KEY)
Upload = telemetry_pb2.UploadRequest
UNITS = ("enrolled", "bets", "days", "labels", "rows")


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
    """Units that the log holds, each id once, as the stages of each partition count them.

    Every other record is met by a stage that has just been started anew.
    """
    total = dict.fromkeys(UNITS, 0)
    for partition in range(log.partitions):
        past: list[tuple[int, bytes]] = []
        seen = DedupIndex(horizon_ms=7 * DAY_MS)
        for record in log.read(partition, log.start(partition), bytes_max=1 << 40):
            segment = decode(record.payload)
            if not segment.uploads:
                continue
            if len(past) % 2:
                seen = DedupIndex(horizon_ms=7 * DAY_MS)
                seen.restore(past, now_ms=NOW)
            ids = segment.uploads["batch_id"]
            _add_units(total, segment, ~seen.add(ids, NOW))
            past.append((NOW, ids.tobytes()))
    return total


def _add_units(total: dict[str, int], segment: Segment, fresh: NDArray[np.bool_]) -> None:
    of = np.repeat(np.arange(len(fresh)), segment.uploads["n"])
    total["enrolled"] += int(segment.uploads["enrolled"][fresh].sum())
    total["bets"] += int(segment.rows["unit_bet"][fresh[of]].sum())
    total["rows"] += int(fresh[of].sum())
    if segment.unit_days:
        total["days"] += int(fresh[segment.unit_days["upload"]].sum())
    if segment.feedback:
        mine = fresh[segment.feedback["upload"]]
        total["labels"] += int(segment.feedback["unit_incorrect"][mine].sum())


def counted(units: int, *, uploads: int) -> dict[str, int]:
    """What so many units, in so many uploads of three rows, come to."""
    return {**dict.fromkeys(UNITS, units), "rows": 3 * uploads}


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
        st.integers(0, 80) | st.integers(90, 200),  # hours after its issue; good for 84
        st.integers(0, 2),  # which grant
        st.integers(-60, 0),  # hours before its arrival that the copy says it was made in
        st.booleans(),  # through a door whose clock is an hour ahead
    ),
    min_size=1,
    max_size=24,
)


@given(tries)
def test_a_grant_counts_once_however_often_and_whenever_it_comes(
    copies: list[tuple[int, int, int, bool]],
) -> None:
    grants = GRANTS.issue(APP, 3, NOW)
    log = MemoryLog(4)
    first: dict[int, int] = {}
    for (hours, ahead), group in groupby(sorted(copies), key=lambda copy: (copy[0], copy[3])):
        now_ms = NOW + hours * HOUR_MS
        bodies = []
        for _, which, made, _ in group:
            first.setdefault(which, hours)
            bodies.append(sent(unit(grants[which], created_ms=now_ms - 1000 + made * HOUR_MS)))
        # a door of its own each time: what it keeps is the key alone
        door = committer(log, now_ms=now_ms + ahead * HOUR_MS)
        door.commit(bodies, early={}, with_tick=False)

    in_time = sum(hours * HOUR_MS < LIFE for hours in first.values())
    assert units_of(log) == counted(in_time, uploads=len(first))


@given(st.integers(0, 20 * 24), st.integers(0, 20 * 24))
def test_a_retry_is_a_copy_also_when_the_grant_has_expired_in_between(
    first: int, later: int
) -> None:
    (grant,) = GRANTS.issue(APP, 1, NOW)
    log = MemoryLog(4)
    made = unit(grant, created_ms=NOW + max(first, later) * HOUR_MS - 1000)
    for hours in sorted((first, later)):
        made.created_ms = NOW + hours * HOUR_MS - 1000
        door = committer(log, now_ms=NOW + hours * HOUR_MS)
        door.commit([sent(made)], early={}, with_tick=False)

    assert units_of(log) == counted(min(first, later) * HOUR_MS < LIFE + HOUR_MS, uploads=1)


def test_without_a_grant_the_rows_are_kept_and_no_unit_counts() -> None:
    log = MemoryLog(1)
    door = committer(log)

    (outcome,) = door.commit([sent(unit(None))], early={}, with_tick=True)  # type: ignore[misc]

    assert isinstance(outcome, Receipt)
    assert outcome.accepted_rows == 3
    assert [r.code for r in outcome.refused] == ["grant_missing"]
    assert units_of(log) == counted(0, uploads=1)
    assert tallied(log)["fields:ungranted"] == 1
    (segment,) = [s for s in segments(log) if s.uploads]
    assert segment.feedback["incorrect"].tolist() == [1]
    assert segment.contexts[0].rollout_id


@pytest.mark.parametrize("kind", ["enrolled", "bet", "day", "label", "rows alone"])
def test_what_had_a_unit_and_no_grant_is_told_and_nothing_else(kind: str) -> None:
    log = MemoryLog(1)
    made = upload(now_ms=NOW)
    del made.unit_bet[:]
    match kind:
        case "enrolled":
            made.enrolled = True
        case "bet":
            made.unit_bet.extend([0, 0, 1])
        case "day":
            made.unit_days.add(day=0)
        case "label":
            made.outcomes.add(label_age_days=0, correct=1, unit_correct=1)
        case _:
            made.outcomes.add(label_age_days=0, correct=1)

    committer(log).commit([sent(made)], early={}, with_tick=True)

    assert tallied(log).get("fields:ungranted", 0) == (kind != "rows alone")


def test_at_none_every_upload_counts_and_a_granted_id_once() -> None:
    log = MemoryLog(1)
    door = committer(log, proof="none")
    (grant,) = GRANTS.issue(APP, 1, NOW)
    made = [unit(None), unit(grant), unit(grant, created_ms=NOW - 5 * HOUR_MS)]

    door.commit([sent(one) for one in made], early={}, with_tick=False)

    assert units_of(log) == counted(2, uploads=2)
    assert "fields:ungranted" not in tallied(log)


def test_a_change_from_none_to_grant_counts_nothing_twice() -> None:
    log = MemoryLog(1)
    (grant,) = GRANTS.issue(APP, 1, NOW)
    one = sent(unit(grant, created_ms=NOW - 5 * HOUR_MS))
    for proof in ("none", "grant", "none"):
        committer(log, proof=proof).commit([one], early={}, with_tick=False)
    assert units_of(log) == counted(1, uploads=1)


@given(st.integers(ACCEPTED_AGE_MIN_MS, 31 * DAY_MS), st.integers(0, HOUR_MS))
def test_a_grant_ends_before_its_use_is_forgotten(age_ms: int, minutes_past: int) -> None:
    issued_ms = NOW + minutes_past
    (grant,) = GRANTS.issue(APP, 1, issued_ms + HOUR_MS)  # by a door whose clock is ahead
    later_ms = issued_ms + age_ms
    found = GRANTS.spent(
        [grant], [APP], np.array([later_ms]), now_ms=later_ms, life_ms=life_ms(age_ms)
    )
    assert not found.is_granted.any()
