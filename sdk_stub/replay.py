"""Recorded runs as uploads, so that they travel the whole road. Seeded.

One recorded inference is one installation: it enrols, bets with its only inference and reports
its label (agreement with the consensus) in one upload. The vendor travels as the registered region
(``QC``, ``EX``), so strata over `region` are strata over vendors.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from sdk_stub.arm import Arm
from sdk_stub.batch import SDK_VERSION
from sdk_stub.fleet import Outgoing
from sdk_stub.recorded import Run
from sdk_stub.scenarios import SCENARIOS, Units
from wire.errors import PermanentError
from wire.pb import telemetry_pb2 as pb

DEVICE: Final = "SD7G3"
"""A phone chip with runs of both models."""


@dataclass(frozen=True, slots=True)
class ReplayIdentity:
    """What the uploads say of app, model and rollout: registered names, as in the repository."""

    app_id: str
    app_version: str
    model_id: str
    stable_version: str
    candidate_version: str
    rollout_id: str
    step: int = 1
    cohort_ms: int = 60_000
    sdk_version: str = SDK_VERSION


class Replay:
    """A scenario of recorded runs, cut into windows.

    `enrols_evenly`: one installation of each arm enrols per inference, and the other one stays
    silent. Without it, a scenario that mixes the arms unequally on purpose fails the assignment
    check, which is right and may not be the question.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        scenario: str,
        identity: ReplayIdentity,
        *,
        rng: np.random.Generator,
        windows: int = 60,
        device: str = DEVICE,
        enrols_evenly: bool = False,
    ) -> None:
        if scenario not in SCENARIOS:
            raise PermanentError(
                "unknown_scenario", "there is no such scenario", accepted=", ".join(SCENARIOS)
            )
        units = SCENARIOS[scenario](runs, device, rng)
        self.units: Units = units.take(rng.permutation(len(units)))
        self._identity = identity
        self._rng = rng
        self._windows = windows
        self._enrols_evenly = enrols_evenly
        self._contexts: dict[tuple[int, str], pb.Context] = {}

    def windows(self) -> Iterator[Units]:
        """The units of each window, in turn; each unit in one window."""
        for part in np.array_split(np.arange(len(self.units)), self._windows):
            yield self.units.take(part)

    def uploads(self, window: Units, now_ms: int) -> list[Outgoing]:
        """The uploads of one window's units, made now."""
        batch_ids = self._rng.bytes(16 * len(window))
        sent = [
            Outgoing(self._identity.app_id, self._upload(window, i, batch_ids, now_ms), 1)
            for i in range(len(window))
        ]
        if self._enrols_evenly:
            sent += [
                Outgoing(self._identity.app_id, self._silent(window, i, now_ms), 0)
                for i in range(len(window))
            ]
        return sent

    def _silent(self, window: Units, i: int, now_ms: int) -> bytes:
        """An installation of the other arm enrols where this inference was made."""
        other = Arm.CONTROL if window.arm[i] == Arm.CANDIDATE else Arm.CANDIDATE
        return pb.UploadRequest(
            batch_id=self._rng.bytes(16),
            created_ms=now_ms,
            context=self._context(int(other), str(window.region[i])),
            enrolled=True,
            enrolled_ms=now_ms - now_ms % self._identity.cohort_ms,
        ).SerializeToString()

    def _upload(self, window: Units, i: int, batch_ids: bytes, now_ms: int) -> bytes:
        correct = int(window.is_correct[i])
        upload = pb.UploadRequest(
            batch_id=batch_ids[16 * i : 16 * i + 16],
            created_ms=now_ms,
            n=1,
            context=self._context(int(window.arm[i]), str(window.region[i])),
            enrolled=True,
            enrolled_ms=now_ms - now_ms % self._identity.cohort_ms,
            unit_bet=[1],
            prediction_class=[int(window.class_group[i])],
        )
        latency = float(window.latency_ms[i])
        if not np.isnan(latency):
            upload.latency_ms.append(latency)
        upload.outcomes.add(
            correct=correct,
            incorrect=1 - correct,
            unit_correct=correct,
            unit_incorrect=1 - correct,
        )
        return upload.SerializeToString()

    def _context(self, arm: int, region: str) -> pb.Context:
        if (arm, region) not in self._contexts:
            own, is_candidate = self._identity, arm == Arm.CANDIDATE
            self._contexts[arm, region] = pb.Context(
                app_id=own.app_id,
                app_version=own.app_version,
                platform="ANDROID",
                os_major=15,
                device_tier="HIGH",
                region=region,
                network="WIFI",
                model_id=own.model_id,
                model_version=own.candidate_version if is_candidate else own.stable_version,
                runtime="TFLITE",
                placement="DEVICE",
                sdk_version=own.sdk_version,
                rollout_id=own.rollout_id,
                step=own.step,
                arm=pb.Arm.CANDIDATE if is_candidate else pb.Arm.CONTROL,
            )
        return self._contexts[arm, region]
