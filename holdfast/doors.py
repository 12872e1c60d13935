"""What the doors are made of, alone or inside a node."""

from collections.abc import Callable

import numpy as np

from holdfast.config import Settings
from holdfast.gitops import DesiredWatch
from ingest.ports import Log
from ingest.receive import Receiver, ReceiveSettings
from ingest.serve import ServeSettings


def make_receiver(
    settings: Settings, log: Log, desired: DesiredWatch, now_ms: Callable[[], int]
) -> Receiver:
    """The one path of uploads."""
    return Receiver(
        log=log,
        desired=desired,
        now_ms=now_ms,
        rng=np.random.default_rng(),
        settings=ReceiveSettings(writer=settings.writer),
    )


def serve_settings(settings: Settings) -> ServeSettings:
    """Where ingest listens."""
    return ServeSettings(
        host=settings.host,
        http_port=settings.http_port,
        grpc_port=settings.grpc_port,
        tick_s=settings.tick_s,
    )
