"""The store dies and comes back: what was acknowledged is there."""

import contextlib
import gc
import itertools
import logging
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from bench.fault_proxy import FaultProxy
from store import process
from store.client import Client, StoreSettings, connect
from store.migrate import LEDGER, Migration, migrate, shipped
from store.writer import Writer
from tests.integration.store_fixtures import WRITER_PASSWORD, StoreEndpoint, start_store
from tests.integration.store_rows import metric_rows
from wire.errors import PermanentError, TransientError


def _forever(action: Callable[[], object]) -> None:
    while True:
        action()


class DyingStatements:
    """Passes statements on until `left` is used up, then behaves as a killed process."""

    def __init__(self, client: Client, left: int) -> None:
        self._client = client
        self._left = left

    def command(self, sql: str) -> None:
        if self._left == 0:
            raise ConnectionAbortedError
        self._left -= 1
        self._client.command(sql)

    rows = property(lambda self: self._client.rows)


def test_acknowledged_rows_survive_kill_9(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    acknowledged = 0
    sample = [np.ones(3, np.float32)]
    for round_number in range(3):
        running, endpoint = start_store(tmp_path)
        client = connect(
            StoreSettings(port=endpoint.port, password=WRITER_PASSWORD, retry_total_s=0.0)
        )
        migrate(client, now_ms=1, app_version="test")
        writer = Writer(client)
        stored = client.rows("SELECT countIf(n = 3), count() FROM hf_store.metric_window FINAL")
        # one insert may have been stored whose answer was lost with the process
        assert acknowledged <= int(str(stored[0][0])) <= acknowledged + round_number
        assert stored[0][0] == stored[0][1]
        acknowledged = int(str(stored[0][0]))

        killer = threading.Timer(rng.uniform(0.3, 0.9), running.popen.kill)
        killer.start()
        rows = (
            {"metric_window": metric_rows(sample, model="k", window_start=start)}
            for start in itertools.count(1_763_000_000_000 + acknowledged * 60_000, 60_000)
        )
        answered: list[int] = []
        with pytest.raises(TransientError):
            answered.extend(writer.write(batch) for batch in rows)
        acknowledged += len(answered)
        killer.join()
        assert running.stop() == -signal.SIGKILL
    assert acknowledged > 10


def test_a_store_that_was_killed_drops_what_was_merged_away_soon(tmp_path: Path) -> None:
    """By default half a minute after a start: who lives for less keeps every part ever written."""
    running, endpoint = start_store(tmp_path)
    client = endpoint.writer()
    migrate(client, now_ms=1, app_version="test")
    writer = Writer(client)
    for start in range(1_763_000_000_000, 1_763_000_480_000, 60_000):
        rows = metric_rows([np.ones(3, np.float32)], model="c", window_start=start)
        writer.write({"metric_window": rows})
    client.command("OPTIMIZE TABLE hf_store.metric_window FINAL")
    running.popen.kill()
    running.stop()

    again, endpoint = start_store(tmp_path)
    later = endpoint.writer()
    left = "SELECT count() FROM system.parts WHERE table = 'metric_window' AND NOT active"
    folders = list((tmp_path / "chdb" / "store").glob("*/*/202511_*"))
    deadline = time.monotonic() + 20
    while len(folders) > 1 and time.monotonic() < deadline:
        time.sleep(0.1)
        folders = list((tmp_path / "chdb" / "store").glob("*/*/202511_*"))

    assert [f.name.rpartition("_")[0] for f in folders] == ["202511_1_8"]
    assert list(later.rows(left)) == [(0,)]
    assert again.stop() == 0


def test_a_client_waits_for_a_store_that_restarts(tmp_path: Path) -> None:
    running, endpoint = start_store(tmp_path)
    client = endpoint.writer()
    assert running.stop() == 0

    def restart() -> None:
        again.append(process.start(tmp_path / "chdb", tmp_path / "credentials.json", port=port))

    port, again = endpoint.port, list[process.StoreProcess]()
    restarting = threading.Thread(target=restart)
    restarting.start()
    try:
        assert list(client.rows("SELECT 1")) == [(1,)]
    finally:
        restarting.join()
        assert again[0].stop() == 0


@pytest.fixture
def no_log_records() -> Iterator[None]:
    """Pytest keeps records, and they keep errors."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("no_log_records")
@pytest.mark.parametrize("is_behind_proxy", [False, True])
def test_inserts_that_no_store_answered_do_not_pile_up(
    tmp_path: Path, *, is_behind_proxy: bool
) -> None:
    """A worker tries for as long as the store is away, with megabytes each time."""
    running, endpoint = start_store(tmp_path)
    proxy = FaultProxy(endpoint.port)  # resets what it cannot pass on
    through = proxy.start()
    port = through if is_behind_proxy else endpoint.port
    client = connect(StoreSettings(port=port, password=WRITER_PASSWORD, retry_total_s=0.1))
    running.popen.kill()
    running.stop()

    def refused() -> "weakref.ref[pa.Table]":
        rows = pa.table({"x": range(1000)})
        try:
            client.insert_arrow("hf_store.verdict", rows)
        except TransientError:  # `pytest.raises` would keep the error
            return weakref.ref(rows)
        pytest.fail("the store is gone")

    gc.collect()
    gc.disable()  # as good as the service, which lets it run seldom
    try:
        left = [rows for rows in [refused() for _ in range(5)] if rows() is not None]
    finally:
        gc.enable()
        client.close()
        proxy.stop()

    assert len(left) <= 1, "the last one may wait for the next"


def _run_slowly(port: int) -> None:
    impatient = StoreSettings(port=port, password=WRITER_PASSWORD, retry_total_s=0.0)
    with contextlib.suppress(TransientError):
        connect(impatient).rows(
            "SELECT sum(cityHash64(number)) FROM numbers(100000000000) SETTINGS max_threads = 1"
        )


def test_sigterm_ends_it_within_its_grace_even_under_a_slow_statement(tmp_path: Path) -> None:
    running, endpoint = start_store(tmp_path, grace_s=1)
    client = endpoint.writer()
    migrate(client, now_ms=1, app_version="test")
    slow = threading.Thread(target=_run_slowly, args=(endpoint.port,))
    slow.start()
    time.sleep(0.5)

    began = time.perf_counter()
    code = running.stop(timeout_s=20)
    took_s = time.perf_counter() - began

    slow.join()
    assert code == 0
    assert 1 <= took_s < 6


def test_it_ends_when_the_process_that_started_it_is_gone(tmp_path: Path) -> None:
    running, _ = start_store(tmp_path)
    assert running.popen.stdin

    running.popen.stdin.close()

    assert running.popen.wait(60) == 0
    running.stop()


def test_a_second_process_on_the_same_folder_is_told_why_not(tmp_path: Path) -> None:
    running, _ = start_store(tmp_path)
    log = tmp_path / "log"

    with log.open("wb") as errors, pytest.raises(PermanentError) as refused:
        process.start(tmp_path / "chdb", tmp_path / "credentials.json", errors=errors)

    assert refused.value.code == "store_not_started"
    assert "store_unopenable" in log.read_text()
    assert running.stop() == 0


def test_the_credentials_file_is_for_its_owner_and_holds_no_password(tmp_path: Path) -> None:
    path = tmp_path / "c.json"

    process.write_credentials(path, writer_password="s3cret-w", analyst_password="s3cret-a")

    assert path.stat().st_mode & 0o777 == 0o600
    assert "s3cret" not in path.read_text()


def test_inserts_are_synced_before_they_are_answered(store_endpoint: StoreEndpoint) -> None:
    client = store_endpoint.writer()
    syncs = (
        "SELECT sumIf(value, event = 'FileSync'), sumIf(value, event = 'DirectorySync') "
        "FROM system.events"
    )
    before = client.rows(syncs)[0]

    Writer(client).write({"metric_window": metric_rows([np.ones(3, np.float32)], model="s")})

    after = client.rows(syncs)[0]
    assert int(str(after[0])) > int(str(before[0]))
    assert int(str(after[1])) > int(str(before[1]))


def test_migrations_rerun_after_dying_at_every_statement(tmp_path: Path) -> None:
    """Each time one statement later; what was done before is done again."""
    running, endpoint = start_store(tmp_path)
    client = endpoint.writer()

    def dies(left: int, wanted: list[Migration]) -> None:
        dying = DyingStatements(client, left)
        with pytest.raises(ConnectionAbortedError):
            migrate(dying, now_ms=1, app_version="test", migrations=wanted)

    for left in range(len(LEDGER)):
        dies(left, [])
    assert migrate(client, now_ms=1, app_version="test", migrations=[]) == []
    for number, last in enumerate(shipped(), 1):
        wanted = shipped()[:number]
        for left in range(len(last.statements()) + 1):
            dies(left, wanted)
        assert migrate(client, now_ms=1, app_version="test", migrations=wanted) == [last.name]
    assert migrate(client, now_ms=1, app_version="test") == []
    views = client.rows("SELECT count() FROM system.tables WHERE database = 'hf'")
    running.stop()
    assert list(views) == [(9,)]


def test_an_applied_migration_that_was_edited_is_refused_by_name(tmp_path: Path) -> None:
    running, endpoint = start_store(tmp_path)
    client = endpoint.writer()
    one = Migration(1, "0001_x.sql", "CREATE DATABASE IF NOT EXISTS hf;")
    migrate(client, now_ms=1, app_version="test", migrations=[one])

    edited = Migration(1, "0001_x.sql", "CREATE DATABASE IF NOT EXISTS hf2;")
    with pytest.raises(PermanentError) as refused:
        migrate(client, now_ms=1, app_version="test", migrations=[edited])
    with pytest.raises(PermanentError) as newer:
        migrate(client, now_ms=1, app_version="test", migrations=[])

    assert running.stop() == 0
    assert refused.value.code == "migration_edited"
    assert "0001_x.sql" in refused.value.detail
    assert newer.value.code == "schema_newer"


def test_a_store_killed_while_it_migrates_migrates_again(tmp_path: Path) -> None:
    for delay_s in (0.02, 0.08):
        running, endpoint = start_store(tmp_path)
        client = connect(
            StoreSettings(port=endpoint.port, password=WRITER_PASSWORD, retry_total_s=0.0)
        )
        killer = threading.Timer(delay_s, os.kill, (endpoint.pid, signal.SIGKILL))
        killer.start()
        with pytest.raises(TransientError):
            _forever(partial(migrate, client, now_ms=1, app_version="test"))
        killer.join()
        running.stop()
    running, endpoint = start_store(tmp_path)
    client = endpoint.writer()

    migrate(client, now_ms=1, app_version="test")

    assert list(client.rows("SELECT count() FROM hf.metric_totals")) == [(0,)]
    assert running.stop() == 0
