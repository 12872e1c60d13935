"""The release config as a phone reads it: signed, cacheable, of its own app.

A signature alone cannot tell an older config from the newest: whoever may answer for the server
can hold a phone on a version that was once offered, never on one that was not.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from wire.desired import Version
from wire.errors import PermanentError

SIGNATURE_HEADER: Final = "Holdfast-Signature"
_SCHEME: Final = "ed25519="


@dataclass(frozen=True, slots=True)
class OfferedRollout:
    """What a phone needs to decide its arm. `share` is per arm, in [0, 1/2]."""

    rollout_id: str
    step: int
    share: float
    salt: str
    control: str
    candidate: Version
    observation_ms: int
    cohort_ms: int


@dataclass(frozen=True, slots=True)
class OfferedModel:
    """One model of an app: the version everybody gets, and perhaps one on trial."""

    model_id: str
    stable: Version
    rollout: OfferedRollout | None = None


@dataclass(frozen=True, slots=True)
class ReleaseConfig:
    """All models of one app. `serial` is a digest of the content and changes with it."""

    app_id: str
    serial: str
    models: tuple[OfferedModel, ...]

    def model(self, model_id: str) -> OfferedModel | None:
        """The entry of this model, if the app has it."""
        return next((m for m in self.models if m.model_id == model_id), None)


def parse_config(body: bytes) -> ReleaseConfig:
    """Read a config. PermanentError ``release_config_malformed`` if it is not one."""
    try:
        config = msgspec.json.decode(body, type=ReleaseConfig)
    except msgspec.MsgspecError as error:
        raise PermanentError("release_config_malformed", str(error)) from error
    for model in config.models:
        if model.rollout is not None and not 0.0 <= model.rollout.share <= 0.5:  # noqa: PLR2004
            raise PermanentError("release_config_malformed", "share is not in [0, 0.5]")
    return config


def verify_signature(body: bytes, header: str, public_key: bytes) -> None:
    """Check ``ed25519=<base64>`` over the body. PermanentError ``release_config_unsigned``.

    `public_key` is the raw 32 bytes that the app ships with.
    """
    try:
        signature = base64.b64decode(header.removeprefix(_SCHEME), validate=True)
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, body)
    except (InvalidSignature, ValueError, binascii.Error) as error:
        raise PermanentError(
            "release_config_unsigned", "the signature is missing or is not of this body"
        ) from error


def accept_config(body: bytes, signature: str, public_key: bytes, *, app_id: str) -> ReleaseConfig:
    """The config to obey from now on, once its signature and its app are right."""
    verify_signature(body, signature, public_key)
    config = parse_config(body)
    if config.app_id != app_id:
        raise PermanentError("release_config_foreign", "the config is of another app")
    return config
