"""How the broker is reached: settings, and clients with explicit limits.

Clients belong to the event loop that they are made in.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    InvalidConfigurationError,
    InvalidRequestError,
    InvalidRequiredAcksError,
    InvalidTimestampError,
    InvalidTopicError,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    PolicyViolationError,
    RecordListTooLargeError,
    RecordTooLargeError,
    TopicAuthorizationFailedError,
    UnsupportedCodecError,
    UnsupportedForMessageFormatError,
    UnsupportedVersionError,
)

from streams.kafka.security import Security
from wire.errors import PermanentError, TransientError

RECORD_BYTES_MAX: Final = 8 << 20  # a whole commit group of one partition fits, with room
LETTER_BYTES_MAX: Final = RECORD_BYTES_MAX + (16 << 10)  # a whole record with the letter's headers
_BATCH_BYTES: Final = 1 << 20  # several segments a batch: a third of the CPU of 16 KiB batches
_FETCH_BYTES_MAX: Final = 32 << 20  # of all partitions together: bounds a reader's memory
_REQUEST_MS: Final = 5_000  # a broker that hangs is given up after this, and another one asked
_BACKOFF_MS: Final = 100
_METADATA_MS: Final = 30_000  # new brokers are found within this without any error
AWAY_RETRY_S: Final = 2
# What no repetition mends: somebody must change a right, a setting or a record. Named one by one:
# aiokafka's `retriable` is also False for what an outage brings about, such as a timeout, sequence
# numbers that a broker has lost, or a producer that was given up.
_REFUSALS: Final = (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    InvalidConfigurationError,
    InvalidRequestError,
    InvalidRequiredAcksError,
    InvalidTimestampError,
    InvalidTopicError,
    MessageSizeTooLargeError,
    PolicyViolationError,
    RecordListTooLargeError,
    RecordTooLargeError,
    TopicAuthorizationFailedError,
    UnsupportedCodecError,
    UnsupportedForMessageFormatError,
    UnsupportedVersionError,
)


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """Where the broker is and how our topics are made.

    `bootstrap` is ``host:port,...``. `retention_ms` is how long telemetry and windows stay,
    `seen_retention_ms` how long batch ids do: more than the accepted age of an upload.
    """

    bootstrap: str
    prefix: str = "holdfast"
    partitions: int = 1
    replication: int = 1
    min_insync: int = 1
    create_topics: bool = True
    retention_ms: int = 72 * 3_600_000
    seen_retention_ms: int = 192 * 3_600_000
    security: Security = field(default_factory=Security)

    def topic(self, name: str) -> str:
        """A topic's full name."""
        return f"{self.prefix}.{name}"


def producer(settings: KafkaSettings, client_id: str) -> AIOKafkaProducer:
    """A producer whose acknowledgement means: on all replicas in sync, once, in order."""
    return AIOKafkaProducer(
        bootstrap_servers=settings.bootstrap,
        client_id=client_id,
        acks="all",
        enable_idempotence=True,  # a retry after a lost answer is not written twice
        max_batch_size=_BATCH_BYTES,
        max_request_size=LETTER_BYTES_MAX,  # each topic has its own limit at the broker
        linger_ms=0,  # our caller has grouped already
        request_timeout_ms=_REQUEST_MS,
        retry_backoff_ms=_BACKOFF_MS,
        metadata_max_age_ms=_METADATA_MS,
        **settings.security.options(),
    )


def reader(settings: KafkaSettings, client_id: str) -> AIOKafkaConsumer:
    """A consumer without a group: it is told what to read and commits nothing."""
    return AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap,
        client_id=client_id,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",  # an offset that is gone is an error, never a jump
        max_partition_fetch_bytes=RECORD_BYTES_MAX,
        fetch_max_bytes=_FETCH_BYTES_MAX,
        fetch_max_wait_ms=100,
        request_timeout_ms=_REQUEST_MS,
        retry_backoff_ms=_BACKOFF_MS,
        metadata_max_age_ms=_METADATA_MS,
        **settings.security.options(),
    )


def admin(settings: KafkaSettings, client_id: str) -> AIOKafkaAdminClient:
    """A client that makes topics and trims them."""
    return AIOKafkaAdminClient(
        bootstrap_servers=settings.bootstrap,
        client_id=client_id,
        request_timeout_ms=_REQUEST_MS,
        retry_backoff_ms=_BACKOFF_MS,
        metadata_max_age_ms=_METADATA_MS,
        **settings.security.options(),
    )


def away(error: KafkaError | TimeoutError) -> TransientError:
    """What a caller is told when the broker does not answer, or not in time."""
    detail = f"the broker did not answer: {type(error).__name__}"
    return TransientError("kafka_away", detail, retry_after_s=AWAY_RETRY_S)


def failure(error: KafkaError | TimeoutError) -> TransientError | PermanentError:
    """What a worker is told: `away`, or ``kafka_refused`` if to ask again would be for ever."""
    if not isinstance(error, _REFUSALS):
        return away(error)
    notes: list[str] = getattr(error, "__notes__", [])  # which topic
    return PermanentError(
        "kafka_refused",
        "; ".join(["the broker refuses, and will again", str(error), *notes]),
        accepted="read and write rights on our topics, and max.message.bytes as we make them",
    )


@contextmanager
def lost_connection() -> Iterator[None]:
    """Make an error of what aiokafka does to requests under way when a connection closes.

    It cancels them, which looks as if somebody had cancelled the task that waits.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise KafkaConnectionError("the connection was closed") from error
