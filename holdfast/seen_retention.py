"""How long batch ids are kept over Kafka, and the accepted age that this allows.

A summarise worker remembers ids for as long as the topic `seen` keeps them, whatever the policy
accepts today. So an accepted age that grows finds the ids that it needs, in every worker at once,
and one that shrinks and grows again does too; nothing depends on when a worker hears of a policy.
What must not grow is the accepted age beyond the retention: doors and act refuse such a policy and
keep the last good one, and a worker that would forget too early does not start.
"""

import logging
from dataclasses import replace
from typing import Final

from streams.clocks import Clocks
from streams.kafka.broker import KafkaSettings
from streams.kafka.topics import SEEN, retention_of
from streams.summarise import SKEW_MS
from wire.errors import PermanentError
from wire.times import HOUR_MS

_log = logging.getLogger("holdfast.seen_retention")
_MARGIN_MS: Final = 2 * SKEW_MS  # a record of ids is as old as its window; clocks are apart


def covered_age_ms(kafka: KafkaSettings) -> int:
    """The accepted age must be below this; ids are remembered for as long."""
    return kafka.seen_retention_ms - _MARGIN_MS


def check_covered(kafka: KafkaSettings, accepted_age_ms: int) -> None:
    """Raises PermanentError ``seen_retention_too_short``."""
    if accepted_age_ms < covered_age_ms(kafka):
        return
    hours = (accepted_age_ms + _MARGIN_MS) / HOUR_MS
    raise PermanentError(
        "seen_retention_too_short",
        f"batch ids are kept for {kafka.seen_retention_ms / HOUR_MS:g} h, and uploads are accepted"
        f" for {accepted_age_ms / HOUR_MS:g} h: a late retry would be counted twice",
        field="HOLDFAST_SEEN_RETENTION_HOURS",
        accepted=f"HOLDFAST_SEEN_RETENTION_HOURS above {hours:.4g}",
    )


async def remembering(kafka: KafkaSettings, pinned: Clocks) -> Clocks:
    """The clocks of a summarise worker: ids are remembered for as long as they are kept.

    Raises PermanentError ``seen_retention_too_short`` if the policy accepts older uploads, or if
    the topic itself keeps ids for less than the setting says; TransientError ``kafka_away``.
    """
    check_covered(kafka, pinned.horizon_ms)
    kept_ms = await retention_of(kafka, SEEN)
    if kept_ms is not None and kept_ms < kafka.seen_retention_ms:
        raise PermanentError(
            "seen_retention_too_short",
            f"the topic {kafka.topic(SEEN)} keeps batch ids for {kept_ms / HOUR_MS:g} h, not for"
            f" {kafka.seen_retention_ms / HOUR_MS:g} h; an existing topic is never altered",
            field="HOLDFAST_SEEN_RETENTION_HOURS",
            accepted=f"retention.ms={kafka.seen_retention_ms} of that topic, or the setting lower",
        )
    clocks = replace(pinned, horizon_ms=covered_age_ms(kafka))
    said = {"remembered_ms": clocks.horizon_ms, "accepted_age_ms": pinned.horizon_ms}
    _log.info("batch_ids_remembered", extra=said)
    return clocks
