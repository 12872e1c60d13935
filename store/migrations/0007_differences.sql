-- A verdict is shown once of everything that it was judged by none or ten more came in each arm, so
-- that the difference of two verdicts rests on as many; a breach always. Who judges says which wait.

ALTER TABLE hf_store.verdict ADD COLUMN IF NOT EXISTS `withheld` UInt16 AFTER `arithmetic`;

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
WHERE v.outcome = 'breach' OR NOT (v.withheld OR v.units_candidate BETWEEN 1 AND 9 OR v.units_control BETWEEN 1 AND 9)
COMMENT 'Decisions with their arithmetic, "not enough evidence" included: one row per breach, and per other verdict that ten more units of each arm stand behind.';

-- Why one row was refused says something of one phone: few of a minute are added up by the hour, few
-- of an hour as other, once both are over. ingest_quality is exact, and says no reason.

CREATE OR REPLACE VIEW hf.ingest_reasons
(
    `minute` DateTime('UTC') COMMENT 'Log minute (when it arrived) of ten or more, else the start of the log hour, UTC',
    `unit` LowCardinality(String) COMMENT 'What is counted: rows, uploads or fields',
    `outcome` LowCardinality(String) COMMENT 'received, aggregated, rejected, deduplicated or dead_lettered',
    `reason` LowCardinality(String) COMMENT 'Stable word for the reason, empty if none is needed; other: reasons of fewer than ten in an hour',
    `n` UInt64 COMMENT 'How many; never below 10'
)
AS
WITH
    (SELECT toDateTime(max(window_start), 'UTC') FROM hf_store.ingest_window) AS newest,
    minutes AS
    (
        SELECT
            toStartOfMinute(toDateTime(window_start, 'UTC')) AS log_minute, unit, outcome, reason,
            sum(count) AS c
        FROM hf_store.ingest_window FINAL
        GROUP BY log_minute, unit, outcome, reason
    ),
    hours AS
    (
        SELECT toStartOfHour(log_minute) AS log_hour, unit, outcome, reason, sum(c) AS h
        FROM minutes
        WHERE c < 10 AND log_minute < toStartOfHour(newest)
        GROUP BY log_hour, unit, outcome, reason
    ),
    enough AS
    (
        SELECT log_minute AS at, unit, outcome, toString(reason) AS why, c AS e
        FROM minutes
        WHERE c >= 10 AND log_minute < toStartOfMinute(newest)
        UNION ALL
        SELECT log_hour AS at, unit, outcome, if(h < 10, 'other', toString(reason)) AS why, sum(h) AS e
        FROM hours
        GROUP BY at, unit, outcome, why
        HAVING e >= 10
    )
SELECT at AS minute, unit, outcome, why AS reason, sum(e) AS n
FROM enough
GROUP BY at, unit, outcome, why
COMMENT 'Why rows, uploads and fields were refused: one row per log minute or hour that is over, and reason.';

-- Two metrics of one bucket may rest on uploads that differ by a few: their number is said in tens.

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
    `uploads` UInt64 COMMENT 'Uploads that these observations came in, rounded down to tens; never below 10',
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
    intDiv(sent, 10) * 10 AS uploads, total AS n, average AS mean,
    quantiles[1] AS p50, quantiles[2] AS p95, quantiles[3] AS p99
FROM merged
COMMENT 'Distributions by minute of the event: one row per series and event bucket, strata merged.';
