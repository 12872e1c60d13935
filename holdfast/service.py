"""One process: ingest, stages, GitOps watch and actions. ``python -m holdfast.service``.

Three threads: the event loop (uploads), the worker (log -> windows -> verdicts -> store), and the
control loop (Git in, rollbacks and messages out). Any of them failing ends the process, and the
supervisor starts it anew: everything that matters is in the log, the state and the outbox.
"""

import asyncio
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Final

from actions.desired_files import BrokenManifestsError
from actions.messages import Notice
from holdfast.attempt_watch import tell_attempts
from holdfast.clock import wrong_by
from holdfast.config import Settings, load
from holdfast.doors import make_receiver, own_batch_key, serve_settings
from holdfast.farewell import leave, wait_for
from holdfast.folder import Folder, keep_private, write_private
from holdfast.gitops import DesiredWatch
from holdfast.kept_state import kept, newest
from holdfast.observe import start_logging
from holdfast.outside import open_writer, store_settings
from holdfast.policy_check import clocks_check
from holdfast.registered import RegistrationWatch
from holdfast.wiring import (
    Parts,
    make_parts,
    worker_settings,
)
from ingest.serve import Ports, serve
from store.client import connect
from store.migrate import check_schema
from store.writer import Writer
from streams.local_worker import LocalWorker
from streams.resume import pinned_clocks
from streams.snapshot import last_desired
from streams.state import StateStore
from wire.errors import PermanentError, TransientError

_log = logging.getLogger("holdfast.service")
_SWITCH_S: Final = 0.0005
"""A commit takes the interpreter ten times; with the usual 5 ms a busy loop would hold each up."""
_IDLE_S = 0.02
_AWAY_S = 0.5


class Service:
    """Owns the parts of one node. `run` returns when it has been told to stop, or has failed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._now_ms = wrong_by(settings.clock_offset_ms)
        self._folder = Folder(settings.dir)
        self._folder.create()
        self._parts: Parts = make_parts(settings, self._folder, self._now_ms)
        self._state = StateStore(self._folder.state)
        self._quit = threading.Event()
        self._wake = threading.Event()
        self._failed = False
        self._is_stopped = False  # by too many dead letters
        self._watch = DesiredWatch(
            self._parts.watched,
            self._parts.log,
            settings.writer,
            self._now_ms,
            self._report_broken,
            desired=newest(kept(self._folder.kept_state), last_desired(self._state)),
            on_notice=self._report,
            on_taken=lambda found: tell_attempts(self._parts.acting, found, self._report),
            kept=self._folder.kept_state,
            check=clocks_check(lambda: pinned_clocks(self._parts.log)),
        )

        log = self._parts.log
        is_empty = not any(log.end(p) for p in range(log.partitions))
        key = own_batch_key(self._folder, is_log_empty=is_empty, now_ms=self._now_ms())
        self._receiver = make_receiver(settings, log, self._watch, self._now_ms, batch_key=key)
        self._registered = RegistrationWatch(self._report)

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT; the exit code.

        Raises PermanentError ``schema_newer`` and others, before anything listens.
        """
        self._check_store()
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        give_up = partial(loop.call_soon_threadsafe, stop.set)
        threads = [
            threading.Thread(target=self._guarded, args=(work, give_up), name=name)
            for name, work in (("worker", self._work), ("control", self._control))
        ]
        for thread in threads:
            thread.start()
        try:
            await serve(
                self._receiver,
                keys=self._parts.keys,
                releases=self._parts.releases,
                settings=serve_settings(self._settings),
                ready=self._announce,
                stop=stop,
            )
        finally:
            self._quit.set()
            self._wake.set()
            await wait_for(threads)
            self._folder.service.unlink(missing_ok=True)
        return leave(threads, int(self._failed))

    def _announce(self, ports: Ports) -> None:
        said = {
            "pid": os.getpid(),
            "http_port": ports.http,
            "grpc_port": ports.grpc,
            "health_port": ports.health,
            "store_port": self._settings.store_port,
            "release_config_key": self._parts.releases.signer.public_key,
            "release_root": self._parts.releases.root_path,
        }
        write_private(self._folder.service, json.dumps(said))
        sys.stdout.write(json.dumps({"ready": True, **said}) + "\n")
        sys.stdout.flush()

    def _guarded(self, work: Callable[[], None], give_up: Callable[[], object]) -> None:
        try:
            work()
        except Exception:  # noqa: BLE001  # a thread's end must not go unnoticed
            _log.exception("thread_failed")
            self._failed = True
            give_up()

    def _work(self) -> None:
        writer = self._until_there(self._open_store)
        while (desired := self._watch.current()) is None:
            if self._quit.wait(_AWAY_S):
                return
        if writer is None:
            return
        settings = worker_settings(self._settings, self._folder, desired.policy)
        worker = LocalWorker(
            self._parts.log, writer, self._state, settings, on_decided=lambda _: self._wake.set()
        )
        while not self._quit.is_set():
            self._quit.wait(self._one_step(worker))

    def _one_step(self, worker: LocalWorker) -> float:
        """Let the stages go on; seconds to wait before the next step."""
        try:
            moved = worker.step()
        except TransientError as error:
            _log.warning("store_away", extra={"code": error.code})
            return _AWAY_S
        except PermanentError as error:
            if error.code != "dead_letters_full":
                raise
            if not self._is_stopped:  # once: it lasts until somebody comes
                said = {"code": error.code, "detail": error.detail, "do": error.accepted}
                _log.error("partition_stopped", extra=said)
            self._is_stopped = True
            return _AWAY_S
        self._is_stopped = False
        return 0.0 if moved else _IDLE_S

    def _check_store(self) -> None:
        """Is the store, if it is there, of a version that we can write to?"""
        try:
            client = connect(store_settings(self._settings, self._folder))
            try:
                check_schema(client)
            finally:
                client.close()
        except TransientError as error:
            _log.warning("store_away", extra={"code": error.code})

    def _open_store(self) -> Writer:
        return open_writer(self._settings, self._folder, self._now_ms())

    def _until_there(self, attempt: Callable[[], Writer]) -> Writer | None:
        while not self._quit.is_set():
            try:
                return attempt()
            except TransientError as error:
                _log.warning("store_away", extra={"code": error.code})
                self._quit.wait(_AWAY_S)
        return None

    def _control(self) -> None:
        performer, state = self._parts.performer, self._state
        writer: Writer | None = None
        look_at_ms = 0
        while not self._quit.is_set():
            if self._now_ms() >= look_at_ms:
                self._look()
                self._registered.look(self._receiver.totals(), self._watch.current())
                look_at_ms = self._now_ms() + int(self._settings.gitops_poll_s * 1000)
            for verdict in state.owed():
                performer.receive([verdict], now_ms=self._now_ms())
                state.taken(verdict.verdict_id)
            if performer.step(self._watch.current(), now_ms=self._now_ms()):
                look_at_ms = 0  # our own commit changes what is desired
            writer = self._report_actions(writer)
            if look_at_ms:
                self._wake.wait(min(self._settings.gitops_poll_s, 1.0))
                self._wake.clear()

    def _look(self) -> None:
        """See what Git says; a full disk is no reason to end: the log is asked again."""
        try:
            self._watch.look()
        except TransientError as error:
            _log.warning("control_record_waits", extra={"code": error.code})

    def _report_actions(self, writer: Writer | None) -> Writer | None:
        entries, columns = self._parts.performer.rows()
        if not entries:
            return writer
        try:
            writer = writer or Writer(connect(store_settings(self._settings, self._folder)))
            writer.write({"action": columns})
            self._parts.performer.reported(entries)
        except (TransientError, PermanentError) as error:
            # the table may not have been made yet; the entries stay unreported
            _log.warning("actions_not_reported", extra={"code": error.code})
        return writer

    def _report(self, notice: Notice) -> None:
        self._parts.performer.report(notice, now_ms=self._now_ms())

    def _report_broken(self, commit: str, error: BrokenManifestsError) -> None:
        self._parts.performer.report_broken(commit, error, now_ms=self._now_ms())


def main() -> int:
    """Run a service with the settings of the environment."""
    keep_private()
    import uvloop

    start_logging()
    sys.setswitchinterval(_SWITCH_S)
    try:
        return uvloop.run(Service(load()).run())
    except PermanentError as error:
        said = {"code": error.code, "detail": error.detail, "accepted": error.accepted}
        _log.error("not_started", extra=said)
        sys.stdout.write(json.dumps({"refused": said}) + "\n")  # for the supervisor
        return 2


if __name__ == "__main__":
    sys.exit(main())
