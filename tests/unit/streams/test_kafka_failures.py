"""What a broker's error means to a worker: wait for it, or end, since it would be for ever."""

from collections.abc import Iterator

import pytest
from aiokafka import errors

from streams.kafka.broker import failure
from wire.errors import PermanentError, TransientError


def kinds(of: type[errors.KafkaError]) -> Iterator[type[errors.KafkaError]]:
    for kind in of.__subclasses__():
        yield kind
        yield from kinds(kind)


RETRIABLE = sorted({k for k in kinds(errors.KafkaError) if k.retriable}, key=lambda k: k.__name__)


@pytest.mark.parametrize("kind", RETRIABLE)
def test_what_the_client_would_try_again_is_a_broker_that_is_away(
    kind: type[errors.KafkaError],
) -> None:
    assert isinstance(failure(kind()), TransientError)


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError(),
        errors.KafkaError("given up"),  # by our own appender, after another append had failed
        errors.KafkaTimeoutError(),
        errors.KafkaUnavailableError(),
        errors.ProducerClosed(),
        errors.BrokerNotAvailableError(),
        errors.ReplicaNotAvailableError(),
        errors.OutOfOrderSequenceNumber(),
        errors.UnknownProducerId(),
        errors.UnknownError(),
        errors.UnrecognizedBrokerVersion(),  # a broker that went away while it was asked
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_an_outage_brings_about_is_a_broker_that_is_away(
    error: errors.KafkaError | TimeoutError,
) -> None:
    told = failure(error)

    assert isinstance(told, TransientError)
    assert told.code == "kafka_away"


@pytest.mark.parametrize(
    "error",
    [
        errors.TopicAuthorizationFailedError("holdfast.seen"),
        errors.ClusterAuthorizationFailedError(),
        errors.MessageSizeTooLargeError(),
        errors.RecordListTooLargeError(),
        errors.InvalidTopicError(),
        errors.PolicyViolationError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_no_repetition_mends_is_said_with_the_topic(error: errors.KafkaError) -> None:
    error.add_note("topic holdfast.seen")

    told = failure(error)

    assert isinstance(told, PermanentError)
    assert told.code == "kafka_refused"
    assert type(error).__name__ in told.detail
    assert "holdfast.seen" in told.detail
