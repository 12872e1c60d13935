"""Real Apache Kafka brokers on loopback (KRaft, no ZooKeeper), from jars with known checksums.

Ports and files stay the same over restarts, so that a killed broker comes back as itself.
"""

import base64
import fcntl
import hashlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

VERSION: Final = "4.1.0"
_DEPLOY: Final = Path(__file__).resolve().parents[1] / "deploy/kafka"
_CACHE: Final = Path.home() / ".cache/holdfast" / f"kafka-{VERSION}"
_JAVA: Final = ("java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_START_S: Final = 60.0
_STOP_S: Final = 5.0  # then it is killed: nothing of a test's broker is precious
_FETCH_S: Final = 600.0
# below the range of outgoing connections, so that nobody takes the port of a dead broker
_PORTS: Final = range(20_000, 32_000)

_PROPERTIES: Final = """
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}{detour}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}{detour_advertised}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,DETOUR:PLAINTEXT
log.dirs={folder}/data
offsets.topic.num.partitions=4
offsets.topic.replication.factor={replication}
transaction.state.log.replication.factor={replication}
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
num.io.threads=4
num.network.threads=2
log.cleaner.backoff.ms=1000
controlled.shutdown.enable=false
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
"""


class BrokerUnavailableError(Exception):
    """No broker can be had on this machine; the message says why."""


def kafka_jars() -> Path:
    """The folder of the jars, fetched by Maven on first use; every file has its known checksum.

    Raises BrokerUnavailableError: no Java or Maven, no network, or a jar is not what it should be.
    """
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            raise BrokerUnavailableError(f"{program} is not installed")
    _CACHE.parent.mkdir(parents=True, exist_ok=True)
    with (_CACHE.parent / "kafka.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test processes fetch once
        if not _CACHE.is_dir():
            _fetch(_CACHE)
    return _CACHE


def _fetch(into: Path) -> None:
    partial = into.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    command = ["mvn", "-q", "-B", "-C", "-f", str(_DEPLOY / "pom.xml")]
    command += ["dependency:copy-dependencies", f"-DoutputDirectory={partial}"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_FETCH_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BrokerUnavailableError(f"Maven took more than {_FETCH_S:.0f} s") from error
    if done.returncode:
        raise BrokerUnavailableError(f"Maven could not fetch the jars: {done.stdout[-2000:]}")
    check_jars(partial)
    partial.rename(into)


def check_jars(folder: Path) -> None:
    """Compare every jar with ``deploy/kafka/jars.sha256``; no more and no fewer are taken."""
    lines = (_DEPLOY / "jars.sha256").read_text().splitlines()
    wanted = {name: digest for digest, name in (line.split() for line in lines)}
    found = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.glob("*.jar")}
    if found != wanted:
        differing = sorted(name for name, _ in found.items() ^ wanted.items())
        raise BrokerUnavailableError(f"not the jars that were pinned: {', '.join(differing)}")


@dataclass(slots=True)
class Broker:
    """One broker process: also a controller of the quorum."""

    node: int
    port: int
    folder: Path
    jars: Path
    detour_ports: Sequence[int] = ()
    popen: subprocess.Popen[bytes] | None = None

    def format(self, properties: str, cluster_id: str, *options: str) -> None:
        """Write the settings and prepare the data folder; once in a broker's life."""
        self.folder.mkdir(parents=True)
        self._settings.write_text(properties)
        command = self._java("kafka.tools.StorageTool", "format", "-t", cluster_id, "-c")
        done = subprocess.run(
            [*command, str(self._settings), *options], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise BrokerUnavailableError(f"the storage was not formatted: {done.stderr[-2000:]}")

    def launch(self) -> None:
        """Start the process, without waiting for it."""
        with (self.folder / "broker.log").open("ab") as output:
            self.popen = subprocess.Popen(
                self._java("kafka.Kafka", str(self._settings)), stdout=output, stderr=output
            )

    def wait_listening(self) -> None:
        """Until it takes connections, which it does when it has joined the cluster; on all of its
        ports, which it opens one after the other.
        """
        deadline = time.monotonic() + _START_S
        while not all(map(is_listening, (self.port, *self.detour_ports))):
            if self.popen is None or self.popen.poll() is not None:
                raise BrokerUnavailableError(f"the broker ended: {self._last_words()}")
            if time.monotonic() > deadline:
                raise BrokerUnavailableError(f"not listening after {_START_S} s")
            time.sleep(0.05)

    def signal(self, number: signal.Signals) -> None:
        """Send it; nothing if the broker does not run. It has stopped when SIGSTOP returns: until
        the last of its threads has, it may answer.
        """
        if self.popen is None:
            return
        self.popen.send_signal(number)
        if number == signal.SIGSTOP:
            os.waitid(os.P_PID, self.popen.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def wait_ended(self) -> None:
        """After a signal: a broker that does not stop in time is killed."""
        if self.popen is None:
            return
        try:
            self.popen.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        self.popen = None

    @property
    def _settings(self) -> Path:
        return self.folder / "server.properties"

    def _java(self, *arguments: str) -> list[str]:
        return [*_JAVA, "-cp", f"{self.jars}/*", *arguments]

    def _last_words(self) -> str:
        return (self.folder / "broker.log").read_text(errors="replace")[-2000:]


@dataclass(frozen=True, slots=True)
class Detour:
    """One more address of a broker: it listens at `port`, and tells clients to come to `through`.

    Something listens there that passes bytes on: a broker's clients follow what it advertises.
    """

    port: int
    through: int


@dataclass(slots=True)
class Cluster:
    """Brokers that know each other. Use as a context, or `start` and `stop`.

    The cluster's own topics have one replica with one broker, three with three.
    """

    folder: Path
    count: int = 1
    detours: Sequence[Detour] = ()  # none, or one for each broker
    brokers: list[Broker] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def bootstrap(self) -> str:
        """``host:port,...`` of all brokers, the same over restarts."""
        return ",".join(f"127.0.0.1:{broker.port}" for broker in self.brokers)

    def start(self) -> None:
        """Start whatever does not run and wait until all take connections.

        Raises BrokerUnavailableError.
        """
        if not self.brokers:
            self._make()
        for broker in self.brokers:
            if broker.popen is None:
                broker.launch()
        for broker in self.brokers:
            broker.wait_listening()

    def stop(self) -> None:
        """End all brokers; their files stay."""
        for broker in self.brokers:  # all at once: the last of a quorum would wait for the others
            broker.signal(signal.SIGTERM)
        for broker in self.brokers:
            broker.wait_ended()

    def kill(self, at: int = 0) -> None:
        """``kill -9``: what was not synced to disk lives on in the page cache."""
        self.brokers[at].signal(signal.SIGKILL)
        self.brokers[at].wait_ended()

    def restart(self, at: int = 0) -> None:
        """Start a broker that was killed, and wait until it takes connections."""
        self.brokers[at].launch()
        self.brokers[at].wait_listening()

    def _make(self) -> None:
        jars = kafka_jars()
        cluster_id = new_cluster_id()
        ports = free_ports(2 * self.count)
        pairs = list(zip(ports[::2], ports[1::2], strict=True))
        voters = ",".join(f"{n}@127.0.0.1:{pairs[n - 1][1]}" for n in range(1, self.count + 1))
        for node, (port, controller_port) in enumerate(pairs, 1):
            detour = self.detours[node - 1 : node]
            folder = self.folder / f"broker-{node}"
            broker = Broker(node, port, folder, jars, [d.port for d in detour])
            properties = _PROPERTIES.format(
                node=node,
                voters=voters,
                port=port,
                controller_port=controller_port,
                folder=broker.folder,
                replication=min(self.count, 3),
                detour="".join(f",DETOUR://127.0.0.1:{d.port}" for d in detour),
                detour_advertised="".join(f",DETOUR://127.0.0.1:{d.through}" for d in detour),
            )
            broker.format(properties, cluster_id)
            self.brokers.append(broker)


def new_cluster_id() -> str:
    """As Kafka writes them."""
    # a leading zero bit: the tool takes an id that begins with "-" for an option
    random = bytes([secrets.randbelow(128)]) + secrets.token_bytes(15)
    return base64.urlsafe_b64encode(random).decode()[:22]


@contextmanager
def docker_broker() -> Iterator[str]:
    """The bootstrap address of a broker in a container. Raises BrokerUnavailableError."""
    port = free_ports(1)[0]
    settings = {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{port}",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    }
    command = ["docker", "run", "--detach", "--rm", "--publish", f"127.0.0.1:{port}:9092"]
    command += [f"--env={name}={value}" for name, value in settings.items()]
    try:
        done = subprocess.run(
            [*command, f"apache/kafka:{VERSION}"],
            capture_output=True,
            text=True,
            timeout=_FETCH_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BrokerUnavailableError(f"docker: {error}") from error
    if done.returncode:
        raise BrokerUnavailableError(f"docker: {done.stderr.strip()[-500:]}")
    container = done.stdout.strip()
    try:
        deadline = time.monotonic() + _START_S
        # the engine's proxy takes connections before the broker does: ask the log
        while "Kafka Server started" not in _container_log(container):
            if time.monotonic() > deadline:
                raise BrokerUnavailableError("the container's broker did not start")
            time.sleep(0.2)
        yield f"127.0.0.1:{port}"
    finally:
        subprocess.run(["docker", "rm", "--force", container], capture_output=True, check=False)


def _container_log(container: str) -> str:
    done = subprocess.run(
        ["docker", "logs", container], capture_output=True, text=True, check=False
    )
    return done.stdout


def free_ports(count: int) -> list[int]:
    """Different ports of loopback that nobody listens on."""
    found: set[int] = set()
    while len(found) < count:
        port = secrets.choice(_PORTS)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        found.add(port)
    return sorted(found)


def is_listening(port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True
