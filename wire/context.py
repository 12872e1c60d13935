"""What is the same for every observation of an upload: closed vocabularies only."""

from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Final

PLATFORMS: Final = ("", "android", "ios", "other")
DEVICE_TIERS: Final = ("", "low", "mid", "high")
NETWORKS: Final = ("", "offline", "cellular", "wifi")
RUNTIMES: Final = ("", "tflite", "coreml", "onnx", "executorch", "other")
PLACEMENTS: Final = ("", "device", "edge", "cloud")
ARMS: Final = ("", "candidate", "control")


class _Hashed:
    """Room for a hash: no field, so it is neither compared nor copied to another process."""

    __slots__ = ("_hashed",)
    _hashed: int


@dataclass(frozen=True, slots=True)
class Context(_Hashed):
    """One cohort's description. Strings are registered names or members of the tuples above.

    Field order is the order of the log's context record (`proto/context.avsc`). The same few
    thousand key several tables for every upload, so each is hashed once.
    """

    app_id: str
    app_version: str
    platform: str
    os_major: int
    device_tier: str
    region: str
    network: str
    model_id: str
    model_version: str
    runtime: str
    placement: str
    sdk_version: str
    rollout_id: str = ""
    step: int = 0
    arm: str = ""
    epsilon: float = 0.0

    def __hash__(self) -> int:
        try:
            return self._hashed
        except AttributeError:
            object.__setattr__(self, "_hashed", hash(_values(self)))
            return self._hashed


_values = attrgetter(*(f.name for f in fields(Context)))
