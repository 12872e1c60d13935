"""A skewed fleet in columns, and what of it stands behind each row that analysts may see.

The truth is counted here from single observations, by sorting uploads themselves, beside the
stages' own counting. An upload has a number of its own and lies in one window.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics.cells import aggregate, merge
from bench.privacy_truth import Facts
from streams.partial import CostDay, DayUse, Quality, WindowPartial
from streams.series import LATE_MINUTES, METRIC_NAMES, METRIC_SHAPES, CostSeries, Series
from streams.window_costs import WindowCosts
from wire.columns import FLOAT_ABSENT_BITS, UINT_ABSENT
from wire.times import MINUTE_MS

START_MS: Final = 1_763_002_800_000  # 2025-11-13 03:00:00 UTC
WINDOW_MINUTES: Final = 5
MODELS: Final = 24
VERSIONS: Final = 120
_ARMS: Final = (("", ""), ("r1", "candidate"), ("r1", "control"))
_REGIONS: Final = 60
_TIERS: Final = ("low", "mid", "high")
_PLATFORMS: Final = ("android", "ios")
_HOUR_MINUTES: Final = 60
_BILLED: Final = {
    "energy_mj": "inference.energy",
    "bytes_sent": "network.sent",
    "bytes_received": "network.received",
}
_PRESENT: Final = {  # share of observations that have it; the two bytes seldom differ
    "inference.latency": 0.999,
    "inference.energy": 0.6,
    "inference.error": 0.98,
    "network.sent": 0.9,
    "network.received": 0.97,
    "prediction.class": 0.8,
}


@dataclass(frozen=True, slots=True)
class Sent:
    """A window's uploads: what the stages make of them, and the facts behind."""

    partial: WindowPartial
    facts: Facts


class Fleet:
    """Draws windows; upload numbers go on from window to window."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._uploads = 0

    def window(self, number: int, uploads: int) -> Sent:
        """The `number`-th window, of so many uploads: few releases have most of them."""
        rng = self._rng
        model = _zipf(rng, MODELS, uploads)
        version = _zipf(rng, VERSIONS, uploads)
        arm = rng.choice(len(_ARMS), uploads, p=[0.7, 0.2, 0.1])
        return self.of(number, model, version, arm, rows=rng.integers(1, 5, uploads))

    def of(
        self,
        number: int,
        model: NDArray[np.int64],
        version: NDArray[np.int64],
        arm: NDArray[np.int64],
        *,
        rows: NDArray[np.int64],
    ) -> Sent:
        """A window of these uploads, one entry each; `rows` observations of each."""
        rng, count = self._rng, len(model)
        cohort = np.stack(
            [model, version, arm, _zipf(rng, _REGIONS, count), rng.integers(0, 3, count),
             rng.integers(0, 2, count)], axis=1,
        )  # fmt: skip
        kinds, key = np.unique(cohort, axis=0, return_inverse=True)
        of_row = np.repeat(np.arange(count), rows)
        bucket = _buckets(rng, number, len(of_row))
        columns = _columns(rng, len(of_row))
        parts = aggregate(
            key.reshape(-1)[of_row].astype(np.int32), bucket, columns, METRIC_SHAPES, of_row
        )
        start = START_MS + number * WINDOW_MINUTES * MINUTE_MS
        series = [_series(kind) for kind in kinds.tolist()]
        remote, cellular = _places(rng, model)
        partial = WindowPartial(
            start, WINDOW_MINUTES * MINUTE_MS, series, merge(parts),
            costs=_costs(start, np.stack([model, version, remote, cellular], axis=1), of_row,
                         bucket >> 1, columns),
            quality=_quality(rng, len(of_row)),
        )  # fmt: skip
        facts = Facts(
            window=start,
            model=model[of_row],
            version=version[of_row],
            arm=arm[of_row],
            bucket=bucket,
            upload=self._uploads + of_row,
            remote=remote[of_row],
            cellular=cellular[of_row],
            columns=columns,
        )
        self._uploads += count
        return Sent(partial, facts)


def model_name(model: int) -> str:
    """As statements name it."""
    return f"m{model:02d}"


def version_name(version: int) -> str:
    """As statements name it; the number after the last is `other`."""
    return f"{version:03d}" if version < VERSIONS else "other"


def arm_name(arm: int) -> str:
    """As statements name it; the number after the last is `other`."""
    return _ARMS[arm][1] if arm < len(_ARMS) else "other"


def _series(kind: list[int]) -> Series:
    model, version, arm, region, tier, platform = kind
    rollout, name = _ARMS[arm]
    return Series(
        "app", model_name(model), version_name(version), rollout, 1 if rollout else 0, name,
        _PLATFORMS[platform], _TIERS[tier], f"R{region:02d}",
    )  # fmt: skip


def _zipf(rng: np.random.Generator, names: int, count: int) -> NDArray[np.int64]:
    share = 1 / np.arange(1, names + 1) ** 1.1
    return rng.choice(names, count, p=share / share.sum())


def _buckets(rng: np.random.Generator, number: int, count: int) -> NDArray[np.int64]:
    """Minutes before the window's end; what is too late falls into the hour's bucket."""
    end = START_MS // MINUTE_MS + (number + 1) * WINDOW_MINUTES
    age = rng.geometric(0.25, count)
    late = rng.random(count) < 0.04
    age[late] += rng.integers(0, 400, late.sum())
    minute = end - age
    hour = minute // _HOUR_MINUTES * _HOUR_MINUTES
    return np.where(age > LATE_MINUTES, hour * 2 + 1, minute * 2)


def _columns(
    rng: np.random.Generator, count: int
) -> dict[int, tuple[NDArray[np.float32] | NDArray[np.uint32], NDArray[np.bool_]]]:
    columns: dict[int, tuple[NDArray[np.float32] | NDArray[np.uint32], NDArray[np.bool_]]] = {}
    for name, share in _PRESENT.items():
        values: NDArray[np.float32] | NDArray[np.uint32]
        if name == "prediction.class":
            values = _zipf(rng, 40, count).astype(np.uint32)
        elif name == "inference.error":
            values = (rng.random(count) < 0.02).astype(np.uint32) * 7
        else:
            values = np.rint(rng.gamma(2, 50, count)).astype(np.float32)
        columns[METRIC_NAMES.index(name)] = values, rng.random(count) < share
    return columns


def _places(
    rng: np.random.Generator, model: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Of each upload whether the cloud infers, and whether it is on cellular.

    A third of the models are in the cloud, a third at times; a quarter is never on wifi, and of the
    others every hundredth upload is.
    """
    remote = (model % 3 == 0) | ((model % 3 == 1) & (rng.random(len(model)) < 0.3))
    return remote, (model % 4 == 0) | (rng.random(len(model)) < 0.99)


def _costs(
    start_ms: int,
    of_upload: NDArray[np.int64],
    of_row: NDArray[np.int64],
    minute: NDArray[np.int64],
    columns: Mapping[int, tuple[NDArray[np.float32] | NDArray[np.uint32], NDArray[np.bool_]]],
) -> dict[CostDay, DayUse]:
    """What is billed of a window, by the stages' own counting."""
    kinds, key = np.unique(of_upload, axis=0, return_inverse=True)
    series = [
        CostSeries(
            "app", model_name(m), version_name(v), "cellular" if c else "wifi",
            "cloud" if r else "device",
        )
        for m, v, r, c in kinds.tolist()
    ]  # fmt: skip
    used = {}
    for name, metric in _BILLED.items():
        values, present = columns[METRIC_NAMES.index(metric)]
        if name == "energy_mj":
            absent = np.uint32(FLOAT_ABSENT_BITS).view(np.float32)
            used[name] = np.where(present, values, absent).astype(np.float32)
        else:
            whole = np.where(present, values, 0).astype(np.uint32)
            used[name] = np.where(present, whole, np.uint32(UINT_ABSENT))
    costs = WindowCosts(start_ms)
    costs.add(series, key.reshape(-1)[of_row].astype(np.int32), minute, used, of_row)
    return costs.billed


def _quality(rng: np.random.Generator, rows: int) -> Counter[Quality]:
    """Rows that were counted, and a few uploads that were refused or sent again."""
    counted = Counter({Quality("rows", "aggregated", ""): rows})
    for outcome, reason in (("rejected", "metric_out_of_bounds"), ("deduplicated", "")):
        uploads = int(rng.integers(0, 16))
        more = int(rng.integers(1, 4)) * uploads
        counted[Quality("uploads", outcome, reason)] += uploads
        counted[Quality("rows", outcome, reason)] += more
        rows += more
    counted[Quality("rows", "received", "")] += rows
    return counted
