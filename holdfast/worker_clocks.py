"""The clocks that all workers share: pinned by the first desired state, kept in `act-state`."""

from dataclasses import replace
from typing import Final

import msgspec
from aiokafka.errors import KafkaError

from streams.clocks import Clocks
from streams.kafka.broker import KafkaSettings, failure
from streams.kafka.compacted import StateTopic
from streams.kafka.topics import ACT_STATE

_NO_LIMIT_MS: Final = 1 << 62
CLOCKS: Final = "clocks"
"""The part of act's state that the other stages read."""


def packed(clocks: Clocks) -> bytes:
    """As act's state holds them."""
    return msgspec.json.encode(clocks)


def unpacked(body: bytes) -> Clocks:
    """The inverse of `packed`."""
    return msgspec.json.decode(body, type=Clocks)


def window_alone(clocks: Clocks) -> Clocks:
    """What of them is pinned: batch ids are remembered for as long as `seen` keeps them, and what
    that covers has a check of its own.
    """
    return replace(clocks, horizon_ms=_NO_LIMIT_MS)


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
