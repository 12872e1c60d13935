"""The clocks that all workers share: pinned by the first desired state, kept in `act-state`."""

from typing import Final

import msgspec
from aiokafka.errors import KafkaError

from streams.kafka.broker import KafkaSettings, failure
from streams.kafka.compacted import StateTopic
from streams.kafka.topics import ACT_STATE
from streams.stage_summarise import Clocks

CLOCKS: Final = "clocks"
"""The part of act's state that the other stages read."""


def packed(clocks: Clocks) -> bytes:
    """As act's state holds them."""
    return msgspec.json.encode(clocks)


def unpacked(body: bytes) -> Clocks:
    """The inverse of `packed`."""
    return msgspec.json.decode(body, type=Clocks)


async def clocks_of(kafka: KafkaSettings) -> Clocks | None:
    """What act has pinned; None before the first desired state.

    Raises TransientError ``kafka_away``, PermanentError ``kafka_refused``.
    """
    topic = StateTopic(kafka, ACT_STATE, writer="reader")
    try:
        saved = await topic.read()
    except (KafkaError, TimeoutError) as error:
        raise failure(error) from error
    finally:
        await topic.close()
    body = saved.parts.get(CLOCKS) if saved is not None else None
    return unpacked(body) if body else None
