"""A node's release metadata over three days, with rotations, as an attacker has recorded it.

Real keys, the product's own issuing, and moments before now, so that a stock client, which reads
the system's clock, finds the older ones expired.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Final

from actions.desired_files import read_desired
from holdfast.manifests import Clocks, Model, policy_text, repository_files
from ingest.issue import Issue, IssueFolder
from ingest.online_key import OnlineKeys
from ingest.releases import ReleaseConfigs
from ingest.root_folder import RootFolder
from ingest.signing import load_or_make
from wire.desired import Desired, Version
from wire.errors import PermanentError
from wire.times import DAY_MS, HOUR_MS

APP: Final = "camera"
OTHER: Final = "keyboard"
MODEL: Final = "scene-labels"
_MINUTE: Final = 1 / 60
Header = tuple[bytes, str, str]
Files = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Step:
    """What happens at a time, in hours before now; then both apps' configs are issued."""

    hours_ago: float
    stable: str
    candidate: str = ""
    rotates: str = ""


STEPS: Final = (
    Step(72, "3.1.0", "3.2.0"),
    Step(50, "3.1.1"),
    Step(30, "3.1.2", "3.3.0"),
    Step(28, "3.1.2", "3.3.0", rotates="online"),
    Step(20, "3.1.3"),
    Step(19, "3.1.3", rotates="root"),
    Step(2, "3.1.4", "3.4.0"),
    Step(1, "3.1.4", "3.4.0", rotates="online"),
    Step(10 * _MINUTE, "3.1.5"),
)


@dataclass(frozen=True, slots=True)
class Generation:
    """What was served from a moment on. `files` of the app, `foreign` of the other one."""

    step: Step
    at_ms: int
    expires_ms: int
    content: bytes
    files: Files
    foreign: Files
    header: Header
    foreign_header: Header


@dataclass(frozen=True, slots=True)
class World:
    """All generations; `root` is what apps have shipped since the first."""

    folder: Path
    now_ms: int
    generations: tuple[Generation, ...]
    root: bytes
    public_key: bytes

    @property
    def ceremony(self) -> RootFolder:
        """The root keys: an attack may have stolen one of them."""
        return RootFolder(self.folder / "root")

    @property
    def keys(self) -> OnlineKeys:
        """The node's keys, those that were rotated out included."""
        return OnlineKeys(self.folder / "tuf")

    def allowed(self, held: int) -> list[Generation]:
        """What a phone of this generation may be led to now: forwards, and not over."""
        return [
            generation
            for generation in self.generations[max(held, 0) :]
            if generation.expires_ms > self.now_ms
        ]


def make_world(folder: Path, now_ms: int) -> World:
    """Live through `STEPS`."""
    began_ms = now_ms - int(STEPS[0].hours_ago * HOUR_MS)
    keys = OnlineKeys(folder / "tuf")
    ceremony = RootFolder(folder / "root")
    root = ceremony.init(
        keys.make(), keys=3, others=(), threshold=2, expires_ms=now_ms + 365 * DAY_MS
    )
    keys.install(root, now_ms=began_ms)
    signer = load_or_make(folder / "header.pem")
    configs = ReleaseConfigs(signer, IssueFolder(folder / "tuf" / "apps"), keys)
    base = _desired()
    generations = []
    for step in STEPS:
        at_ms = now_ms - int(step.hours_ago * HOUR_MS)
        _rotate(step, ceremony, keys, now_ms)
        state = _at(step, base)
        foreign, own = (configs.of(app, state, at_ms) for app in (OTHER, APP))
        roots = {f"metadata/{n}.root.json": content for n, content in keys.chain.contents().items()}
        generations.append(_generation(step, at_ms, own, foreign, roots))
    raw = signer._key.public_key().public_bytes_raw()  # noqa: SLF001 - as apps ship it
    return World(folder, now_ms, tuple(generations), root, raw)


def _generation(step: Step, at_ms: int, own: Issue, foreign: Issue, roots: Files) -> Generation:
    return Generation(
        step,
        at_ms,
        own.expires_ms // 1000 * 1000,
        own.content,
        {**own.files, **roots},
        {**foreign.files, **roots},
        (own.body, own.signature, own.etag),
        (foreign.body, foreign.signature, foreign.etag),
    )


def _rotate(step: Step, ceremony: RootFolder, keys: OnlineKeys, now_ms: int) -> None:
    expires_ms = now_ms + 365 * DAY_MS
    if step.rotates == "online":
        content = ceremony.rotate_online(keys.make(), expires_ms=expires_ms)
    elif step.rotates == "root":
        content = ceremony.rotate_root(others=(), expires_ms=expires_ms)
    else:
        return
    keys.install(content, now_ms=now_ms)


def _desired() -> Desired:
    models = (
        Model(APP, MODEL, "3.1.0", "3.2.0", 0.5),
        Model(OTHER, "next-word", "1.0.0", "1.1.0", 0.5),
    )
    texts = repository_files(models, policy_text(Clocks(), regions=("DE",), apps=(APP, OTHER)))
    contents = {path: text.encode() for path, text in texts.items()}
    return read_desired(contents, commit="0" * 40)


def _at(step: Step, base: Desired) -> Desired:
    """Both apps change together: a candidate in the step, or its withdrawal."""
    releases = []
    for release in base.releases:
        rollout = release.rollout
        assert rollout is not None  # noqa: S101 - as the manifests were written
        changed = replace(
            rollout,
            rollout_id=f"{release.model_id}-{step.candidate}",
            salt=f"salt-{step.candidate}",
            candidate=_version(step.candidate),
        )
        releases.append(
            replace(
                release,
                stable=_version(step.stable),
                rollout=changed if step.candidate else None,
            )
        )
    return replace(base, releases=tuple(releases))


def _version(name: str) -> Version:
    return Version(name, "sha256:" + sha256(name.encode()).hexdigest())


@dataclass(slots=True)
class Wire:
    """Whoever answers a phone: files by path, in pieces, without end if so wanted."""

    files: Files
    header: Header | None = None
    endless: str = ""
    sent_bytes: int = 0
    asked: int = 0

    def open(self, path: str) -> Iterator[bytes]:
        """As `FileSource`."""
        name = path.partition(f"/v1/tuf/{APP}/")[2]
        self.asked += 1
        while name == self.endless:
            self.sent_bytes += 1 << 16
            yield bytes(1 << 16)
        if name not in self.files:
            raise PermanentError("file_missing", "404")
        self.sent_bytes += len(self.files[name])
        yield self.files[name]

    def fetch(self, app_id: str, etag: str) -> Header | None:
        """As `ReleaseSource`."""
        if self.header is None or self.header[2] == etag:
            return None
        self.sent_bytes += len(self.header[0])
        return self.header
