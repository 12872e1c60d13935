"""`POST /v1/grants`: a phone asks for the ids under which its units will count."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec

from ingest.grant_quota import GrantQuota
from ingest.grants import Grants, life_ms
from ingest.ports import Attestor, DesiredSource
from wire.errors import PermanentError, TransientError

COUNT_MAX: Final = 16
ASK_BYTES_MAX: Final = 32 * 1024
_NOT_NOW_S: Final = 60


class Ask(msgspec.Struct, frozen=True):
    """What a phone says. `attestation` is the attestor's own; empty where none is set."""

    count: Annotated[int, msgspec.Meta(ge=1, le=COUNT_MAX)] = 8
    attestation: Annotated[str, msgspec.Meta(max_length=ASK_BYTES_MAX)] = ""


class Given(msgspec.Struct, frozen=True):
    """What it gets: ids in hexadecimal, and until when they count."""

    grants: list[str]
    expires_ms: int


@dataclass(frozen=True, slots=True)
class GrantIssuer:
    """Asks the attestor, then the quota, then issues."""

    grants: Grants
    quota: GrantQuota
    attestor: Attestor
    desired: DesiredSource
    now_ms: Callable[[], int]

    def answer(self, app_id: str, address: str, body: bytes) -> bytes:
        """The answer as JSON.

        Raises PermanentError ``grant_ask_malformed``, ``attestation_refused``, or TransientError
        ``grants_exhausted``, ``grants_without_key``, ``desired_state_missing``.
        """
        ask = _asked(body)
        desired = self.desired.current()
        if desired is None:
            raise TransientError("desired_state_missing", "not yet", retry_after_s=1)
        if not self.grants.can_issue:
            raise TransientError(
                "grants_without_key",
                "the doors share no HOLDFAST_BATCH_KEY",
                retry_after_s=_NOT_NOW_S,
            )
        if not self.attestor.vouches(app_id, ask.attestation):
            raise PermanentError(
                "attestation_refused",
                "nobody vouches for this phone",
                field="attestation",
                accepted="what the app's attestor gives; uploads are taken without it",
            )
        now_ms = self.now_ms()
        count = self.quota.take(app_id, address, ask.count)
        given = [grant.hex() for grant in self.grants.issue(app_id, count, now_ms)]
        until_ms = now_ms + life_ms(desired.policy.accepted_age_ms)
        return msgspec.json.encode(Given(given, until_ms))


def _asked(body: bytes) -> Ask:
    try:
        return msgspec.json.decode(body or b"{}", type=Ask)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise PermanentError(
            "grant_ask_malformed",
            "the question cannot be read",
            field="count",
            accepted=f'{{"count": 1 to {COUNT_MAX}, "attestation": "..."}}',
        ) from error
