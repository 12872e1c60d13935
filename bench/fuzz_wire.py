"""Mutated bodies over every road into a server of its own, several at a time.

Each must be answered, and by what is planned: HTTP's 2xx, 4xx or 503, gRPC's statuses of
`ingest.status`. In a gRPC stream the good messages on both sides get their receipts, and so do the
good uploads that go in between over HTTP.
"""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Final

import grpc

from bench.bodies_live import Server, served
from bench.fuzz_inputs import mutated, seeds
from bench.honest_bodies import honest
from bench.hostile_bodies import Body
from bench.roads import GrpcRoad, HttpRoad, Road, all_roads, is_planned
from bench.tally import Tally
from wire.decode import Encoding

_SENDERS: Final = 4
_GOOD_EVERY: Final = 100
_ENCODINGS: Final = ("GZIP", "br", "gzip, gzip", "x-gzip", "deflate", "identity;q=1", "zstd")
_METADATA: Final = (
    (),
    (("authorization", "Bearer"),),
    (("authorization", "Bearer " + "x" * 2_000),),
    (("grpc-internal-encoding-request", "deflate"),),
    (("x-strange-bin", bytes(range(256))),),
    tuple((f"k{i}", "v" * 20) for i in range(60)),
)


def over_the_wire(count: int, seed: int, until_s: float) -> Tally:
    """So many bodies, or until the time is over."""
    tally = Tally()
    with served() as server:
        senders = [
            threading.Thread(
                target=_send, args=(server, count // _SENDERS, seed + i, until_s, tally)
            )
            for i in range(_SENDERS)
        ]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        if server.popen.poll() is not None:
            tally.fail("the server ended", Body("last", Encoding.JSON, "identity", b""))
    return tally


def _send(server: Server, count: int, seed: int, until_s: float, tally: Tally) -> None:
    rng = random.Random(seed)  # to be told again, not to be secret
    now_ms = time.time_ns() // 1_000_000
    good = honest(Encoding.PROTOBUF, "identity", 8, now_ms)
    stream = mutated(seeds(now_ms, rng), rng)
    with ExitStack() as opened:
        roads = [opened.enter_context(closing(road)) for road in _roads(server, good.wire)]
        for i in range(count):
            if time.monotonic() > until_s:
                break
            road, body = rng.choice(roads), next(stream)
            if isinstance(road, HttpRoad) and rng.random() < 0.03:
                body = replace(body, content_encoding=rng.choice(_ENCODINGS))
            began = time.monotonic()
            status = road.send(body)
            tally.note(status, time.monotonic() - began)
            if not is_planned(status):
                tally.fail(status, body)
            if i % _GOOD_EVERY == 0 and (status := roads[0].send(good)) != "200":
                tally.fail(f"a good neighbour: {status}", body)


def _roads(server: Server, good: bytes) -> Iterator[Road]:
    port, key = server.told["grpc_port"], server.told["key"]
    for _ in range(2):  # bodies matter more than what is around them
        for _, road in all_roads(server.told, key, good):
            yield road
    yield GrpcRoad(port, key, compression=grpc.Compression.Gzip)
    yield GrpcRoad(port, key, good=good, compression=grpc.Compression.Gzip)
    for metadata in _METADATA:
        yield GrpcRoad(port, key, metadata=metadata)
    yield GrpcRoad(port, "no such key", good=good)
