"""Over the wire: uploads of names that are not registered yet, and refusals that are to be kept."""

from collections.abc import Callable

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from streams.log.memory import MemoryLog
from tests.fakes.ingest_world import Running, bytes_of, changed, kept_id, segments, upload
from tests.fakes.phone_http import bytes_ids, post
from tests.integration.ingest.test_grpc import call
from wire.pb import telemetry_pb2 as pb

STRANGER = "my home is 52.5,13.4"


@pytest.mark.parametrize("name", ["app_version", "sdk_version", "region"])
def test_a_name_of_tomorrow_is_taken_as_other_outside_of_the_rollout(
    server: Running, log: MemoryLog, name: str
) -> None:
    sent = upload(4)
    setattr(sent.context, name, STRANGER)
    counter = f"fields:unregistered_{name}"
    before = server.receiver.totals().get(counter, 0)

    answer = post(server, sent)

    assert answer.status_code == 200
    receipt = pb.Receipt.FromString(answer.content)
    assert receipt.accepted_rows == 4
    (mine,) = [s for s in segments(log) if s.uploads and kept_id(sent) in bytes_ids(s)]
    at = bytes_ids(mine).index(kept_id(sent))
    context = mine.contexts[mine.uploads["context"][at]]
    assert getattr(context, name) == "other"
    assert (context.rollout_id, context.arm) == ("", "")
    assert (mine.uploads["enrolled"][at], mine.uploads["enrolled_ms"][at]) == (0, 0)
    assert server.receiver.totals()[counter] == before + 1
    held = bytes_of(log)
    assert STRANGER.encode() not in held


def set_in_context(name: str, value: str) -> Callable[[], bytes]:
    return lambda: changed(lambda u: setattr(u.context, name, value))


KEPT = {
    "no key": (set_in_context("region", "DE"), {"authorization": ""}, 401),
    "a key that was revoked": (
        set_in_context("region", "DE"), {"authorization": "Bearer hfk_00000000_" + "x" * 43}, 401),
    "another app's key": (set_in_context("app_id", "camera"), {}, 403),
    "a model of tomorrow": (set_in_context("model_id", "next"), {}, 422),
    "a version of tomorrow": (set_in_context("model_version", "3.0"), {}, 422),
}  # fmt: skip


@pytest.mark.parametrize("what", KEPT)
def test_a_refusal_that_a_person_will_undo_says_when_to_come_back(
    server: Running, what: str
) -> None:
    make, headers, status = KEPT[what]

    answer = post(server, make(), **headers)

    assert (answer.status_code, answer.headers["retry-after"]) == (status, "3600")


def test_a_refusal_for_good_does_not(server: Running) -> None:
    answer = post(server, changed(lambda u: u.latency_ms.append(1)))

    assert answer.status_code == 400
    assert "retry-after" not in answer.headers


def test_over_grpc_it_says_so_too(server: Running) -> None:
    def waits(make: Callable[[], bytes]) -> list[int]:
        with pytest.raises(grpc.RpcError) as refused:
            call(server, make())
        status = rpc_status.from_call(refused.value)
        assert status is not None
        found = []
        for detail in status.details:
            info = error_details_pb2.RetryInfo()
            if detail.Unpack(info):
                found.append(info.retry_delay.seconds)
        return found

    assert waits(set_in_context("model_version", "3.0")) == [3600]
    assert waits(set_in_context("app_id", "camera")) == [3600]
    assert waits(lambda: changed(lambda u: u.latency_ms.append(1))) == []
