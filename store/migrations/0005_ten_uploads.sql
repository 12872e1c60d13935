-- Nothing that fewer than ten uploads stand behind is shown. The stages write what is large enough
-- into metric_shown, row by row; the rest of a log hour comes at its end, together, if it is large
-- enough by then (store/released.py). The views of events read metric_shown alone, so every answer
-- is made of whole rows of it. Rows from before this migration have no count, and are not shown.

ALTER TABLE hf_store.metric_window ADD COLUMN IF NOT EXISTS `uploads` UInt64 AFTER `metric`;

CREATE TABLE IF NOT EXISTS hf_store.metric_shown
(
    `window_start` DateTime64(3, 'UTC'),
    `window_ms` UInt32,
    `event_bucket` DateTime64(3, 'UTC'),
    `event_bucket_ms` UInt32,
    `app_id` LowCardinality(String),
    `model_id` LowCardinality(String),
    `model_version` LowCardinality(String),
    `rollout_id` LowCardinality(String),
    `arm` LowCardinality(String),
    `metric` LowCardinality(String),
    `uploads` UInt64,
    `n` UInt64,
    `sum` Float64,
    `buckets` Array(UInt16),
    `counts` Array(UInt32),
    `stored_at` DateTime('UTC') MATERIALIZED now()
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(window_start)
ORDER BY (app_id, model_id, metric, model_version, window_start, window_ms, event_bucket,
    event_bucket_ms, rollout_id, arm)
TTL stored_at + INTERVAL 400 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1,
    ttl_only_drop_parts = 1
COMMENT 'What may be shown of each log window; read hf.metric_minute instead.';

ALTER TABLE hf_store.metric_shown MODIFY SETTING cleanup_delay_period = 1, cleanup_delay_period_random_add = 0;

CREATE OR REPLACE VIEW hf.metric_minute
(
    `minute` DateTime('UTC') COMMENT 'Start of the event bucket, UTC; when it happened on the phone, not when it arrived',
    `width_s` UInt32 COMMENT 'Width of the event bucket in seconds: 60, or 3600 for what came more than two hours late',
    `app_id` LowCardinality(String) COMMENT 'Registered app',
    `model_id` LowCardinality(String) COMMENT 'Registered model',
    `model_version` LowCardinality(String) COMMENT 'Version of the model that ran',
    `rollout_id` LowCardinality(String) COMMENT 'Rollout that the installation was enrolled in, empty outside of rollouts',
    `arm` LowCardinality(String) COMMENT 'candidate or control inside a rollout, empty outside',
    `metric` LowCardinality(String) COMMENT 'Metric of type distribution, as in the metric registry, in the registry''s unit',
    `uploads` UInt64 COMMENT 'Uploads that these observations came in; never below 10',
    `n` UInt64 COMMENT 'Observations',
    `mean` Float64 COMMENT 'Arithmetic mean, in the unit of the metric',
    `p50` Nullable(Float64) COMMENT 'Median; relative error at most 3 %; null below 20 uploads',
    `p95` Nullable(Float64) COMMENT '95th percentile; relative error at most 3 %; null below 200 uploads',
    `p99` Nullable(Float64) COMMENT '99th percentile; relative error at most 3 %; null below 1000 uploads'
)
AS
WITH merged AS
(
    SELECT
        toDateTime(event_bucket, 'UTC') AS bucket_start,
        toUInt32(intDiv(event_bucket_ms, 1000)) AS bucket_s,
        app_id, model_id, model_version, rollout_id, arm, metric,
        sum(m.uploads) AS sent,
        sum(n) AS total,
        sum(sum) / greatest(sum(n), 1) AS average,
        sumMap(buckets, counts) AS histogram,
        arrayCumSum(histogram.2) AS cumulative,
        arrayMap(
            q -> if(sent * (1 - q) < 9.999, NULL, (
                arrayFirstIndex(c -> c >= q * cumulative[-1], cumulative) AS i,
                if(histogram.1[i] = 0, 0., 1e-4 * pow(1.05, toInt32(histogram.1[i]) - 0.5)) AS middle
            ).2),
            [0.5, 0.95, 0.99]) AS quantiles
    FROM hf_store.metric_shown AS m FINAL
    WHERE metric NOT IN ('prediction.class', 'inference.error')
    GROUP BY event_bucket, event_bucket_ms, app_id, model_id, model_version, rollout_id, arm, metric
)
SELECT
    bucket_start AS minute, bucket_s AS width_s,
    app_id, model_id, model_version, rollout_id, arm, metric,
    sent AS uploads, total AS n, average AS mean,
    quantiles[1] AS p50, quantiles[2] AS p95, quantiles[3] AS p99
FROM merged
COMMENT 'Distributions by minute of the event: one row per series and event bucket, strata merged.';

CREATE OR REPLACE VIEW hf.release_health
(
    `hour` DateTime('UTC') COMMENT 'Start of the hour in which it happened on the phone, UTC',
    `app_id` LowCardinality(String) COMMENT 'Registered app',
    `model_id` LowCardinality(String) COMMENT 'Registered model',
    `model_version` LowCardinality(String) COMMENT 'Version of the model that ran',
    `arm` LowCardinality(String) COMMENT 'candidate or control inside a rollout, empty outside',
    `events` UInt64 COMMENT 'Inferences: the largest count of observations among the metrics',
    `events_share` Float64 COMMENT 'Share of the inferences of this app and model in this hour, in [0, 1]',
    `latency_p50_ms` Nullable(Float64) COMMENT 'Median of inference.latency in milliseconds; null below 20 uploads',
    `latency_p95_ms` Nullable(Float64) COMMENT '95th percentile of inference.latency in milliseconds; null below 200 uploads',
    `energy_mean_mj` Nullable(Float64) COMMENT 'Mean of inference.energy in millijoules; null if none was reported',
    `error_share` Nullable(Float64) COMMENT 'Share of inferences with an error code other than 0, in [0, 1]; null if none was reported',
    `data_mean_bytes` Nullable(Float64) COMMENT 'Mean of bytes sent plus mean of bytes received per inference; null if none was reported'
)
AS
WITH
    merged AS
    (
        SELECT
            toStartOfHour(toDateTime(event_bucket, 'UTC')) AS bucket_hour,
            app_id, model_id, model_version, arm, metric,
            sum(m.uploads) AS sent,
            sum(n) AS total,
            sum(sum) AS amount,
            sumMap(buckets, counts) AS histogram,
            arrayCumSum(histogram.2) AS cumulative,
            arrayMap(
                q -> if(sent * (1 - q) < 9.999, NULL, (
                    arrayFirstIndex(c -> c >= q * cumulative[-1], cumulative) AS i,
                    if(histogram.1[i] = 0, 0., 1e-4 * pow(1.05, toInt32(histogram.1[i]) - 0.5)) AS middle
                ).2),
                [0.5, 0.95]) AS quantiles,
            arraySum(arrayMap((code, count) -> if(code = 0, 0, count), histogram.1, histogram.2))
                AS failures
        FROM hf_store.metric_shown AS m FINAL
        WHERE metric IN ('inference.latency', 'inference.energy', 'inference.error',
            'network.sent', 'network.received', 'prediction.class')
        GROUP BY bucket_hour, app_id, model_id, model_version, arm, metric
    ),
    releases AS
    (
        SELECT
            bucket_hour, app_id, model_id, model_version, arm,
            max(total) AS inferences,
            maxIf(quantiles[1], metric = 'inference.latency') AS p50,
            maxIf(quantiles[2], metric = 'inference.latency') AS p95,
            maxIf(toNullable(amount / total), metric = 'inference.energy') AS energy,
            maxIf(toNullable(failures / total), metric = 'inference.error') AS errors,
            sumIf(toNullable(amount / total), metric IN ('network.sent', 'network.received')) AS traffic
        FROM merged
        WHERE total > 0
        GROUP BY bucket_hour, app_id, model_id, model_version, arm
    )
SELECT
    bucket_hour AS hour, app_id, model_id, model_version, arm,
    inferences AS events,
    inferences / sum(inferences) OVER (PARTITION BY bucket_hour, app_id, model_id) AS events_share,
    p50 AS latency_p50_ms, p95 AS latency_p95_ms, energy AS energy_mean_mj,
    errors AS error_share, traffic AS data_mean_bytes
FROM releases
COMMENT 'How each release does: one row per app, model, version, arm and hour.';

CREATE OR REPLACE VIEW hf.class_share
(
    `hour` DateTime('UTC') COMMENT 'Start of the hour in which it happened on the phone, UTC',
    `app_id` LowCardinality(String) COMMENT 'Registered app',
    `model_id` LowCardinality(String) COMMENT 'Registered model',
    `model_version` LowCardinality(String) COMMENT 'Version of the model that ran',
    `arm` LowCardinality(String) COMMENT 'candidate or control inside a rollout, empty outside',
    `class` UInt16 COMMENT 'Number of the predicted class in the model''s label map, or of its group; 65535: classes that too few uploads predicted',
    `n` UInt64 COMMENT 'Predictions of this class',
    `class_share` Float64 COMMENT 'Share of the release''s predictions in this hour, in [0, 1]'
)
AS
WITH merged AS
(
    SELECT
        toStartOfHour(toDateTime(event_bucket, 'UTC')) AS bucket_hour,
        app_id, model_id, model_version, arm,
        sumMap(buckets, counts) AS histogram,
        arraySum(histogram.2) AS total
    FROM hf_store.metric_shown FINAL
    WHERE metric = 'prediction.class'
    GROUP BY bucket_hour, app_id, model_id, model_version, arm
)
SELECT
    bucket_hour AS hour, app_id, model_id, model_version, arm,
    pair.1 AS class, pair.2 AS n, pair.2 / total AS class_share
FROM merged
ARRAY JOIN arrayZip(histogram.1, histogram.2) AS pair
COMMENT 'What each release predicts: one row per app, model, version, arm, hour and class.';

CREATE OR REPLACE VIEW hf.metric_totals
(
    `day` Date COMMENT 'Day on which it happened on the phone, UTC',
    `app_id` LowCardinality(String) COMMENT 'Registered app',
    `model_id` LowCardinality(String) COMMENT 'Registered model',
    `model_version` LowCardinality(String) COMMENT 'Version of the model that ran',
    `metric` LowCardinality(String) COMMENT 'Metric of any type, as in the metric registry',
    `n` UInt64 COMMENT 'Observations, each counted once'
)
AS
SELECT
    toDate(event_bucket, 'UTC') AS day, app_id, model_id, model_version, metric, sum(m.n) AS n
FROM hf_store.metric_shown AS m FINAL
GROUP BY day, app_id, model_id, model_version, metric
COMMENT 'How much was observed: one row per day, release and metric, of whatever type.';
