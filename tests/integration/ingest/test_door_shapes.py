"""Whatever strangers send in whatever pieces: no door fails or hangs, and the phone beside them
gets its receipt.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from urllib.parse import urlsplit

import numpy as np
import pytest

from bench.door_shapes import Door, shapes
from ingest.grpc import GrpcLimits
from streams.log.memory import MemoryLog
from tests.fakes.ingest_world import Running, running, upload
from tests.fakes.phone_http import CLIENT, post
from tests.fakes.strangers import failed, play
from tests.integration.ingest.test_doors import TIGHT

_SHAPES = 240
_AT_A_TIME = 24


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    grpc = GrpcLimits(handshake_s=1.0, message_s=1.0, idle_s=1.0, age_s=2.0, age_grace_s=1.0)
    connections = replace(TIGHT.connections, keep_alive_s=1.0)
    settings = replace(TIGHT, grpc=grpc, connections=connections)
    with running(tmp_path_factory.mktemp("doors"), MemoryLog(1), settings=settings) as up:
        yield up


def test_no_shape_fails_or_hangs_a_door(doors: Running) -> None:
    rng = np.random.default_rng(20)
    ports = {
        Door.HTTP: urlsplit(doors.http).port or 0,
        Door.GRPC: int(doors.grpc.rpartition(":")[2]),
        Door.HEALTH: urlsplit(doors.health).port or 0,
    }
    made = shapes(rng, _SHAPES, tuple(ports))
    for at in range(0, _SHAPES, _AT_A_TIME):
        batch = made[at : at + _AT_A_TIME]
        with ThreadPoolExecutor(_AT_A_TIME) as strangers:
            answers = strangers.map(lambda shape: play(shape, ports[shape.door]), batch)
            sent = upload()
            assert post(doors, sent.SerializeToString()).status_code == 200
            for shape, answer in zip(batch, answers, strict=True):
                assert not failed(answer), (shape.kind, shape.door, answer[:200])
        assert CLIENT.get(doors.health + "/livez").status_code == 200
