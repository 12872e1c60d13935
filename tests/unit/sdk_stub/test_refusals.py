"""What deletes an upload, what keeps it, and that no upload stands in the way of others."""

from pathlib import Path

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdk_stub.buffer import UploadQueue
from sdk_stub.outbox import WAITS_ALONE, Outbox
from sdk_stub.refusals import RETRY_AFTER_MAX_S, retry_after_s
from sdk_stub.retry import Backoff
from sdk_stub.transport import HttpTransport
from tests.fakes.phone_world import Clock
from wire.errors import PermanentError, TransientError
from wire.pb import telemetry_pb2 as pb

STATUSES = [s for s in range(200, 600) if s != 200]


def _upload(number: int) -> bytes:
    return pb.UploadRequest(batch_id=bytes([number]) * 16, created_ms=5).SerializeToString()


class World:
    """An outbox over an HTTP transport whose answers are written by hand."""

    def __init__(self, folder: Path) -> None:
        """One request at a time, answered in process."""
        self.clock = Clock()
        self.answers: dict[int, httpx.Response] = {}
        self.tried: list[int] = []
        self.transport = HttpTransport("http://door", "hfk_x")
        self.transport._client = httpx.Client(
            base_url="http://door", transport=httpx.MockTransport(self._answer)
        )
        queue = UploadQueue(folder, bytes_max=10_000)
        self.outbox = Outbox(
            queue, self.transport, Backoff(100, 1000), self.clock, np.random.default_rng(1)
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        import gzip

        batch_id = pb.UploadRequest.FromString(gzip.decompress(request.content)).batch_id
        self.tried.append(batch_id[0])
        receipt = pb.Receipt(batch_id=batch_id).SerializeToString()
        return self.answers.get(batch_id[0]) or httpx.Response(200, content=receipt)


@pytest.mark.parametrize("retry_after", ["", "7", "Wed, 21 Oct 2099 07:28:00 GMT"])
def test_only_what_the_server_has_read_and_refused_is_deleted(
    tmp_path: Path, retry_after: str
) -> None:
    deleted = set()
    world = World(tmp_path)
    for status in STATUSES:
        headers = {"Retry-After": retry_after} if retry_after else {}
        world.answers[1] = httpx.Response(status, headers=headers)
        world.outbox.queue.put(_upload(1))

        world.outbox.send_due()

        if len(world.outbox.queue) == 0:
            deleted.add(status)
        world.outbox.queue.clear()
        world.clock.ms += 86_400_000

    assert deleted == (set() if retry_after else {400, 413, 415, 422})


@pytest.mark.parametrize("status", [302, 401, 403, 404, 422, 429, 500, 503])
def test_an_upload_that_is_never_taken_lets_the_others_go(tmp_path: Path, status: int) -> None:
    world = World(tmp_path)
    world.answers[1] = httpx.Response(status, headers={"Retry-After": "60"})
    for number in (1, 2, 3):
        world.outbox.queue.put(_upload(number))

    for _ in range(6):
        world.clock.ms += world.outbox.send_due() or 0

    assert {2, 3} <= set(world.tried)
    assert world.outbox.acknowledged_count == 2
    assert len(world.outbox.queue) == 1


def test_what_a_captive_portal_says_is_no_receipt(tmp_path: Path) -> None:
    world = World(tmp_path)
    pages = [b"", b"<html>welcome</html>", pb.Receipt(batch_id=b"x" * 16).SerializeToString()]
    for number, page in enumerate(pages, start=1):
        world.answers[number] = httpx.Response(200, content=page)
        world.outbox.queue.put(_upload(number))

    for _ in range(6):
        world.clock.ms += world.outbox.send_due() or 0

    assert world.outbox.acknowledged_count == 0
    assert len(world.outbox.queue) == 3


def test_an_answer_without_end_or_of_a_wrong_encoding_is_tried_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.answers[1] = httpx.Response(200, content=bytes(2 << 20))
    world.outbox.queue.put(_upload(1))

    assert world.outbox.send_due()
    assert len(world.outbox.queue) == 1


@pytest.mark.parametrize("header", ["99999999999999", "9" * 5000, "²", "-5", "1e9", "soon"])
def test_nobody_silences_a_phone_for_longer_than_a_day(header: str) -> None:
    assert 0 < retry_after_s(header) <= RETRY_AFTER_MAX_S


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["taken", "refused", "later", "alone"]), max_size=25), st.data())
def test_each_upload_ends_as_its_own_answers_say(
    tmp_path_factory: pytest.TempPathFactory, ends: list[str], drawn: st.DataObject
) -> None:
    """However answers mix, each upload that is not refused is acknowledged once."""
    clock, taken = Clock(), []
    refusals = [drawn.draw(st.integers(0, 3)) for _ in ends]

    class Door:
        def send(self, upload: bytes) -> pb.Receipt:
            batch_id = pb.UploadRequest.FromString(upload).batch_id
            number = batch_id[0]
            if ends[number] == "refused":
                raise PermanentError("refused", "")
            if ends[number] in {"later", "alone"} and refusals[number] > 0:
                refusals[number] -= 1
                code = WAITS_ALONE if ends[number] == "alone" else "try_again"
                raise TransientError(code, "", retry_after_s=number)
            taken.append(number)
            return pb.Receipt(batch_id=batch_id)

    outbox = Outbox(
        UploadQueue(tmp_path_factory.mktemp("queue"), bytes_max=100_000),
        Door(),
        Backoff(10, 50),
        clock,
        np.random.default_rng(1),
    )
    for number in range(len(ends)):
        outbox.queue.put(_upload(number))
    while (wait_ms := outbox.send_due()) is not None:
        assert wait_ms > 0
        clock.ms += wait_ms

    assert sorted(taken) == [i for i, end in enumerate(ends) if end != "refused"]
    assert outbox.refused_count == ends.count("refused")
