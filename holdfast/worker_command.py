"""``holdfast worker``: run one stage in the foreground."""

import asyncio
import logging
import os
from pathlib import Path

from holdfast.config import Settings, load
from holdfast.observe import start_logging
from holdfast.worker import Worker
from streams.ports import Meter, NoMeter
from wire.errors import PermanentError

_log = logging.getLogger("holdfast.worker")


def run_worker(stage: str, directory: Path | None) -> int:
    """Work until SIGTERM or SIGINT; 1 if it had to give up, for a supervisor to start it anew."""
    settings = load(dir=directory)
    start_logging()
    code = asyncio.run(_run(stage, settings))
    # threads of Faust or of a push that hangs must not hold up a supervisor
    os._exit(code)


async def _run(stage: str, settings: Settings) -> int:
    worker = Worker(stage, settings, _meter(settings))
    try:
        await worker.run()
    except PermanentError:
        raise
    except Exception:  # noqa: BLE001  # the last resort: a supervisor starts us anew
        _log.exception("worker_failed", extra={"stage": stage})
        return 1
    return 0


def _meter(settings: Settings) -> Meter:
    if not settings.metrics_port:
        return NoMeter()
    from holdfast.worker_metrics import Metrics

    metrics = Metrics()
    metrics.serve(settings.host, settings.metrics_port)
    return metrics
