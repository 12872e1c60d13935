"""What is the same for every observation of an upload: closed vocabularies only."""

from dataclasses import dataclass
from typing import Final

PLATFORMS: Final = ("", "android", "ios", "other")
DEVICE_TIERS: Final = ("", "low", "mid", "high")
NETWORKS: Final = ("", "offline", "cellular", "wifi")
RUNTIMES: Final = ("", "tflite", "coreml", "onnx", "executorch", "other")
PLACEMENTS: Final = ("", "device", "edge", "cloud")
ARMS: Final = ("", "candidate", "control")


@dataclass(frozen=True, slots=True)
class Context:
    """One cohort's description. Strings are registered names or members of the tuples above.

    Field order is the order of the log's context record (`proto/context.avsc`).
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
