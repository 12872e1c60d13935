-- A quantile of an hour needs uploads, each counted once: one with events in many minutes was
-- counted in each of them. Of a window's minutes the largest count is sure.
--
-- What is judged of an arm of one to nine units is said when the arm has ten, or breaches.

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
            arraySum(maxMap([m.window_start], [m.uploads]).2) AS sent,
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

CREATE OR REPLACE VIEW hf.verdicts
(
    `window_start` DateTime('UTC') COMMENT 'Start of the log window after which this was decided, UTC',
    `window_s` Float64 COMMENT 'Width of the log window in seconds',
    `verdict_id` String COMMENT 'Hash of what was judged and of the input; the same on a replay',
    `incident_id` String COMMENT 'The same for every breach of one rollout attempt',
    `kind` LowCardinality(String) COMMENT 'release (may cause a rollback), drift, cost or recovery (alerts)',
    `outcome` LowCardinality(String) COMMENT 'pass, breach, inconclusive or error',
    `app_id` LowCardinality(String) COMMENT 'Registered app',
    `model_id` LowCardinality(String) COMMENT 'Registered model',
    `rollout_id` LowCardinality(String) COMMENT 'Rollout that was judged, empty for other kinds',
    `candidate_version` LowCardinality(String) COMMENT 'Version on trial',
    `stable_version` LowCardinality(String) COMMENT 'Version it is compared with',
    `metric` LowCardinality(String) COMMENT 'Metric with the strongest evidence',
    `log_e_equal_sup` Float64 COMMENT 'Largest evidence so far against "not worse", natural logarithm of the e-value',
    `log_threshold_equal` Float64 COMMENT 'What it must reach for a breach, natural logarithm',
    `log_e_margin_sup` Float64 COMMENT 'Largest evidence so far against "worse by no more than the margin", natural logarithm of the e-value',
    `log_threshold_margin` Float64 COMMENT 'What it must reach for a breach, natural logarithm',
    `units_candidate` UInt64 COMMENT 'Installations of the candidate arm that bet',
    `units_control` UInt64 COMMENT 'Installations of the control arm that bet',
    `effect` Nullable(Float64) COMMENT 'Ratio to control minus 1 (0.2 is 20 % more), or total variation in [0, 1] for classes; null if unknown',
    `effect_low` Nullable(Float64) COMMENT 'Lower end of the effect''s interval; null if unknown',
    `effect_high` Nullable(Float64) COMMENT 'Upper end of the effect''s interval; null if unknown',
    `input_sha256` String COMMENT 'SHA-256 of the counts that went in',
    `policy_sha256` String COMMENT 'SHA-256 of the policy in force',
    `arithmetic` String COMMENT 'JSON: everything it was computed from, enough to recompute it by hand'
)
AS
SELECT
    toDateTime(v.window_start, 'UTC') AS window_start, v.window_ms / 1000 AS window_s,
    verdict_id, incident_id, kind, outcome, app_id, model_id, rollout_id,
    candidate_version, stable_version, metric,
    log_e_equal_sup, log_threshold_equal, log_e_margin_sup, log_threshold_margin,
    units_candidate, units_control,
    if(isNaN(v.effect), NULL, v.effect) AS effect,
    if(isNaN(v.effect_low), NULL, v.effect_low) AS effect_low,
    if(isNaN(v.effect_high), NULL, v.effect_high) AS effect_high,
    input_sha256, policy_sha256, arithmetic
FROM hf_store.verdict AS v FINAL
WHERE v.outcome = 'breach' OR NOT (v.units_candidate BETWEEN 1 AND 9 OR v.units_control BETWEEN 1 AND 9)
COMMENT 'Decisions with their arithmetic, "not enough evidence" included: one row per verdict; while an arm has one to nine units, breaches alone.';
