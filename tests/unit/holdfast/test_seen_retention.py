"""An accepted age that the kept batch ids do not cover is refused."""

import pytest

from holdfast.seen_retention import check_covered, covered_age_ms
from streams.kafka.broker import KafkaSettings
from wire.errors import PermanentError
from wire.times import HOUR_MS

KAFKA = KafkaSettings("127.0.0.1:9", seen_retention_ms=168 * HOUR_MS)


def test_the_accepted_age_and_four_minutes_must_be_below_the_retention() -> None:
    assert covered_age_ms(KAFKA) == 168 * HOUR_MS - 240_000
    check_covered(KAFKA, 168 * HOUR_MS - 240_001)

    with pytest.raises(PermanentError, match="seen_retention_too_short") as refused:
        check_covered(KAFKA, 168 * HOUR_MS - 240_000)

    assert refused.value.accepted == "HOLDFAST_SEEN_RETENTION_HOURS above 168"
