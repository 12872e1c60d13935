"""Phones with a past: python-tuf's own client as it is, and the reference SDK in both forms.

Each is put back into its past after every attack, so that attacks do not depend on each other.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from tuf.api.exceptions import DownloadError, DownloadHTTPError, RepositoryError
from tuf.ngclient import FetcherInterface, Updater

from bench.tuf_attacks import said_by
from bench.tuf_world import APP, MODEL, Generation, Wire, World
from sdk_stub.arm import Arm
from sdk_stub.batch import Device
from sdk_stub.client import Client, ClientSettings
from sdk_stub.tuf_releases import TufReleases
from wire.errors import PermanentError, TransientError
from wire.pb import telemetry_pb2 as pb

_DEVICE: Final = Device(APP, "1.0.0", "android", 15, "mid", "DE", "tflite")
_SEEDS: Final = 64


class Phone(Protocol):
    """What the judge needs of a phone."""

    held: int

    def obeys(self, wire: Wire) -> bool:
        """Whether this answerer leads it where no honest one would."""

    def reset(self) -> None:
        """Back into its past."""


@dataclass(slots=True)
class Past:
    """A folder as it was."""

    folder: Path
    files: dict[Path, bytes] = field(default_factory=dict)

    def keep(self) -> None:
        """What it will be put back to."""
        self.files = dict(self._found())

    def restore(self) -> None:
        """Put it back."""
        now = dict(self._found())
        for path in now.keys() - self.files.keys():
            path.unlink()
        for path, content in self.files.items():
            if now.get(path) != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)

    def _found(self) -> Iterator[tuple[Path, bytes]]:
        for path in self.folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                yield path, path.read_bytes()


class _Fetcher(FetcherInterface):
    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            yield from self._wire.open(url)
        except PermanentError as error:
            raise DownloadHTTPError("not found", 404) from error


@dataclass(slots=True)
class StockPhone:
    """`tuf.ngclient`, nothing added; only its past was lived with another clock."""

    world: World
    held: int
    past: Past

    def live(self) -> None:
        """Refresh at the moment of its generation, if it has one."""
        if self.held >= 0:
            generation = self.world.generations[self.held]
            self._refresh(Wire(generation.files), at_ms=generation.at_ms)
        self.past.keep()

    def obeys(self, wire: Wire) -> bool:
        try:
            content = self._refresh(wire)
        except (RepositoryError, DownloadError):
            return False
        return content not in {g.content for g in self.world.allowed(self.held)}

    def reset(self) -> None:
        self.past.restore()

    def _refresh(self, wire: Wire, *, at_ms: int | None = None) -> bytes | None:
        folder = self.past.folder
        folder.mkdir(parents=True, exist_ok=True)
        updater = Updater(
            str(folder),
            f"/v1/tuf/{APP}/metadata",
            str(folder),
            f"/v1/tuf/{APP}/targets",
            fetcher=_Fetcher(wire),
            bootstrap=self.world.root,
        )
        if at_ms is not None:
            updater._trusted_set.reference_time = datetime.fromtimestamp(  # noqa: SLF001
                at_ms // 1000, UTC
            )
        found = updater.get_targetinfo(f"{APP}.json")
        if found is None:
            raise RepositoryError("no such target")
        path = updater.find_cached_target(found) or updater.download_target(found)
        return Path(path).read_bytes()


@dataclass(slots=True)
class SdkPhone:
    """The reference SDK. It is in the candidate's arm of whatever is on trial."""

    world: World
    held: int
    past: Past
    is_tuf: bool
    clock_ms: int = 0
    wire: Wire = field(default_factory=lambda: Wire({}))
    seed: int = 0

    def live(self) -> None:
        """Refresh and enrol at the moment of its generation."""
        if self.held >= 0:
            generation = self.world.generations[self.held]
            self.clock_ms = generation.at_ms
            self.wire = Wire(generation.files, generation.header)
            for self.seed in range(_SEEDS):
                self.past.restore()
                if self._join(generation):
                    break
            else:
                raise AssertionError("no seed falls into the candidate's arm")
        self.clock_ms = self.world.now_ms
        self.past.keep()

    def obeys(self, wire: Wire) -> bool:
        self.wire = wire
        client = self._start()
        with contextlib.suppress(PermanentError, TransientError):
            client.refresh_releases()
        loads = client.version_to_load(MODEL)
        return loads is not None and loads.version not in self._allowed()

    def reset(self) -> None:
        self.past.restore()

    def _allowed(self) -> set[str]:
        """Versions that an honest past and present may have brought it to load."""
        allowed = {g.step.stable for g in self.world.allowed(self.held)}
        allowed |= {g.step.candidate for g in self.world.allowed(self.held)}
        if self.held >= 0:
            allowed.add(self.world.generations[self.held].step.stable)
        return allowed

    def _join(self, generation: Generation) -> bool:
        client = self._start()
        client.grant()
        client.refresh_releases()
        if not generation.step.candidate:
            return True
        client.download_became_possible(MODEL)
        client.downloaded(MODEL)
        enrolment = client._installation.active(MODEL)  # noqa: SLF001 - which arm is not said
        return enrolment is not None and enrolment.arm is Arm.CANDIDATE

    def _start(self) -> Client:
        folder = self.past.folder
        settings = ClientSettings(_DEVICE, folder, self.world.public_key)
        source: Callable[[], TufReleases] = lambda: TufReleases(  # noqa: E731
            self.world.root, folder / "tuf", self.wire
        )
        return Client(
            settings,
            _Nowhere(),
            source() if self.is_tuf else self.wire,
            now_ms=lambda: self.clock_ms,
            rng=np.random.default_rng(self.seed),
        )


@dataclass(slots=True)
class TrustingPhone:
    """The control: it follows names and versions, and checks no signature, digest, age or order."""

    world: World
    held: int
    past: Past

    def live(self) -> None:
        """It remembers nothing."""

    def obeys(self, wire: Wire) -> bool:
        try:
            content = self._follow(wire)
        except (PermanentError, ValueError, LookupError, TypeError, AttributeError):
            return False
        return content not in {g.content for g in self.world.allowed(self.held)}

    def reset(self) -> None:
        """It remembers nothing."""

    def _follow(self, wire: Wire) -> bytes:
        snapshot = said_by(self._get(wire, "metadata/timestamp.json"))["meta"]["snapshot.json"]
        listed = said_by(self._get(wire, f"metadata/{snapshot['version']}.snapshot.json"))["meta"]
        name = f"metadata/{listed['targets.json']['version']}.targets.json"
        target = said_by(self._get(wire, name))["targets"][f"{APP}.json"]
        return self._get(wire, f"targets/{target['hashes']['sha256']}.{APP}.json")

    def _get(self, wire: Wire, name: str) -> bytes:
        if name == wire.endless:
            raise ValueError("without end")
        return b"".join(wire.open(f"/v1/tuf/{APP}/{name}"))


class _Nowhere:
    """A transport that reaches nobody."""

    def send(self, upload: bytes) -> pb.Receipt:
        raise TransientError("unreachable", "", retry_after_s=0)
