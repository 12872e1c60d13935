"""Looks at the topics while a process runs: what changes behind its back is told, once each.

Another topic under the name of ours ends the one who follows it. A setting that loses or refuses
records is told and no more: to end would not bring back what is gone, and the next start refuses.
"""

import asyncio
import logging
from typing import Final

from aiokafka.errors import KafkaError

from streams.kafka.broker import KafkaSettings, admin, lost_connection
from streams.kafka.identity import IdentityWatch
from streams.kafka.topics import check_settings
from wire.errors import PermanentError

_log = logging.getLogger("holdfast.topics")
_LOOK_S: Final = 5.0


async def follow_topics(settings: KafkaSettings, *, every_s: float = _LOOK_S) -> None:
    """Never returns. Raises PermanentError ``log_replaced``, ``position_lost``."""
    identity = IdentityWatch(settings)
    told = ""
    try:
        while True:
            try:
                await identity.look()
                told = await _tell_settings(settings, told)
            except (KafkaError, TimeoutError):
                pass  # away; who reads and writes says so
            await asyncio.sleep(every_s)
    finally:
        await identity.close()


async def _tell_settings(settings: KafkaSettings, told: str) -> str:
    """What is wrong with the topics' settings now, told unless it was; "" if nothing is."""
    client = admin(settings, "holdfast-topics")
    try:
        with lost_connection():
            await client.start()
            await check_settings(client, settings)
    except PermanentError as error:
        if error.detail != told:
            said = {"code": error.code, "detail": error.detail, "do": error.accepted}
            _log.error("topics_changed", extra=said)  # its words are all there is
        return error.detail
    finally:
        await client.close()
    if told:
        _log.info("topics_as_they_must_be")
    return ""
