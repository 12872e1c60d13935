"""Grants over HTTP: what a phone asks for, gets, spends, and is refused without losing anything."""

import base64
import dataclasses
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from ingest.attest import SharedWord
from ingest.batch_key import BatchKey
from ingest.grant_quota import GrantLimits
from ingest.receive import ReceiveSettings
from ingest.serve import ServeSettings
from sdk_stub.batch import Device, Inference
from sdk_stub.client import Client, ClientSettings
from sdk_stub.transport import HttpTransport
from streams.log.memory import MemoryLog
from tests.fakes.ingest_world import APP, Declared, Running, clock_ms, desired, running, tallied
from tests.fakes.phone_http import CLIENT
from tests.unit.ingest.test_grants import units_of
from wire.times import HOUR_MS

DEVICE = Device(APP, "1.0.0", "android", 14, "mid", "DE", "tflite")


@contextmanager
def granting(
    folder: Path,
    log: MemoryLog | None = None,
    *,
    key: bytes = b"k" * 32,
    proof: str = "grant",
    **settings: object,
) -> Iterator[Running]:
    state = desired(share=0.5)
    declared = Declared(
        dataclasses.replace(state, policy=dataclasses.replace(state.policy, proof=proof))
    )
    chosen = ServeSettings(http_port=0, grpc_port=0, unready_s=0.0, **settings)  # type: ignore[arg-type]
    receive = ReceiveSettings(batch_key=BatchKey(key))
    with running(
        folder, log or MemoryLog(1), receive=receive, settings=chosen, declared=declared
    ) as up:
        yield up


def ask(server: Running, body: bytes = b"", key: str | None = None) -> httpx.Response:
    headers = {"authorization": f"Bearer {server.key if key is None else key}"}
    return CLIENT.post(server.http + "/v1/grants", content=body, headers=headers)


def test_a_phone_gets_as_many_as_it_asks_for_until_its_network_has_had_its_share(
    tmp_path: Path,
) -> None:
    with granting(tmp_path, grants=GrantLimits(10, 1e4)) as server:
        first, second, third = ask(server), ask(server, b'{"count": 5}'), ask(server)
        seen = CLIENT.get(server.health + "/metrics").text

    given = first.json()
    assert len(set(given["grants"])) == 8
    assert all(len(bytes.fromhex(grant)) == 16 for grant in given["grants"])
    assert given["expires_ms"] > clock_ms() + 24 * HOUR_MS
    assert len(second.json()["grants"]) == 2
    assert (third.status_code, third.json()["code"]) == (429, "grants_exhausted")
    assert int(third.headers["retry-after"]) > 0
    assert "holdfast_ingest_grants_given_total 10.0" in seen
    assert "holdfast_ingest_grants_refused_total 1.0" in seen


@pytest.mark.parametrize(
    ("body", "key", "status", "code"),
    [
        (b"", "hfk_00000000_nobody", 401, "key_unknown"),
        (b'{"count": 0}', None, 400, "grant_ask_malformed"),
        (b'{"count": 17}', None, 400, "grant_ask_malformed"),
        (b"\xff", None, 400, "grant_ask_malformed"),
        (b"[" * 20_000, None, 400, "grant_ask_malformed"),
        (json.dumps({"attestation": "x" * 40_000}).encode(), None, 413, "body_too_large"),
        (b'{"attestation": "wrong"}', None, 403, "attestation_refused"),
    ],
)
def test_a_bad_question_is_told_what_would_be_accepted(
    tmp_path: Path, body: bytes, key: str | None, status: int, code: str
) -> None:
    with granting(tmp_path, attestor=SharedWord("right")) as server:
        refused = ask(server, body, key)
        good = ask(server, b'{"attestation": "right"}')

    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert good.status_code == 200


def test_doors_without_a_common_key_give_none_and_say_so(tmp_path: Path) -> None:
    with granting(tmp_path, key=b"") as server:
        refused = ask(server)
    assert (refused.status_code, refused.json()["code"]) == (503, "grants_without_key")
    assert "retry-after" in refused.headers


@contextmanager
def phone(server: Running, folder: Path, *, asks: bool, word: str = "") -> Iterator[Client]:
    transport = HttpTransport(server.http, server.key)
    answer = CLIENT.get(server.http + "/v1/releases/keys").json()
    settings = ClientSettings(
        DEVICE, folder, base64.b64decode(answer["keys"][0]["public_key"]), attest=lambda: word
    )
    made = Client(
        settings,
        transport,
        transport,
        now_ms=clock_ms,
        rng=np.random.default_rng(3),
        grants=transport if asks else None,
    )
    with closing(transport):
        made.grant()
        made.refresh_releases()
        yield made


def live(client: Client) -> None:
    """Join the rollout, run until it has bet, and send what there is."""
    client.download_became_possible("next-word")
    client.downloaded("next-word")
    loads = client.version_to_load("next-word")
    assert loads is not None
    for _ in range(60):
        client.record(Inference("next-word", loads.version, {"latency_ms": 5.0}))
    client.flush()
    client.send()


def test_the_reference_phone_counts_with_grants_and_without_them_its_rows_alone(
    tmp_path: Path,
) -> None:
    log = MemoryLog(1)
    with granting(tmp_path / "server", log) as server:
        with phone(server, tmp_path / "one", asks=True) as client:
            live(client)
            left = len(client.outbox.queue)
        first, ungranted = units_of(log), tallied(log).get("fields:ungranted", 0)
        with phone(server, tmp_path / "two", asks=False) as client:
            live(client)

    assert (first["enrolled"], first["bets"]) == (1, 1)
    assert (left, ungranted) == (0, 0)
    both = units_of(log)
    assert both["rows"] > first["rows"]
    assert both == first | {"rows": both["rows"]}
    assert tallied(log)["fields:ungranted"] == 2


def test_what_waits_for_a_grant_goes_out_when_none_is_needed_any_more(tmp_path: Path) -> None:
    log, closed = MemoryLog(1), SharedWord("right")
    with (
        granting(tmp_path / "server", log, attestor=closed) as server,
        phone(server, tmp_path / "phone", asks=True, word="wrong") as client,
    ):
        live(client)
        waiting = len(client.outbox.queue)
    with (
        granting(tmp_path / "server", log, attestor=closed, proof="none") as server,
        phone(server, tmp_path / "phone", asks=True, word="wrong") as client,
    ):
        client.send()
        left = len(client.outbox.queue)

    assert waiting >= 2  # its enrolment and its bet
    assert left == 0
    assert units_of(log) == {"enrolled": 1, "bets": 1, "days": 0, "labels": 0, "rows": 60}


def test_a_phone_without_a_unit_takes_no_grant_of_its_network(tmp_path: Path) -> None:
    with (
        granting(tmp_path / "server", grants=GrantLimits(5, 1e4)) as server,
        phone(server, tmp_path / "phone", asks=True) as client,
    ):
        loads = client.version_to_load("next-word")
        assert loads is not None
        client.record(Inference("next-word", loads.version, {"latency_ms": 5.0}))
        client.flush()
        client.send()
        sent = client.outbox.acknowledged_count
        left = ask(server, b'{"count": 16}').json()["grants"]

    assert sent == 1
    assert len(left) == 5


def test_a_phone_that_gets_no_grant_keeps_what_counts_and_sends_the_rest(tmp_path: Path) -> None:
    log = MemoryLog(1)
    with granting(tmp_path / "server", log, attestor=SharedWord("right")) as server:
        with phone(server, tmp_path / "phone", asks=True, word="wrong") as client:
            live(client)
            waiting = len(client.outbox.queue)
        with phone(server, tmp_path / "phone", asks=True, word="right") as client:
            client.send()
            left = len(client.outbox.queue)

    assert waiting >= 2  # its enrolment and its bet
    assert left == 0
    counted = units_of(log)
    assert (counted["enrolled"], counted["bets"]) == (1, 1)
