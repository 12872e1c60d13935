"""Inferences in columns: one batch per context, turned into an `UploadRequest`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from sdk_stub.arm import Arm
from sdk_stub.enrolment import DayTotals, Enrolment
from wire.columns import UINT_ABSENT
from wire.errors import PermanentError
from wire.pb import telemetry_pb2 as pb
from wire.pb.registry import METRICS

SDK_VERSION: Final = "0.1.0"
_FLOAT_COLUMNS: Final = frozenset(m.column for m in METRICS if m.wire == "float")
_COLUMNS: Final = tuple(m.column for m in METRICS)
_ARMS: Final = ("ARM_UNSPECIFIED", "CANDIDATE", "CONTROL")
_OFFSET_MAX_MS: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Device:
    """What is the same for an installation for long: enumerations and registered names alone."""

    app_id: str
    app_version: str
    platform: str
    os_major: int
    device_tier: str
    region: str
    runtime: str
    sdk_version: str = SDK_VERSION


@dataclass(frozen=True, slots=True)
class Inference:
    """One run of a model. `measured`: registered column -> value; absent means not measured."""

    model_id: str
    model_version: str
    measured: Mapping[str, float]
    first_of_process: bool = False
    network: str = "wifi"
    placement: str = "device"

    def __post_init__(self) -> None:
        unknown = set(self.measured) - set(_COLUMNS)
        if unknown:
            raise PermanentError("unknown_metric", f"not registered: {sorted(unknown)}")


@dataclass(frozen=True, slots=True)
class BatchKey:
    """What the rows of one upload have in common. Float columns are whole or absent."""

    model_id: str
    model_version: str
    network: str
    placement: str
    rollout_id: str = ""
    step: int = 0
    arm: Arm = Arm.NONE
    epsilon: float = 0.0
    floats: frozenset[str] = frozenset()


@dataclass(slots=True)
class Batch:
    """Rows that wait to be sent, as columns."""

    key: BatchKey
    at: list[int] = field(default_factory=list)  # of the steady clock
    bets: list[bool] = field(default_factory=list)
    rows: list[Mapping[str, float]] = field(default_factory=list)

    def add(self, at: int, measured: Mapping[str, float], *, bets: bool) -> None:
        """One more inference."""
        self.at.append(at)
        self.bets.append(bets)
        self.rows.append(measured)

    def fill(self, upload: pb.UploadRequest, *, at: int) -> None:
        """Put the rows into an upload that is made at this steady moment."""
        upload.n = len(self.rows)
        ages = [min(max(at - then, 0), _OFFSET_MAX_MS) for then in self.at]
        upload.event_offset_ms.extend(ages)
        if any(self.bets):
            upload.unit_bet.extend(int(b) for b in self.bets)
        for name in _COLUMNS:
            if any(name in row for row in self.rows):
                getattr(upload, name).extend(_column(name, self.rows))


def _column(name: str, rows: list[Mapping[str, float]]) -> list[float] | list[int]:
    if name in _FLOAT_COLUMNS:
        return [row[name] for row in rows]
    return [int(row.get(name, UINT_ABSENT)) for row in rows]


def is_sayable(inference: Inference) -> bool:
    """Whether an upload can name where it ran; only registered words can be said."""
    said: tuple[object, ...] = (
        *(inference.model_id, inference.model_version),
        *(inference.network, inference.placement),
    )
    if not all(isinstance(text, str) and text.isprintable() for text in said):
        return False
    words = ((inference.network, pb.Network), (inference.placement, pb.Placement))
    return all(word.upper() in kind.keys() for word, kind in words)  # noqa: SIM118 - no mapping


def float_columns(measured: Mapping[str, float]) -> frozenset[str]:
    """Which float columns an inference has."""
    return frozenset(_FLOAT_COLUMNS & measured.keys())


def start_upload(
    device: Device, key: BatchKey, *, now_ms: int, rng: np.random.Generator
) -> pb.UploadRequest:
    """An upload without rows. Its id and its moment are fixed here and kept over all retries."""
    return pb.UploadRequest(
        batch_id=rng.bytes(16),
        created_ms=now_ms,
        context=pb.Context(
            app_id=device.app_id,
            app_version=device.app_version,
            platform=_enumerator(device.platform, "platform"),
            os_major=device.os_major,
            device_tier=device.device_tier.upper(),
            region=device.region,
            network=key.network.upper(),
            model_id=key.model_id,
            model_version=key.model_version,
            runtime=_enumerator(device.runtime, "runtime"),
            placement=key.placement.upper(),
            sdk_version=device.sdk_version,
            rollout_id=key.rollout_id,
            step=key.step,
            arm=_ARMS[key.arm],
            epsilon=key.epsilon,
        ),
    )


def _enumerator(word: str, kind: str) -> str:
    return f"OTHER_{kind.upper()}" if word == "other" else word.upper()


def say_enrolled(upload: pb.UploadRequest, enrolment: Enrolment) -> None:
    """Say that the installation has just enrolled."""
    upload.enrolled = True
    upload.enrolled_ms = enrolment.cohort_start_ms


def say_day(upload: pb.UploadRequest, day: int, totals: DayTotals) -> None:
    """One installation's summary of one day block."""
    upload.unit_days.add(
        day=day,
        errored=totals.errored,
        crashed=totals.crashed,
        energy_mj=totals.energy_mj,
        data_bytes=totals.data_bytes,
    )


def key_of(inference: Inference, enrolment: Enrolment | None) -> BatchKey:
    """What an inference's rows have in common with others of its enrolment."""
    key = BatchKey(
        model_id=inference.model_id,
        model_version=inference.model_version,
        network=inference.network,
        placement=inference.placement,
    )
    if enrolment is None:
        return key
    return replace(key, rollout_id=enrolment.rollout_id, step=enrolment.step, arm=enrolment.arm)
