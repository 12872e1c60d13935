-- Statements of honest readers, one a line: all are answered. Lines that begin with -- are sections.
-- README, runbook, commands
SELECT model_version, arm, events, round(latency_p50_ms, 1) AS p50_ms, round(latency_p95_ms, 1) AS p95_ms FROM hf.release_health WHERE model_id = 'scene-labels' ORDER BY events DESC LIMIT 3 FORMAT PrettyCompact
SELECT acted_at, state, from_version, to_version, commit FROM rollbacks
SELECT acted_at, state, model_id, from_version, detail FROM hf.rollbacks ORDER BY acted_at DESC LIMIT 5
SELECT * FROM hf.verdicts LIMIT 2
SELECT * EXCEPT (arithmetic) FROM hf.verdicts ORDER BY window_start DESC, verdict_id LIMIT 20
SELECT * FROM hf.rollbacks ORDER BY acted_at DESC, incident_id
SELECT sum(received) AS total_received, sum(aggregated) AS total_aggregated, sum(rejected) AS total_rejected, sum(deduplicated) AS total_deduplicated, sum(dead_lettered) AS total_dead_lettered, sum(difference) AS total_difference FROM hf.ingest_quality
SELECT sum(n) FROM hf.metric_totals WHERE metric = 'inference.latency'
SELECT model_id, model_version, sum(n) FROM hf.metric_totals WHERE metric = 'inference.latency' GROUP BY model_id, model_version
SELECT * FROM hf.ingest_reasons LIMIT 10
SELECT * FROM hf.class_share LIMIT 10
SELECT * FROM hf.cost_daily LIMIT 10
SELECT count() FROM hf.metric_minute
-- shapes of a statement
SELECT 1
SELECT 1;
select 1 as x from hf.verdicts limit 0
(SELECT 1)
((SELECT 1))
FROM verdicts SELECT count()
WITH 1 AS x SELECT x
WITH v AS (SELECT * FROM hf.verdicts) SELECT count() FROM v
WITH a AS (SELECT 1 AS x), b AS (SELECT x + 1 AS y FROM a) SELECT * FROM a, b
WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t WHERE n < 10) SELECT sum(n) FROM t
WITH (SELECT max(window_start) FROM hf.verdicts) AS newest SELECT newest
WITH x -> x * 2 AS twice SELECT twice(21)
SELECT DISTINCT model_id FROM hf.verdicts
SELECT DISTINCT ON (model_id) model_id, outcome FROM hf.verdicts ORDER BY window_start DESC
SELECT TOP 3 model_id FROM hf.verdicts
SELECT model_id FROM hf.verdicts WHERE outcome = 'breach' AND kind != 'drift' LIMIT 5 OFFSET 2
SELECT model_id FROM hf.verdicts SAMPLE 1 LIMIT 0
SELECT model_id, count() FROM hf.verdicts GROUP BY model_id HAVING count() > 1
SELECT model_id, count() FROM hf.verdicts GROUP BY ALL ORDER BY ALL
SELECT model_id, arm, sum(events) FROM hf.release_health GROUP BY ROLLUP(model_id, arm)
SELECT model_id, arm, sum(events) FROM hf.release_health GROUP BY CUBE(model_id, arm)
SELECT model_id, arm, sum(events), grouping(model_id) FROM hf.release_health GROUP BY GROUPING SETS ((model_id), (arm), ())
SELECT model_id, sum(events) FROM hf.release_health GROUP BY model_id WITH TOTALS
SELECT model_id, hour, events FROM hf.release_health ORDER BY hour, events DESC NULLS LAST LIMIT 1 BY model_id
SELECT number FROM numbers(10) ORDER BY number LIMIT 3 WITH TIES
SELECT number FROM numbers(10) ORDER BY number OFFSET 2 ROWS FETCH NEXT 3 ROWS ONLY
SELECT toDate('2026-01-01') + number * 2 AS d, number AS n FROM numbers(5) ORDER BY d WITH FILL STEP 1 INTERPOLATE (n AS n)
SELECT 1 UNION ALL SELECT 2
SELECT 1 UNION DISTINCT SELECT 1
SELECT number FROM numbers(5) INTERSECT SELECT number FROM numbers(2, 5)
SELECT number FROM numbers(5) EXCEPT SELECT number FROM numbers(2, 5)
(SELECT 1) UNION ALL (SELECT 2 UNION ALL SELECT 3)
SELECT * FROM (SELECT model_id, count() AS c FROM hf.verdicts GROUP BY model_id) WHERE c > 0
SELECT (SELECT count() FROM hf.verdicts) AS v, (SELECT count() FROM hf.rollbacks) AS r
SELECT count() FROM hf.verdicts WHERE model_id IN (SELECT model_id FROM hf.rollbacks)
SELECT count() FROM hf.verdicts WHERE model_id IN ('a', 'b', 'c')
SELECT count() FROM hf.verdicts WHERE (model_id, outcome) IN (('a', 'pass'), ('b', 'breach'))
SELECT count() FROM hf.verdicts WHERE model_id NOT IN ('a')
SELECT count() FROM hf.verdicts WHERE EXISTS (SELECT 1 FROM hf.rollbacks)
SELECT count() FROM hf.verdicts v WHERE v.incident_id = 'x' OR v.verdict_id = 'y'
SELECT v.model_id, r.state FROM hf.verdicts AS v INNER JOIN hf.rollbacks AS r ON v.verdict_id = r.verdict_id
SELECT v.model_id, r.state FROM hf.verdicts AS v LEFT JOIN hf.rollbacks AS r USING (verdict_id)
SELECT count() FROM hf.verdicts v ANY LEFT JOIN hf.rollbacks r ON v.incident_id = r.incident_id
SELECT count() FROM hf.verdicts v SEMI LEFT JOIN hf.rollbacks r ON v.incident_id = r.incident_id
SELECT count() FROM hf.verdicts v ANTI LEFT JOIN hf.rollbacks r ON v.incident_id = r.incident_id
SELECT count() FROM hf.verdicts v FULL OUTER JOIN hf.rollbacks r ON v.incident_id = r.incident_id
SELECT count() FROM numbers(3) AS a CROSS JOIN numbers(3) AS b
SELECT a.number, b.number FROM numbers(3) a JOIN numbers(3) b ON a.number = b.number
SELECT a.t, b.v FROM (SELECT number AS t, 1 AS k FROM numbers(5)) a ASOF JOIN (SELECT number * 2 AS t, number AS v, 1 AS k FROM numbers(5)) b ON a.k = b.k AND a.t >= b.t
SELECT x FROM (SELECT [1, 2, 3] AS xs) ARRAY JOIN xs AS x
SELECT x, i FROM (SELECT ['a', 'b'] AS xs) LEFT ARRAY JOIN xs AS x, arrayEnumerate(xs) AS i
SELECT arrayJoin([1, 2, 3]) AS x
SELECT * EXCEPT (detail, path) FROM hf.rollbacks LIMIT 1
SELECT * REPLACE (upper(model_id) AS model_id) FROM hf.rollbacks LIMIT 1
SELECT COLUMNS('^latency') FROM hf.release_health LIMIT 1
SELECT COLUMNS('^latency') APPLY(max) FROM hf.release_health
SELECT h.* FROM hf.release_health AS h LIMIT 1
SELECT 1 AS `a b`, 2 AS "c d"
SELECT 'it''s', 'a\nb', 'back\\slash', 'unicode ✓', ''
SELECT 'hf_store; drop table x' AS s
SELECT $$a 'heredoc' of an analyst$$ AS s
-- comments and space
-- a line that begins with a comment is a section, so comments stand inside
SELECT /* why */ 1
SELECT 1 -- at the end
SELECT 1 # another
SELECT	1	AS	tabbed
-- numbers and literals
SELECT 1, -1, 1.5, -2.5e3, 0xff, 0b101, 1_000, NULL, true, false, inf, nan
SELECT 18446744073709551615, -9223372036854775808, 0.1 + 0.2
SELECT [1, 2, 3], ['a', 'b'], (1, 'a'), map('k', 1), []
SELECT 1 + 2 * 3 - 4 / 5, 7 % 3, 7 DIV 2, 7 MOD 2, -(3)
SELECT 1 = 1, 1 == 1, 1 != 2, 1 <> 2, 1 < 2, 1 <= 2, 2 > 1, 2 >= 1
SELECT NOT 1, 1 AND 0, 1 OR 0, xor(1, 0)
SELECT 5 BETWEEN 1 AND 10, 5 NOT BETWEEN 1 AND 3
SELECT 'abc' LIKE 'a%', 'abc' NOT LIKE 'b%', 'abc' ILIKE 'A%', 'abc' REGEXP '^a'
SELECT NULL IS NULL, 1 IS NOT NULL, 1 IS DISTINCT FROM 2, 1 <=> NULL
SELECT if(1, 'a', 'b'), 1 ? 'a' : 'b', multiIf(0, 'a', 1, 'b', 'c')
SELECT CASE WHEN number < 2 THEN 'low' WHEN number < 4 THEN 'mid' ELSE 'high' END FROM numbers(5)
SELECT CASE number WHEN 0 THEN 'zero' ELSE 'more' END FROM numbers(2)
SELECT tuple(1, 'a').1, (1, 2).2, [10, 20][2], map('a', 1)['a']
SELECT ('a' || 'b') || 'c'
-- casting
SELECT CAST(1 AS Float64), CAST('1' AS UInt8), CAST(1, 'String')
SELECT 1::Float64, '2026-01-01'::Date, [1, 2]::Array(UInt8), 1::Decimal(10, 2), '1'::Nullable(UInt8)
SELECT CAST('a', 'Enum8(\'a\' = 1, \'b\' = 2)'), accurateCastOrNull(300, 'UInt8'), accurateCastOrDefault(300, 'UInt8')
SELECT toInt64('5'), toUInt8OrZero('x'), toFloat64OrNull('1.5'), toString(1), toDecimal64(1.5, 2), toBool('true')
SELECT toTypeName(1), toTypeName(hour) FROM hf.release_health LIMIT 1
SELECT toNullable(1), assumeNotNull(toNullable(1)), ifNull(NULL, 1), nullIf(1, 1), coalesce(NULL, 2), isNull(NULL)
SELECT reinterpretAsUInt32('abcd'), hex(1), unhex('61'), bin(5), toFixedString('a', 3)
SELECT toLowCardinality('a'), toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0')
-- dates and times
SELECT now() > toDateTime('2020-01-01 00:00:00'), today() >= toDate('2020-01-01'), yesterday() < today(), now64(3) > 0
SELECT toStartOfHour(hour), toStartOfDay(hour), toStartOfWeek(hour), toStartOfMonth(hour), toStartOfQuarter(hour), toStartOfYear(hour) FROM hf.release_health
SELECT toStartOfInterval(minute, INTERVAL 5 MINUTE) AS t, sum(received) FROM hf.ingest_quality GROUP BY t ORDER BY t
SELECT toStartOfFiveMinutes(minute), toStartOfTenMinutes(minute), toStartOfFifteenMinutes(minute), toStartOfMinute(minute) FROM hf.ingest_quality
SELECT date_trunc('day', minute) AS day, count() FROM hf.ingest_quality GROUP BY day
SELECT dateDiff('minute', toDateTime('2026-01-01 00:00:00'), toDateTime('2026-01-01 01:00:00')), date_diff('day', today() - 1, today()), age('hour', now() - 7200, now())
SELECT now() - INTERVAL 1 DAY < now(), now() + INTERVAL '2 hours' > now(), date_add(DAY, 1, today()), date_sub(HOUR, 1, now()) < now(), timestamp_add(toDateTime('2026-01-01 00:00:00'), INTERVAL 1 MONTH)
SELECT addDays(today(), 1), subtractHours(now(), 3) < now(), addMonths(toDate('2026-01-31'), 1), addWeeks(today(), 1)
SELECT EXTRACT(YEAR FROM toDate('2026-05-04')), EXTRACT(DAY FROM toDate('2026-05-04')), toYear(today()) > 2000, toMonth(toDate('2026-05-04')), toDayOfWeek(toDate('2026-05-04')), toHour(now()) < 24
SELECT formatDateTime(toDateTime('2026-01-01 00:00:00'), '%Y-%m-%d %H:%i'), parseDateTimeBestEffort('2026-01-01T00:00:00Z'), parseDateTimeBestEffortOrNull('x'), parseDateTime('2026-01-01', '%Y-%m-%d')
SELECT toUnixTimestamp(toDateTime('2026-01-01 00:00:00', 'UTC')), fromUnixTimestamp(0), toUnixTimestamp64Milli(toDateTime64('2026-01-01 00:00:00', 3)), fromUnixTimestamp64Milli(toInt64(0))
SELECT toTimeZone(now(), 'Europe/Berlin') > 0, timeZone(), timezoneOf(now()), timezoneOffset(now())
SELECT DATE '2026-01-01', TIMESTAMP '2026-01-01 00:00:00', toDate32('2026-01-01'), makeDate(2026, 1, 1), toYYYYMM(toDate('2026-01-01')), toYYYYMMDD(toDate('2026-01-01'))
SELECT toISOWeek(today()) > 0, toISOYear(today()) > 0, toWeek(today()) > 0, monthName(toDate('2026-05-04')), dateName('weekday', toDate('2026-05-04')), toLastDayOfMonth(toDate('2026-02-01'))
SELECT day, sum(cost) FROM hf.cost_daily WHERE day >= today() - 30 GROUP BY day ORDER BY day WITH FILL
SELECT count() FROM hf.release_health WHERE hour BETWEEN now() - INTERVAL 7 DAY AND now()
SELECT count() FROM hf.release_health WHERE hour >= toDateTime('2026-01-01 00:00:00') AND hour < toDateTime('2026-02-01 00:00:00')
SELECT timeSlot(now()) <= now(), length(timeSlots(toDateTime('2026-01-01 00:00:00'), toUInt32(3600)))
-- aggregates
SELECT count(), count(*), count(model_id), count(DISTINCT model_id), countIf(outcome = 'breach'), uniq(model_id), uniqExact(model_id) FROM hf.verdicts
SELECT sum(events), avg(events), min(events), max(events), any(arm), anyLast(arm), argMax(arm, events), argMin(arm, events) FROM hf.release_health
SELECT sumIf(events, arm = 'candidate'), avgIf(events, arm = 'control'), sum(events) FILTER (WHERE arm = 'candidate') FROM hf.release_health
SELECT median(number), quantile(0.95)(number), quantiles(0.5, 0.9, 0.99)(number), quantileExact(0.5)(number), quantileTDigest(0.9)(number), quantileTiming(0.5)(number) FROM numbers(100)
SELECT quantileExactWeighted(0.5)(number, 1), quantileInterpolatedWeighted(0.5)(number, 1), quantileDD(0.01, 0.5)(number), quantileBFloat16(0.5)(number), quantileGK(100, 0.5)(number) FROM numbers(100)
SELECT quantileIf(0.9)(number, number % 2 = 0), quantilesExactIf(0.1, 0.9)(number, number > 5), medianExact(number) FROM numbers(100)
SELECT stddevPop(number), stddevSamp(number), varPop(number), varSamp(number), skewPop(number), kurtPop(number) FROM numbers(100)
SELECT corr(number, number * 2), covarPop(number, number), covarSamp(number, number), rankCorr(number, number) FROM numbers(100)
SELECT topK(3)(number % 5), topKWeighted(2)(number % 3, number), approx_top_k(3)(number % 5), anyHeavy(number % 2) FROM numbers(100)
SELECT groupArray(number), groupUniqArray(number % 3), groupArraySorted(3)(number), groupArraySample(2)(number), groupArrayMovingAvg(2)(number), groupArrayLast(2)(number) FROM numbers(10)
SELECT groupBitAnd(number), groupBitOr(number), groupBitXor(number), groupConcat(',')(toString(number)) FROM numbers(4)
SELECT uniqCombined(number), uniqHLL12(number), uniqCombined64(number), uniqUpTo(3)(number) FROM numbers(10)
SELECT sumMap([1, 2], [3, 4]), sumMap(map('a', 1)), minMap([1], [2]), maxMap([1], [2])
SELECT avgWeighted(number, 1), sumKahan(number), sumWithOverflow(number), sumCount(number), boundingRatio(number, number), entropy(number) FROM numbers(1, 9)
SELECT simpleLinearRegression(number, 2 * number), exponentialMovingAverage(5)(number, number), deltaSum(number) FROM numbers(10)
SELECT histogram(3)(number), sparkbar(5)(number, number) FROM numbers(10)
SELECT studentTTest(number, number % 2), welchTTest(number, number % 2), mannWhitneyUTest(number, number % 2) FROM numbers(20)
SELECT sumOrNull(number), sumOrDefault(number), avgOrNull(number), countState() IS NOT NULL FROM numbers(0)
SELECT finalizeAggregation(sumState(number)), uniqMerge(s) FROM (SELECT number, uniqState(number) AS s FROM numbers(5) GROUP BY number) GROUP BY ALL
SELECT sumMerge(s) FROM (SELECT sumState(number) AS s FROM numbers(5))
SELECT sumForEach([number, 1]), sumArray([number]), avgArray([number]), groupArrayIf(number, number > 2), uniqIf(number, number > 1), sumDistinct(number % 2) FROM numbers(5)
SELECT argMaxIf(number, number, number < 5), countIf(number > 3), maxIf(number, number < 3), anyIf(number, 1), quantileState(0.5)(number) IS NOT NULL FROM numbers(9)
SELECT windowFunnel(100)(toDateTime(number), number = 1, number = 2), retention(number = 1, number = 2), sequenceMatch('(?1)(?2)')(toDateTime(number), number = 1, number = 2), sequenceCount('(?1)(?2)')(toDateTime(number), number = 1, number = 2) FROM numbers(5)
SELECT any(model_id) IGNORE NULLS, any(model_id) RESPECT NULLS, first_value(model_id), last_value(model_id) FROM hf.verdicts
SELECT COUNT(*), SUM(events), AVG(events), MIN(events), MAX(events) FROM hf.release_health
SELECT VAR_POP(number), STDDEV_SAMP(number), COVAR_POP(number, number) FROM numbers(5)
SELECT cramersV(number % 2, number % 3), theilsU(number % 2, number % 3), contingency(number % 2, number % 3) FROM numbers(20)
SELECT maxIntersections(number, number + 2), intervalLengthSum(number, number + 1) FROM numbers(5)
SELECT arrayReduce('sum', [1, 2, 3]), arrayReduce('quantile(0.5)', [1, 2, 3]), arrayReduce('uniqExact', ['a', 'b']), arrayReduceInRanges('sum', [(1, 2)], [1, 2, 3])
-- window functions
SELECT number, row_number() OVER (ORDER BY number), rank() OVER (ORDER BY number), dense_rank() OVER (ORDER BY number) FROM numbers(5)
SELECT hour, events, sum(events) OVER (PARTITION BY model_id ORDER BY hour ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) FROM hf.release_health
SELECT number, avg(number) OVER (ORDER BY number ROWS BETWEEN 2 PRECEDING AND 2 FOLLOWING) FROM numbers(9)
SELECT number, lagInFrame(number, 1) OVER (ORDER BY number), leadInFrame(number, 1, 0) OVER (ORDER BY number ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) FROM numbers(5)
SELECT number, lag(number) OVER w, lead(number) OVER w, first_value(number) OVER w, nth_value(number, 2) OVER w FROM numbers(5) WINDOW w AS (ORDER BY number)
SELECT number, ntile(2) OVER (ORDER BY number ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING), percent_rank() OVER (ORDER BY number RANGE BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING), cume_dist() OVER (ORDER BY number RANGE BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) FROM numbers(4)
SELECT number, sum(number) OVER (ORDER BY number RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) FROM numbers(5)
SELECT * FROM (SELECT number, row_number() OVER (PARTITION BY number % 2 ORDER BY number DESC) AS r FROM numbers(9)) WHERE r = 1
SELECT number FROM numbers(9) QUALIFY row_number() OVER (ORDER BY number DESC) <= 3
SELECT number, exponentialTimeDecayedAvg(10)(number, number) OVER (ORDER BY number) FROM numbers(3)
-- arrays, maps, tuples, lambdas
SELECT arrayMap(x -> x * 2, [1, 2, 3]), arrayFilter(x -> x > 1, [1, 2, 3]), arraySum(x -> x * x, [1, 2]), arrayExists(x -> x = 2, [1, 2]), arrayAll(x -> x > 0, [1, 2])
SELECT arrayMap((x, y) -> x + y, [1, 2], [3, 4]), arrayMap(x -> (x, x + 1), [1]), arrayFirst(x -> x > 1, [1, 2]), arrayFirstIndex(x -> x > 1, [1, 2]), arrayLast(x -> x < 2, [1, 2])
SELECT arrayMap(negate, [1, 2]), arrayMap(toString, [1, 2]), arrayFilter(isNotNull, [1, NULL])
SELECT arraySort([3, 1, 2]), arrayReverseSort([3, 1, 2]), arraySort(x -> -x, [3, 1, 2]), arrayReverse([1, 2]), arrayDistinct([1, 1]), arrayUniq([1, 1]), arrayCompact([1, 1, 2])
SELECT arrayConcat([1], [2]), arrayPushBack([1], 2), arrayPushFront([1], 0), arrayPopBack([1, 2]), arraySlice([1, 2, 3], 2, 1), arrayResize([1], 3), arrayZip([1], ['a']), arrayFlatten([[1], [2]])
SELECT has([1, 2], 1), hasAll([1, 2], [1]), hasAny([1, 2], [2]), indexOf([1, 2], 2), countEqual([1, 1], 1), length([1]), empty([]), notEmpty([1])
SELECT arrayCumSum([1, 2]), arrayDifference([1, 3]), arrayMin([1, 2]), arrayMax([1, 2]), arrayAvg([1, 2]), arrayProduct([2, 3]), arrayCount(x -> x > 1, [1, 2]), arrayDotProduct([1, 2], [3, 4])
SELECT arrayEnumerate([1, 2]), arrayEnumerateUniq([1, 1]), arrayIntersect([1, 2], [2]), arrayStringConcat(['a', 'b'], ','), arrayElement([1], 1), arrayWithConstant(2, 'a'), range(3), range(1, 7, 2)
SELECT arrayJoin(arrayMap(x -> x + 1, range(3))) AS x, arraySplit(x -> x = 2, [1, 2, 3]), arrayFill(x -> x > 0, [1, 0]), arrayPartialSort(1, [3, 1])
SELECT mapKeys(map('a', 1)), mapValues(map('a', 1)), mapContains(map('a', 1), 'a'), mapFilter((k, v) -> v > 0, map('a', 1)), mapApply((k, v) -> (k, v + 1), map('a', 1)), mapAdd(map('a', 1), map('a', 2))
SELECT tupleElement((1, 2), 1), untuple((1, 2)), tuplePlus((1, 2), (3, 4)), (1, 2) = (1, 2), tupleNames((1 AS a, 2 AS b)), tupleConcat((1, 2), (3, 4))
SELECT bitmapToArray(bitmapBuild([1, 2])), bitmapCardinality(bitmapBuild([1, 2])), bitAnd(3, 1), bitOr(1, 2), bitXor(1, 3), bitShiftLeft(1, 3), bitCount(7)
-- strings
SELECT lower('A'), upper('a'), length('abc'), lengthUTF8('äb'), reverse('ab'), trim(' a '), trimLeft(' a'), ltrim(' a'), rtrim('a '), trim(BOTH ' ' FROM ' a ')
SELECT substring('abcdef', 2, 3), substring('abcdef' FROM 2 FOR 3), substr('abc', 1), left('abc', 2), right('abc', 2), mid('abc', 2, 1), leftPad('1', 3, '0'), lpad('1', 3, '0'), repeat('a', 3)
SELECT concat('a', 'b'), concatWithSeparator(',', 'a', 'b'), concat_ws(',', 'a', 'b'), splitByChar(',', 'a,b'), splitByString('--', 'a--b'), splitByRegexp('[,;]', 'a,b;c'), format('{} {}', 'a', 'b')
SELECT position('abc', 'b'), position('b' IN 'abc'), locate('abc', 'b'), positionCaseInsensitive('ABC', 'b'), startsWith('abc', 'a'), endsWith('abc', 'c'), countSubstrings('aaa', 'a')
SELECT replace('aba', 'a', 'c'), replaceAll('aba', 'a', 'c'), replaceOne('aba', 'a', 'c'), replaceRegexpAll('a1', '[0-9]', 'x'), replaceRegexpOne('a1', '[0-9]', 'x'), translate('abc', 'ab', 'xy')
SELECT match('abc', '^a'), extract('abc123', '[0-9]+'), extractAll('a1b2', '[0-9]'), extractAllGroups('a=1', '(\\w)=(\\d)'), regexpExtract('a1', '([a-z])', 1), like('abc', 'a%')
SELECT multiSearchAny('abc', ['a']), multiSearchFirstPosition('abc', ['b']), hasToken('a b', 'a'), ngramDistance('abc', 'abd'), multiMatchAny('abc', ['a.c'])
SELECT base64Encode('a'), base64Decode('YQ=='), hex('a'), encodeURLComponent('a b'), decodeURLComponent('a%20b'), char(97), ascii('a'), toValidUTF8('a'), initcap('ab cd'), soundex('a')
SELECT domain('https://a.example/x'), path('https://a.example/x'), protocol('https://a'), cutQueryString('https://a/x?y'), extractURLParameter('https://a/?k=v', 'k'), topLevelDomain('https://a.example')
SELECT formatReadableSize(1024), formatReadableQuantity(1e6), formatReadableTimeDelta(61), bar(1, 0, 10, 10), visibleWidth('a'), leftPadUTF8('a', 2, 'b')
SELECT tokens('a b c'), ngrams('abc', 2), alphaTokens('a1b'), splitByWhitespace('a b'), splitByNonAlpha('a,b')
SELECT startsWith(verdict_id, 'x'), substringIndex('a.b.c', '.', 2), space(2), printf('%d', 1), overlay('abc', 'x', 1) FROM hf.verdicts
-- numbers
SELECT round(1.234, 2), floor(1.5), ceil(1.5), trunc(1.5), abs(-1), sign(-1), sqrt(4), pow(2, 3), power(2, 3), exp(1), log(10), log2(8), log10(100), ln(1)
SELECT greatest(1, 2), least(1, 2), intDiv(7, 2), modulo(7, 3), positiveModulo(-1, 3), gcd(4, 6), lcm(4, 6), roundBankers(2.5), roundDown(5, [1, 4]), clamp(5, 1, 3)
SELECT sin(0), cos(0), tan(0), atan2(1, 1), pi(), e(), hypot(3, 4), degrees(pi()), radians(180), sigmoid(0), erf(0), tgamma(5), lgamma(5), cbrt(8)
SELECT isFinite(1), isNaN(0 / 0), isInfinite(1 / 0), ifNotFinite(1 / 0, 0), divide(1, 2), intDivOrZero(1, 0), moduloOrZero(1, 0), widthBucket(5, 0, 10, 5), divideOrNull(1, 0)
SELECT cityHash64('a'), sipHash64('a'), xxHash64('a'), murmurHash3_64('a'), MD5('a'), SHA256('a'), hex(SHA1('a')), intHash32(1), farmHash64('a'), halfMD5('a')
SELECT rand() >= 0, rand64() >= 0, randCanonical() < 1, length(randomPrintableASCII(5)), randUniform(0, 1) < 2, randNormal(0, 1) < 100, generateUUIDv4() != generateUUIDv4()
SELECT L2Distance([1, 2], [3, 4]), cosineDistance([1, 2], [2, 4]), L1Norm([1, 2]), dotProduct([1, 2], [3, 4]), L2Norm((3, 4))
SELECT rowNumberInAllBlocks(), rowNumberInBlock(), blockNumber() >= 0, blockSize() FROM numbers(3) SETTINGS extremes = 0
SELECT geoDistance(0, 0, 1, 1) > 0, greatCircleDistance(0, 0, 1, 1) > 0, pointInPolygon((0.5, 0.5), [(0, 0), (0, 1), (1, 1), (1, 0)]), geohashEncode(0.5, 0.5)
SELECT IPv4NumToString(1), IPv4StringToNum('127.0.0.1'), isIPv4String('x'), toIPv4('127.0.0.1'), isIPAddressInRange('127.0.0.1', '127.0.0.0/8')
SELECT transform(1, [1, 2], ['one', 'two'], 'other'), materialize(1), identity(1), ignore(1), throwIf(0), toColumnTypeName(1), dumpColumnStructure(1), isConstant(1)
SELECT minSampleSizeConversion(0.1, 0.05, 0.8, 0.05), minSampleSizeContinuous(10, 1, 0.05, 0.8, 0.05), proportionsZTest(10, 11, 100, 101, 0.95, 'unpooled')
-- JSON
SELECT JSONExtractString('{"a": "b"}', 'a'), JSONExtractInt('{"a": 1}', 'a'), JSONExtractFloat('{"a": 1.5}', 'a'), JSONExtractBool('{"a": true}', 'a'), JSONExtractRaw('{"a": [1]}', 'a'), JSONHas('{"a": 1}', 'a')
SELECT JSONExtract('{"a": [1, 2]}', 'a', 'Array(UInt8)'), JSONExtract('{"a": 1}', 'Tuple(a UInt8)'), JSONExtractArrayRaw('[1, 2]'), JSONExtractKeys('{"a": 1}'), JSONLength('{"a": 1}'), JSONType('{"a": 1}', 'a')
SELECT JSONExtractFloat(arithmetic, 'effect') FROM hf.verdicts LIMIT 5
SELECT JSON_VALUE('{"a": 1}', '$.a'), JSON_QUERY('{"a": [1]}', '$.a'), JSON_EXISTS('{"a": 1}', '$.a'), simpleJSONExtractInt('{"a":1}', 'a'), visitParamExtractString('{"a":"b"}', 'a'), isValidJSON('{}'), toJSONString(map('a', 1))
SELECT JSONExtractKeysAndValues('{"a": 1}', 'Int8'), JSONExtractUInt('{"a": 1}', 'a'), JSONArrayLength('[1]')
-- formats and settings
SELECT 1 AS x FORMAT JSON
SELECT 1 AS x FORMAT JSONEachRow
SELECT 1 AS x FORMAT JSONCompact
SELECT 1 AS x FORMAT JSONCompactEachRow
SELECT 1 AS x FORMAT JSONColumns
SELECT 1 AS x FORMAT JSONStrings
SELECT 1 AS x FORMAT JSONCompactEachRowWithNamesAndTypes
SELECT 1 AS x FORMAT CSV
SELECT 1 AS x FORMAT CSVWithNames
SELECT 1 AS x FORMAT TSV
SELECT 1 AS x FORMAT TabSeparated
SELECT 1 AS x FORMAT TabSeparatedWithNames
SELECT 1 AS x FORMAT TabSeparatedWithNamesAndTypes
SELECT 1 AS x FORMAT TSVRaw
SELECT 1 AS x FORMAT TSKV
SELECT 1 AS x FORMAT Pretty
SELECT 1 AS x FORMAT PrettyCompact
SELECT 1 AS x FORMAT PrettyCompactMonoBlock
SELECT 1 AS x FORMAT PrettySpace
SELECT 1 AS x FORMAT Vertical
SELECT 1 AS x FORMAT Markdown
SELECT 1 AS x FORMAT XML
SELECT 1 AS x FORMAT Values
SELECT 1 AS x FORMAT SQLInsert
SELECT 1 AS x FORMAT Null
SELECT 1 AS x FORMAT Native
SELECT 1 AS x FORMAT RowBinary
SELECT 1 AS x FORMAT RowBinaryWithNamesAndTypes
SELECT 1 AS x FORMAT Arrow
SELECT 1 AS x FORMAT ArrowStream
SELECT 1 AS x FORMAT Parquet
SELECT 1 AS x FORMAT ORC
SELECT 1 AS x FORMAT Avro
SELECT 1 AS x FORMAT MsgPack
SELECT 1 AS x FORMAT NDJSON
SELECT 'a' AS x FORMAT LineAsString
SELECT 1 AS x FORMAT CustomSeparated
SELECT 1 SETTINGS max_threads = 1
SELECT 1 SETTINGS max_threads = 1, join_use_nulls = 1
SELECT 1 SETTINGS max_execution_time = 5
SELECT 1 FORMAT JSON SETTINGS output_format_json_quote_64bit_integers = 0
SELECT 1 SETTINGS output_format_json_quote_64bit_integers = 0 FORMAT JSON
SELECT 1 UNION ALL SELECT 2 SETTINGS max_threads = 1
SELECT now() SETTINGS session_timezone = 'Europe/Berlin'
SELECT 1 SETTINGS date_time_output_format = 'iso', use_query_cache = 0, log_comment = 'from a dashboard'
-- table functions
SELECT * FROM numbers(3)
SELECT * FROM numbers(10, 3)
SELECT count() FROM numbers_mt(10)
SELECT * FROM generate_series(0, 10, 5)
SELECT * FROM generateSeries(0, 3)
SELECT * FROM values('a UInt8, b String', (1, 'x'), (2, 'y'))
SELECT * FROM values((1, 'x'), (2, 'y'))
SELECT * FROM VALUES('a Int8', 1, 2)
SELECT * FROM view(SELECT 1 AS x)
SELECT * FROM null('a UInt8')
SELECT * FROM generate_series(5, 6)
-- SHOW, DESCRIBE, EXISTS, EXPLAIN
SHOW TABLES
SHOW TABLES FROM hf
SHOW TABLES IN hf LIKE '%verdict%'
SHOW FULL TABLES FROM hf
SHOW DATABASES
SHOW DATABASES LIKE 'h%'
SHOW COLUMNS FROM hf.verdicts
SHOW COLUMNS FROM verdicts FROM hf
SHOW FULL COLUMNS FROM verdicts
SHOW INDEX FROM hf.verdicts
SHOW CREATE VIEW hf.verdicts
SHOW CREATE TABLE verdicts
SHOW CREATE verdicts
DESCRIBE hf.verdicts
DESCRIBE TABLE verdicts
DESC verdicts
DESCRIBE TABLE `hf`.`verdicts` FORMAT JSON
DESCRIBE (SELECT 1 AS x)
DESC (SELECT * FROM hf.verdicts LIMIT 1)
DESCRIBE TABLE (SELECT count() AS c FROM verdicts) FORMAT TSV
EXISTS verdicts
EXISTS TABLE hf.verdicts
EXISTS VIEW hf.verdicts
EXISTS TABLE hf.nothing_of_that_name
EXPLAIN SELECT * FROM verdicts
EXPLAIN SYNTAX SELECT model_id FROM verdicts
EXPLAIN AST SELECT 1
EXPLAIN QUERY TREE SELECT 1
EXPLAIN PIPELINE SELECT count() FROM verdicts
EXPLAIN header = 1, actions = 1 SELECT 1
EXPLAIN PLAN SELECT 1
EXPLAIN json = 1 SELECT 1 FORMAT TSVRaw
-- clickhouse-connect, and Superset over it
SELECT version(), timezone()
SELECT version()
SELECT name, value, readonly FROM system.settings LIMIT 10000
SELECT name, value, readonly FROM system.settings LIMIT 10000 FORMAT Native
SELECT name FROM system.databases
SELECT name FROM system.tables WHERE database = 'hf'
SELECT name, type FROM system.columns WHERE database = 'hf' AND table = 'verdicts'
SELECT name FROM system.functions
SELECT name FROM system.table_functions
SELECT database, name FROM system.tables
EXISTS TABLE `hf`.`verdicts`
SHOW TABLES FROM `hf`
DESCRIBE TABLE `hf`.`verdicts`
SELECT __timestamp, count() AS c FROM (SELECT toStartOfDay(window_start) AS __timestamp FROM hf.verdicts) AS virtual_table WHERE __timestamp >= toDateTime('2026-01-01 00:00:00') GROUP BY __timestamp ORDER BY c DESC LIMIT 10000
SELECT toStartOfDay(toDateTime(`window_start`)) AS `__timestamp`, COUNT(*) AS `count` FROM `hf`.`verdicts` GROUP BY toStartOfDay(toDateTime(`window_start`)) ORDER BY `count` DESC LIMIT 1000
-- clickhouse-go, Grafana
SELECT displayName(), version(), revision(), timezone()
SELECT $__interval_is_no_macro_here FROM (SELECT 1 AS `$__interval_is_no_macro_here`)
SELECT toStartOfInterval(toDateTime(minute), INTERVAL 60 second) AS time, sum(n) FROM hf.ingest_reasons WHERE minute >= toDateTime(1767225600) AND minute <= toDateTime(1767229200) GROUP BY time ORDER BY time
SELECT name, database, table FROM system.columns WHERE database = 'hf'
SELECT name as value, name as label FROM system.tables WHERE database = 'hf'
SELECT DISTINCT model_id FROM hf.release_health ORDER BY model_id LIMIT 100
SELECT minute AS time, model_version AS metric, sum(n) AS value FROM hf.metric_minute GROUP BY time, metric ORDER BY time
SELECT toUnixTimestamp(toStartOfMinute(minute)) * 1000 AS t, groupArray((reason, n)) FROM (SELECT minute, reason, sum(n) AS n FROM hf.ingest_reasons GROUP BY minute, reason) GROUP BY t ORDER BY t
-- clickhouse-jdbc, DBeaver
SELECT currentUser() AS user, timezone() AS timezone, version() AS version
SELECT currentDatabase()
SELECT database()
SELECT 1 AS `1`
SELECT name AS TABLE_SCHEM, '' AS TABLE_CATALOG FROM system.databases WHERE name LIKE '%' ORDER BY name
SELECT t.database AS TABLE_SCHEM, t.name AS TABLE_NAME, multiIf(t.engine LIKE '%View', 'VIEW', 'TABLE') AS TABLE_TYPE, t.comment AS REMARKS FROM system.tables AS t LEFT JOIN system.databases AS d ON t.database = d.name WHERE t.database LIKE '%' AND t.name LIKE '%'
SELECT database AS TABLE_SCHEM, table AS TABLE_NAME, name AS COLUMN_NAME, type, default_expression, position, comment, numeric_precision, numeric_scale FROM system.columns WHERE database LIKE 'hf' AND table LIKE 'verdicts' ORDER BY TABLE_SCHEM, TABLE_NAME, position
SELECT database, table, name FROM system.columns WHERE is_in_primary_key
SELECT name, case_insensitive, alias_to FROM system.data_type_families
SELECT database, name, type FROM system.data_skipping_indices
SELECT name, description FROM system.functions WHERE is_aggregate
SELECT name FROM system.table_engines
SELECT * FROM system.one
SELECT name, value FROM system.build_options
SELECT database, name, total_rows, uuid FROM system.tables
SELECT create_table_query FROM system.tables WHERE name = 'verdicts'
SELECT name FROM system.dictionaries
SELECT schema_name FROM information_schema.schemata
SELECT table_catalog, table_schema, table_name, table_type FROM information_schema.tables
SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'hf'
SELECT column_name, data_type, is_nullable FROM information_schema.columns WHERE table_name = 'verdicts'
SELECT table_name, view_definition FROM information_schema.views
SELECT count() FROM information_schema.key_column_usage
SELECT time_zone FROM system.time_zones LIMIT 3
SELECT word FROM (SELECT keyword AS word FROM system.keywords) LIMIT 3
-- questions of analysts
SELECT model_version, quantileExactWeighted(0.5)(p50, n) AS p50 FROM hf.metric_minute WHERE metric = 'inference.latency' GROUP BY model_version
SELECT hour, model_version, events / sum(events) OVER (PARTITION BY hour) AS share FROM hf.release_health ORDER BY hour
SELECT model_id, countIf(outcome = 'breach') / count() AS breach_share FROM hf.verdicts GROUP BY model_id HAVING count() > 0 ORDER BY breach_share DESC
SELECT currency, sum(cost) AS cost FROM hf.cost_daily WHERE day >= toStartOfMonth(today()) GROUP BY currency
SELECT day, app_id, sum(cost) AS paid, paid - lagInFrame(sum(cost)) OVER (PARTITION BY app_id ORDER BY day) AS change FROM hf.cost_daily GROUP BY day, app_id ORDER BY day
SELECT toStartOfDay(minute) AS day, sum(rejected) / greatest(sum(received), 1) AS rejected_share FROM hf.ingest_quality GROUP BY day ORDER BY day
SELECT reason, sum(n) AS n FROM hf.ingest_reasons WHERE outcome = 'rejected' GROUP BY reason ORDER BY n DESC LIMIT 10
SELECT a.model_id, a.latency_p50_ms - b.latency_p50_ms AS slower_ms FROM hf.release_health a JOIN hf.release_health b ON a.hour = b.hour AND a.model_id = b.model_id WHERE a.arm = 'candidate' AND b.arm = 'control'
SELECT class, argMax(class_share, hour) FROM hf.class_share GROUP BY class ORDER BY class
SELECT v.verdict_id, v.effect, r.commit, dateDiff('second', v.window_start, r.acted_at) AS took_s FROM hf.verdicts v JOIN hf.rollbacks r ON r.verdict_id = v.verdict_id WHERE v.outcome = 'breach'
SELECT toStartOfWeek(acted_at) AS week, count() AS rollbacks, uniq(model_id) AS models FROM hf.rollbacks WHERE state = 'done' GROUP BY week
SELECT metric, groupArray((model_version, total)) FROM (SELECT metric, model_version, sum(n) AS total FROM hf.metric_totals GROUP BY metric, model_version) GROUP BY metric
SELECT candidate_version, stable_version, max(log_e_equal_sup - log_threshold_equal) AS beyond FROM hf.verdicts GROUP BY 1, 2 ORDER BY 3 DESC
SELECT * FROM hf.verdicts WHERE verdict_id = 'x' FORMAT Vertical
SELECT outcome, count() AS n, bar(n, 0, 100, 20) FROM hf.verdicts GROUP BY outcome
SELECT model_id, sumMap(map(arm, events)) FROM hf.release_health GROUP BY model_id
SELECT hour, seriesOutliersDetectTukey(groupArray(toFloat64(events)) OVER ()) FROM (SELECT hour, sum(events) AS events FROM hf.release_health GROUP BY hour) LIMIT 0
SELECT user, path, name FROM (SELECT 'a' AS user, 'b' AS path, 'c' AS name)
SELECT t.name, d.engine FROM system.tables t JOIN system.databases d ON system.tables.database = system.databases.name WHERE t.database LIKE 'hf'
SELECT system.tables.name FROM system.tables
SELECT 'ABC' ILIKE '%b%', 'ABC' NOT ILIKE concat('%', 'x', '%'), countSubstringsCaseInsensitive('aAa', 'a'), multiSearchAnyCaseInsensitive('ABC', ['b', 'x'])
SELECT position(model_id, app_id), locate('a', model_id), countSubstrings(model_id, app_id), model_id ILIKE '%' || 'scene' || '%' FROM verdicts
