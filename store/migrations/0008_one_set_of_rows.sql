-- Everything of events that analysts see is a sum over rows of metric_shown: minutes, hours, classes
-- and totals already were; bills and what was aggregated are from here on. All metrics of a place
-- (release, arm, event bucket) come with the same uploads and observations.

ALTER TABLE hf_store.metric_shown ADD COLUMN IF NOT EXISTS `uploads_with` UInt64 AFTER `n`;

ALTER TABLE hf_store.cost_line ADD COLUMN IF NOT EXISTS `whole` Int64 AFTER `quantity`, ADD COLUMN IF NOT EXISTS `price_micros` Int64 AFTER `cost_micros`, ADD COLUMN IF NOT EXISTS `price_per` Int64 AFTER `price_micros`;

ALTER TABLE hf_store.verdict ADD COLUMN IF NOT EXISTS `told` String AFTER `arithmetic`;

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
    `uploads` UInt64 COMMENT 'Uploads of this bucket, with or without this metric, rounded down to tens; never below 10',
    `n` UInt64 COMMENT 'Observations of this bucket, the same for each of its metrics: some may lack this one',
    `mean` Float64 COMMENT 'Arithmetic mean of those that have it, in the unit of the metric',
    `p50` Nullable(Float64) COMMENT 'Median; relative error at most 3 %; null below 20 uploads that have it',
    `p95` Nullable(Float64) COMMENT '95th percentile; relative error at most 3 %; null below 200 uploads that have it',
    `p99` Nullable(Float64) COMMENT '99th percentile; relative error at most 3 %; null below 1000 uploads that have it'
)
AS
WITH merged AS
(
    SELECT
        toDateTime(event_bucket, 'UTC') AS bucket_start,
        toUInt32(intDiv(event_bucket_ms, 1000)) AS bucket_s,
        app_id, model_id, model_version, rollout_id, arm, metric,
        sum(m.uploads) AS all_sent,
        sum(if(uploads_with = 0, m.uploads, uploads_with)) AS sent,
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
    intDiv(all_sent, 10) * 10 AS uploads, total AS n, average AS mean,
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
    `events` UInt64 COMMENT 'Inferences: the observations of the minutes and hours that are shown',
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
            arraySum(maxMap([m.window_start], [if(uploads_with = 0, m.uploads, uploads_with)]).2) AS sent,
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
            maxIf(toNullable(failures / cumulative[-1]), metric = 'inference.error') AS errors,
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
    `class` UInt16 COMMENT 'Number of the predicted class in the model''s label map, or of its group; 65535: classes that too few uploads predicted, and observations without a class',
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
    `n` UInt64 COMMENT 'Observations of the minutes and hours in which it is shown, each counted once: some may lack it'
)
AS
SELECT
    toDate(event_bucket, 'UTC') AS day, app_id, model_id, model_version, metric, sum(m.n) AS n
FROM hf_store.metric_shown AS m FINAL
GROUP BY day, app_id, model_id, model_version, metric
COMMENT 'How much was observed: one row per day, release and metric, of whatever type.';

-- A bill is of what is shown, so it and the metrics leave nothing between them. Prices, owners and
-- shares come from the exact lines: of inferences, those in the cloud; of traffic, what went over
-- cellular; rounded to as many steps as there are ten uploads. Days that earlier versions billed
-- stay as they were.

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
    `quantity` Int64 COMMENT 'Physical quantity of what hf.metric_minute shows, in quantity_unit; cloud_calls and cellular are a share of it, told by tens of uploads',
    `quantity_unit` LowCardinality(String) COMMENT 'UCUM unit of the quantity',
    `cost_micros` Int64 COMMENT 'Cost of the quantity in millionths of the currency',
    `cost` Decimal(38, 6) COMMENT 'Cost of the quantity in the currency'
)
AS
WITH
    places AS
    (
        SELECT
            toDate(event_bucket, 'UTC') AS shown_day, app_id, model_id, model_version, m.window_start AS at,
            max(m.n) AS place_n, max(m.uploads) AS sent,
            sumIf(m.sum, metric = 'network.received') AS received,
            sumIf(m.sum, metric IN ('network.sent', 'network.received')) AS traffic,
            sumIf(m.sum, metric = 'inference.energy') AS energy
        FROM hf_store.metric_shown AS m FINAL
        GROUP BY shown_day, app_id, model_id, model_version, rollout_id, arm, at, window_ms,
            event_bucket, event_bucket_ms
    ),
    used AS
    (
        SELECT
            shown_day, app_id, model_id, model_version,
            sum(place_n) AS inferences, sum(received) AS received_bytes,
            sum(traffic) AS traffic_bytes, sum(energy) AS energy_mj,
            least(greatest(intDiv(arraySum(maxMap([at], [sent]).2), 10), 1), 100) AS steps
        FROM places
        GROUP BY shown_day, app_id, model_id, model_version
    ),
    priced AS
    (
        SELECT
            toDate(event_day, 'UTC') AS line_day, app_id, model_id, cost_kind, borne_by, currency,
            quantity_unit,
            arrayJoin(arrayDistinct([toString(model_version), 'other'])) AS version,
            argMax((owner, cost_center, project), c.window_start) AS whose,
            argMax((c.price_micros, c.price_per), c.window_start) AS price,
            sum(c.quantity) AS part, sum(c.whole) AS whole_sum
        FROM hf_store.cost_line AS c FINAL
        WHERE price_per > 0
        GROUP BY line_day, app_id, model_id, version, cost_kind, borne_by, currency, quantity_unit
        HAVING part != 0
    ),
    bills AS
    (
        SELECT
            p.line_day AS line_day, p.whose AS whose, p.app_id AS app, p.model_id AS model,
            p.version AS version, p.cost_kind AS what, p.borne_by AS who, p.currency AS money,
            p.quantity_unit AS measure, p.price AS price,
            if(p.whole_sum <= p.part, 1., round(p.part / p.whole_sum * u.steps) / u.steps) AS share,
            toInt64(round(multiIf(
                p.cost_kind = 'egress', toFloat64(u.received_bytes),
                p.cost_kind = 'energy', toFloat64(u.energy_mj),
                p.cost_kind = 'cellular', share * u.traffic_bytes,
                share * u.inferences))) AS q
        FROM priced AS p
        INNER JOIN used AS u ON p.line_day = u.shown_day AND p.app_id = u.app_id
            AND p.model_id = u.model_id AND p.version = toString(u.model_version)
    )
SELECT
    line_day AS day, whose.1 AS owner, whose.2 AS cost_center, whose.3 AS project, app AS app_id,
    model AS model_id, version AS model_version, what AS cost_kind, who AS borne_by,
    money AS currency, q AS quantity, measure AS quantity_unit,
    toInt64(intDiv(2 * toInt256(q) * price.1 + price.2, 2 * toInt256(price.2))) AS cost_micros,
    toDecimal128(cost_micros, 6) / 1000000 AS cost
FROM bills
WHERE q != 0
UNION ALL
SELECT
    toDate(event_day, 'UTC') AS day, owner, cost_center, project, app_id, model_id, model_version,
    cost_kind, borne_by, currency,
    sum(c.quantity) AS quantity, quantity_unit,
    sum(c.cost_micros) AS cost_micros,
    toDecimal128(sum(c.cost_micros), 6) / 1000000 AS cost
FROM hf_store.cost_line AS c FINAL
WHERE price_per = 0
GROUP BY event_day, owner, cost_center, project, app_id, model_id, model_version, cost_kind,
    borne_by, currency, quantity_unit
HAVING quantity != 0 OR cost_micros != 0
COMMENT 'What models cost and whom, of what is shown: one row per day, owner, cost center, project, release and kind.';

-- Rows that were counted are told as they are shown elsewhere; of the others (refused, sent again,
-- set aside) what ten uploads or more had in a minute that is over, or else in an hour that is over.
-- Exact numbers are in ingest_window, with the writer's credential.

CREATE OR REPLACE VIEW hf.ingest_quality
(
    `minute` DateTime('UTC') COMMENT 'Log minute (when rows arrived), or the start of the log hour for what was too little by the minute, UTC',
    `received` UInt64 COMMENT 'Rows received that are shown: the sum of the next four',
    `aggregated` UInt64 COMMENT 'Rows counted in what hf.metric_minute shows',
    `rejected` UInt64 COMMENT 'Rows refused for a bad value, of ten uploads or more; reasons in hf.ingest_reasons',
    `deduplicated` UInt64 COMMENT 'Rows of ten or more uploads that had been counted before',
    `dead_lettered` UInt64 COMMENT 'Ten or more rows set aside because they could not be handled',
    `difference` Int64 COMMENT 'Of all rows, shown or not: received minus all others; anything but 0 is a defect'
)
AS
WITH
    (SELECT toDateTime(max(window_start), 'UTC') FROM hf_store.ingest_window) AS newest,
    places AS
    (
        SELECT toStartOfMinute(toDateTime(m.window_start, 'UTC')) AS log_minute, max(m.n) AS place_n
        FROM hf_store.metric_shown AS m FINAL
        GROUP BY app_id, model_id, model_version, rollout_id, arm, m.window_start, window_ms,
            event_bucket, event_bucket_ms
    ),
    counted AS
    (
        SELECT
            toStartOfMinute(toDateTime(window_start, 'UTC')) AS log_minute,
            if(outcome = 'partly_rejected', 'rejected', toString(outcome)) AS what,
            sumIf(count, unit = 'rows') AS c,
            sumIf(count, unit = 'uploads') AS of_uploads,
            if(what = 'dead_lettered', c, of_uploads) AS u
        FROM hf_store.ingest_window FINAL
        WHERE outcome IN ('rejected', 'partly_rejected', 'deduplicated', 'dead_lettered')
        GROUP BY log_minute, what
    ),
    missing AS
    (
        SELECT
            toStartOfMinute(toDateTime(window_start, 'UTC')) AS log_minute,
            sum(if(outcome = 'received', 1, -1) * toInt64(count)) AS lost
        FROM hf_store.ingest_window FINAL
        WHERE unit = 'rows'
            AND outcome IN ('received', 'aggregated', 'rejected', 'deduplicated', 'dead_lettered')
        GROUP BY log_minute
        HAVING lost != 0 AND log_minute < toStartOfMinute(newest)
    ),
    shown AS
    (
        SELECT log_minute AS at, 'aggregated' AS how, sum(place_n) AS number FROM places GROUP BY at
        UNION ALL
        SELECT log_minute AS at, what AS how, c AS number FROM counted
        WHERE u >= 10 AND log_minute < toStartOfMinute(newest)
        UNION ALL
        SELECT toStartOfHour(log_minute) AS at, what AS how, sum(c) AS number FROM counted
        WHERE u < 10 AND log_minute < toStartOfHour(newest)
        GROUP BY at, how HAVING sum(u) >= 10
    ),
    every AS
    (
        SELECT at, how, number, 0 AS lost FROM shown
        UNION ALL
        SELECT log_minute AS at, '' AS how, 0 AS number, lost FROM missing
    )
SELECT
    at AS minute, sum(number) AS received,
    sumIf(number, how = 'aggregated') AS aggregated,
    sumIf(number, how = 'rejected') AS rejected,
    sumIf(number, how = 'deduplicated') AS deduplicated,
    sumIf(number, how = 'dead_lettered') AS dead_lettered,
    toInt64(sum(lost)) AS difference
FROM every
GROUP BY at
COMMENT 'What arrived and what became of it, of what is shown: one row per log minute.';

-- A breach is told at once. If fewer than ten units came since the verdict that was told before it,
-- its numbers are that one's (streams/told_units.py); its own are in the commit, and in the table.

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
    `units_candidate` UInt64 COMMENT 'Installations of the candidate arm that bet; of a breach that fewer than ten came for, as of the verdict before it',
    `units_control` UInt64 COMMENT 'Installations of the control arm that bet; of such a breach as of the verdict before it',
    `effect` Nullable(Float64) COMMENT 'Ratio to control minus 1 (0.2 is 20 % more), or total variation in [0, 1] for classes; null if unknown',
    `effect_low` Nullable(Float64) COMMENT 'Lower end of the effect''s interval; null if unknown',
    `effect_high` Nullable(Float64) COMMENT 'Upper end of the effect''s interval; null if unknown',
    `input_sha256` String COMMENT 'SHA-256 of the counts that went in',
    `policy_sha256` String COMMENT 'SHA-256 of the policy in force',
    `arithmetic` String COMMENT 'JSON: what it was computed from; of a breach that fewer than ten units came for, that its thresholds were reached, and numbers as of the verdict before it'
)
AS
SELECT
    toDateTime(v.window_start, 'UTC') AS window_start, v.window_ms / 1000 AS window_s,
    verdict_id, incident_id, kind, outcome, app_id, model_id, rollout_id,
    candidate_version, stable_version, metric,
    if(told = '', v.log_e_equal_sup, JSONExtract(told, 'log_e_equal_sup', 'Float64')) AS log_e_equal_sup,
    v.log_threshold_equal AS log_threshold_equal,
    if(told = '', v.log_e_margin_sup, JSONExtract(told, 'log_e_margin_sup', 'Float64')) AS log_e_margin_sup,
    v.log_threshold_margin AS log_threshold_margin,
    if(told = '', v.units_candidate, JSONExtract(told, 'units_candidate', 'UInt64')) AS units_candidate,
    if(told = '', v.units_control, JSONExtract(told, 'units_control', 'UInt64')) AS units_control,
    if(told = '', if(isNaN(v.effect), NULL, v.effect), JSONExtract(told, 'effect', 'Nullable(Float64)')) AS effect,
    if(told = '', if(isNaN(v.effect_low), NULL, v.effect_low), JSONExtract(told, 'effect_low', 'Nullable(Float64)')) AS effect_low,
    if(told = '', if(isNaN(v.effect_high), NULL, v.effect_high), JSONExtract(told, 'effect_high', 'Nullable(Float64)')) AS effect_high,
    input_sha256, policy_sha256,
    if(told = '', v.arithmetic, told) AS arithmetic
FROM hf_store.verdict AS v FINAL
WHERE v.outcome = 'breach' OR NOT (v.withheld OR v.units_candidate BETWEEN 1 AND 9 OR v.units_control BETWEEN 1 AND 9)
COMMENT 'Decisions with their arithmetic, "not enough evidence" included: one row per breach, and per other verdict that ten more units of each arm stand behind.';

CREATE OR REPLACE VIEW hf.rollbacks
(
    `acted_at` DateTime('UTC') COMMENT 'When it was done, held or refused, UTC',
    `incident_id` String COMMENT 'One incident, at most one rollback commit',
    `verdict_id` String COMMENT 'Verdict that led to it; see hf.verdicts',
    `state` LowCardinality(String) COMMENT 'done, dry_run, held, refused, superseded or failed',
    `app_id` LowCardinality(String) COMMENT 'Registered app',
    `model_id` LowCardinality(String) COMMENT 'Registered model',
    `rollout_id` LowCardinality(String) COMMENT 'Rollout that was ended',
    `from_version` LowCardinality(String) COMMENT 'Version that was taken back',
    `to_version` LowCardinality(String) COMMENT 'Version that phones return to',
    `commit` String COMMENT 'Hash of the commit in the GitOps repository, empty if none was made',
    `path` String COMMENT 'Manifest in the GitOps repository',
    `metric` Nullable(String) COMMENT 'Metric that breached; null if the verdict is not stored yet',
    `effect` Nullable(Float64) COMMENT 'Ratio to control minus 1, or total variation in [0, 1] for classes; null if unknown',
    `detail` String COMMENT 'What the action said'
)
AS
WITH last AS
(
    SELECT
        incident_id,
        argMax(
            (acted_at, verdict_id, state, app_id, model_id, rollout_id, from_version, to_version,
                commit, path, detail),
            (state = 'done', acted_at)) AS r
    FROM hf_store.action FINAL
    WHERE action = 'rollback'
    GROUP BY incident_id
)
SELECT
    toDateTime(last.r.1, 'UTC') AS acted_at, last.incident_id AS incident_id,
    last.r.2 AS verdict_id, last.r.3 AS state, last.r.4 AS app_id, last.r.5 AS model_id,
    last.r.6 AS rollout_id, last.r.7 AS from_version, last.r.8 AS to_version,
    last.r.9 AS commit, last.r.10 AS path,
    nullIf(toString(v.metric), '') AS metric,
    if(nullIf(v.verdict_id, '') IS NULL, NULL, v.effect) AS effect,
    last.r.11 AS detail
FROM last
ANY LEFT JOIN (SELECT verdict_id, metric, effect FROM hf.verdicts) AS v
    ON v.verdict_id = last.r.2
COMMENT 'Every rollback, done or not: one row per incident.';
