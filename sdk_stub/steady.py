"""Time as the installation lives it: it never goes back, and no jump of the wall clock moves it.

A phone's wall clock is set by people, by networks and by a flat battery. It says when something
happened, never how long to wait or how old something is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_JUMP_MS: Final = 30 * 86_400_000
"""A wall clock that has moved further between two looks was set; no installation slept so long."""
_WALL_MAX_MS: Final = 1 << 62


@dataclass(slots=True)
class SteadyClock:
    """Milliseconds that this installation has lived.

    `monotonic_ms` is the platform's clock since the start of the phone. Without one, steps of the
    wall clock count, but not those backwards or of more than 30 days. Over restarts nothing else
    can be known, so the wall clock is believed within the same limits.
    """

    now_ms: Callable[[], int]
    monotonic_ms: Callable[[], int] | None
    lived_ms: int = 0
    seen_ms: int | None = None
    _ticked_ms: int | None = None

    def wall_ms(self) -> int:
        """The wall clock, as far as an upload can say it."""
        return min(max(int(self.now_ms()), 0), _WALL_MAX_MS)

    def __call__(self) -> int:
        """Go on, and say where we are."""
        wall_ms = max(min(int(self.now_ms()), _WALL_MAX_MS), -_WALL_MAX_MS)
        ticks_ms = None if self.monotonic_ms is None else self.monotonic_ms()
        if ticks_ms is not None and self._ticked_ms is not None:
            self.lived_ms += max(ticks_ms - self._ticked_ms, 0)
        elif self.seen_ms is not None and 0 < wall_ms - self.seen_ms <= _JUMP_MS:
            self.lived_ms += wall_ms - self.seen_ms
        self.seen_ms, self._ticked_ms = wall_ms, ticks_ms
        return self.lived_ms
