"""Over every road: what came and was answered is let go, be it taken or refused."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from bench.bodies_live import Server, served
from bench.fuzz import NOW_MS
from bench.honest_bodies import honest
from bench.hostile_bodies import Body, json_head
from bench.roads import all_roads
from wire.decode import Encoding

BODY_BYTES = 900_000
TIMES = 60
GROWN_MB_MAX = 25.0  # what allocators keep; all that was sent is 54
GOOD = honest(Encoding.PROTOBUF, "identity", 8, NOW_MS).wire
JUNK = b"\xa2\x06\x04abcd"  # field 100
BODIES = {
    "fields that are not in the schema": (Encoding.PROTOBUF, GOOD + JUNK * (BODY_BYTES // 7)),
    "not protobuf": (Encoding.PROTOBUF, b"\xff" * BODY_BYTES),
    "strange text": (Encoding.JSON, json_head(NOW_MS) + b',"a":"' + b"a" * BODY_BYTES + b'"}'),
    "not JSON": (Encoding.JSON, b'{"a":' + b" " * BODY_BYTES),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with served() as up:
        yield up


@pytest.mark.parametrize("what", BODIES)
def test_a_road_keeps_nothing_of_what_it_answered(server: Server, what: str) -> None:
    encoding, wire = BODIES[what]
    body = Body(what, encoding, "identity", wire)
    grown = {}

    for name, road in all_roads(server.told, server.told["key"], GOOD):
        with closing(road):
            road.send(body)
            before_mb = server.spent().rss_mb
            for _ in range(TIMES):
                road.send(body)
            grown[name] = server.spent().rss_mb - before_mb

    assert {name: mb for name, mb in grown.items() if mb > GROWN_MB_MAX} == {}
