"""Whether the brokers let us in. aiokafka takes a refusal for a broker that is away."""

import ssl
from typing import Final

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from streams.kafka.broker import KafkaSettings, lost_connection
from wire.errors import PermanentError

_DENIED: Final = (SaslAuthenticationFailed, UnsupportedSaslMechanismError, IllegalSaslStateError)
_LOOK_MS: Final = 5_000


async def check_access(settings: KafkaSettings) -> None:
    """Knock at each broker once. One that is away is no refusal.

    Raises PermanentError ``kafka_access_denied``, ``kafka_tls_failed``.
    """
    for host, port, _ in collect_hosts(settings.bootstrap):
        try:
            with lost_connection():
                connection = await create_conn(
                    host, port, request_timeout_ms=_LOOK_MS, **settings.security.options()
                )
        except (KafkaError, OSError, TimeoutError) as error:
            refusal = _refusal(f"{host}:{port}", settings.security.user, error)
            if refusal is not None:
                raise refusal from error
        else:
            connection.close()


def _refusal(broker: str, user: str, error: Exception) -> PermanentError | None:
    if isinstance(error, _DENIED):
        return PermanentError(
            "kafka_access_denied",
            f"{broker} does not let {user!r} in: {type(error).__name__}",
            field="kafka_password",
            accepted="user, password and mechanism of a credential that the broker has",
        )
    cause = error if isinstance(error, ssl.SSLError) else error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return PermanentError(
            "kafka_tls_failed",
            f"{broker}: {cause.verify_message}",
            field="kafka_ca_file",
            accepted="whoever signed the broker's certificate, for the name that it is called",
        )
    if isinstance(cause, ssl.SSLError):
        reason = cause.reason or str(cause)
        return PermanentError(
            "kafka_tls_failed",
            f"{broker}: {reason}",
            field="kafka_certificate_file" if "ALERT" in reason else "kafka_security",
            accepted="a certificate that the broker asks for, on a listener with TLS",
        )
    return None
