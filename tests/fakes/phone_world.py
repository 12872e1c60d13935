"""A small world for the client: a clock that is moved by hand, a server that answers as told."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sdk_stub.releases import OfferedModel, OfferedRollout, ReleaseConfig
from wire.desired import Version
from wire.pb import telemetry_pb2 as pb

START_MS = 1_750_000_000_000


@dataclass
class Clock:
    ms: int = START_MS

    def __call__(self) -> int:
        return self.ms


def version(name: str) -> Version:
    return Version(name, "sha256:" + "0" * 64)


def rollout(**changes: object) -> OfferedRollout:
    made = OfferedRollout(
        rollout_id="r-1",
        step=1,
        share=0.5,
        salt="salt",
        control="plain",
        candidate=version("1.1.0"),
        observation_ms=1500,
        cohort_ms=500,
    )
    return replace(made, **changes)  # type: ignore[arg-type] # each test names real fields


def config(offered: OfferedRollout | None, *, models: int = 1) -> ReleaseConfig:
    return ReleaseConfig(
        "app",
        "0123456789abcdef",
        tuple(OfferedModel(f"m{i}", version("1.0.0"), offered) for i in range(models)),
    )


@dataclass
class SignedReleases:
    """A release source that signs what it serves and answers "not modified" by ETag."""

    serves: ReleaseConfig
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    forge: Callable[[bytes], bytes] = lambda body: body
    fetches: list[str] = field(default_factory=list)

    @property
    def public_key(self) -> bytes:
        return self.key.public_key().public_bytes_raw()

    def fetch(self, app_id: str, etag: str) -> tuple[bytes, str, str] | None:
        import base64

        self.fetches.append(etag)
        body = msgspec.json.encode(self.serves)
        newest = f'"{hash(body)}"'
        if etag == newest:
            return None
        signature = base64.b64encode(self.key.sign(body)).decode()
        return self.forge(body), f"ed25519={signature}", newest


@dataclass
class Server:
    """A transport that keeps what it got; `answers` are raised first, one per call."""

    answers: list[Exception] = field(default_factory=list)
    tried: list[bytes] = field(default_factory=list)
    taken: list[pb.UploadRequest] = field(default_factory=list)

    def send(self, upload: bytes) -> pb.Receipt:
        self.tried.append(upload)
        if self.answers:
            raise self.answers.pop(0)
        request = pb.UploadRequest.FromString(upload)
        self.taken.append(request)
        return pb.Receipt(
            batch_id=request.batch_id, received_rows=request.n, accepted_rows=request.n
        )


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)
