"""Every batch sent three times, over HTTP and over gRPC, is counted once (promises 3 and 6)."""

import time
from collections.abc import Iterator

import grpc
import httpx
import pytest

from holdfast.clock import now_ms
from holdfast.manifests import Model
from sdk_stub.fleet import FleetSettings
from sdk_stub.fleet_runner import RunSettings, run_fleet
from sdk_stub.sender import SendCounts
from store import queries
from tests.fakes.ingest_world import upload
from tests.fakes.node_world import RunningNode, running_node, until
from wire.pb import telemetry_pb2 as pb

TIMES = 3
REGIONS = ("US", "DE")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    models = (Model("keyboard", "next-word", "1.0", "2.0", 0.25),)
    with running_node(tmp_path_factory.mktemp("node"), models, regions=REGIONS) as made:
        yield made


def sent_thrice(node: RunningNode, *, grpc_share: float, seconds: float = 3.0) -> SendCounts:
    """A small healthy fleet's counts; returns when all copies are acknowledged."""
    end_s = time.monotonic() + seconds
    settings = RunSettings(
        base_url=node.http,
        keys=node.keys,
        seed=1 + int(grpc_share),  # equal seeds would draw equal batch ids
        fleet=FleetSettings(phones=1500, regions=REGIONS),
        grpc_target=node.grpc,
        grpc_share=grpc_share,
        send_times=TIMES,
        poll_ms=250,
    )
    return run_fleet(
        settings, now_ms=now_ms, sleep=time.sleep, stop=lambda: time.monotonic() > end_s
    )


def balance(node: RunningNode) -> dict[str, int]:
    return queries.mass_balance(node.store())


@pytest.mark.parametrize("grpc_share", [0.0, 1.0], ids=["http", "grpc"])
def test_batches_sent_three_times_are_counted_once(node: RunningNode, grpc_share: float) -> None:
    until(lambda: balance(node)["difference"] == 0, "balance")
    before, stored_before = balance(node), queries.events_stored(node.store())

    counts = sent_thrice(node, grpc_share=grpc_share)

    rows = counts.rows_acknowledged
    assert counts.rows_sent == rows > 1000
    assert (counts.acknowledged, counts.duplicates) == (counts.sent, (TIMES - 1) * counts.sent)
    until(
        lambda: balance(node)["received"] - before["received"] >= TIMES * rows, "all rows in store"
    )
    gained = {name: total - before[name] for name, total in balance(node).items()}
    assert gained == {
        "received": TIMES * rows,
        "aggregated": rows,
        "deduplicated": (TIMES - 1) * rows,
        "rejected": 0,
        "dead_lettered": 0,
        "difference": 0,
    }
    assert queries.events_stored(node.store()) - stored_before == rows


def test_every_log_minute_balances_at_rest(node: RunningNode) -> None:
    until(lambda: balance(node)["received"] > 0, "row in the store")

    minutes = node.store().rows("SELECT minute, difference FROM hf.ingest_quality")

    assert minutes
    assert [difference for _, difference in minutes] == [0] * len(minutes)


def test_a_batch_that_changes_transport_between_tries_is_counted_once(node: RunningNode) -> None:
    before = balance(node)
    sent = upload(7)
    sent.context.region, sent.context.rollout_id, sent.context.step = "DE", "", 0
    sent.context.arm = pb.ARM_UNSPECIFIED
    body, bearer = sent.SerializeToString(), f"Bearer {node.keys['keyboard']}"

    answer = httpx.post(
        f"{node.http}/v1/telemetry",
        content=body,
        headers={"authorization": bearer, "content-type": "application/x-protobuf"},
    )
    with grpc.insecure_channel(node.grpc) as channel:
        call = channel.unary_unary("/holdfast.v1.Telemetry/Upload")
        receipt = pb.Receipt.FromString(call(body, metadata=(("authorization", bearer),)))

    assert pb.Receipt.FromString(answer.content) == receipt
    assert receipt.accepted_rows == 7
    until(lambda: balance(node)["received"] - before["received"] == 14, "second copy")
    assert balance(node)["aggregated"] - before["aggregated"] == 7
    assert balance(node)["deduplicated"] - before["deduplicated"] == 7
