"""How a client proves who it is to the broker, and whom it believes: TLS and SASL."""

import ssl
from dataclasses import dataclass, field
from typing import Any, Final

TLS: Final = frozenset({"SSL", "SASL_SSL"})
SASL: Final = frozenset({"SASL_PLAINTEXT", "SASL_SSL"})


@dataclass(frozen=True, slots=True)
class Security:
    """In Kafka's words: `protocol` of the listener, `mechanism` of SASL. TLS needs a `context`."""

    protocol: str = "PLAINTEXT"
    mechanism: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    context: ssl.SSLContext | None = field(default=None, repr=False, compare=False)

    def options(self) -> dict[str, Any]:
        """What every client of aiokafka takes."""
        made = {"security_protocol": self.protocol, "ssl_context": self.context}
        if self.protocol not in SASL:
            return made
        return made | {
            "sasl_mechanism": self.mechanism,
            "sasl_plain_username": self.user,
            "sasl_plain_password": self.password,
        }


def tls_context(
    ca_file: str = "", certificate_file: str = "", key_file: str = ""
) -> ssl.SSLContext:
    """Believe the authorities of `ca_file`, else the system's; show a certificate if there is one.

    Brokers' names are checked. Files are read now and not again. Raises OSError (`ssl.SSLError` is
    one) or ValueError: a file is not there or no PEM, or the key is another's or has a passphrase.
    """
    context = ssl.create_default_context(cafile=ca_file or None)
    if certificate_file:
        context.load_cert_chain(certificate_file, key_file, password=_no_passphrase)
    return context


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase")  # without this, OpenSSL would ask the terminal
