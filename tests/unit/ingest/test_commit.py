"""A commit group: what is received is accepted or refused, and nothing else is kept."""

import dataclasses
import json
from collections.abc import Callable

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from ingest import commit
from ingest.commit import Committer, Sent
from ingest.receipt import Receipt, UploadRefused
from ingest.vocabulary import Admitted, Vocabulary
from streams.log.memory import MemoryLog
from tests.fakes.ingest_world import (
    APP,
    Declared,
    StallingLog,
    desired,
    kept_id,
    segments,
    tallied,
    upload,
)
from wire.context import Context
from wire.decode import Encoding, decode_group
from wire.errors import PermanentError, TransientError
from wire.pb import telemetry_pb2
from wire.pb.registry import METRICS
from wire.segment import Kind
from wire.times import DAY_MS

NOW = 1_800_000_000_000
Upload = telemetry_pb2.UploadRequest


def committer(log: MemoryLog) -> Committer:
    return Committer(log=log, desired=Declared(), now_ms=lambda: NOW, writer="w")


def sent(made: Upload | bytes, app: str = APP) -> Sent:
    body = made.SerializeToString() if isinstance(made, Upload) else made
    return Sent(Encoding.PROTOBUF, body, app)


values = st.one_of(
    st.floats(width=32), st.sampled_from([0.0, 600_000.0, 600_001.0, float("nan"), float("inf")])
)
rows = st.tuples(values, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 3))


@st.composite
def uploads(draw: st.DrawFn) -> bytes:
    n = draw(st.integers(0, 4))
    made = upload(0, now_ms=NOW, rollout=draw(st.booleans()))
    made.n = n
    made.batch_id = draw(st.binary(min_size=15, max_size=16))
    made.created_ms += draw(st.sampled_from([0, 0, 0, 10**8, -8 * DAY_MS]))
    made.context.region = draw(st.sampled_from(["DE", "DE", "DE", "a street"]))
    for latency, sent_bytes, offset, bet in draw(st.lists(rows, min_size=n, max_size=n)):
        made.latency_ms.append(latency)
        made.bytes_sent.append(sent_bytes)
        made.event_offset_ms.append(offset)
        made.unit_bet.append(bet)
    for day in draw(st.lists(st.integers(0, 8), max_size=2)):
        made.unit_days.add(day=day, energy_mj=draw(values), data_bytes=1)
    for count in draw(st.lists(st.integers(0, 2**32 - 1), max_size=2)):
        made.outcomes.add(correct=count, unit_correct=draw(st.integers(0, 2)))
    return made.SerializeToString()


@given(st.lists(st.one_of(uploads(), st.binary(max_size=30)), max_size=6), st.integers(1, 3))
def test_accepted_and_refused_add_up_to_received(bodies: list[bytes], partitions: int) -> None:
    log = MemoryLog(partitions)
    writer = committer(log)

    outcomes = writer.commit([sent(body) for body in bodies], early={}, with_tick=False)
    writer.commit([], early={}, with_tick=True)

    assert not isinstance(outcomes, TransientError)
    for outcome in outcomes:
        if isinstance(outcome, Receipt):
            refused = sum(
                r.rows for r in outcome.refused if r.field not in ("unit_days", "outcomes")
            )
            assert outcome.received_rows == outcome.accepted_rows + refused
    tallies, kept = tallied(log), [s for s in segments(log) if s.uploads]
    for what, held in (
        ("uploads", sum(len(s.uploads["n"]) for s in kept)),
        ("rows", sum(int(s.uploads["n"].sum()) for s in kept)),
        ("units", sum(len(s.unit_days.get("day", ())) for s in kept)),
        ("feedback", sum(len(s.feedback.get("correct", ())) for s in kept)),
    ):
        rejected = sum(c for name, c in tallies.items() if name.startswith(f"{what}:rejected:"))
        assert tallies.get(f"{what}:received", 0) == held + rejected, what
    assert tallies.get("uploads:received", 0) == len(bodies)
    assert sum(o.accepted_rows for o in outcomes if isinstance(o, Receipt)) == sum(
        int(s.uploads["n"].sum()) for s in kept
    )
    assert writer.totals == tallies


@given(st.lists(uploads(), min_size=1, max_size=6))
def test_a_group_gives_what_its_uploads_give_alone(bodies: list[bytes]) -> None:
    together, alone = MemoryLog(1), MemoryLog(1)
    group = [sent(body) for body in bodies]

    outcomes = committer(together).commit(group, early={}, with_tick=False)
    writer = committer(alone)
    single = [writer.commit([one], early={}, with_tick=False) for one in group]

    assert [str(o) for o in outcomes] == [str(s[0]) for s in single]  # type: ignore[index,union-attr]
    for table in ("uploads", "rows"):
        for name in ("batch_id", "n", "event_minute", "unit_bet"):
            assert column(together, table, name) == column(alone, table, name)


def column(log: MemoryLog, table: str, name: str) -> list[object]:
    found: list[object] = []
    for segment in segments(log):
        values = getattr(segment, table).get(name)
        found += [] if values is None else values.tolist()
    return found


def test_an_upload_goes_to_the_partition_of_its_batch_id() -> None:
    log = MemoryLog(4)
    made = [upload(1, now_ms=NOW) for _ in range(40)]

    committer(log).commit([sent(u) for u in made], early={}, with_tick=False)

    for u in made:
        partition = int.from_bytes(u.batch_id[:4], "little") % 4
        assert kept_id(u) in b"".join(
            ids for _, ids in log.batch_ids(partition, before=9, since_ms=0)
        )


def test_a_column_that_nobody_sent_is_left_out() -> None:
    log = MemoryLog(1)
    made = upload(3, now_ms=NOW)
    del made.energy_mj[:]

    committer(log).commit([sent(made)], early={}, with_tick=False)

    (segment,) = segments(log)
    assert "energy_mj" not in segment.rows
    assert segment.rows["latency_ms"].tolist() == [1.0, 2.0, 3.0]


def test_tallies_of_a_failed_append_wait_for_the_next_record() -> None:
    log = StallingLog()
    writer = committer(log)
    log.refusal = TransientError("log_full", "full")

    failed = writer.commit(
        [sent(b"\xff"), sent(upload(1, now_ms=NOW))], early={"a": 1}, with_tick=True
    )
    log.refusal = None
    writer.commit([], early={}, with_tick=True)

    assert isinstance(failed, TransientError)
    assert tallied(log) == {"a": 1}  # the clients come again, and are counted then


def test_refused_uploads_are_tallied_with_the_next_record() -> None:
    log = MemoryLog(2)
    writer = committer(log)

    writer.commit([sent(b"\xff")], early={"uploads:received": 1}, with_tick=False)
    assert segments(log) == []
    writer.commit([sent(upload(2, now_ms=NOW))], early={}, with_tick=False)

    assert [s.kind for s in segments(log)] == [Kind.TELEMETRY]
    assert tallied(log) == {
        "uploads:received": 3,
        "uploads:rejected:malformed_protobuf": 1,
        "rows:received": 2,
    }


def test_an_upload_that_breaks_the_decoder_does_not_take_its_neighbours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decode = decode_group

    def fragile(bodies: list[tuple[Encoding, bytes]]) -> object:
        if any(body == b"poison" for _, body in bodies):
            raise RuntimeError
        return decode(bodies)

    monkeypatch.setattr(commit, "decode_group", fragile)
    log = MemoryLog(2)
    group = [sent(upload(1, now_ms=NOW)) for _ in range(5)]
    group[3] = sent(b"poison")

    outcomes = committer(log).commit(group, early={}, with_tick=True)

    assert not isinstance(outcomes, TransientError)
    assert [isinstance(o, UploadRefused) for o in outcomes] == [False, False, False, True, False]
    assert isinstance(outcomes[3], UploadRefused)
    assert outcomes[3].error.code == "undecodable"
    assert tallied(log)["uploads:received"] == 5
    assert sum(int(s.uploads["n"].sum()) for s in segments(log) if s.uploads) == 4


def test_feedback_and_unit_days_keep_their_upload() -> None:
    log = MemoryLog(1)
    first, second = upload(1, now_ms=NOW), upload(1, now_ms=NOW)
    second.unit_days.add(day=1, errored=True, energy_mj=5, data_bytes=6)
    second.outcomes.add(label_age_days=2, correct=3, incorrect=1, unit_correct=1)

    committer(log).commit([sent(first), sent(second)], early={}, with_tick=False)

    (segment,) = segments(log)
    assert {k: v.tolist() for k, v in segment.unit_days.items()} == {
        "upload": [1], "day": [1], "errored": [1], "crashed": [0],
        "energy_mj": [5.0], "data_bytes": [6.0],
    }  # fmt: skip
    assert segment.feedback["upload"].tolist() == [1]
    assert segment.feedback["unit_correct"].tolist() == [1]


@given(st.lists(st.sampled_from([0, 1, 3, 7, 2]), max_size=30), st.booleans())
def test_one_unit_per_day_and_one_label_per_upload_however_often_they_are_said(
    days: list[int], as_json: bool
) -> None:
    log = MemoryLog(1)
    made = upload(1, now_ms=NOW)
    for number, day in enumerate(days):
        made.unit_days.add(day=day, crashed=True, energy_mj=number)
        made.outcomes.add(label_age_days=number, incorrect=1, unit_incorrect=1)
    body = sent(made) if not as_json else Sent(Encoding.JSON, as_json_upload(made), APP)

    (receipt,) = committer(log).commit([body], early={}, with_tick=False)  # type: ignore[misc]

    (segment,) = segments(log)
    possible = [d for d in days if d != 2]
    assert isinstance(receipt, Receipt)
    refused = {r.code: r.rows for r in receipt.refused}
    assert sorted(segment.unit_days.get("day", ())) == sorted(set(possible))
    assert refused.get("unit_day_repeated", 0) == len(possible) - len(set(possible))
    assert refused.get("unit_day_out_of_bounds", 0) == days.count(2)
    assert list(segment.feedback.get("unit_incorrect", ())) == [1] * bool(days)
    assert refused.get("label_unit_repeated", 0) == max(len(days) - 1, 0)


def as_json_upload(made: Upload) -> bytes:
    """The same upload through the readable door."""
    said = json_format.MessageToDict(
        made, preserving_proto_field_name=True, use_integers_for_enums=False
    )
    context = said["context"]
    for name in ("platform", "device_tier", "network", "runtime", "placement", "arm"):
        context[name] = context[name].lower()
    columns = {
        name: said[name]
        for name in ("event_offset_ms", "unit_bet", *(m.column for m in METRICS))
        if name in said
    }
    return json.dumps(
        {
            "batch_id": made.batch_id.hex(),
            "created_ms": made.created_ms,
            "context": context,
            "columns": columns,
            "unit_days": [{"day": 0, **day} for day in said.get("unit_days", [])],
            "outcomes": [
                {k: int(v) for k, v in outcome.items()} for outcome in said.get("outcomes", [])
            ],
        }
    ).encode()


CONTEXT = Context(
    APP,
    "1.0.0",
    "android",
    14,
    "mid",
    "DE",
    "wifi",
    "next-word",
    "1.0",
    "tflite",
    "device",
    "0.1.0",
)
WRONG: list[tuple[str, object]] = [
    ("app_id", "x"), ("platform", ""), ("os_major", 10**9),
    ("os_major", -1), ("device_tier", "x"), ("network", ""), ("model_id", "scene"),
    ("model_version", "3.0"), ("runtime", ""), ("placement", ""),
    ("epsilon", float("nan")), ("epsilon", -1.0),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_name_that_is_not_registered_is_refused_with_those_that_are(
    name: str, value: object
) -> None:
    change: Callable[..., Context] = dataclasses.replace
    found = Vocabulary(desired()).check(change(CONTEXT, **{name: value}))

    assert isinstance(found, PermanentError)
    assert found.field == f"context.{name}"
    assert found.accepted


@pytest.mark.parametrize("version", ["1.0", "2.0", "0.9"])
def test_stable_candidate_and_known_versions_are_accepted(version: str) -> None:
    found = Vocabulary(desired()).check(dataclasses.replace(CONTEXT, model_version=version))

    assert isinstance(found, Admitted)


def test_a_standing_rollout_needs_an_arm_and_a_step_that_exists() -> None:
    vocabulary = Vocabulary(desired())
    inside = dataclasses.replace(CONTEXT, rollout_id="next-word-2", step=3, arm="candidate")

    found = vocabulary.check(inside)
    without_arm = vocabulary.check(dataclasses.replace(inside, arm=""))
    beyond = vocabulary.check(dataclasses.replace(inside, step=4))

    assert isinstance(found, Admitted)
    assert (found.context, found.in_rollout) == (inside, True)
    assert isinstance(without_arm, PermanentError)
    assert isinstance(beyond, PermanentError)


def test_a_stranger_cannot_fill_the_cache() -> None:
    vocabulary = Vocabulary(desired())

    for i in range(20_000):
        vocabulary.check(dataclasses.replace(CONTEXT, region=str(i)))

    assert len(vocabulary._cache) <= 16_384


def test_what_is_kept_of_a_batch_id_is_the_hour_of_its_making_and_a_digest() -> None:
    made = [upload(1, now_ms=NOW + hour * 3_600_000) for hour in (0, 5, 2)]

    kept = [kept_id(u) for u in made]

    assert [int.from_bytes(k[:2]) for k in kept] == [
        u.created_ms // 3_600_000 % 65_536 for u in made
    ]
    assert len({k[2:] for k in kept}) == 3
    assert not any(
        u.batch_id[i : i + 4] in k for u, k in zip(made, kept, strict=True) for i in range(13)
    )
    assert [kept_id(u) for u in made] == kept  # a retry is recognised
