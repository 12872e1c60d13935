-- A day that is priced anew takes its old lines back: quantities below 0, and in one window lines of
-- one kind in two currencies. cost_day could hold neither; what it holds is carried over once.

CREATE TABLE IF NOT EXISTS hf_store.cost_line
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
    `quantity` Int64,
    `quantity_unit` LowCardinality(String),
    `cost_micros` Int64,
    `stored_at` DateTime('UTC') MATERIALIZED now()
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(event_day)
ORDER BY (app_id, model_id, model_version, event_day, window_start, cost_kind, currency)
TTL stored_at + INTERVAL 1200 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1,
    ttl_only_drop_parts = 1
COMMENT 'Money and quantities by event day; read hf.cost_daily instead.';

ALTER TABLE hf_store.cost_line MODIFY SETTING cleanup_delay_period = 1, cleanup_delay_period_random_add = 0;

INSERT INTO hf_store.cost_line
    (event_day, window_start, app_id, model_id, model_version, owner, cost_center, project,
    currency, cost_kind, borne_by, quantity, quantity_unit, cost_micros)
SELECT
    event_day, window_start, app_id, model_id, model_version, owner, cost_center, project,
    currency, cost_kind, borne_by, quantity, quantity_unit, cost_micros
FROM hf_store.cost_day FINAL;

CREATE OR REPLACE VIEW hf.cost_daily
(
    `day` Date COMMENT 'Day on which it happened on the phone, UTC',
    `owner` LowCardinality(String) COMMENT 'Owner of the model, from its manifest',
    `cost_center` LowCardinality(String) COMMENT 'Cost center, from the manifest',
    `project` LowCardinality(String) COMMENT 'Project, from the manifest',
    `app_id` LowCardinality(String) COMMENT 'Registered app',
    `model_id` LowCardinality(String) COMMENT 'Registered model',
    `model_version` LowCardinality(String) COMMENT 'Version of the model that ran',
    `cost_kind` LowCardinality(String) COMMENT 'cloud_calls, egress, cellular or energy',
    `borne_by` LowCardinality(String) COMMENT 'Who pays: provider or user',
    `currency` LowCardinality(String) COMMENT 'ISO 4217 code; never add across currencies',
    `quantity` Int64 COMMENT 'Physical quantity, in quantity_unit',
    `quantity_unit` LowCardinality(String) COMMENT 'UCUM unit of the quantity',
    `cost_micros` Int64 COMMENT 'Cost in millionths of the currency, exact',
    `cost` Decimal(38, 6) COMMENT 'Cost in the currency, exact'
)
AS
SELECT
    toDate(event_day, 'UTC') AS day, owner, cost_center, project, app_id, model_id, model_version,
    cost_kind, borne_by, currency,
    sum(c.quantity) AS quantity, quantity_unit,
    sum(c.cost_micros) AS cost_micros,
    toDecimal128(sum(c.cost_micros), 6) / 1000000 AS cost
FROM hf_store.cost_line AS c FINAL
GROUP BY event_day, owner, cost_center, project, app_id, model_id, model_version, cost_kind,
    borne_by, currency, quantity_unit
HAVING quantity != 0 OR cost_micros != 0
COMMENT 'What models cost and whom: one row per day, owner, cost center, project, release and kind.';
