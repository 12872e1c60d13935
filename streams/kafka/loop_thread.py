"""An event loop in a thread of its own, for callers that have none."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from aiokafka.errors import KafkaError

from streams.kafka.broker import away

_T = TypeVar("_T")
_GRACE_S: Final = 2.0  # for a call that was cancelled to unwind


class LoopThread:
    """`call` from any thread but its own."""

    def __init__(self, name: str) -> None:
        self.is_closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, _T], *, timeout_s: float) -> _T:
        """Run to the end and give the result.

        Raises TransientError ``kafka_away`` for whatever the broker refuses and after `timeout_s`,
        ValueError when closed.
        """
        if self.is_closed:
            work.close()
            raise ValueError("the loop is closed")
        limited = asyncio.wait_for(work, timeout_s)
        try:
            return asyncio.run_coroutine_threadsafe(limited, self._loop).result(
                timeout_s + _GRACE_S
            )
        except (KafkaError, TimeoutError) as error:
            raise away(error) from error

    def close(self) -> None:
        """End the loop; what still runs in it is cancelled."""
        if self.is_closed:
            return
        self.is_closed = True
        asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop).result(_GRACE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.wait_for(asyncio.gather(*others, return_exceptions=True), _GRACE_S / 2)
