"""The release config of an app: which versions its phones run. The same for every phone.

A phone draws its arm by itself, so the request says nothing about it, and caches may answer.
"""

import hashlib
from dataclasses import asdict, dataclass
from typing import Final

import msgspec

from ingest.signing import Signer
from wire.desired import Desired, Policy, Release
from wire.errors import PermanentError

_SERIAL_HEX: Final = 32


@dataclass(frozen=True, slots=True)
class ReleaseConfig:
    """Canonical JSON, its digest (serial and ETag), and the signature over the bytes."""

    body: bytes
    serial: str
    signature: str


class ReleaseConfigs:
    """Makes configs; equal content is signed once."""

    def __init__(self, signer: Signer) -> None:
        self.signer = signer
        self._made: dict[str, ReleaseConfig] = {}

    def of(self, app_id: str, desired: Desired, now_ms: int) -> ReleaseConfig:
        """The config of one app. Raises PermanentError ``app_unknown``."""
        if all(release.app_id != app_id for release in desired.releases):
            raise PermanentError(
                "app_unknown",
                "no release names this app",
                field="app_id",
                accepted="the id of an app that has releases",  # which ones is not for everybody
            )
        models = models_of(app_id, desired, now_ms)
        serial = hashlib.sha256(_canonical([app_id, models])).hexdigest()[:_SERIAL_HEX]
        made = self._made.get(app_id)
        if made is None or made.serial != serial:
            body = _canonical({"app_id": app_id, "serial": serial, "models": models})
            made = self._made[app_id] = ReleaseConfig(body, serial, self.signer.sign(body))
        return made


def models_of(app_id: str, desired: Desired, now_ms: int) -> list[dict[str, object]]:
    """One entry per model of the app, sorted."""
    return [
        {
            "model_id": release.model_id,
            "stable": asdict(release.stable),
            "rollout": _rollout(release, desired.policy, now_ms),
        }
        for release in sorted(desired.releases, key=lambda release: release.model_id)
        if release.app_id == app_id
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
    }


def _canonical(value: object) -> bytes:
    return msgspec.json.encode(value, order="sorted")
