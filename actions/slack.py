"""One message to a Slack incoming webhook. The webhook's address is a secret and stays one.

The client is imported with the first message: a process that was killed has more urgent things to
load than one that most of its lives never need.
"""

import http.client
import json
import logging
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

from actions.results import ActionResult, State
from wire.errors import TransientError

if TYPE_CHECKING:
    from slack_sdk.webhook import WebhookClient, WebhookResponse

RETRY_AFTER_S: Final = 30  # Slack's own default when it names none
RETRY_AFTER_S_MAX: Final = 3600
_OK: Final = 200
_TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500


@dataclass(frozen=True, slots=True)
class SlackSettings:
    """`url` of the webhook. `timeout_s` covers connecting and each read. `proxy`: "" for none."""

    url: str = field(repr=False)
    timeout_s: int = 10
    proxy: str = field(default="", repr=False)
    dry_run: bool = False


class Slack:
    """Posts messages; whether to try again is the outbox's decision."""

    def __init__(self, settings: SlackSettings) -> None:
        self._settings = settings

    @cached_property
    def _client(self) -> "WebhookClient":
        from slack_sdk.webhook import WebhookClient  # noqa: PLC0415 - a tenth of a start

        silent = logging.Logger("slack")  # noqa: LOG001 - the client logs the address: keep it apart
        silent.disabled = True
        settings = self._settings
        client = WebhookClient(
            settings.url, timeout=settings.timeout_s, logger=silent, retry_handlers=[]
        )
        client.proxy = settings.proxy or None  # not whatever the environment says
        return client

    def perform(self, message: bytes) -> ActionResult:
        """Post a message (JSON as `messages` makes it).

        Raises
        ------
        TransientError
            ``slack_rate_limited``, ``slack_unavailable``.
        """
        if self._settings.dry_run:
            return ActionResult(State.DRY_RUN, detail="nothing was sent")
        from slack_sdk.errors import SlackClientError  # noqa: PLC0415 - as above

        try:
            answer = self._client.send_dict(json.loads(message))
        except (OSError, http.client.HTTPException, UnicodeDecodeError) as error:
            # `from None`: the cause's text may hold the address
            raise TransientError("slack_unavailable", type(error).__name__) from None
        except (SlackClientError, ValueError) as error:
            return ActionResult(State.REFUSED, detail=f"not an address: {type(error).__name__}")
        return _result(answer)


def _result(answer: "WebhookResponse") -> ActionResult:
    if answer.status_code == _OK:
        return ActionResult(State.DONE)
    if answer.status_code == _TOO_MANY:
        wait_s = _retry_after_s(answer)
        raise TransientError("slack_rate_limited", f"for {wait_s} s", retry_after_s=wait_s)
    if answer.status_code >= _SERVER_ERROR:
        raise TransientError("slack_unavailable", f"status {answer.status_code}")
    # Slack answers a short word here: invalid_payload, channel_is_archived, no_service, ...
    word = answer.body if answer.body.replace("_", "").isalnum() else "no reason given"
    return ActionResult(State.REFUSED, detail=f"status {answer.status_code}: {word[:60]}")


def _retry_after_s(answer: "WebhookResponse") -> int:
    given = str(answer.headers.get("Retry-After", ""))
    return min(max(int(given), 1), RETRY_AFTER_S_MAX) if given.isdecimal() else RETRY_AFTER_S
