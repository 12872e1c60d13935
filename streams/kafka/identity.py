"""Which topics our positions are of: pinned at the first start, compared ever after.

The topic ``identity`` holds the cluster's id and each topic's. A topic that was deleted and made
again, or another cluster behind the same address, has other ids, and every process that meets them
says so and stops, at its start or while it runs. The way on is a person's: `accept` pins what
stands as a new *incarnation* of the log, whose positions begin anew; what was counted stays known.
"""

import asyncio
import secrets
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streams.kafka.broker import KafkaSettings, admin, lost_connection
from streams.kafka.compacted import StateTopic
from streams.kafka.described import ClusterFacts, describe
from streams.kafka.partition_reader import PartitionReader
from streams.log.mark import replaced

IDENTITY: Final = "identity"
_PART: Final = "topics"


class Pinned(msgspec.Struct, frozen=True):
    """A topic's id ("" if its brokers have none), and how often another one was accepted."""

    topic_id: str
    incarnation: int = 0


class Identity(msgspec.Struct, frozen=True):
    """What our positions are of. `topics` by short name."""

    cluster_id: str
    topics: dict[str, Pinned]
    version: int = 1

    def incarnation(self, topic: str) -> int:
        """How often another log was accepted under this name."""
        pinned = self.topics.get(topic)
        return pinned.incarnation if pinned is not None else 0


async def agree(
    settings: KafkaSettings, client: AIOKafkaAdminClient, names: Iterable[str]
) -> Identity:
    """Pin what stands if nothing was pinned; else compare.

    All topics of `names` must exist. Raises KafkaError, PermanentError ``log_replaced``.
    """
    names = list(names)
    topic = StateTopic(settings, IDENTITY, writer=f"pin-{secrets.token_hex(4)}")
    try:
        pinned = await read(topic)
        facts = await described(settings, client, names)
        if pinned is None:
            holding = await _holding(settings, client, names)
            pinned = await read(topic) if holding else None  # another may have begun meanwhile
            if holding and pinned is None:
                raise replaced(
                    f"{settings.topic(IDENTITY)} does not say which topics this deployment has, but"
                    f" {', '.join(holding)} hold records: it was deleted, or an older version made"
                    " them"
                )
        if pinned is None:
            pinned = Identity(facts.cluster_id, _ids(settings, facts, names))
            await write(topic, pinned)
        compare(settings, pinned, facts)
        new = [name for name in names if name not in pinned.topics]
        if new:  # of a later version
            topics = pinned.topics | _ids(settings, facts, new)
            pinned = Identity(pinned.cluster_id, topics, pinned.version + 1)
            await write(topic, pinned)
        return pinned
    finally:
        await topic.close()


def compare(settings: KafkaSettings, pinned: Identity, facts: ClusterFacts) -> None:
    """Raises PermanentError ``log_replaced``; a topic that is away for now is none."""
    if pinned.cluster_id and facts.cluster_id and pinned.cluster_id != facts.cluster_id:
        raise replaced(
            f"this is Kafka cluster {facts.cluster_id}, and our positions are of cluster"
            f" {pinned.cluster_id}"
        )
    for name, known in sorted(pinned.topics.items()):
        stands = facts.topics.get(settings.topic(name))
        if stands is None or not known.topic_id or not stands.topic_id:
            continue
        if stands.topic_id != known.topic_id:
            raise replaced(
                f"{settings.topic(name)} was deleted and made again: its id is {stands.topic_id},"
                f" and our positions are of {known.topic_id}"
            )


async def read(topic: StateTopic) -> Identity | None:
    """What was pinned. Raises KafkaError."""
    saved = await topic.read()
    return msgspec.json.decode(saved.parts[_PART], type=Identity) if saved is not None else None


async def write(topic: StateTopic, identity: Identity) -> None:
    """Pin; two who pin the same at once do no harm. Raises KafkaError."""
    await topic.write({_PART: msgspec.json.encode(identity)}, position=identity.version)


async def pinned_of(settings: KafkaSettings) -> Identity | None:
    """What was pinned. Raises KafkaError."""
    topic = StateTopic(settings, IDENTITY, writer="reader")
    try:
        return await read(topic)
    finally:
        await topic.close()


async def described(
    settings: KafkaSettings, client: AIOKafkaAdminClient, names: Iterable[str]
) -> ClusterFacts:
    """What stands. Raises KafkaError."""
    with lost_connection():
        return await describe(client, [settings.topic(name) for name in names])


class IdentityWatch:
    """Looks whether the topics are still those that were pinned. Lives in one event loop."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._client: AIOKafkaAdminClient | None = None
        self._pinned: Identity | None = None
        self._looking = asyncio.Lock()

    async def pinned(self) -> Identity:
        """What this process goes by: read once, so that an acceptance needs a restart."""
        if self._pinned is None:
            self._pinned = await pinned_of(self._settings)
        if self._pinned is None:
            raise replaced(f"{self._settings.topic(IDENTITY)} is empty")
        return self._pinned

    async def look(self) -> Mapping[str, Mapping[int, int]]:
        """The epochs of each pinned topic's leaders, by short name and partition.

        A log whose ids are the pinned ones now had them before: they never come back.
        Raises KafkaError, PermanentError ``log_replaced``.
        """
        async with self._looking:
            pinned = await self.pinned()
            try:
                client = await self._connected()
                facts = await described(self._settings, client, pinned.topics)
            except (KafkaError, TimeoutError, asyncio.CancelledError):
                await self._disconnect()
                raise
            compare(self._settings, pinned, facts)
            known = {name: facts.topics.get(self._settings.topic(name)) for name in pinned.topics}
            return {name: found.epochs for name, found in known.items() if found is not None}

    async def close(self) -> None:
        """Disconnect."""
        await self._disconnect()

    async def _connected(self) -> AIOKafkaAdminClient:
        if self._client is None:
            self._client = admin(self._settings, "holdfast-identity")
            with lost_connection():
                await self._client.start()
        return self._client

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()


def _ids(settings: KafkaSettings, facts: ClusterFacts, names: Iterable[str]) -> dict[str, Pinned]:
    stands = {name: facts.topics.get(settings.topic(name)) for name in names}
    return {name: Pinned(found.topic_id) for name, found in stands.items() if found is not None}


async def _holding(
    settings: KafkaSettings, client: AIOKafkaAdminClient, names: Iterable[str]
) -> list[str]:
    """Full names of the topics that have ever had a record."""
    held = []
    described_topics = await client.describe_topics([settings.topic(name) for name in names])
    for topic in described_topics:
        for partition in topic["partitions"]:
            reader = PartitionReader(settings, topic["topic"], partition["partition"])
            await reader.start()
            try:
                if await reader.end():
                    held.append(str(topic["topic"]))
                    break
            finally:
                await reader.close()
    return sorted(held)
