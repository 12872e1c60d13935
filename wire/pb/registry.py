"""The metric registry as values. Made by proto/generate.py from proto/metrics.yaml."""

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Metric:
    """One registered metric; bounds in its unit, inclusive."""

    name: str
    column: str
    field: int
    wire: Literal["float", "fixed32"]
    type: Literal["distribution", "category", "rate"]
    unit: str
    low: float
    high: float
    sensitivity: Literal["technical", "interaction"]
    owner: str
    expires: str
    description: str
    question: str


METRICS: Final[tuple[Metric, ...]] = (
    Metric(
        name="inference.latency",
        column="latency_ms",
        field=20,
        wire="float",
        type="distribution",
        unit="ms",
        low=0.0,
        high=600000.0,
        sensitivity="technical",
        owner="on-device-ml@holdfast.example",
        expires="2028-06-30",
        description="Wall time of one inference, from the call to its result.",
        question="Does a release make people wait?",
    ),
    Metric(
        name="inference.energy",
        column="energy_mj",
        field=21,
        wire="float",
        type="distribution",
        unit="mJ",
        low=0.0,
        high=60000000.0,
        sensitivity="technical",
        owner="on-device-ml@holdfast.example",
        expires="2028-06-30",
        description="Energy of one inference, from the platform's energy counter; absent if the device has none.",
        question="Does a release drain batteries?",
    ),
    Metric(
        name="network.sent",
        column="bytes_sent",
        field=22,
        wire="fixed32",
        type="distribution",
        unit="By",
        low=0.0,
        high=1000000000.0,
        sensitivity="technical",
        owner="finops@holdfast.example",
        expires="2028-06-30",
        description="Bytes sent for one inference, cloud calls included.",
        question="What does a release cost people in mobile data?",
    ),
    Metric(
        name="network.received",
        column="bytes_received",
        field=23,
        wire="fixed32",
        type="distribution",
        unit="By",
        low=0.0,
        high=1000000000.0,
        sensitivity="technical",
        owner="finops@holdfast.example",
        expires="2028-06-30",
        description="Bytes received for one inference, cloud calls included.",
        question="What does a release cost people in mobile data?",
    ),
    Metric(
        name="memory.peak",
        column="memory_peak_kb",
        field=24,
        wire="fixed32",
        type="distribution",
        unit="kBy",
        low=0.0,
        high=64000000.0,
        sensitivity="technical",
        owner="on-device-ml@holdfast.example",
        expires="2028-06-30",
        description="Peak resident memory of the runtime during one inference.",
        question="Does a release push other apps out of memory?",
    ),
    Metric(
        name="prediction.class",
        column="prediction_class",
        field=25,
        wire="fixed32",
        type="category",
        unit="1",
        low=0.0,
        high=9999.0,
        sensitivity="interaction",
        owner="on-device-ml@holdfast.example",
        expires="2028-06-30",
        description="Number of the predicted class in the model's label map, or of its registered group.",
        question="Does a release predict something else?",
    ),
    Metric(
        name="prediction.confidence",
        column="confidence",
        field=26,
        wire="float",
        type="distribution",
        unit="1",
        low=0.0,
        high=1.0,
        sensitivity="technical",
        owner="on-device-ml@holdfast.example",
        expires="2028-06-30",
        description="Score of the predicted class, in [0, 1].",
        question="Is a release less sure of itself?",
    ),
    Metric(
        name="inference.error",
        column="error_code",
        field=27,
        wire="fixed32",
        type="rate",
        unit="1",
        low=0.0,
        high=999.0,
        sensitivity="technical",
        owner="on-device-ml@holdfast.example",
        expires="2028-06-30",
        description="Error code of one inference; 0 is success.",
        question="Does a release fail more often?",
    ),
)
