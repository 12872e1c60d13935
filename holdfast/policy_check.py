"""What a policy may not ask for where uploads go over Kafka."""

import logging
from collections.abc import Callable

from actions.desired_files import BrokenManifestsError
from actions.manifest_documents import Mistake
from holdfast.seen_retention import check_covered, covered_age_ms
from streams.kafka.broker import KafkaSettings
from wire.desired import Desired
from wire.errors import PermanentError

_log = logging.getLogger("holdfast.policy_check")


def age_check(kafka: KafkaSettings) -> Callable[[Desired], None]:
    """Refuses a policy that accepts uploads whose ids would be forgotten before.

    The check raises BrokenManifestsError, and writes an error to the log.
    """

    def check(desired: Desired) -> None:
        try:
            check_covered(kafka, desired.policy.accepted_age_ms)
        except PermanentError as error:
            said = {"code": error.code, "detail": error.detail, "do": error.accepted}
            _log.error("seen_retention_too_short", extra={**said, "commit": desired.commit})
            mistake = Mistake(
                "Policy",
                "spec.acceptedAgeMs",
                str(error),
                f"less than {covered_age_ms(kafka)}, or {error.accepted}",
            )
            raise BrokenManifestsError([mistake]) from error

    return check
