"""What lies in the topic of dead letters: letters, and notes about them, under the same key.

``trying`` says from which offset on the mended bytes may lie in the log, ``replayed`` that they do,
``discarded`` that it was given up, and why.
"""

from typing import Any, Final

from streams.kafka.broker import KafkaSettings
from streams.kafka.partition_reader import PartitionReader
from streams.kafka.topics import DEAD_LETTERS
from streams.letter_limit import LetterNews

CODE: Final = "code"
TRYING: Final = "trying"
REPLAYED: Final = "replayed"
DISCARDED: Final = "discarded"
_SETTLING: Final = frozenset({REPLAYED, DISCARDED})
_READ_BYTES: Final = 8 << 20


def key_of(partition: int, offset: int) -> bytes:
    """The key of a letter, and of every note about it."""
    return b"%d:%d" % (partition, offset)


def place_of(key: bytes) -> tuple[int, int]:
    """The inverse of `key_of`."""
    partition, _, offset = key.decode().partition(":")
    return int(partition), int(offset)


async def news_since(settings: KafkaSettings, start: int) -> tuple[list[LetterNews], int, int]:
    """News from `start` on, the oldest offset that is held, and the next one. Raises KafkaError."""
    reader = PartitionReader(settings, settings.topic(DEAD_LETTERS), 0)
    await reader.start()
    try:
        first, end = await reader.first(), await reader.end()
        records = reader.all_until(end, bytes_max=_READ_BYTES, start=start)
        found = [news async for record in records if (news := _news(record)) is not None]
    finally:
        await reader.close()
    return found, first, end


def _news(record: Any) -> LetterNews | None:  # noqa: ANN401  # aiokafka's
    headers = dict(record.headers)
    is_settled = not _SETTLING.isdisjoint(headers)
    if CODE not in headers and not is_settled:
        return None
    return LetterNews(*place_of(record.key), is_settled=is_settled, at=record.offset)
