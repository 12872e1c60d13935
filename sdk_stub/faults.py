"""What can be wrong with a release, as a table: each fault bends one law and no other."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Fault:
    """How a version's laws differ from the healthy ones. Defaults are healthy.

    Scales multiply; `tail_scale` multiplies the slowest 2 % alone; `class_mass` leaves the most
    frequent class for all the others; `silent_share` of phones die when they load the version.
    """

    latency_scale: float = 1.0
    tail_scale: float = 1.0
    class_mass: float = 0.0
    energy_scale: float = 1.0
    bytes_scale: float = 1.0
    error_share: float = 0.01
    silent_share: float = 0.0


TAIL_SHARE: Final = 0.02
HEALTHY: Final = Fault()
FAULTS: Final[Mapping[str, Fault]] = {
    "none": HEALTHY,
    "latency": Fault(latency_scale=1.2),
    "tail": Fault(tail_scale=2.0),
    "labels": Fault(class_mass=0.05),
    "battery": Fault(energy_scale=1.3),
    "data": Fault(bytes_scale=1.5),
    "errors": Fault(error_share=0.03),
    "silent": Fault(silent_share=0.05),
}


@dataclass(frozen=True, slots=True)
class FaultTarget:
    """Which release the fault sits in: one version of one model, whoever loads it."""

    model_id: str
    version: str


def per_upload(fault: Fault, is_bad: NDArray[np.bool_]) -> dict[str, NDArray[np.float32]]:
    """Each parameter of the laws for each upload, shape ``(uploads,)``."""
    return {
        f.name: np.where(is_bad, getattr(fault, f.name), getattr(HEALTHY, f.name)).astype("f4")
        for f in fields(Fault)
    }
