"""The doors alone: uploads over HTTP and gRPC into Kafka. Stages run elsewhere.

Keeps nothing but API keys and the signing key, which several of these may share in one folder.
Who watches Git for the stages is `act`; this watch only tells which uploads are known.
"""

import asyncio
import json
import logging
import os
import signal
import sys
import threading
from functools import partial

from actions.desired_files import BrokenManifestsError
from holdfast.clock import wrong_by
from holdfast.config import Settings
from holdfast.doors import claim_writer, make_receiver, make_releases, serve_settings
from holdfast.farewell import leave, wait_for
from holdfast.folder import Folder
from holdfast.gitops import DesiredWatch
from holdfast.kafka_settings import kafka_settings
from holdfast.kept_state import kept
from holdfast.outside import repository_of
from holdfast.policy_check import age_check, all_of, clocks_check
from holdfast.registered import RegistrationWatch
from holdfast.worker_clocks import clocks_of, window_alone
from ingest.keys import KeyFile
from ingest.receive import Receiver
from ingest.serve import Ports, serve
from streams.clocks import Clocks
from streams.kafka.topic_watch import follow_topics
from streams.kafka.topics import ensure_topics
from streams.log.kafka import KafkaLog
from wire.errors import PermanentError, TransientError

_log = logging.getLogger("holdfast.ingest_service")
_AWAY_S = 0.5


class IngestService:
    """`run` returns when it has been told to stop, or has failed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kafka = kafka_settings(settings)
        self._now_ms = wrong_by(settings.clock_offset_ms)
        folder = Folder(settings.dir)
        folder.create()
        claim_writer(folder, settings.writer)
        self._keys = KeyFile(folder.keys, now_ms=self._now_ms)
        self._releases = make_releases(settings, folder, self._now_ms())
        kept_file = folder.gitops / f"desired-{settings.writer}.json"
        self._watch = DesiredWatch(
            # each process has a clone of its own: the folder may be shared
            repository_of(settings, folder, f"watch-{settings.writer}"),
            None,
            settings.writer,
            self._now_ms,
            _report_broken,
            desired=kept(kept_file),
            check=all_of(age_check(self._kafka), clocks_check(self._window_pinned)),
            kept=kept_file,
        )
        self._quit = threading.Event()
        self._failed = False

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT; the exit code. Opens its doors when the broker answers.

        Raises PermanentError if the topics are not as they must be.
        """
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        if not await self._topics_there(stop):
            return 0
        log = KafkaLog(self._kafka, client_id=f"holdfast-{self._settings.writer}")
        if not self._settings.batch_key.get_secret_value():
            _log.warning("batch_ids_unkeyed", extra={"set": "HOLDFAST_BATCH_KEY, the same for all"})
        receiver = make_receiver(self._settings, log, self._watch, self._now_ms)
        control = threading.Thread(
            target=self._control,
            args=(partial(loop.call_soon_threadsafe, stop.set), receiver),
            name="control",
        )
        control.start()
        following = asyncio.create_task(self._follow_topics())
        try:
            await serve(
                receiver,
                keys=self._keys,
                releases=self._releases,
                settings=serve_settings(self._settings),
                ready=self._announce,
                stop=stop,
            )
        finally:
            self._quit.set()
            following.cancel()
            await wait_for([control])
            await asyncio.to_thread(log.close)
        return leave([control], int(self._failed))

    async def _topics_there(self, stop: asyncio.Event) -> bool:
        while not stop.is_set():
            try:
                await ensure_topics(self._kafka)
            except TransientError as error:
                _log.warning("broker_away", extra={"code": error.code, "detail": error.detail})
                await asyncio.sleep(_AWAY_S)
            else:
                return True
        return False

    def _window_pinned(self) -> Clocks | None:
        """What act has pinned; asked from the control thread, for a new commit alone."""
        clocks = asyncio.run(clocks_of(self._kafka))
        return window_alone(clocks) if clocks is not None else None

    async def _follow_topics(self) -> None:
        """A door goes on: what it appends is durable, and is counted once somebody has looked."""
        try:
            await follow_topics(self._kafka)
        except PermanentError as error:
            said = {"code": error.code, "detail": error.detail, "do": error.accepted}
            _log.error("topics_changed", extra=said)  # its words are all there is

    def _control(self, give_up: partial[object], receiver: Receiver) -> None:
        registered = RegistrationWatch()
        try:
            while not self._quit.is_set():
                self._watch.look()
                registered.look(receiver.totals(), self._watch.current())
                self._quit.wait(self._settings.gitops_poll_s)
        except Exception:  # noqa: BLE001  # a thread's end must not go unnoticed
            _log.exception("thread_failed")
            self._failed = True
            give_up()

    def _announce(self, ports: Ports) -> None:
        said = {
            "ready": True,
            "pid": os.getpid(),
            "http_port": ports.http,
            "grpc_port": ports.grpc,
            "health_port": ports.health,
            "writer": self._settings.writer,
            "release_config_key": self._releases.signer.public_key,
            "release_root": self._releases.root_path,
        }
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()


def _report_broken(commit: str, error: BrokenManifestsError) -> None:
    """The watch has logged it; telling people is the business of `act`."""
