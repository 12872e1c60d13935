"""Are the topics that stand such that nothing with a receipt is lost in them?

Only what would lose or refuse records is checked; the rest is an operator's business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from wire.errors import PermanentError

_FOR_EVER: Final = "-1"
_EQUAL: Final = frozenset(
    {
        "cleanup.policy",  # a compacted log keeps one record a key, a trimmed state is no state
        "unclean.leader.election.enable",  # true: what was acknowledged may be cut off
        "message.timestamp.type",  # else one producer's wrong clock decides what is old
        "retention.bytes",  # a size trims what was not read yet
    }
)
_AT_LEAST: Final = frozenset({"max.message.bytes", "min.insync.replicas", "retention.ms"})


@dataclass(frozen=True, slots=True)
class Mistake:
    """One setting of one topic that is not as it must be."""

    topic: str
    setting: str
    stands: str
    accepted: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.setting}={self.stands}, accepted: {self.accepted}"


def mistakes_of(topic: str, stands: Mapping[str, str], wanted: Mapping[str, str]) -> list[Mistake]:
    """What of a topic's settings loses or refuses records. A setting that is not told is none."""
    found = []
    for setting, value in sorted(wanted.items()):
        is_at = stands.get(setting)
        if is_at is None or is_at == value:
            continue
        if setting in _EQUAL:
            found.append(Mistake(topic, setting, is_at, value))
        elif setting in _AT_LEAST and not _reaches(is_at, value):
            forever = ", or -1" if setting == "retention.ms" else ""
            found.append(Mistake(topic, setting, is_at, f"{value} or more{forever}"))
    return found


def _reaches(stands: str, least: str) -> bool:
    if _FOR_EVER in (stands, least):
        return stands == _FOR_EVER
    return int(stands) >= int(least)


def too_few_replicas(topic: str, replicas: int, stands: Mapping[str, str]) -> list[Mistake]:
    """A topic that asks for more replicas in sync than it has takes no record at all."""
    wanted = int(stands.get("min.insync.replicas", "1"))
    if replicas >= wanted:
        return []
    return [Mistake(topic, "min.insync.replicas", str(wanted), f"at most its {replicas} replicas")]


def refused(mistakes: Sequence[Mistake]) -> PermanentError:
    """One error for all of them."""
    first = mistakes[0]
    return PermanentError(
        "topic_settings_refused",
        "; ".join(map(str, mistakes)) + "; an existing topic is never altered",
        field=first.setting,
        accepted=first.accepted,
    )


async def settings_of(
    client: AIOKafkaAdminClient, topics: Sequence[str]
) -> dict[str, dict[str, str]]:
    """What is in force for each topic; one that we may not ask about is left out.

    Raises KafkaError.
    """
    wanted = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics]
    found = {}
    for answer in await client.describe_configs(wanted):
        for code, _, _, name, entries in answer.resources:
            if not code:
                found[name] = {entry[0]: entry[1] for entry in entries}
    return found
