"""What observations are counted by, and how a metric's values are counted."""

from typing import Final, NamedTuple

from analytics.cells import MetricShape, Shape
from wire.context import Context
from wire.pb.registry import METRICS

LATE_MINUTES: Final = 120
"""Events later than this fall into hour buckets: a minute's shape is of no use by then."""


class Series(NamedTuple):
    """A release in a cohort. Rows of `hf_store.metric_window` carry these names."""

    app_id: str
    model_id: str
    model_version: str
    rollout_id: str
    step: int
    arm: str
    platform: str
    device_tier: str
    region: str


class UnitSeries(NamedTuple):
    """Betting units of one arm in one stratum."""

    app_id: str
    model_id: str
    rollout_id: str
    arm: str
    step: int
    platform: str
    region: str
    device_tier: str
    epsilon: float


class CostSeries(NamedTuple):
    """What money is counted by."""

    app_id: str
    model_id: str
    model_version: str
    network: str
    placement: str


def series_of(c: Context) -> Series:
    """The series a context's observations belong to."""
    return Series(
        c.app_id,
        c.model_id,
        c.model_version,
        c.rollout_id,
        c.step,
        c.arm,
        c.platform,
        c.device_tier,
        c.region,
    )


def unit_series_of(c: Context) -> UnitSeries:
    """The stratum and arm a context's betting units belong to."""
    return UnitSeries(
        c.app_id,
        c.model_id,
        c.rollout_id,
        c.arm,
        c.step,
        c.platform,
        c.region,
        c.device_tier,
        c.epsilon,
    )


def cost_series_of(c: Context) -> CostSeries:
    """What a context's observations are billed by."""
    return CostSeries(c.app_id, c.model_id, c.model_version, c.network, c.placement)


_FINE_MAX: Final = 1000  # above it, three decimals are finer than any bucket


def _shape(kind: str, wire: str, high: float) -> MetricShape:
    if kind == "category" or (kind == "rate" and wire == "fixed32"):
        return MetricShape(Shape.CODE, 1)
    fine = 1_000_000 if high <= _FINE_MAX else 1000
    return MetricShape(Shape.NUMBER, fine if wire == "float" else 1)


METRIC_NAMES: Final = tuple(m.name for m in METRICS)
METRIC_SHAPES: Final = tuple(_shape(m.type, m.wire, m.high) for m in METRICS)
METRIC_COLUMNS: Final = tuple(m.column for m in METRICS)

DAYS: Final = (0, 1, 3, 7)
"""Day blocks after enrolment in which an installation reports once."""
UNIT_DAY_METRICS: Final = ("unit.error", "unit.crash", "unit.energy", "unit.data")
LABEL_METRIC: Final = "label.incorrect"
SILENCE_METRIC: Final = "unit.silence"
UNIT_NAMES: Final = (
    *((name, 0) for name in METRIC_NAMES),
    *((name, day) for name in UNIT_DAY_METRICS for day in DAYS),
    (LABEL_METRIC, 0),
)
"""(metric, day) of every unit metric that windows carry, in the order of their numbers."""
UNIT_SHAPES: Final = (
    *METRIC_SHAPES,
    *(
        MetricShape(Shape.CODE, 1)
        if name in ("unit.error", "unit.crash")
        else MetricShape(Shape.NUMBER, 1)
        for name in UNIT_DAY_METRICS
        for _ in DAYS
    ),
    MetricShape(Shape.CODE, 1),
)
