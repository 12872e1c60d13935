"""Whoever has shown no key waits for a turn: strangers have a share of the loop's time, no more.

An event loop serves what comes first, so a thousand strangers who ask for little each would stand
before every phone. Their bytes wait here instead. What a turn costs is read off the thread's CPU
clock over the loop's next turns too, because a request goes on there as a task of its own; phones'
work in between counts as well, so strangers have less when phones need more. What is spent on them
before, to accept them and to look at them, is charged: whoever comes often makes all of them wait.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

SHARE: Final = 0.1
"""Of the loop's thread. On an idle node nobody waits before that is used."""
_BURST_S: Final = 0.05
_AT_ONCE_S: Final = 0.0003  # then phones come in between
_HELD_BYTES_MAX: Final = 16 * 1024 * 1024
_LOOP_TURNS: Final = 3  # that an ordinary request takes after its bytes were read
_WAIT_S_MIN: Final = 0.002
_DEBT_S_MAX: Final = 0.1  # then a stranger waits a second, however many there are


class Turns:
    """One queue for all doors of a loop. Each connection waits once, and leaves when it ends, so it
    is no longer than there are connections.
    """

    def __init__(
        self,
        cpu_s: Callable[[], float] = time.thread_time,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cpu_s = cpu_s
        self._now_s = now_s
        self._waiting: OrderedDict[object, Callable[[], None]] = OrderedDict()
        self._is_serving = False
        self._held_bytes = 0
        self._left_s = _BURST_S
        self._at_s = now_s()

    def __len__(self) -> int:
        return len(self._waiting)

    def wait(self, who: object, work: Callable[[], None]) -> None:
        """Call `work` in the turn of `who`: at once if nobody waits and there is time left."""
        self._waiting[who] = work
        if not self._is_serving:
            self._is_serving = True
            self._serve()

    def leave(self, who: object) -> None:
        """It has ended, and waits no more."""
        self._waiting.pop(who, None)

    def charge(self, cpu_s: float) -> None:
        """What was spent on strangers outside their turns."""
        self._refill()
        self._left_s = max(self._left_s - cpu_s, -_DEBT_S_MAX)

    def hold(self, size: int) -> bool:
        """Whether so many bytes more may wait with their senders; negative gives back."""
        if size > 0 and self._held_bytes + size > _HELD_BYTES_MAX:
            return False
        self._held_bytes += size
        return True

    def _refill(self) -> None:
        now_s = self._now_s()
        self._left_s = min(_BURST_S, self._left_s + (now_s - self._at_s) * SHARE)
        self._at_s = now_s

    def _serve(self) -> None:
        self._refill()
        loop = asyncio.get_running_loop()
        if self._left_s <= 0:
            loop.call_later(max(_WAIT_S_MIN, -self._left_s / SHARE), self._serve)
            return
        began_s = self._cpu_s()
        while self._waiting and self._cpu_s() - began_s < _AT_ONCE_S:
            try:
                self._waiting.popitem(last=False)[1]()
            except Exception as error:  # noqa: BLE001  # others wait behind it
                loop.call_exception_handler({"message": "a turn failed", "exception": error})
        loop.call_soon(self._settle, began_s, _LOOP_TURNS)

    def _settle(self, began_s: float, turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(self._settle, began_s, turns - 1)
            return
        self._left_s -= self._cpu_s() - began_s
        self._is_serving = bool(self._waiting)
        if self._is_serving:
            self._serve()
