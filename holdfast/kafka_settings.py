"""How the broker is reached, of the settings."""

from holdfast.config import Settings
from streams.kafka.broker import KafkaSettings
from wire.errors import PermanentError

_HOUR_MS = 3_600_000


def kafka_settings(settings: Settings) -> KafkaSettings:
    """Where the brokers are and how topics are made; PermanentError if none are named."""
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
        retention_ms=int(settings.retention_hours * _HOUR_MS),
        seen_retention_ms=int(settings.seen_retention_hours * _HOUR_MS),
    )
