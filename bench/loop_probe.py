"""What a bench wants to know of a server from inside: how late its loop was, what it spent.

A timer of a millisecond is set again and again in the loop; how late it comes is how long the loop
did not turn, whoever held it: a callback, or a thread that held the interpreter. A line on standard
input asks, and what is told is since the last time.
"""

import asyncio
import json
import resource
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ingest.commit import Committer

_EVERY_S: Final = 0.001


@dataclass(slots=True)
class LoopProbe:
    """Of one loop and one committer: a timed `commit` takes the place of its own."""

    committer: Committer
    late_s: float = 0.0
    cpu_s: float = 0.0
    commits: list[tuple[int, float]] = field(default_factory=list)  # bytes, seconds
    _due_s: float = 0.0

    def start(self) -> None:
        """Look from now on, in the running loop."""
        commit = self.committer.commit

        def timed(group, **others):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN003, ANN202  # as `commit`
            began_s = time.monotonic()
            outcome = commit(group, **others)
            self.commits.append((sum(len(s.body) for s in group), time.monotonic() - began_s))
            return outcome

        self.committer.commit = timed  # type: ignore[method-assign]  # a bench looks inside
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), self._tell)
        self._look()

    def _look(self) -> None:
        now_s = time.monotonic()
        if self._due_s:
            self.late_s = max(self.late_s, now_s - self._due_s)
        self._due_s = now_s + _EVERY_S
        asyncio.get_running_loop().call_later(_EVERY_S, self._look)

    def _tell(self) -> None:
        if not sys.stdin.readline():
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            return
        spent_s = time.process_time()
        told = {
            "cpu_s": spent_s - self.cpu_s,
            "late_s": self.late_s,
            "commits": self.commits,
            "rss_mb": resident_mb(),
        }
        print(json.dumps(told), flush=True)
        self.cpu_s, self.late_s, self.commits = spent_s, 0.0, []


def resident_mb() -> float:
    """Of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6
