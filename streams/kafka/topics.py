"""Our topics as a table, and `ensure_topics`, which makes what is missing."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from streams.kafka.access import check_access
from streams.kafka.broker import RECORD_BYTES_MAX, KafkaSettings, admin, away, lost_connection
from wire.errors import PermanentError

TELEMETRY: Final = "telemetry"
SEEN: Final = "seen"
WINDOWS: Final = "windows"
VERDICTS: Final = "verdicts"
DECIDE_STATE: Final = "decide-state"
ACT_STATE: Final = "act-state"
DEAD_LETTERS: Final = "dead-letters"

_RETENTION: Final = "retention.ms"
_DAY_MS: Final = 86_400_000
_APPEAR_LOOKS: Final = 100  # times 0.1 s
_LOOK_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Topic:
    """One line of the table.

    `is_partitioned`: as many partitions as there are of telemetry, else one. `retention` names
    the setting, or is milliseconds; None means compacted: the last record of each key stays.
    """

    name: str
    is_partitioned: bool
    retention: str | int | None


TOPICS: Final = (
    Topic(TELEMETRY, is_partitioned=True, retention="retention_ms"),
    Topic(SEEN, is_partitioned=True, retention="seen_retention_ms"),
    Topic(WINDOWS, is_partitioned=False, retention="retention_ms"),
    Topic(VERDICTS, is_partitioned=False, retention=7 * _DAY_MS),
    Topic(DECIDE_STATE, is_partitioned=False, retention=None),
    Topic(ACT_STATE, is_partitioned=False, retention=None),
    Topic(DEAD_LETTERS, is_partitioned=False, retention=30 * _DAY_MS),
)


def partitions_of(topic: Topic, settings: KafkaSettings) -> int:
    """How many partitions this topic has."""
    return settings.partitions if topic.is_partitioned else 1


def configuration_of(topic: Topic, settings: KafkaSettings) -> dict[str, str]:
    """The broker's settings of one topic."""
    made = {
        "max.message.bytes": str(RECORD_BYTES_MAX),
        "min.insync.replicas": str(settings.min_insync),
        "unclean.leader.election.enable": "false",  # rather wait than lose what was acknowledged
        # retention counts from the append, whatever clock the record was made by
        "message.timestamp.type": "LogAppendTime",
    }
    if topic.retention is None:
        return made | {
            "cleanup.policy": "compact",
            # small segments and an eager cleaner: whoever restores reads little more than the state
            "segment.bytes": str(32 << 20),
            "min.cleanable.dirty.ratio": "0.1",
        }
    named = topic.retention
    retention_ms = getattr(settings, named) if isinstance(named, str) else named
    return made | {"cleanup.policy": "delete", _RETENTION: str(retention_ms)}


async def ensure_topics(settings: KafkaSettings) -> None:
    """Make the topics that are missing and check the partition counts of those that are there.

    What exists is not changed: its retention and replication may have been set by an operator.
    Raises TransientError ``kafka_away``; PermanentError ``topic_missing`` if they may not be made,
    ``topic_refused`` if the broker does not make one, ``topic_partitions_differ``, and what
    `check_access` raises if the broker does not let us in.
    """
    client = admin(settings, "holdfast-topics")
    try:
        with lost_connection():
            await client.start()
            there = await _there(client, settings)
            missing = [t for t in TOPICS if settings.topic(t.name) not in there]
            if missing and not settings.create_topics:
                raise _missing(settings, missing)
            if missing:
                await _create(client, settings, missing)
                there = await _all_there(client, settings)
    except (KafkaError, TimeoutError) as error:
        await check_access(settings)
        raise away(error) from error
    finally:
        await client.close()
    _check_partitions(settings, there)


async def retention_of(settings: KafkaSettings, name: str) -> int | None:
    """How long the broker keeps a topic's records, in ms; None: for ever, or it does not tell.

    Raises TransientError ``kafka_away``.
    """
    client = admin(settings, "holdfast-topics")
    wanted = ConfigResource(ConfigResourceType.TOPIC, settings.topic(name), {_RETENTION: None})
    try:
        with lost_connection():
            await client.start()
            (answer,) = await client.describe_configs([wanted])
    except (KafkaError, TimeoutError) as error:
        raise away(error) from error
    finally:
        await client.close()
    ((refused, _, _, _, entries),) = answer.resources
    kept_ms = -1 if refused else int(next(e[1] for e in entries if e[0] == _RETENTION))
    return kept_ms if kept_ms >= 0 else None


async def _there(client: AIOKafkaAdminClient, settings: KafkaSettings) -> dict[str, int]:
    """Topic -> partitions that have a leader, of those that exist. Asking makes no topic."""
    ours = {settings.topic(topic.name) for topic in TOPICS}
    named = sorted(ours & set(await client.list_topics()))
    found = await client.describe_topics(named) if named else []
    return {
        topic["topic"]: sum(partition["leader"] >= 0 for partition in topic["partitions"])
        for topic in found
        if not topic["error_code"]
    }


async def _create(
    client: AIOKafkaAdminClient, settings: KafkaSettings, missing: list[Topic]
) -> None:
    answer = await client.create_topics(
        [
            NewTopic(
                settings.topic(topic.name),
                partitions_of(topic, settings),
                settings.replication,
                topic_configs=configuration_of(topic, settings),
            )
            for topic in missing
        ]
    )
    for name, code, *message in answer.topic_errors:
        if code in (0, TopicAlreadyExistsError.errno):  # another process was faster
            continue
        error = for_code(code)
        if error.retriable:
            raise error(name)
        detail = (
            f"the broker does not make {name}: {error.__name__} {message[0] if message else ''}"
        )
        raise PermanentError("topic_refused", detail.strip(), field="kafka_replication")


async def _all_there(client: AIOKafkaAdminClient, settings: KafkaSettings) -> dict[str, int]:
    """Wait until every topic has a leader for each partition."""
    there: dict[str, int] = {}
    for _ in range(_APPEAR_LOOKS):
        there = await _there(client, settings)
        if all(there.get(settings.topic(t.name), 0) >= partitions_of(t, settings) for t in TOPICS):
            return there
        await asyncio.sleep(_LOOK_S)
    raise TimeoutError


def _check_partitions(settings: KafkaSettings, there: Mapping[str, int]) -> None:
    for topic in TOPICS:
        name, wanted = settings.topic(topic.name), partitions_of(topic, settings)
        stands = there[name]
        if stands != wanted:
            raise PermanentError(
                "topic_partitions_differ",
                f"{name} has {stands} partitions, not {wanted}; changing it is a migration",
                field="partitions",
                accepted=str(stands),
            )


def _missing(settings: KafkaSettings, missing: list[Topic]) -> PermanentError:
    lines = [
        f"{settings.topic(t.name)} ({partitions_of(t, settings)} partitions, "
        + ", ".join(f"{k}={v}" for k, v in configuration_of(t, settings).items())
        + ")"
        for t in missing
    ]
    return PermanentError(
        "topic_missing",
        "there is no topic " + "; ".join(lines),
        field="kafka_create_topics",
        accepted="make them, or set HOLDFAST_KAFKA_CREATE_TOPICS=true",
    )
