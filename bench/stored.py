"""What the store has come to hold."""

import time
from typing import Final

from bench.node import wait_until
from store import queries
from store.client import Client
from wire.errors import PermanentError, TransientError

_SERIES: Final = "rollout_id, step, arm, platform, device_tier, region, model_version, metric"


def events_stored(store: Client, wanted: int, *, timeout_s: float) -> int:
    """Wait until it has as many; how many it has then, or when the time is up.

    One question a second: questions cost the store, too.
    """
    stored = 0

    def done() -> bool:
        nonlocal stored
        time.sleep(1.0)
        try:
            stored = queries.events_stored(store)
        except (PermanentError, TransientError):
            return False  # the tables come with the first window
        return stored >= wanted

    try:
        wait_until(done, timeout_s=timeout_s, what="events in the store")
    except TimeoutError:
        return stored
    return stored


def all_stored(store: Client, sent: int, *, timeout_s: float) -> None:
    """Wait until it has exactly what was sent. Raises RuntimeError."""
    stored = events_stored(store, sent, timeout_s=timeout_s)
    if stored != sent:
        raise RuntimeError(f"{stored} events in the store, {sent} were sent")


def series_stored(store: Client, *, since_ms: int = 0) -> int:
    """Different series, metrics told apart, in windows from then on."""
    sql = (
        f"SELECT uniqExact({_SERIES}) FROM hf_store.metric_window"  # noqa: S608  # the names above
        " WHERE window_start >= fromUnixTimestamp64Milli({since:Int64})"
    )
    return int(str(store.rows(sql, {"since": since_ms})[0][0]))
