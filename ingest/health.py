"""What health, metrics and OpenAPI say. `ingest.health_server` has their port."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST

_FROZEN_S: Final = 5.0
"""An event loop that has not turned for so long takes no uploads; it is alive all the same."""
_METRICS_S: Final = 0.25
"""Numbers are told again for so long: gathering them costs milliseconds, and anybody may ask."""
_JSON: Final = "application/json"


@dataclass(slots=True)
class Pulse:
    """When the event loop was last seen to turn, by a clock in seconds."""

    now_s: Callable[[], float]
    last_s: float = 0.0

    def beat(self) -> None:
        """It turns."""
        self.last_s = self.now_s()

    @property
    def is_frozen(self) -> bool:
        """Whether it has not turned for seconds."""
        return self.now_s() - self.last_s > _FROZEN_S


@dataclass(slots=True)
class Health:
    """What is answered. `why_not_ready` says why no upload can be taken; empty if one can."""

    pulse: Pulse
    why_not_ready: Callable[[], str]
    metrics: Callable[[], bytes]
    openapi: bytes
    _told: bytes = b""
    _told_s: float = float("-inf")

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Status, content type and body of a GET."""
        if path == "/livez":
            said = "frozen" if self.pulse.is_frozen else "alive"
            return 200, _JSON, json.dumps({"status": said}).encode()
        if path == "/readyz":
            why = "frozen" if self.pulse.is_frozen else self.why_not_ready()
            return 503 if why else 200, _JSON, json.dumps({"status": why or "ready"}).encode()
        if path == "/metrics":
            return 200, CONTENT_TYPE_LATEST, self._numbers()
        if path == "/openapi.json":
            return 200, _JSON, self.openapi
        return 404, _JSON, json.dumps({"status": "not found"}).encode()

    def _numbers(self) -> bytes:
        now_s = self.pulse.now_s()
        if now_s - self._told_s > _METRICS_S:
            self._told, self._told_s = self.metrics(), now_s
        return self._told
