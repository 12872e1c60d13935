-- values: where a value may stand: {e}
SELECT {e}
SELECT 1 WHERE {e} = ''
WITH {e} AS x SELECT x
SELECT (SELECT {e})
SELECT * FROM (SELECT {e} AS q)
WITH c AS (SELECT {e} AS q) SELECT * FROM c
SELECT 1 UNION ALL SELECT {e}
SELECT 1 INTERSECT SELECT {e}
SELECT 1 EXCEPT SELECT {e}
EXPLAIN SELECT {e}
EXPLAIN SYNTAX SELECT {e}
EXPLAIN AST SELECT {e}
EXPLAIN QUERY TREE SELECT {e}
EXPLAIN PIPELINE SELECT {e}
DESCRIBE (SELECT {e})
DESC TABLE (SELECT {e})
SELECT * FROM (EXPLAIN SELECT {e})
SELECT 1 IN (SELECT {e})
SELECT 1 IN ({e}, 2)
SELECT a.number FROM numbers(1) a JOIN (SELECT {e} AS n) b ON 1
SELECT arrayMap(x -> {e}, [1])
SELECT arraySort(x -> {e}, [1])
SELECT number FROM numbers(1) ORDER BY {e}
SELECT sum(1) OVER (PARTITION BY {e})
SELECT sum(1) OVER w FROM numbers(1) WINDOW w AS (ORDER BY {e})
SELECT count() FROM numbers(1) GROUP BY {e}
SELECT count() FROM numbers(1) HAVING {e} != ''
SELECT 1 FROM numbers(1) QUALIFY {e} != ''
SELECT 1 FROM numbers(1) LIMIT 1 BY {e}
SELECT * REPLACE ({e} AS number) FROM numbers(1)
SELECT * FROM view(SELECT {e})
SELECT * FROM numbers(length({e}))
SELECT quantile(0.5)(length({e}))
SELECT if(0, {e}, '')
SELECT [{e}]
SELECT ({e}, 1).1
SELECT CASE WHEN 1 THEN {e} END
SELECT INTERVAL length({e}) DAY
SELECT transform(1, [1], [{e}])
SELECT q FROM numbers(1) ARRAY JOIN [{e}] AS q
SELECT count() FROM hf.verdicts WHERE {e} != ''
SELECT CAST({e} AS String)
SELECT {e}::String
SELECT DISTINCT ON ({e}) 1
SELECT any({e})
SELECT count() FILTER (WHERE {e} != '')
SELECT number FROM numbers(1) ORDER BY number WITH FILL FROM {e}
SELECT 1 BETWEEN {e} AND 2
WITH RECURSIVE t AS (SELECT {e} AS n UNION ALL SELECT n FROM t) SELECT n FROM t
WITH x -> {e} AS f SELECT f(1)
SELECT COLUMNS('number') APPLY(x -> {e}) FROM numbers(1)
SELECT 1 LIMIT length({e})
SELECT EXTRACT(DAY FROM {e})
SELECT substring({e} FROM 1 FOR 2)
SELECT position('a' IN {e})
SELECT NOT {e}
SELECT {e} IS NULL
SELECT map('k', {e})
SELECT 1 AS a$$, {e} AS b$$
SELECT a FROM (SELECT 1 AS a) x LEFT JOIN (SELECT 2 AS a) y ON {e} = ''
-- sources: where a table may stand: {t}
SELECT * FROM {t}
SELECT count() FROM {t} AS a
(SELECT * FROM {t})
WITH c AS (SELECT * FROM {t}) SELECT 1
SELECT (SELECT count() FROM {t})
SELECT 1 IN (SELECT 1 FROM {t})
SELECT 1 UNION ALL SELECT 1 FROM {t}
SELECT * FROM hf.verdicts, {t}
SELECT * FROM hf.verdicts AS v JOIN {t} AS x ON 1
EXPLAIN SELECT * FROM {t}
EXPLAIN SYNTAX SELECT * FROM {t}
EXPLAIN AST SELECT * FROM {t}
EXPLAIN QUERY TREE SELECT * FROM {t}
DESCRIBE (SELECT * FROM {t})
SELECT * FROM view(SELECT * FROM {t})
FROM {t} SELECT 1
SELECT 1 WHERE EXISTS (SELECT 1 FROM {t})
SELECT * FROM (EXPLAIN SELECT * FROM {t})
SELECT arrayMap(x -> (SELECT count() FROM {t}), [1])
SELECT * EXCEPT (a) FROM {t}
SELECT 1 FROM {t} FINAL
DESCRIBE TABLE {t}
-- tables: where only a table's name may stand: {t}
SHOW CREATE TABLE {t}
EXISTS TABLE {t}
SELECT 1 IN {t}
SELECT 1 NOT IN {t}
SELECT in(1, {t})
SELECT 1 GLOBAL IN {t}
SHOW COLUMNS FROM {t}
SHOW INDEX FROM {t}
SELECT {t}.x FROM {t}
SELECT joinGet({t}, 'a', 1)
SELECT * FROM loop({t})
TRUNCATE TABLE {t}
CHECK TABLE {t}
-- names: where the name of a function may stand: {f}
SELECT arrayMap({f}, ['x'])
SELECT * APPLY({f}) FROM numbers(1)
SELECT * APPLY {f} FROM numbers(1)
SELECT COLUMNS('n') APPLY({f}) FROM numbers(1)
SELECT arrayFilter({f}, ['x'])
WITH {f} AS g SELECT arrayMap(g, ['x'])
SELECT mapApply({f}, map('a', 'b'))
SELECT arrayReduce('{f}', ['x'])
SELECT initializeAggregation('{f}', 'x')
SELECT arraySort({f}, ['x'])
SELECT numbers.* APPLY({f}) FROM numbers(1) AS numbers
-- settings: where a setting may stand: {s}
SELECT 1 SETTINGS {s}
SELECT 1 FORMAT JSON SETTINGS {s}
SELECT * FROM (SELECT 1 SETTINGS {s})
SELECT 1 IN (SELECT 1 SETTINGS {s})
WITH c AS (SELECT 1 SETTINGS {s}) SELECT * FROM c
EXPLAIN SELECT 1 SETTINGS {s}
EXPLAIN {s} SELECT 1
SELECT 1 UNION ALL SELECT 2 SETTINGS {s}
(SELECT 1 SETTINGS {s}) UNION ALL SELECT 2
SELECT * FROM view(SELECT 1 SETTINGS {s})
SELECT * FROM hf.verdicts SETTINGS max_threads = 1, {s}
SELECT (SELECT 1 SETTINGS {s})
DESCRIBE (SELECT 1 SETTINGS {s})
SET {s}
SELECT * FROM numbers(1, SETTINGS {s})
SHOW TABLES SETTINGS {s}
EXPLAIN SYNTAX SELECT (SELECT 1 SETTINGS {s})
-- formats: where a format may stand: {f}
SELECT 1 FORMAT {f}
SELECT 1 UNION ALL SELECT 2 FORMAT {f}
EXPLAIN SELECT 1 FORMAT {f}
SHOW TABLES FORMAT {f}
SELECT 1 SETTINGS max_threads = 1 FORMAT {f}
DESCRIBE TABLE hf.verdicts FORMAT {f}
(SELECT 1) FORMAT {f}
SELECT * FROM format({f}, 'x')
SELECT formatRow('{f}', 1)
DESCRIBE (SELECT 1) FORMAT {f}
