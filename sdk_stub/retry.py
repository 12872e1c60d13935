"""When to try again: exponential, jittered, and never sooner than the server asked."""

from dataclasses import dataclass

import numpy as np

from sdk_stub.refusals import RETRY_AFTER_MAX_S


@dataclass(frozen=True, slots=True)
class Backoff:
    """Full jitter: uniform in [0, base * 2^attempt], capped, after what Retry-After says.

    Source: Brooker 2015, "Exponential Backoff And Jitter".
    """

    base_ms: int = 500
    cap_ms: int = 300_000

    def delay_ms(self, attempt: int, *, retry_after_s: int, rng: np.random.Generator) -> int:
        """Milliseconds until try number `attempt + 1`; `attempt` counts failures, from 1."""
        ceiling = min(self.cap_ms, self.base_ms * 2 ** min(attempt, 30))
        asked_s = min(max(retry_after_s, 0), RETRY_AFTER_MAX_S)
        return asked_s * 1000 + int(rng.integers(0, ceiling + 1))
