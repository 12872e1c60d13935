"""A broker that asks who comes: every client gets in, and who does not is told why at once."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bench.broker import BrokerUnavailableError
from bench.processes import launched
from holdfast.config import Settings, environment_of, load
from holdfast.kafka_settings import kafka_settings
from streams.faust_app import FaustSettings, make_app
from streams.kafka.topics import TELEMETRY, ensure_topics
from streams.log.base import Append, Record
from streams.log.kafka import KafkaLog
from streams.ports import NoMeter
from tests.fakes.gitops import make_remote
from tests.fakes.secure_kafka import PASSWORD, USER, SecureKafka, secure_kafka
from tests.kafka_fixtures import without_broker
from wire.errors import PermanentError

WRONG = "wrong-horse-77c1"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    try:
        with secure_kafka(tmp_path_factory.mktemp("secure") / "kafka") as running:
            yield running
    except BrokerUnavailableError as error:
        without_broker(error)


def settings_of(broker: SecureKafka, protocol: str, mechanism: str, **changed: object) -> Settings:
    """What lets us in at the listener of this protocol."""
    given: dict[str, object] = {
        "kafka_bootstrap": broker.bootstrap[protocol],
        "kafka_security": protocol,
    }
    if mechanism:
        given |= {"kafka_sasl_mechanism": mechanism}
        given |= {"kafka_user": USER, "kafka_password": PASSWORD}
    if protocol.endswith("SSL"):
        given |= {"kafka_ca_file": str(broker.ca)}
    if protocol == "SSL":
        given |= {"kafka_certificate_file": str(broker.certificate)}
        given |= {"kafka_key_file": str(broker.key)}
    return load(**{**given, **changed})


@dataclass
class Hearing:
    """A stage that keeps what it is given."""

    topic: str = TELEMETRY
    heard: list[bytes] = field(default_factory=list)
    is_enough: asyncio.Event = field(default_factory=asyncio.Event)

    async def assigned(self, partitions: set[int]) -> None: ...

    async def take(self, partition: int, offset: int, value: bytes, ack: Callable[[], Any]) -> None:
        self.heard.append(value)
        ack()
        self.is_enough.set()

    def check(self) -> None: ...

    async def close(self) -> None: ...


async def heard(settings: Settings, folder: Path) -> list[bytes]:
    """What a Faust worker is given first."""
    stage = Hearing()
    faust = FaustSettings("hearing-0", folder)
    running = make_app("hearing", stage, kafka_settings(settings), faust, NoMeter())
    async with asyncio.timeout(120):
        await running.run(stage.is_enough, lambda _: None)
    return stage.heard


@pytest.mark.parametrize(
    ("protocol", "mechanism"),
    [
        ("SASL_PLAINTEXT", "PLAIN"),
        ("SASL_PLAINTEXT", "SCRAM-SHA-256"),
        ("SASL_SSL", "SCRAM-SHA-512"),
        ("SSL", ""),
    ],
)
def test_every_client_gets_in(
    tmp_path: Path, broker: SecureKafka, kafka_prefix: str, protocol: str, mechanism: str
) -> None:
    settings = settings_of(broker, protocol, mechanism, kafka_prefix=kafka_prefix)
    asyncio.run(ensure_topics(kafka_settings(settings)))

    log = KafkaLog(kafka_settings(settings), client_id="test")
    log.append([Append(0, b"spoken", 1)])
    read = list(log.read(0, 0, bytes_max=1 << 20))
    log.close()

    assert read == [Record(0, 0, b"spoken")]
    assert asyncio.run(heard(settings, tmp_path)) == [b"spoken"]


@dataclass(frozen=True)
class Mistake:
    protocol: str
    mechanism: str
    changed: dict[str, str]
    code: str
    field: str


@pytest.mark.parametrize(
    "mistake",
    [
        Mistake(
            "SASL_PLAINTEXT",
            "PLAIN",
            {"kafka_password": WRONG},
            "kafka_access_denied",
            "kafka_password",
        ),
        Mistake(
            "SASL_SSL",
            "SCRAM-SHA-512",
            {"kafka_user": "who"},
            "kafka_access_denied",
            "kafka_password",
        ),
        Mistake(
            "SASL_SSL",
            "PLAIN",
            {"kafka_ca_file": "{strange_ca}"},
            "kafka_tls_failed",
            "kafka_ca_file",
        ),
        Mistake(
            "SSL",
            "",
            {"kafka_certificate_file": "", "kafka_key_file": ""},
            "kafka_tls_failed",
            "kafka_certificate_file",
        ),
    ],
    ids=["password", "user", "authority", "certificate"],
)
def test_who_is_not_let_in_is_told_why(broker: SecureKafka, mistake: Mistake) -> None:
    changed = {k: v.format(strange_ca=broker.strange_ca) for k, v in mistake.changed.items()}
    settings = settings_of(broker, mistake.protocol, mistake.mechanism, **changed)

    with pytest.raises(PermanentError) as caught:
        asyncio.run(ensure_topics(kafka_settings(settings)))

    assert (caught.value.code, caught.value.field) == (mistake.code, mistake.field)
    assert WRONG not in str(caught.value)


@pytest.mark.parametrize(
    "command", [["ingest"], ["worker", "--stage", "decide"], ["dead-letters", "list"]]
)
def test_a_process_with_a_wrong_password_ends_and_says_why(
    tmp_path: Path, broker: SecureKafka, command: list[str]
) -> None:
    settings = settings_of(broker, "SASL_PLAINTEXT", "PLAIN", dir=tmp_path / "node")
    wrong = environment_of(settings) | {
        "HOLDFAST_KAFKA_PASSWORD": WRONG,
        "HOLDFAST_GITOPS_URL": make_remote(tmp_path / "git").url,
    }

    done = subprocess.run(
        [sys.executable, "-m", "holdfast", *command],
        env=wrong,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 2, done.stderr
    assert "kafka_access_denied" in done.stderr
    assert WRONG not in done.stderr + done.stdout


def test_a_worker_process_gets_its_partition_and_its_log_holds_no_secret(
    tmp_path: Path, broker: SecureKafka, kafka_prefix: str
) -> None:
    settings = settings_of(
        broker,
        "SASL_SSL",
        "PLAIN",
        dir=tmp_path / "node",
        kafka_prefix=kafka_prefix,
        gitops_url=make_remote(tmp_path / "git").url,
        store_url="http://127.0.0.1:9",  # nobody listens: effects do not wait for the store
    )
    errors = tmp_path / "errors.log"
    with errors.open("wb") as output:
        stage = ["worker", "--stage", "act"]
        popen = launched(stage, settings, output=subprocess.PIPE, errors=output)
    try:
        assert popen.stdout is not None
        line = popen.stdout.readline()
        popen.terminate()
        assert popen.wait(60) == 0
    finally:
        popen.kill()
        rest, _ = popen.communicate()

    assert json.loads(line)["partitions"] == [0], errors.read_text()
    assert PASSWORD not in errors.read_text()
    assert PASSWORD.encode() not in line + rest
