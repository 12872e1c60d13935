"""What the stages know -> columns of the store's tables (`store/tables.py` has the names)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from analytics.cells import histogram_offsets
from analytics.types import Arithmetic, Outcome, Verdict, VerdictKind
from streams.partial import WindowPartial
from streams.series import METRIC_NAMES, METRIC_SHAPES, Series
from streams.told_alerts import told_of_alert
from wire.times import HOUR_MS, MINUTE_MS


@dataclass(frozen=True, slots=True)
class Ragged:
    """A column of arrays: row ``i`` holds ``values[offsets[i]:offsets[i + 1]]``."""

    offsets: NDArray[np.int64]
    values: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Coded:
    """A column of few names: row ``i`` holds ``names[codes[i]]``."""

    codes: NDArray[np.int32]
    names: list[str]


Column = Sequence[object] | NDArray[np.generic] | Ragged | Coded
Columns = Mapping[str, Column]


def metric_rows(window: WindowPartial) -> Columns:
    """`metric_window`: one row per series, metric and event bucket."""
    cells = window.cells
    scale = np.array([s.scale for s in METRIC_SHAPES], np.float64)
    minute = cells.event_bucket >> 1
    fields = {name: [getattr(series, name) for series in window.series] for name in Series._fields}
    columns: dict[str, Column] = {
        "window_start": np.full(len(cells), window.start_ms, np.int64),
        "window_ms": np.full(len(cells), window.width_ms, np.uint32),
        "event_bucket": minute * MINUTE_MS,
        "event_bucket_ms": np.where(cells.event_bucket & 1, HOUR_MS, MINUTE_MS).astype(np.uint32),
        "metric": Coded(cells.metric, list(METRIC_NAMES)),
        "uploads": cells.uploads.astype(np.uint64),
        "n": cells.n.astype(np.uint64),
        "sum": cells.total / scale[cells.metric],
        "min": cells.low.astype(np.float64),
        "max": cells.high.astype(np.float64),
    }
    for name, values in fields.items():
        if name == "step":
            columns[name] = np.array(values, np.uint16)[cells.key]
        else:
            columns[name] = _coded(values, cells.key)
    offsets = histogram_offsets(cells)
    columns["buckets"] = Ragged(offsets, cells.hist_bucket.astype(np.uint16))
    columns["counts"] = Ragged(offsets, cells.hist_count.astype(np.uint32))
    return columns


def _coded(values: list[str], key: NDArray[np.int32]) -> Coded:
    names = sorted(set(values))
    number = {name: i for i, name in enumerate(names)}
    return Coded(np.array([number[v] for v in values], np.int32)[key], names)


def quality_rows(window: WindowPartial, partition: int) -> Columns:
    """`ingest_window`: the mass balance of one partition's window."""
    lines = sorted(window.quality.items())
    return {
        "window_start": np.full(len(lines), window.start_ms, np.int64),
        "window_ms": np.full(len(lines), window.width_ms, np.uint32),
        "partition": np.full(len(lines), partition, np.uint16),
        "unit": [q.unit for q, _ in lines],
        "outcome": [q.outcome for q, _ in lines],
        "reason": [q.reason for q, _ in lines],
        "count": np.array([count for _, count in lines], np.uint64),
    }


def verdict_rows(verdicts: Iterable[Verdict]) -> Columns:
    """`verdict`: one row per evaluation."""
    table = [_verdict_row(v) for v in verdicts]
    return {name: [row[name] for row in table] for name in table[0]} if table else {}


def _verdict_row(v: Verdict) -> dict[str, object]:
    a = v.arithmetic
    return {
        "window_start": v.window_start_ms,
        "window_ms": v.window_ms,
        "verdict_id": v.verdict_id,
        "incident_id": v.incident_id,
        "kind": v.kind.value,
        "outcome": v.outcome.value,
        "app_id": v.app_id,
        "model_id": v.model_id,
        "rollout_id": v.rollout_id,
        "candidate_version": v.candidate_version,
        "stable_version": v.stable_version,
        "metric": a.metric,
        "log_e_equal_sup": a.log_e_equal_sup,
        "log_threshold_equal": a.log_threshold_equal,
        "log_e_margin_sup": a.log_e_margin_sup,
        "log_threshold_margin": a.log_threshold_margin,
        "units_candidate": a.units_candidate,
        "units_control": a.units_control,
        "effect": a.effect,
        "effect_low": a.effect_low,
        "effect_high": a.effect_high,
        "input_sha256": v.input_sha256,
        "policy_sha256": v.policy_sha256,
        "arithmetic": _as_json(a),
        "told": _told(v),
        "withheld": int(v.is_withheld),
    }


def _told(v: Verdict) -> str:
    """What analysts are shown instead of the verdict's own numbers; "": these."""
    if v.told is not None:
        return _as_json(v.told)
    is_alert = v.kind is not VerdictKind.RELEASE and v.outcome is not Outcome.ERROR
    return _as_json(told_of_alert(v.arithmetic)) if is_alert else ""


def _as_json(arithmetic: Arithmetic) -> str:
    return msgspec.json.encode(asdict(arithmetic)).decode()
