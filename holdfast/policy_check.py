"""What a policy may not ask for here: clocks that are not those of the log."""

import logging
from collections.abc import Callable

from actions.desired_files import BrokenManifestsError
from actions.manifest_documents import Mistake
from holdfast.seen_retention import check_covered, covered_age_ms
from streams.clocks import Clocks
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


def clocks_check(pinned: Callable[[], Clocks | None]) -> Callable[[Desired], None]:
    """Refuses a policy with other clocks than those that stand; None: none stand yet.

    The check raises BrokenManifestsError, so that the last good state stays in force, and writes an
    error to the log. An accepted age below what is remembered is free to move.
    """

    def check(desired: Desired) -> None:
        stands = pinned()
        if stands is None:
            return
        policy = desired.policy
        mistakes = []
        if policy.window_ms != stands.window_ms:
            mistakes.append(_pinned("spec.windowMs", policy.window_ms, str(stands.window_ms)))
        if policy.accepted_age_ms > stands.horizon_ms:
            most = f"at most {stands.horizon_ms}"
            mistakes.append(_pinned("spec.acceptedAgeMs", policy.accepted_age_ms, most))
        if mistakes:
            said = {"code": "clocks_are_pinned", "detail": "; ".join(map(str, mistakes))}
            _log.error("clocks_are_pinned", extra={**said, "commit": desired.commit})
            raise BrokenManifestsError(mistakes)

    return check


def all_of(*checks: Callable[[Desired], None]) -> Callable[[Desired], None]:
    """One check after the other; the first that refuses ends it."""

    def check(desired: Desired) -> None:
        for one in checks:
            one(desired)

    return check


def _pinned(field: str, wanted: int, accepted: str) -> Mistake:
    return Mistake(
        "Policy",
        field,
        f"{wanted} is not what this log was begun with, and what is stored is of that",
        f"{accepted}; to change it is a migration: docs/runbook.md, to change the clocks",
    )
