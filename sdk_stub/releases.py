"""The release config as a phone reads it, and the header's form: a signature over the body.

A signature alone cannot tell an older config from the newest, so the body says its version and
when it expires: a phone goes only forwards, and leaves the candidate when it cannot refresh.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Meta

from wire.desired import Version
from wire.errors import PermanentError

SIGNATURE_HEADER: Final = "Holdfast-Signature"
CONFIG_BYTES_MAX: Final = 1 << 20
_SCHEME: Final = "ed25519="
Whole = Annotated[int, Meta(ge=0, le=(1 << 62))]
"""A time or a count that fits every field of the wire."""
Length = Annotated[int, Meta(ge=1, le=(1 << 40))]
"""Milliseconds of a period; thirty-four years at most."""


@dataclass(frozen=True, slots=True)
class OfferedRollout:
    """What a phone needs to decide its arm. `share` is per arm, in [0, 1/2]."""

    rollout_id: str
    step: Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]
    share: Annotated[float, Meta(ge=0.0, le=0.5)]
    salt: str
    control: str
    candidate: Version
    observation_ms: Length
    cohort_ms: Length
    proof: str = ""  # "grant": units count under ids that the server gave


@dataclass(frozen=True, slots=True)
class OfferedModel:
    """One model of an app: the version everybody gets, and perhaps one on trial."""

    model_id: str
    stable: Version
    rollout: OfferedRollout | None = None


@dataclass(frozen=True, slots=True)
class ReleaseConfig:
    """All models of one app. `serial` is a digest of the content and changes with it.

    `version` grows with every issue, and none is to be obeyed from `expires_ms` on (Unix). A server
    of before says neither: version 0, which is obeyed until a higher one was seen.
    """

    app_id: str
    serial: str
    models: tuple[OfferedModel, ...]
    version: Whole = 0
    expires_ms: Whole | None = None

    def model(self, model_id: str) -> OfferedModel | None:
        """The entry of this model, if the app has it."""
        return next((m for m in self.models if m.model_id == model_id), None)


def parse_config(body: bytes) -> ReleaseConfig:
    """Read a config. PermanentError ``release_config_malformed`` if it is not one."""
    if len(body) > CONFIG_BYTES_MAX:
        raise PermanentError("release_config_malformed", "longer than any config")
    try:
        return msgspec.json.decode(body, type=ReleaseConfig)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise PermanentError("release_config_malformed", str(error)) from error


def verify_signature(body: bytes, header: str, public_key: bytes) -> None:
    """Check ``ed25519=<base64>`` over the body. PermanentError ``release_config_unsigned``.

    `public_key` is the raw 32 bytes that the app ships with.
    """
    try:
        said = header.removeprefix(_SCHEME) if header.startswith(_SCHEME) else ""
        signature = base64.b64decode(said, validate=True)
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
