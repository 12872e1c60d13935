"""A person's way on when a topic is not the one that our positions are of.

Accepting a log pins what stands as a new incarnation: its positions begin at its first record. What
was counted stays known by its batch ids, so what comes again from an older copy counts once. What
the old log held and no window had taken is gone with it, and that is a person's to know.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streams.kafka.broker import KafkaSettings, admin, failure, lost_connection
from streams.kafka.compacted import StateTopic
from streams.kafka.described import ClusterFacts
from streams.kafka.identity import IDENTITY, Identity, Pinned, described, read, write
from streams.kafka.topics import DEAD_LETTERS, PINNED, TELEMETRY, VERDICTS, make_missing
from wire.errors import PermanentError

ACCEPTABLE: Final = (TELEMETRY, VERDICTS, DEAD_LETTERS, IDENTITY)
"""Topics without which what was counted is still known. The others are memory: without them one
begins anew, under a new prefix."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One topic: what our positions are of, and what stands. Ids are "" where there is none."""

    topic: str
    pinned_id: str
    standing_id: str
    incarnation: int

    @property
    def differs(self) -> bool:
        """Whether it is another one, or not there."""
        return self.pinned_id != self.standing_id


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every pinned topic, and the cluster."""

    pinned_cluster: str
    standing_cluster: str
    topics: tuple[Standing, ...]

    @property
    def differing(self) -> list[str]:
        """Topics that somebody must decide about."""
        if not self.pinned_cluster:
            return [IDENTITY]
        return [standing.topic for standing in self.topics if standing.differs]


async def look(settings: KafkaSettings) -> Comparison:
    """What stands beside what was pinned; changes nothing.

    Raises TransientError ``kafka_away``, PermanentError ``kafka_refused``.
    """
    client, topic = admin(settings, "holdfast-accept"), _topic(settings)
    try:
        with lost_connection():
            await client.start()
        if settings.topic(IDENTITY) not in await client.list_topics():
            return _compared(settings, None, await described(settings, client, PINNED))
        return _compared(settings, await read(topic), await described(settings, client, PINNED))
    except (KafkaError, TimeoutError) as error:
        raise failure(error) from error
    finally:
        await topic.close()
        await client.close()


async def accept(settings: KafkaSettings, topics: Iterable[str], *, now_s: int) -> Comparison:
    """Pin what stands of these topics, making them if they are gone; what it was before.

    `now_s` numbers the incarnation: later ones are greater, also where the last number is lost.
    Raises as `look` does, and PermanentError ``log_not_acceptable``.
    """
    wanted = set(topics)
    _refuse_memory(wanted)
    before = await look(settings)
    if others := set(before.differing) - wanted:
        _refuse_memory(others)
        raise PermanentError(
            "log_not_acceptable",
            f"{', '.join(sorted(others))} differ, too",
            field="TOPIC",
            accepted=" ".join(sorted(set(before.differing) | wanted)),
        )
    client, topic = admin(settings, "holdfast-accept"), _topic(settings)
    try:
        with lost_connection():
            await client.start()
        await make_missing(client, settings)
        pinned = await read(topic)
        await write(topic, await _accepted(settings, client, pinned, wanted, now_s))
    except (KafkaError, TimeoutError) as error:
        raise failure(error) from error
    finally:
        await topic.close()
        await client.close()
    return before


async def _accepted(
    settings: KafkaSettings,
    client: AIOKafkaAdminClient,
    pinned: Identity | None,
    wanted: set[str],
    now_s: int,
) -> Identity:
    facts = await described(settings, client, PINNED)
    stands = {name: facts.topics[settings.topic(name)].topic_id for name in PINNED}
    if pinned is None or IDENTITY in wanted:  # nobody knows what the positions are of
        topics = {name: Pinned(topic_id, now_s) for name, topic_id in stands.items()}
        return Identity(facts.cluster_id, topics, now_s)
    topics = dict(pinned.topics)
    for name in wanted:
        incarnation = max(now_s, pinned.incarnation(name) + 1)
        topics[name] = Pinned(stands[name], incarnation)
    return Identity(facts.cluster_id, topics, max(now_s, pinned.version + 1))


def _refuse_memory(topics: set[str]) -> None:
    if memory := topics - set(ACCEPTABLE):
        raise PermanentError(
            "log_not_acceptable",
            f"{', '.join(sorted(memory))}: it holds what was counted and decided; without it"
            " nobody knows, and only a new prefix (a new deployment) goes on",
            field="TOPIC",
            accepted=", ".join(ACCEPTABLE),
        )


def _compared(settings: KafkaSettings, pinned: Identity | None, facts: ClusterFacts) -> Comparison:
    topics = []
    for name in PINNED:
        known = pinned.topics.get(name) if pinned is not None else None
        stands = facts.topics.get(settings.topic(name))
        topics.append(
            Standing(
                name,
                known.topic_id if known is not None else "",
                stands.topic_id if stands is not None else "",
                known.incarnation if known is not None else 0,
            )
        )
    cluster = pinned.cluster_id if pinned is not None else ""
    return Comparison(cluster, facts.cluster_id, tuple(topics))


def _topic(settings: KafkaSettings) -> StateTopic:
    return StateTopic(settings, IDENTITY, writer=f"accept-{secrets.token_hex(4)}")
