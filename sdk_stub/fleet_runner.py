"""A fleet against a running server: fetch the configs, let the phones live, send what they say."""

import asyncio
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields

import numpy as np

from sdk_stub.config_poll import ConfigPoll
from sdk_stub.faults import FAULTS, FaultTarget
from sdk_stub.fleet import FleetSettings
from sdk_stub.sender import SendCounts, Sender
from sdk_stub.simulate import Fleet
from sdk_stub.stream_sender import StreamSender


@dataclass(frozen=True, slots=True)
class RunSettings:
    """`keys`: app id -> API key; the fleet has phones of every app in it.

    `grpc_share` of uploads go over a stream to `grpc_target` (``host:port``). Configs come through
    the reference client's verifiers: under TUF if `root` is given, with `public_key` in the
    header's form, and with neither unverified.
    """

    base_url: str
    keys: Mapping[str, str]
    seed: int
    fault: str = "none"
    target: FaultTarget | None = None
    fleet: FleetSettings = field(default_factory=FleetSettings)
    public_key: bytes | None = None
    root: bytes | None = None
    grpc_target: str = ""
    grpc_share: float = 0.0
    send_times: int = 1
    connections: int = 32
    gzip: bool = True
    tick_ms: int = 50
    poll_ms: int = 500
    pending_max: int = 4_000
    drain_ms: int = 10_000


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is: shown to people while it works."""

    counts: SendCounts
    version_share: Callable[[str, str, str], float]
    pending: int


def run_fleet(
    settings: RunSettings,
    *,
    now_ms: Callable[[], int],
    sleep: Callable[[float], None],
    stop: Callable[[], bool],
    on_progress: Callable[[Progress], None] | None = None,
) -> SendCounts:
    """Run until `stop` says so, then wait for what is under way. Blocks; own event loop."""
    run = _Run(settings, now_ms, sleep, stop, on_progress)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(run.go())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    if sys.platform == "win32":
        return asyncio.new_event_loop
    import uvloop  # noqa: PLC0415 - not to be had everywhere

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


@dataclass(slots=True)
class _Run:
    settings: RunSettings
    now_ms: Callable[[], int]
    sleep: Callable[[float], None]
    stop: Callable[[], bool]
    on_progress: Callable[[Progress], None] | None
    configs: ConfigPoll = field(init=False)

    async def go(self) -> SendCounts:
        settings = self.settings
        self.configs = ConfigPoll(
            settings.base_url, settings.keys, settings.public_key, settings.root, self.now_ms
        )
        rng, sender_rng, route_rng = np.random.default_rng(settings.seed).spawn(3)
        fleet = Fleet(settings.fleet, rng=rng, fault=FAULTS[settings.fault], target=settings.target)
        sender = Sender(
            settings.base_url,
            settings.keys,
            now_ms=self.now_ms,
            rng=sender_rng,
            connections=settings.connections,
            send_times=settings.send_times,
            gzip=settings.gzip,
        )
        streams = self._streams()
        sender.start()
        poller = asyncio.create_task(self._poll(fleet))
        try:
            await self._live(fleet, sender, streams, route_rng)
            await self._drain(sender, streams)
        finally:
            poller.cancel()
            await asyncio.gather(poller, return_exceptions=True)
            self.configs.close()
            await sender.stop()
            if streams is not None:
                await asyncio.to_thread(streams.stop)
        return _total(sender, streams)

    def _streams(self) -> StreamSender | None:
        settings = self.settings
        if not settings.grpc_target or settings.grpc_share <= 0.0:
            return None
        return StreamSender(
            settings.grpc_target, settings.keys, sleep=self.sleep, send_times=settings.send_times
        )

    async def _live(
        self,
        fleet: Fleet,
        sender: Sender,
        streams: StreamSender | None,
        route_rng: np.random.Generator,
    ) -> None:
        settings = self.settings
        while not self.stop():
            began_ms = self.now_ms()
            pending = sender.pending + (streams.pending if streams else 0)
            if pending < settings.pending_max:  # a real fleet does not wait, but our memory would
                for upload in fleet.tick(began_ms):
                    by_stream = streams is not None and route_rng.random() < settings.grpc_share
                    if streams is not None and by_stream:
                        streams.put(upload)
                    else:
                        sender.put(upload)
            sender.pump()
            if self.on_progress is not None:
                counts = _total(sender, streams)
                self.on_progress(Progress(counts, fleet.version_share, pending))
            spent_ms = self.now_ms() - began_ms
            await asyncio.sleep(max(settings.tick_ms - spent_ms, 1) / 1000)

    async def _drain(self, sender: Sender, streams: StreamSender | None) -> None:
        end_ms = self.now_ms() + self.settings.drain_ms
        while self.now_ms() < end_ms and sender.pending + (streams.pending if streams else 0):
            sender.pump()
            await asyncio.sleep(0.01)

    async def _poll(self, fleet: Fleet) -> None:
        """Each app's config, again and again; a server that is away is asked later."""
        while True:
            for app_id in self.settings.keys:
                config = await asyncio.to_thread(self.configs.ask, app_id)
                if config is not None:
                    fleet.obey(config, self.now_ms())
            await asyncio.sleep(self.settings.poll_ms / 1000)


def _total(sender: Sender, streams: StreamSender | None) -> SendCounts:
    """All transports' counts added up."""
    total = SendCounts()
    for counts in [sender.counts, *(streams.counts() if streams else [])]:
        for f in fields(SendCounts):
            so_far, more = getattr(total, f.name), getattr(counts, f.name)
            if isinstance(more, dict):  # by status
                for status, n in more.items():
                    so_far[status] = so_far.get(status, 0) + n
            else:
                setattr(total, f.name, so_far + more)
    return total
