"""A real broker with a listener of each kind that asks who comes, and certificates made for it."""

import datetime as dt
import ipaddress
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bench.broker import Broker, free_ports, kafka_jars, new_cluster_id

USER: Final = "holdfast"
PASSWORD: Final = "correct-horse-3f9a"
_LISTENERS: Final = ("SASL_PLAINTEXT", "SASL_SSL", "SSL")
_PLAIN: Final = (
    "org.apache.kafka.common.security.plain.PlainLoginModule required"
    f' username="{USER}" password="{PASSWORD}" user_{USER}="{PASSWORD}";'
)
_SCRAM: Final = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


@dataclass(frozen=True, slots=True)
class SecureKafka:
    """`bootstrap` by security protocol. Listener SSL asks for a certificate.

    `ca` signed the broker's certificate and `certificate`; nobody's is a stranger's authority.
    """

    bootstrap: Mapping[str, str]
    ca: Path
    certificate: Path
    key: Path
    strange_ca: Path
    output: Path


@contextmanager
def secure_kafka(folder: Path) -> Iterator[SecureKafka]:
    """Running until the block ends. Raises BrokerUnavailableError."""
    folder.mkdir()
    authority, strange = Authority("ours"), Authority("a stranger")
    keystore, certificate, key = folder / "broker.pem", folder / "our.pem", folder / "our.key"
    keystore.write_bytes(b"".join(authority.issue("127.0.0.1")))
    for path, body in zip((key, certificate), authority.issue(USER), strict=True):
        path.write_bytes(body)
    (folder / "ca.pem").write_bytes(authority.pem)
    (folder / "strange.pem").write_bytes(strange.pem)
    controller, *ports = free_ports(1 + len(_LISTENERS))
    broker = Broker(1, ports[0], folder / "broker", kafka_jars())
    broker.format(_properties(folder, controller, ports), new_cluster_id(), *_scram_credentials())
    broker.launch()
    try:
        broker.wait_listening()
        yield SecureKafka(
            bootstrap={n: f"127.0.0.1:{p}" for n, p in zip(_LISTENERS, ports, strict=True)},
            ca=folder / "ca.pem",
            certificate=certificate,
            key=key,
            strange_ca=folder / "strange.pem",
            output=folder / "broker/broker.log",
        )
    finally:
        if broker.popen is not None:
            broker.popen.kill()
        broker.wait_ended()


class Authority:
    """Signs certificates for an hour."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        made = _certificate(self._name, self._name, self._key.public_key())
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.pem = _pem(made.sign(self._key, hashes.SHA256()))

    def issue(self, name: str, *, passphrase: bytes = b"") -> tuple[bytes, bytes]:
        """A new key and its certificate, as PEM; for 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        made = _certificate(_name(name), self._name, key.public_key()).add_extension(
            x509.SubjectAlternativeName([address]), critical=False
        )
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(passphrase)
            if passphrase
            else serialization.NoEncryption(),
        )
        return private, _pem(made.sign(self._key, hashes.SHA256()))


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(hours=1))
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _scram_credentials() -> list[str]:
    return [
        word
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
        for word in ("-S", f"{mechanism}=[name={USER},password={PASSWORD}]")
    ]


def _properties(folder: Path, controller: int, ports: list[int]) -> str:
    listeners = [f"{n}://127.0.0.1:{p}" for n, p in zip(_LISTENERS, ports, strict=True)]
    lines = [
        "process.roles=broker,controller",
        "node.id=1",
        f"controller.quorum.voters=1@127.0.0.1:{controller}",
        f"listeners={','.join(listeners)},CONTROLLER://127.0.0.1:{controller}",
        f"advertised.listeners={','.join(listeners)}",
        "controller.listener.names=CONTROLLER",
        "inter.broker.listener.name=SASL_PLAINTEXT",
        "sasl.mechanism.inter.broker.protocol=PLAIN",
        "listener.security.protocol.map=CONTROLLER:PLAINTEXT,"
        + ",".join(f"{name}:{name}" for name in _LISTENERS),
        "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        "ssl.keystore.type=PEM",
        f"ssl.keystore.location={folder}/broker.pem",
        "ssl.truststore.type=PEM",
        f"ssl.truststore.location={folder}/ca.pem",
        "listener.name.ssl.ssl.client.auth=required",
        f"log.dirs={folder}/broker/data",
        "offsets.topic.num.partitions=1",
        "offsets.topic.replication.factor=1",
        "group.initial.rebalance.delay.ms=0",
        "auto.create.topics.enable=false",
    ]
    for name in ("sasl_plaintext", "sasl_ssl"):
        lines.append(f"listener.name.{name}.plain.sasl.jaas.config={_PLAIN}")
        lines += [
            f"listener.name.{name}.{mechanism}.sasl.jaas.config={_SCRAM}"
            for mechanism in ("scram-sha-256", "scram-sha-512")
        ]
    return "\n".join(lines) + "\n"
