"""The rows that the service writes: table -> column -> ClickHouse type.

One place for the migrations' columns, the writer's Arrow schema and the contract tests. All tables
are ReplacingMergeTree on `KEYS`: writing the same key twice leaves one row, so a replay is
harmless. Times are Unix milliseconds (DateTime64(3, 'UTC')).
"""

from collections.abc import Mapping
from typing import Final

_SERIES: Final = {
    "app_id": "LowCardinality(String)",
    "model_id": "LowCardinality(String)",
    "model_version": "LowCardinality(String)",
    "rollout_id": "LowCardinality(String)",
    "step": "UInt16",
    "arm": "LowCardinality(String)",
    "platform": "LowCardinality(String)",
    "device_tier": "LowCardinality(String)",
    "region": "LowCardinality(String)",
}
_RELEASE: Final = ("app_id", "model_id", "model_version", "rollout_id", "arm")
_TIME: Final = "DateTime64(3, 'UTC')"

TABLES: Final[Mapping[str, Mapping[str, str]]] = {
    # one row per series, metric, log window and event bucket
    "metric_window": {
        "window_start": _TIME,
        "window_ms": "UInt32",
        "event_bucket": _TIME,
        "event_bucket_ms": "UInt32",
        **_SERIES,
        "metric": "LowCardinality(String)",
        "uploads": "UInt64",
        "n": "UInt64",
        "sum": "Float64",
        "min": "Float64",
        "max": "Float64",
        "buckets": "Array(UInt16)",
        "counts": "Array(UInt32)",
    },
    # what analysts may see of a log window: each row rests on UPLOADS_MIN uploads or more
    "metric_shown": {
        "window_start": _TIME,
        "window_ms": "UInt32",  # 0: what was too small by itself, of a whole log hour
        "event_bucket": _TIME,
        "event_bucket_ms": "UInt32",
        **{name: _SERIES[name] for name in _RELEASE},
        "metric": "LowCardinality(String)",
        "uploads": "UInt64",  # of the place: the same for each of its metrics
        "n": "UInt64",
        "uploads_with": "UInt64",  # of them: with this metric; 0 in rows of earlier versions
        "sum": "Float64",
        "buckets": "Array(UInt16)",
        "counts": "Array(UInt32)",
    },
    # one row per evaluation of a rollout, or per drift or cost alert
    "verdict": {
        "window_start": _TIME,
        "window_ms": "UInt32",
        "verdict_id": "String",
        "incident_id": "String",
        "kind": "LowCardinality(String)",
        "outcome": "LowCardinality(String)",
        "app_id": "LowCardinality(String)",
        "model_id": "LowCardinality(String)",
        "rollout_id": "LowCardinality(String)",
        "candidate_version": "LowCardinality(String)",
        "stable_version": "LowCardinality(String)",
        "metric": "LowCardinality(String)",
        "log_e_equal_sup": "Float64",
        "log_threshold_equal": "Float64",
        "log_e_margin_sup": "Float64",
        "log_threshold_margin": "Float64",
        "units_candidate": "UInt64",
        "units_control": "UInt64",
        "effect": "Float64",
        "effect_low": "Float64",
        "effect_high": "Float64",
        "input_sha256": "String",
        "policy_sha256": "String",
        "arithmetic": "String",  # the whole Arithmetic as JSON
        "told": "String",  # the Arithmetic that analysts are shown instead; empty: the same
        "withheld": "UInt16",  # 1: too few units more than the verdict before it that is shown
    },
    # one row per action taken or refused
    "action": {
        "acted_at": _TIME,
        "incident_id": "String",
        "verdict_id": "String",
        "action": "LowCardinality(String)",  # rollback | slack | recovery
        "state": "LowCardinality(String)",  # done | dry_run | held | refused | superseded | failed
        "app_id": "LowCardinality(String)",
        "model_id": "LowCardinality(String)",
        "rollout_id": "LowCardinality(String)",
        "from_version": "LowCardinality(String)",
        "to_version": "LowCardinality(String)",
        "commit": "String",
        "path": "String",
        "detail": "String",
    },
    # money and physical quantities by event day; a line that is taken back is below 0
    "cost_line": {
        "event_day": _TIME,
        "window_start": _TIME,
        "app_id": "LowCardinality(String)",
        "model_id": "LowCardinality(String)",
        "model_version": "LowCardinality(String)",
        "owner": "LowCardinality(String)",
        "cost_center": "LowCardinality(String)",
        "project": "LowCardinality(String)",
        "currency": "LowCardinality(String)",
        "cost_kind": "LowCardinality(String)",  # cloud_calls | egress | cellular | energy
        "borne_by": "LowCardinality(String)",  # provider | user
        "quantity": "Int64",
        "whole": "Int64",  # of what it is a part: all inferences, all bytes
        "quantity_unit": "LowCardinality(String)",
        "cost_micros": "Int64",
        "price_micros": "Int64",
        "price_per": "Int64",  # units of quantity; 0 in lines of earlier versions
    },
    # mass balance by log window: received = aggregated + rejected + deduplicated + dead_lettered
    "ingest_window": {
        "window_start": _TIME,
        "window_ms": "UInt32",
        "partition": "UInt16",
        "unit": "LowCardinality(String)",  # rows | uploads | fields
        "outcome": "LowCardinality(String)",  # aggregated | rejected | deduplicated | dead_lettered
        "reason": "LowCardinality(String)",
        "count": "UInt64",
    },
}

KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "metric_window": (
        "app_id",
        "model_id",
        "metric",
        "model_version",
        "window_start",
        "event_bucket",
        "event_bucket_ms",
        "rollout_id",
        "step",
        "arm",
        "platform",
        "device_tier",
        "region",
    ),
    "metric_shown": (
        "app_id",
        "model_id",
        "metric",
        "model_version",
        "window_start",
        "window_ms",
        "event_bucket",
        "event_bucket_ms",
        "rollout_id",
        "arm",
    ),
    "verdict": ("app_id", "model_id", "kind", "window_start", "verdict_id"),
    "action": ("incident_id", "action", "verdict_id"),
    "cost_line": (
        "app_id",
        "model_id",
        "model_version",
        "event_day",
        "window_start",
        "cost_kind",
        "currency",
    ),
    "ingest_window": ("window_start", "partition", "unit", "outcome", "reason"),
}
