"""What came of fuzzed bodies."""

import threading
from collections import Counter
from dataclasses import dataclass, field

from bench.hostile_bodies import Body

Kind = tuple[str, str, str, str]
"""Encoding, Content-Encoding, code and field of the refusal."""


@dataclass(slots=True)
class Tally:
    """Of several threads. `failed` broke a promise, `kinds` are the first to come to each end."""

    done: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[str, Body]] = field(default_factory=list)
    kinds: dict[Kind, Body] = field(default_factory=dict)
    slowest_s: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, code: str, took_s: float = 0.0) -> None:
        """One was answered."""
        with self._lock:
            self.done += 1
            self.codes[code] += 1
            self.slowest_s = max(self.slowest_s, took_s)

    def fail(self, reason: str, body: Body) -> None:
        """It broke a promise."""
        with self._lock:
            self.failed.append((reason, body))
