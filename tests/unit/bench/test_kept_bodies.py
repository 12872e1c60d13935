"""A body that has been judged is let go at once: nothing that stays behind holds it."""

import gc
import json
import sys
from collections.abc import Iterator

import pytest

from bench.bodies import Road
from bench.fuzz import NOW_MS
from bench.hostile_bodies import SMALL_BYTES, bodies, json_head
from bench.uploads import APP
from ingest.commit import Sent
from ingest.receipt import UploadRefused
from wire.decode import Encoding


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def held_after(road: Road, sent: Sent) -> tuple[int, bool]:
    """How many references to it are new once it was judged, and whether it was refused."""
    before = sys.getrefcount(sent) + sys.getrefcount(sent.body)
    outcome = road.outcomes([sent])[0]
    is_refused = isinstance(outcome, UploadRefused)
    del outcome
    return sys.getrefcount(sent) + sys.getrefcount(sent.body) - before, is_refused


def test_no_hostile_shape_is_kept() -> None:
    road = Road(NOW_MS)
    shapes = [b for b in bodies(NOW_MS - 1_000, SMALL_BYTES) if b.content_encoding == "identity"]
    found = [held_after(road, Sent(b.encoding, b.wire, APP)) for b in shapes]

    assert sum(is_refused for _, is_refused in found) >= 150
    assert [b.name for b, (held, _) in zip(shapes, found, strict=True) if held] == []


@pytest.mark.parametrize(
    "said", ["app_id", "model_id", "model_version", "runtime", "platform", "network", "os_major"]
)
def test_an_upload_that_says_what_is_not_registered_is_not_kept(said: str) -> None:
    road, upload = Road(NOW_MS), json.loads(json_head(NOW_MS) + b"}")
    upload["context"][said] = 999_999 if said == "os_major" else "x7"
    body = json.dumps(upload).encode()

    held, is_refused = held_after(road, Sent(Encoding.JSON, body, APP))

    assert (held, is_refused) == (0, True)
