"""The release config of an app: which versions its phones run. The same for every phone.

A phone draws its arm by itself, so the request says nothing about it, and caches may answer. It is
issued in two forms: TUF metadata, and the same JSON with version and times under a header's
signature, for SDKs that know no TUF.
"""

import contextlib
import hashlib
import logging
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Final

import msgspec

from ingest.issue import Issue, IssueFolder, next_version
from ingest.keys import alone
from ingest.online_key import OnlineKeys
from ingest.signing import Signer
from ingest.tuf_issue import with_tuf
from wire.desired import Desired, Policy, Release
from wire.errors import PermanentError, TransientError
from wire.times import DAY_MS

_log = logging.getLogger("holdfast.ingest")
_SERIAL_HEX: Final = 32
_REISSUES: Final = 24
"""How often in a config's life a new one says that it is still so."""


@dataclass(slots=True)
class ReleaseConfigs:
    """Issues configs: when they change, and again long before they expire.

    `keys` None: without TUF. `valid_ms`: how long a phone obeys what it cannot refresh. Any thread
    may ask; what is ready is answered at once, what must be signed may take as long as a cloud's
    key does.
    """

    signer: Signer
    issues: IssueFolder = field(default_factory=lambda: IssueFolder(None))
    keys: OnlineKeys | None = None
    valid_ms: int = DAY_MS
    _wanted: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def root_path(self) -> str:
        """Where the root lies that apps ship; empty without TUF."""
        if self.keys is None:
            return ""
        return str(self.keys.folder / "roots" / f"{max(self._roots(), default=0)}.root.json")

    def ready(self, app_id: str, desired: Desired, now_ms: int) -> Issue | None:
        """The issue that stands; None if `of` must make one."""
        serial = _serial(app_id, models_of(app_id, desired, now_ms))
        return self._standing(app_id, serial, now_ms)

    def of(self, app_id: str, desired: Desired, now_ms: int) -> Issue:
        """The config of one app, issued now if need be.

        Raises PermanentError ``app_unknown``, TransientError ``not_issued``.
        """
        models = models_of(app_id, desired, now_ms)
        serial = _serial(app_id, models)
        with self._lock, self._alone():
            if (standing := self._standing(app_id, serial, now_ms)) is not None:
                return standing
            last = self.issues.read(app_id)
            content = _canonical({"app_id": app_id, "serial": serial, "models": models})
            is_first = app_id not in self._wanted
            if last is not None and self._wanted.get(app_id) == serial:
                # what we want has not changed: another door, which read Git later, knows better
                content = last.content
            try:
                issue = self._issue(app_id, content, last, is_first, now_ms)
            except Exception as error:  # keys of many kinds fail in many ways
                said = {"app_id": app_id, "error": type(error).__name__}
                _log.exception("release_config_not_issued", extra=said)
                if last is None or last.expires_ms <= now_ms:
                    raise TransientError("not_issued", "it cannot be signed now") from error
                return last
            self.issues.write(issue)
            self._wanted[app_id] = serial
            return issue

    def file(self, issue: Issue, name: str) -> bytes | None:
        """A file of an app's TUF repository; None if there is none of that name."""
        kind, _, rest = name.partition("/")
        if kind == "metadata" and rest.endswith(".root.json") and self.keys is not None:
            version = rest.removesuffix(".root.json")
            is_number = version.isascii() and version.isdigit() and len(version) < _SERIAL_HEX
            return self._roots().get(int(version)) if is_number else None
        return issue.files.get(name)

    def _standing(self, app_id: str, serial: str, now_ms: int) -> Issue | None:
        """The last issue, if it still says what we want.

        The first of a process is always a new one: the folder may be an old copy.
        """
        issue = self.issues.read(app_id)
        if issue is None or self._wanted.get(app_id) != serial:
            return None
        if abs(now_ms - issue.issued_ms) >= self.valid_ms // _REISSUES:
            return None  # old, or of a clock that was wrong
        return issue if issue.root_version == max(self._roots(), default=0) else None

    def _roots(self) -> dict[int, bytes]:
        return {} if self.keys is None else self.keys.chain.contents()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        folder = self.issues.folder
        with contextlib.nullcontext() if folder is None else alone(folder):
            yield

    def _issue(
        self, app_id: str, content: bytes, last: Issue | None, is_first: bool, now_ms: int
    ) -> Issue:
        said = msgspec.json.decode(content)
        version = next_version(self.issues.highest(), now_ms)
        expires_ms = now_ms + self.valid_ms
        times = {"version": version, "issued_ms": now_ms, "expires_ms": expires_ms}
        body = _canonical({**said, **times})
        issue = Issue(
            app_id=app_id,
            serial=said["serial"],
            version=version,
            issued_ms=now_ms,
            expires_ms=expires_ms,
            content=content,
            body=body,
            signature=self.signer.sign(body),
        )
        if self.keys is None:
            return issue
        root_version = max(self._roots())
        return with_tuf(
            issue, last, self.keys.signer(), root_version=root_version, is_first=is_first
        )


def models_of(app_id: str, desired: Desired, now_ms: int) -> list[dict[str, object]]:
    """One entry per model of the app, sorted. Raises PermanentError ``app_unknown``."""
    found = [release for release in desired.releases if release.app_id == app_id]
    if not found:
        raise PermanentError(
            "app_unknown",
            "no release names this app",
            field="app_id",
            accepted="the id of an app that has releases",  # which ones is not for everybody
        )
    return [
        {
            "model_id": release.model_id,
            "stable": asdict(release.stable),
            "rollout": _rollout(release, desired.policy, now_ms),
        }
        for release in sorted(found, key=lambda release: release.model_id)
    ]


def _rollout(release: Release, policy: Policy, now_ms: int) -> dict[str, object] | None:
    rollout = release.rollout
    if rollout is None or rollout.share <= 0 or rollout.hold_until_ms > now_ms:
        return None
    return {
        "rollout_id": rollout.rollout_id,
        "step": rollout.step,
        "share": rollout.share,
        "salt": rollout.salt,
        "control": rollout.control,
        "candidate": asdict(rollout.candidate),
        "observation_ms": policy.observation_ms,
        "cohort_ms": policy.cohort_ms,
        **({} if policy.proof == "none" else {"proof": policy.proof}),  # as it was, for serials
    }


def _serial(app_id: str, models: list[dict[str, object]]) -> str:
    return hashlib.sha256(_canonical([app_id, models])).hexdigest()[:_SERIAL_HEX]


def _canonical(value: object) -> bytes:
    return msgspec.json.encode(value, order="sorted")
