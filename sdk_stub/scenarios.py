"""Which recorded inference goes into which arm: the three questions that recordings can answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sdk_stub.arm import Arm
from sdk_stub.recorded import Run, group_of
from wire.errors import PermanentError

CARRIER: Final = {"Qualcomm": "QC", "Samsung": "EX"}
"""Vendor -> the registered region that carries it as a stratum in a replay."""
_MIX: Final = 0.8


@dataclass(frozen=True, slots=True)
class Units:
    """Each recorded inference as one installation with one bet; shape ``(units,)`` each.

    `latency_ms` is NaN where none was recorded.
    """

    arm: NDArray[np.int8]
    region: NDArray[np.str_]
    latency_ms: NDArray[np.float32]
    class_group: NDArray[np.int32]
    is_correct: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.arm)

    def take(self, which: NDArray[np.int64]) -> "Units":
        """Some of the units, in this order."""
        return Units(
            self.arm[which],
            self.region[which],
            self.latency_ms[which],
            self.class_group[which],
            self.is_correct[which],
        )


def same_model(runs: Sequence[Run], device: str, rng: np.random.Generator) -> Units:
    """A run against its own random halves: nothing changed."""
    run = _find(runs, device, "classification")
    count = len(run.class_id)
    halves = rng.permutation(np.arange(count) % 2)
    return _units(run, np.where(halves == 0, Arm.CANDIDATE, Arm.CONTROL).astype(np.int8))


def upgrade(runs: Sequence[Run], device: str, rng: np.random.Generator) -> Units:
    """MobileNetEdgeTPU as the control, MobileNetV4 as the candidate, on the same device."""
    control = _find(runs, device, "classification")
    candidate = _find(runs, device, "classification_v2")
    return _opposed(control, candidate)


def mixed_vendors(runs: Sequence[Run], device: str, rng: np.random.Generator) -> Units:
    """One model, two vendors: Samsung has four fifths of the candidates, Qualcomm of the controls.

    The Exynos runs agree less with the consensus, so whoever forgets the vendors sees a worse
    candidate. (The other way round it would look better, and better is never rolled back.)
    `device` is the Qualcomm one; the newest Exynos joins it.
    """
    qualcomm = _find(runs, device, "classification")
    exynos = [r for r in runs if r.vendor == "Samsung" and r.task == "classification"]
    if not exynos or qualcomm.vendor != "Qualcomm":
        raise PermanentError("recorded_runs_missing", "two vendors' runs of one model are needed")
    other = max(exynos, key=lambda run: run.round)
    return _concatenate([_split_run(qualcomm, 1.0 - _MIX, rng), _split_run(other, _MIX, rng)])


SCENARIOS: Final[Mapping[str, Callable[[Sequence[Run], str, np.random.Generator], Units]]] = {
    "same-model": same_model,
    "upgrade": upgrade,
    "mixed-vendors": mixed_vendors,
}


def _find(runs: Sequence[Run], device: str, task: str) -> Run:
    for run in runs:
        if run.device == device and run.task == task:
            return run
    raise PermanentError("recorded_run_unknown", f"no run of {task} on this device")


def _units(run: Run, arm: NDArray[np.int8]) -> Units:
    count = len(run.class_id)
    latency = np.full(count, np.nan, "f4")
    timed = min(count, len(run.latency_ms))
    latency[:timed] = run.latency_ms[:timed]
    return Units(
        arm=arm,
        region=np.full(count, CARRIER.get(run.vendor, "XX")),
        latency_ms=latency,
        class_group=group_of(run.class_id),
        is_correct=run.is_correct,
    )


def _split_run(run: Run, candidate_share: float, rng: np.random.Generator) -> Units:
    count = len(run.class_id)
    place = rng.permutation(count) < round(candidate_share * count)
    return _units(run, np.where(place, Arm.CANDIDATE, Arm.CONTROL).astype(np.int8))


def _opposed(control: Run, candidate: Run) -> Units:
    """Two runs as arms. A latency that one arm never recorded is no comparison: it is left out."""
    arms = ((control, Arm.CONTROL), (candidate, Arm.CANDIDATE))
    parts = [_units(run, np.full(len(run.class_id), arm, np.int8)) for run, arm in arms]
    if not (len(control.latency_ms) and len(candidate.latency_ms)):
        for part in parts:
            part.latency_ms[:] = np.nan
    return _concatenate(parts)


def _concatenate(parts: list[Units]) -> Units:
    return Units(
        arm=np.concatenate([p.arm for p in parts]),
        region=np.concatenate([p.region for p in parts]),
        latency_ms=np.concatenate([p.latency_ms for p in parts]),
        class_group=np.concatenate([p.class_group for p in parts]),
        is_correct=np.concatenate([p.is_correct for p in parts]),
    )
