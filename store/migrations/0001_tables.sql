-- The tables of store/tables.py. Only the service reads and writes them; analysts have hf.
--
-- ReplacingMergeTree on the key: the same row twice is one row. Every partition key is made of
-- columns of the key, so both copies always meet. Retention counts from when a row was stored, not
-- from its own time: a replayed old log must not vanish at its insert. An insert is answered when
-- its part and its directory are synced, and so is what a merge makes of it.

CREATE DATABASE IF NOT EXISTS hf_store;

CREATE DATABASE IF NOT EXISTS hf;

CREATE TABLE IF NOT EXISTS hf_store.metric_window
(
    `window_start` DateTime64(3, 'UTC'),
    `window_ms` UInt32,
    `event_bucket` DateTime64(3, 'UTC'),
    `event_bucket_ms` UInt32,
    `app_id` LowCardinality(String),
    `model_id` LowCardinality(String),
    `model_version` LowCardinality(String),
    `rollout_id` LowCardinality(String),
    `step` UInt16,
    `arm` LowCardinality(String),
    `platform` LowCardinality(String),
    `device_tier` LowCardinality(String),
    `region` LowCardinality(String),
    `metric` LowCardinality(String),
    `n` UInt64,
    `sum` Float64,
    `min` Float64,
    `max` Float64,
    `buckets` Array(UInt16),
    `counts` Array(UInt32),
    `stored_at` DateTime('UTC') MATERIALIZED now()
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(window_start)
ORDER BY (app_id, model_id, metric, model_version, window_start, event_bucket, event_bucket_ms,
    rollout_id, step, arm, platform, device_tier, region)
TTL stored_at + INTERVAL 400 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1,
    ttl_only_drop_parts = 1
COMMENT 'Summaries of series by log window and event bucket; read hf.metric_minute instead.';

CREATE TABLE IF NOT EXISTS hf_store.verdict
(
    `window_start` DateTime64(3, 'UTC'),
    `window_ms` UInt32,
    `verdict_id` String,
    `incident_id` String,
    `kind` LowCardinality(String),
    `outcome` LowCardinality(String),
    `app_id` LowCardinality(String),
    `model_id` LowCardinality(String),
    `rollout_id` LowCardinality(String),
    `candidate_version` LowCardinality(String),
    `stable_version` LowCardinality(String),
    `metric` LowCardinality(String),
    `log_e_equal_sup` Float64,
    `log_threshold_equal` Float64,
    `log_e_margin_sup` Float64,
    `log_threshold_margin` Float64,
    `units_candidate` UInt64,
    `units_control` UInt64,
    `effect` Float64,
    `effect_low` Float64,
    `effect_high` Float64,
    `input_sha256` String,
    `policy_sha256` String,
    `arithmetic` String,
    `stored_at` DateTime('UTC') MATERIALIZED now()
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(window_start)
ORDER BY (app_id, model_id, kind, window_start, verdict_id)
TTL stored_at + INTERVAL 800 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1,
    ttl_only_drop_parts = 1
COMMENT 'Every evaluation; read hf.verdicts instead.';

CREATE TABLE IF NOT EXISTS hf_store.action
(
    `acted_at` DateTime64(3, 'UTC'),
    `incident_id` String,
    `verdict_id` String,
    `action` LowCardinality(String),
    `state` LowCardinality(String),
    `app_id` LowCardinality(String),
    `model_id` LowCardinality(String),
    `rollout_id` LowCardinality(String),
    `from_version` LowCardinality(String),
    `to_version` LowCardinality(String),
    `commit` String,
    `path` String,
    `detail` String,
    `stored_at` DateTime('UTC') MATERIALIZED now()
)
ENGINE = ReplacingMergeTree
ORDER BY (incident_id, action, verdict_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1
COMMENT 'Every action taken or refused; read hf.rollbacks instead.';

CREATE TABLE IF NOT EXISTS hf_store.cost_day
(
    `event_day` DateTime64(3, 'UTC'),
    `window_start` DateTime64(3, 'UTC'),
    `app_id` LowCardinality(String),
    `model_id` LowCardinality(String),
    `model_version` LowCardinality(String),
    `owner` LowCardinality(String),
    `cost_center` LowCardinality(String),
    `project` LowCardinality(String),
    `currency` LowCardinality(String),
    `cost_kind` LowCardinality(String),
    `borne_by` LowCardinality(String),
    `quantity` UInt64,
    `quantity_unit` LowCardinality(String),
    `cost_micros` Int64,
    `stored_at` DateTime('UTC') MATERIALIZED now()
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(event_day)
ORDER BY (app_id, model_id, model_version, event_day, window_start, cost_kind)
TTL stored_at + INTERVAL 1200 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1,
    ttl_only_drop_parts = 1
COMMENT 'Money and quantities by event day; read hf.cost_daily instead.';

CREATE TABLE IF NOT EXISTS hf_store.ingest_window
(
    `window_start` DateTime64(3, 'UTC'),
    `window_ms` UInt32,
    `partition` UInt16,
    `unit` LowCardinality(String),
    `outcome` LowCardinality(String),
    `reason` LowCardinality(String),
    `count` UInt64,
    `stored_at` DateTime('UTC') MATERIALIZED now()
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(window_start)
ORDER BY (window_start, partition, unit, outcome, reason)
TTL stored_at + INTERVAL 400 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1,
    ttl_only_drop_parts = 1
COMMENT 'Mass balance by log window; read hf.ingest_quality instead.';
