"""Our topics as a table, and `ensure_topics`, which makes what is missing."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from streams.kafka.access import check_access
from streams.kafka.broker import (
    LETTER_BYTES_MAX,
    RECORD_BYTES_MAX,
    KafkaSettings,
    admin,
    failure,
    lost_connection,
)
from streams.kafka.identity import IDENTITY, Identity, agree, pinned_of
from streams.kafka.topic_checks import mistakes_of, refused, settings_of, too_few_replicas
from streams.log.mark import replaced
from wire.errors import PermanentError
from wire.times import DAY_MS

TELEMETRY: Final = "telemetry"
SEEN: Final = "seen"
WINDOWS: Final = "windows"
VERDICTS: Final = "verdicts"
DECIDE_STATE: Final = "decide-state"
ACT_STATE: Final = "act-state"
DEAD_LETTERS: Final = "dead-letters"

_RETENTION: Final = "retention.ms"
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
    Topic(VERDICTS, is_partitioned=False, retention=7 * DAY_MS),
    Topic(DECIDE_STATE, is_partitioned=False, retention=None),
    Topic(ACT_STATE, is_partitioned=False, retention=None),
    Topic(DEAD_LETTERS, is_partitioned=False, retention=30 * DAY_MS),
    Topic(IDENTITY, is_partitioned=False, retention=None),
)
PINNED: Final = tuple(topic.name for topic in TOPICS if topic.name != IDENTITY)


@dataclass(frozen=True, slots=True)
class _Standing:
    """How many partitions a topic has, how many of them have no leader now, and its copies."""

    partitions: int
    leaderless: int
    replicas: int


def partitions_of(topic: Topic, settings: KafkaSettings) -> int:
    """How many partitions this topic has."""
    return settings.partitions if topic.is_partitioned else 1


def configuration_of(topic: Topic, settings: KafkaSettings) -> dict[str, str]:
    """The broker's settings of one topic."""
    made = {
        "max.message.bytes": str(
            LETTER_BYTES_MAX if topic.name == DEAD_LETTERS else RECORD_BYTES_MAX
        ),
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
    return made | {
        "cleanup.policy": "delete",
        _RETENTION: str(retention_ms),
        "retention.bytes": "-1",  # whatever the cluster's default is
    }


async def ensure_topics(settings: KafkaSettings) -> Identity:
    """Make the topics that are missing, check those that are there; which of them are ours.

    What exists is not changed, and what this deployment had and is gone is not made anew: a person
    says so (`acceptance`). Returns once every partition has a leader. Raises TransientError
    ``kafka_away``, also if one has none for 10 s; PermanentError ``topic_missing`` if they may not
    be made, ``topic_refused`` if the broker does not make one, ``topic_partitions_differ``,
    ``topic_settings_refused``, ``log_replaced``, ``position_lost``, ``kafka_refused``, and what
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
            _check_partitions(settings, there)
            if missing and settings.topic(IDENTITY) in there:
                await _refuse_lost(settings, missing)
            complete = await make_missing(client, settings, there)
            await check_settings(client, settings, complete)
            return await agree(settings, client, PINNED)
    except (KafkaError, TimeoutError) as error:
        await check_access(settings)
        raise failure(error) from error
    finally:
        await client.close()


async def make_missing(
    client: AIOKafkaAdminClient,
    settings: KafkaSettings,
    there: Mapping[str, _Standing | None] | None = None,
) -> Mapping[str, _Standing | None]:
    """Make what is not there, and wait until every topic is as it must be. Raises KafkaError."""
    if there is None:
        there = await _there(client, settings)
    if missing := [t for t in TOPICS if settings.topic(t.name) not in there]:
        await _create(client, settings, missing)
    if not _is_complete(settings, there):
        there = await _all_there(client, settings)
        _check_partitions(settings, there)
    return there


async def check_settings(
    client: AIOKafkaAdminClient,
    settings: KafkaSettings,
    there: Mapping[str, _Standing | None] | None = None,
) -> None:
    """Raises KafkaError, PermanentError ``topic_settings_refused``."""
    if there is None:
        there = await _there(client, settings)
    stands = await settings_of(client, list(there))
    mistakes = []
    for topic in TOPICS:
        name = settings.topic(topic.name)
        standing = there.get(name)
        if name not in stands or standing is None:
            continue
        wanted = configuration_of(topic, settings)
        if topic.retention is None:
            del wanted["message.timestamp.type"]  # nothing of it grows too old
        if topic.name == SEEN:
            del wanted[_RETENTION]  # has an error of its own: what it must cover is a policy's
        mistakes += mistakes_of(name, stands[name], wanted)
        mistakes += too_few_replicas(name, standing.replicas, stands[name])
    if mistakes:
        raise refused(mistakes)


async def _refuse_lost(settings: KafkaSettings, missing: list[Topic]) -> None:
    """A topic that was pinned is not made anew in silence: it held what had a receipt."""
    pinned = await pinned_of(settings)
    lost = [settings.topic(t.name) for t in missing if pinned and t.name in pinned.topics]
    if lost:
        raise replaced(f"{', '.join(lost)}: this deployment had it, and it is not there any more")


async def retention_of(settings: KafkaSettings, name: str) -> int | None:
    """How long the broker keeps a topic's records, in ms; None: for ever, or it does not tell.

    Raises TransientError ``kafka_away``, PermanentError ``kafka_refused``.
    """
    client = admin(settings, "holdfast-topics")
    wanted = ConfigResource(ConfigResourceType.TOPIC, settings.topic(name), {_RETENTION: None})
    try:
        with lost_connection():
            await client.start()
            (answer,) = await client.describe_configs([wanted])
    except (KafkaError, TimeoutError) as error:
        raise failure(error) from error
    finally:
        await client.close()
    ((refused, _, _, _, entries),) = answer.resources
    kept_ms = -1 if refused else int(next(e[1] for e in entries if e[0] == _RETENTION))
    return kept_ms if kept_ms >= 0 else None


async def _there(
    client: AIOKafkaAdminClient, settings: KafkaSettings
) -> dict[str, _Standing | None]:
    """The topics that exist; None: the broker asked cannot tell now. Asking makes no topic."""
    ours = {settings.topic(topic.name) for topic in TOPICS}
    named = sorted(ours & set(await client.list_topics()))
    found = await client.describe_topics(named) if named else []
    return dict.fromkeys(named) | {
        topic["topic"]: _Standing(
            len(topic["partitions"]),
            sum(p["leader"] < 0 for p in topic["partitions"]),
            min((len(p["replicas"]) for p in topic["partitions"]), default=0),
        )
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


async def _all_there(
    client: AIOKafkaAdminClient, settings: KafkaSettings
) -> dict[str, _Standing | None]:
    """Wait until every topic has a leader for each partition."""
    for _ in range(_APPEAR_LOOKS):
        there = await _there(client, settings)
        if _is_complete(settings, there):
            return there
        await asyncio.sleep(_LOOK_S)
    raise TimeoutError


def _is_complete(settings: KafkaSettings, there: Mapping[str, _Standing | None]) -> bool:
    """Whether every topic is there, with a leader for each of its partitions."""
    for topic in TOPICS:
        stands = there.get(settings.topic(topic.name))
        if (
            stands is None
            or stands.leaderless
            or stands.partitions < partitions_of(topic, settings)
        ):
            return False
    return True


def _check_partitions(settings: KafkaSettings, there: Mapping[str, _Standing | None]) -> None:
    for topic in TOPICS:
        name, wanted = settings.topic(topic.name), partitions_of(topic, settings)
        stands = there.get(name)
        if stands is not None and stands.partitions != wanted:
            raise PermanentError(
                "topic_partitions_differ",
                f"{name} has {stands.partitions} partitions, not {wanted};"
                " changing it is a migration",
                field="partitions",
                accepted=str(stands.partitions),
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
