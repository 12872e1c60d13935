"""What brokers say a topic *is*: its id (KIP-516), its cluster, and the epochs of its leaders.

A topic that is deleted and made again has the same name, and offsets from 0, but another id. An
epoch changes with every election: a log can lose its end only where one did. aiokafka speaks
Metadata up to version 5, which tells neither, so version 10 (Kafka 2.8 and later) is spelled out
here, with aiokafka's own types.
"""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import IncompatibleBrokerVersion, for_code
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

_NO_ID: Final = uuid.UUID(int=0)
_UUID_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """`topic_id` is "" where brokers have none; `epochs` are the leaders', by partition."""

    topic_id: str
    epochs: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """One cluster, and those of the asked topics that exist."""

    cluster_id: str
    topics: Mapping[str, TopicFacts]


async def describe(client: AIOKafkaAdminClient, names: Iterable[str]) -> ClusterFacts:
    """Ask a broker. Raises KafkaError."""
    wanted = list(names)
    try:
        answer: Any = await client._send_request(_Ask(wanted))  # noqa: SLF001  # it has no public way
    except (IncompatibleBrokerVersion, NotImplementedError):
        return ClusterFacts("", {name: TopicFacts("", {}) for name in wanted})
    topics: dict[str, TopicFacts] = {}
    for code, name, topic_id, _, partitions, *_ in answer.topics:
        if code and for_code(code).retriable:
            continue  # it is being made or deleted: not there, now
        if not code:
            said = "" if topic_id == _NO_ID else topic_id.hex
            topics[name] = TopicFacts(said, {p[1]: p[3] for p in partitions})
    return ClusterFacts(answer.cluster_id or "", topics)


class _Uuid(AbstractType[uuid.UUID]):  # type: ignore[misc]  # aiokafka has no types
    @classmethod
    def encode(cls, value: uuid.UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> uuid.UUID:
        return uuid.UUID(bytes=data.read(_UUID_BYTES))


class _Answer(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition_index", Int32),
                        ("leader_id", Int32),
                        ("leader_epoch", Int32),
                        ("replica_nodes", CompactArray(Int32)),
                        ("isr_nodes", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class _AskV10(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 10
    RESPONSE_TYPE = _Answer
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic_id", _Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields)
            ),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_operations", Boolean),
        ("include_topic_operations", Boolean),
        ("tags", TaggedFields),
    )


class _Ask(Request[_AskV10]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def build(self, request_struct_class: type[_AskV10]) -> _AskV10:
        topics: list[object] = [(_NO_ID, name, {}) for name in self._names]
        return request_struct_class(topics, False, False, False, {})
