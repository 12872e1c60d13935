"""How the broker is reached, of the settings."""

import ssl

from holdfast.config import Settings
from streams.kafka.broker import KafkaSettings
from streams.kafka.security import TLS, Security, tls_context
from wire.errors import PermanentError
from wire.times import HOUR_MS


def kafka_settings(settings: Settings) -> KafkaSettings:
    """Where the brokers are and how topics are made; PermanentError ``settings_invalid``."""
    if not settings.kafka_bootstrap:
        raise PermanentError(
            "settings_invalid",
            "HOLDFAST_KAFKA_BOOTSTRAP: no Kafka broker is named",
            field="kafka_bootstrap",
            accepted="host:port, or several with commas",
        )
    return KafkaSettings(
        bootstrap=settings.kafka_bootstrap,
        prefix=settings.kafka_prefix,
        partitions=settings.partitions,
        replication=settings.kafka_replication,
        min_insync=settings.kafka_min_insync,
        create_topics=settings.kafka_create_topics,
        retention_ms=int(settings.retention_hours * HOUR_MS),
        seen_retention_ms=int(settings.seen_retention_hours * HOUR_MS),
        security=_security(settings),
    )


def _security(settings: Settings) -> Security:
    return Security(
        protocol=settings.kafka_security,
        mechanism=settings.kafka_sasl_mechanism,
        user=settings.kafka_user,
        password=settings.kafka_password.get_secret_value(),
        context=_context(settings) if settings.kafka_security in TLS else None,
    )


def _context(settings: Settings) -> ssl.SSLContext:
    """The authorities first, so that the file at fault can be named."""
    ca_file, own = settings.kafka_ca_file, settings.kafka_certificate_file
    try:
        context = tls_context(ca_file)
    except (OSError, ValueError) as error:
        raise _unusable("kafka_ca_file", ca_file, error) from error
    try:
        if own:
            context = tls_context(ca_file, own, settings.kafka_key_file)
    except (OSError, ValueError) as error:
        raise _unusable("kafka_certificate_file", own, error) from error
    return context


def _unusable(field: str, file: str, error: Exception) -> PermanentError:
    return PermanentError(
        "settings_invalid",
        f"HOLDFAST_{field.upper()}: {file} cannot be used: {error}",
        field=field,
        accepted="PEM; a key that fits its certificate and has no passphrase",
    )
