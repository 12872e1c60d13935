"""gRPC's strangers, byte by byte: what they are told, in which order, and how it ends."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from bench import door_frames as h2
from ingest.grpc import GrpcLimits
from ingest.http2 import PREFACE
from ingest.serve import ServeSettings
from streams.log.memory import MemoryLog
from tests.fakes.ingest_world import Running, running, upload

FEW = ServeSettings(http_port=0, grpc_port=0, unready_s=0.0)
CALLS_MAX = 32
HEADERS, SETTINGS, PING, GOAWAY = 1, 4, 6, 7


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    settings = replace(FEW, grpc=GrpcLimits(idle_s=1.0))
    with running(tmp_path, MemoryLog(), settings=settings) as made:
        yield made


def connected(server: Running) -> socket.socket:
    host, _, port = server.grpc.partition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def said_by(peer: socket.socket) -> Iterator[tuple[int, int, bytes]]:
    """Kind, stream and payload of each frame, to the end."""
    with peer.makefile("rb") as reader:
        while head := reader.read(9):
            yield head[3], int.from_bytes(head[5:]), reader.read(int.from_bytes(head[:3]))


def answered(stranger: socket.socket) -> tuple[list[int], list[int]]:
    """The streams that were answered, and the last streams of the farewells."""
    frames = [*said_by(stranger)]
    farewells = [int.from_bytes(payload[:4]) for kind, _, payload in frames if kind == GOAWAY]
    return [stream for kind, stream, _ in frames if kind == HEADERS], farewells


def test_a_greeting_says_how_many_calls_there_may_be(server: Running) -> None:
    """Or a client with 300 opens them all, and whoever serves them next refuses 200."""
    with connected(server) as phone:
        phone.sendall(PREFACE + h2.settings())

        kind, _, payload = next(said_by(phone))

    assert kind == SETTINGS
    assert payload == (3).to_bytes(2) + CALLS_MAX.to_bytes(4)


def test_calls_that_were_under_way_at_the_farewell_are_answered(server: Running) -> None:
    """A client opens as many as it may, and another for each answer, before it hears of an end."""
    streams = range(1, 4 * CALLS_MAX, 2)
    calls = [h2.call(n, "Upload", key=f"hfk_{n}", extra=b"\0\1x\1" + bytes((65,))) for n in streams]
    with connected(server) as stranger:
        stranger.sendall(PREFACE + h2.settings() + b"".join(calls))

        served, farewells = answered(stranger)

    assert served == [*streams]
    assert farewells == [(1 << 31) - 1, streams[-1]]


def test_a_hundred_wrong_keys_at_a_time_are_each_told_so(server: Running) -> None:
    def status(channel: grpc.Channel) -> grpc.StatusCode:
        with pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary("/holdfast.v1.Telemetry/Upload")(
                b"", metadata=[("authorization", "Bearer hfk_none")], timeout=20
            )
        code: grpc.StatusCode = refused.value.code()
        return code

    with (
        grpc.insecure_channel(server.grpc) as channel,
        ThreadPoolExecutor(100) as phones,
    ):
        codes = set(phones.map(lambda _: status(channel), range(100)))

    assert codes == {grpc.StatusCode.UNAUTHENTICATED}


def test_a_good_key_is_sent_on_before_what_came_after_it_is_looked_at(server: Running) -> None:
    """A farewell that named the later, refused one would leave the good one without an answer."""
    calls = h2.call(1, "Upload") + h2.call(3, "Upload", key=server.key)
    with connected(server) as stranger:
        stranger.sendall(PREFACE + h2.settings() + calls + h2.frame(HEADERS, 4, 5, bytes(9_000)))

        assert answered(stranger) == ([1], [1])


def test_a_stranger_whose_time_is_up_is_told_so(server: Running) -> None:
    """Its client opens the next call elsewhere, and does not lose one to a hang-up."""
    with connected(server) as stranger:
        stranger.sendall(PREFACE + h2.settings() + h2.call(1, "Upload"))

        assert answered(stranger) == ([1], [1])


def test_calls_with_much_metadata_are_served_in_turns(server: Running) -> None:
    """The first one too, which is looked at before anybody serves it."""
    body = upload(1).SerializeToString()

    def sent(number: int) -> bytes:
        metadata = [("authorization", f"Bearer {server.key}"), ("x", "a" * (3_000 + number))]
        receipt: bytes = channel.unary_unary("/holdfast.v1.Telemetry/Upload")(
            body, metadata=metadata, timeout=20
        )
        return receipt

    with grpc.insecure_channel(server.grpc) as channel, ThreadPoolExecutor(30) as phones:
        assert all(phones.map(sent, range(150)))


def test_a_client_that_asks_before_its_first_call_has_one_answer_to_each(tmp_path: Path) -> None:
    """Keepalive without calls: whoever has no answer hangs up, with the call that it just made.

    grpcio is not asked again: to be asked so often at a time would end the connection.
    """
    body = upload(1).SerializeToString()
    questions = [bytes((n,)) * 8 for n in range(6)]
    with (
        running(tmp_path, MemoryLog(), settings=FEW) as server,
        connected(server) as phone,
    ):
        said = said_by(phone)
        phone.sendall(PREFACE + h2.settings())
        answers = [next(said)]
        for question in questions:
            phone.sendall(h2.frame(PING, 0, 0, question))
            answers.append(next(said))
        phone.sendall(h2.frame(SETTINGS, 1, 0, b"") + h2.call(1, "Upload", key=server.key))
        phone.sendall(h2.body_frame(1, b"\0" + len(body).to_bytes(4) + body, ends=True))
        for answer in said:
            answers.append(answer)
            if b"grpc-status" in answer[2]:
                break

    assert [payload for kind, _, payload in answers if kind == PING] == questions
    assert GOAWAY not in [kind for kind, _, _ in answers]
    assert b"\x0bgrpc-status\x010" in answers[-1][2]
