"""``holdfast worker``: run one stage in the foreground."""

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import Final

from holdfast.config import Settings, load
from holdfast.observe import start_logging
from holdfast.worker import Worker
from streams.ports import Meter, NoMeter
from wire.errors import PermanentError

_log = logging.getLogger("holdfast.worker")
_DRAIN_S: Final = 9.0
_WILL_FAIL_AGAIN: Final = 2


def run_worker(stage: str, directory: Path | None) -> None:
    """Work until SIGTERM or SIGINT, then end the process.

    Exit codes: 0 told to stop, 1 gave up (a supervisor starts it anew), 2 will fail again.
    """
    settings = load(dir=directory)
    start_logging()
    worker = Worker(stage, settings, _meter(settings))
    asyncio.run(_live(worker))


async def _live(worker: Worker) -> None:
    """The process ends here: a thread that waits for the store or a push must not hold it up."""
    working = asyncio.create_task(worker.run())
    stopped = asyncio.create_task(worker.stop.wait())
    await asyncio.wait([working, stopped], return_when=asyncio.FIRST_COMPLETED)
    await asyncio.wait([working], timeout=_DRAIN_S)
    code = _exit_code(working)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _exit_code(working: "asyncio.Task[None]") -> int:
    if not working.done():
        _log.warning("drain_cut_short")  # what was not finished is done again
        return 0
    error = working.exception()
    if error is None:
        return 0
    if isinstance(error, PermanentError):
        said = {"code": error.code, "detail": error.detail, "do": error.accepted}
        _log.error("worker_refused", extra=said)
        return _WILL_FAIL_AGAIN
    _log.error("worker_failed", exc_info=error)
    return 1


def _meter(settings: Settings) -> Meter:
    if not settings.metrics_port:
        return NoMeter()
    from holdfast.worker_metrics import Metrics

    metrics = Metrics()
    metrics.serve(settings.host, settings.metrics_port)
    return metrics
